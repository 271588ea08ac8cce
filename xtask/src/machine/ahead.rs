//! Input that is in the image, so that a machine has it from its first instruction on.
//!
//! QEMU takes input from the host whenever its own thread gets to it, so the serial line's interrupt comes after
//! another number of the guest's instructions in each run. For example, of two runs whose input is empty, one was told
//! so before its program began, and the other not before it had ended: the second entered the kernel once less.

use std::io;

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::console;

/// The most bytes; what comes after them takes the serial line.
const MOST: usize = 1 << 18;

/// Input, as the console expects it.
#[derive(Default)]
pub(crate) struct Ahead {
    pub(crate) bytes: Vec<u8>,
    /// Whether its end is among the bytes.
    pub(crate) ended: bool,
}

impl Ahead {
    /// Reads what standard input has, and waits for nothing.
    pub(crate) fn read() -> Self {
        let mut ahead = Self::default();
        let mut buffer = vec![0; 1 << 16];
        while !ahead.ended && ahead.bytes.len() < MOST && is_ready() {
            match rustix::io::read(io::stdin(), &mut buffer) {
                Ok(length @ 1..) => ahead.bytes.extend(console::encode(&buffer[..length])),
                Err(Errno::INTR) => {}
                // An unreadable standard input (closed, a directory) has ended.
                Ok(0) | Err(_) => {
                    ahead.bytes.extend(console::END);
                    ahead.ended = true;
                }
            }
        }
        ahead
    }
}

/// Whether standard input can be read without waiting.
pub(super) fn is_ready() -> bool {
    let stdin = io::stdin();
    let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
    poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
