//! Children, made and waited for past the C library as far as that matters.

use crate::sys;
use libc::*;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl End {
    /// As a shell tells it.
    pub fn status(self) -> i32 {
        match self {
            End::Exited(status) => status,
            End::Killed(signal) => 128 + signal,
        }
    }
}

/// Calls `fork` past the C library, whose locks other threads may hold: the child, which gets 0, calls nothing of it.
pub fn fork_raw() -> Result<i32, i32> {
    sys!(SYS_fork).map(|pid| pid as i32)
}

/// A child that does something and ends with its result; its number.
///
/// # Panics
/// If it cannot be made.
pub fn child(work: impl FnOnce() -> i32) -> i32 {
    // SAFETY: only processes of one thread come here, so nothing is locked in the child.
    match unsafe { fork() } {
        0 => leave(work()),
        -1 => panic!("no child: {}", std::io::Error::last_os_error()),
        pid => pid,
    }
}

/// Ends the calling process at once.
pub fn leave(status: i32) -> ! {
    let _ = sys!(SYS_exit_group, status);
    unreachable!("it has ended")
}

/// Waits for a child as `wait4` does: the child that has ended, if any has.
pub fn wait_for(which: i32, options: i32) -> Result<Option<(i32, End)>, i32> {
    let mut status = 0i32;
    let pid = sys!(SYS_wait4, which, &mut status, options, 0)?;
    let end = if WIFEXITED(status) { End::Exited(WEXITSTATUS(status)) } else { End::Killed(WTERMSIG(status)) };
    Ok((pid != 0).then_some((pid as i32, end)))
}

/// Waits for that child.
///
/// # Panics
/// If it is none.
pub fn end_of(pid: i32) -> End {
    let (ended, end) = wait_for(pid, 0).expect("a child").expect("that has ended");
    assert_eq!(ended, pid);
    end
}

/// A pipe: its two ends.
pub fn pipe_ends() -> [i32; 2] {
    let mut ends = [0i32; 2];
    sys!(SYS_pipe2, &mut ends, O_CLOEXEC).expect("a pipe");
    ends
}

/// Waits for a byte of a pipe; none is its end.
pub fn take(end: i32) -> Option<u8> {
    let mut byte = 0u8;
    (sys!(SYS_read, end, &mut byte, 1) == Ok(1)).then_some(byte)
}

/// Puts a byte into a pipe.
pub fn give(end: i32, byte: u8) {
    assert_eq!(sys!(SYS_write, end, &byte, 1), Ok(1));
}

/// Closes descriptors.
pub fn close_all(descriptors: &[i32]) {
    descriptors.iter().for_each(|fd| assert_eq!(sys!(SYS_close, *fd), Ok(0)));
}
