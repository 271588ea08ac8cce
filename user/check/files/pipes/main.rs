//! Pipes, and waiting on descriptors: what a pipe keeps, when a call blocks, and which call wakes it.
//!
//! Everything here is what Linux does: the program passes there as well, with the same output.
//!
//! Run by: `tests/tests/boot/application.rs`, `tests/tests/boot/pipes.rs`, `tests/tests/boot/programs.rs`.

mod blocking;
mod descriptors;
mod hostile;
mod plain;
mod polling;

use libc::*;
use programs::sys;
use programs::system::Result;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};

/// Bytes that a pipe holds.
const CAPACITY: usize = 65_536;

/// `PIPE_BUF`
const ATOMIC: usize = 4096;

fn main() {
    let limit = rlimit { rlim_cur: 1024, rlim_max: 1024 };
    assert_eq!(sys!(SYS_setrlimit, RLIMIT_NOFILE, &limit), Ok(0));
    if std::env::args().nth(1).is_some() {
        broken();
    }
    ignore(SIGPIPE);
    plain::check();
    descriptors::check();
    blocking::check();
    polling::check();
    hostile::check();
    println!("ok pipes");
}

/// By default, writing to a pipe without a reader kills.
fn broken() {
    // SAFETY: nothing is called.
    assert_ne!(unsafe { signal(SIGPIPE, SIG_DFL) }, SIG_ERR);
    let [output, input] = pipe(0);
    close(output);
    println!("still here after {:?}", write(input, b"x"));
}

/// A pipe: the end to be read and the end to be written.
fn pipe(flags: i32) -> [i32; 2] {
    let mut ends = [-1; 2];
    assert_eq!(sys!(SYS_pipe2, &mut ends, flags), Ok(0), "a pipe can be made");
    ends
}

fn close(fd: i32) {
    assert_eq!(sys!(SYS_close, fd), Ok(0), "closing {fd}");
}

fn write(fd: i32, bytes: &[u8]) -> Result {
    sys!(SYS_write, fd, bytes.as_ptr(), bytes.len())
}

/// Reads at most `most` bytes.
fn read(fd: i32, most: usize) -> std::result::Result<Vec<u8>, i32> {
    let mut bytes = vec![0; most];
    let count = sys!(SYS_read, fd, bytes.as_mut_ptr(), most)?;
    bytes.truncate(count as usize);
    Ok(bytes)
}

/// Bytes waiting in a pipe.
fn waiting(fd: i32) -> i32 {
    let mut count = -1;
    assert_eq!(sys!(SYS_ioctl, fd, FIONREAD, &mut count), Ok(0));
    count
}

/// Bytes that are all different from their neighbours, for `length` from `start` on.
fn pattern(start: usize, length: usize) -> Vec<u8> {
    (start..start + length).map(|n| (n % 251) as u8).collect()
}

/// Where [`count`] writes a byte, if it is a descriptor.
static ECHO: AtomicI32 = AtomicI32::new(-1);

/// How often [`count`] has run.
static CAUGHT: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    let echo = ECHO.load(SeqCst);
    if echo >= 0 {
        assert_eq!(write(echo, b"h"), Ok(1));
    }
    CAUGHT.fetch_add(1, SeqCst);
}

/// Counts a signal in [`CAUGHT`] from now on.
fn catch(number: i32, flags: i32) {
    // SAFETY: the handler only counts, and makes a system call.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        action.sa_flags = flags;
        assert_eq!(sigaction(number, &action, std::ptr::null_mut()), 0);
    }
    CAUGHT.store(0, SeqCst);
}

fn ignore(number: i32) {
    // SAFETY: nothing is called.
    assert_ne!(unsafe { signal(number, SIG_IGN) }, SIG_ERR);
}
