//! Jotun's own calls, for programs with `std`.

use crate::{sys, system};
use abi::native;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// By itself, with this exit status.
    Exited(u8),
    /// By this signal.
    Killed(u8),
}

/// Whether this is Jotun: its own calls are there.
pub fn present() -> bool {
    sys!(native::STATISTICS, 0, 0) != Err(libc::ENOSYS)
}

/// Starts a resident package; its pid.
pub fn start(name: &str, argument: u64) -> Result<i32, i32> {
    sys!(native::START, name.as_ptr(), name.len(), argument, native::NORMAL_PRIORITY, 0).map(|pid| pid as i32)
}

/// The argument of the package `worker`: how many rounds of its loop lie between two calls, how many
/// calls it makes, and how many instructions each executes in the kernel. The first two are rounded down
/// to a multiple of 16, calls up to one.
///
/// # Panics
/// If the argument has no room for so many: 2^28 rounds, 2^20 calls, 2^24 instructions.
pub fn worker(rounds: u64, calls: u64, instructions: u64) -> u64 {
    let (rounds, calls) = (rounds / 16, (calls / 16).max(1));
    assert!(rounds < 1 << 24 && calls < 1 << 16 && instructions < 1 << 24, "more than an argument holds");
    rounds | calls << 24 | instructions << 40
}

/// Waits for a process that the caller started.
pub fn wait(pid: i32) -> Result<Status, i32> {
    let mut status = 0i32;
    sys!(native::WAIT, pid, &mut status, native::FOREVER)?;
    let signal = (status & 0x7f) as u8;
    Ok(if signal == 0 { Status::Exited((status >> 8) as u8) } else { Status::Killed(signal) })
}

/// Sends a message.
pub fn send(pid: i32, message: &[u8]) -> system::Result {
    sys!(native::SEND, pid, message.as_ptr(), message.len())
}

/// Waits for a message: its sender and its length, as far as `buffer` holds it.
pub fn receive(buffer: &mut [u8]) -> Result<(i32, usize), i32> {
    let mut sender = 0i32;
    let length = sys!(native::RECEIVE, buffer.as_mut_ptr(), buffer.len(), &mut sender, native::FOREVER)?;
    Ok((sender, length as usize))
}

/// The text of a call that fills a buffer.
fn text(call: impl Fn(&mut [u8]) -> system::Result) -> Result<String, i32> {
    // Not zeros: the C library looks whether new memory is zero, and a page that has only been read is the program's own without a
    // frame of its own, which would show in `Counts::frames`.
    let mut buffer = vec![b' '; 32 << 10];
    let length = call(&mut buffer)?;
    buffer.truncate(length as usize);
    String::from_utf8(buffer).map_err(|_| libc::EINVAL)
}

/// The kernel's statistics, lines of name and value.
pub fn statistics() -> Result<String, i32> {
    text(|buffer| sys!(native::STATISTICS, buffer.as_mut_ptr(), buffer.len(), 0, 0))
}

/// What the container of process `pid` uses, 0 being the caller; lines of name and value.
pub fn container(pid: i32) -> Result<String, i32> {
    text(|buffer| sys!(native::CONTAINER, pid, buffer.as_mut_ptr(), buffer.len()))
}
