//! Children of the checks.

use libc::*;
use programs::sys;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Exited(i32),
    Killed(i32),
}

impl End {
    /// As a shell tells it.
    pub(crate) fn status(self) -> i32 {
        match self {
            End::Exited(status) => status,
            End::Killed(signal) => 128 + signal,
        }
    }
}

/// A child that does something and ends with its result; its number.
///
/// # Panics
/// If it cannot be made.
pub(crate) fn child(work: impl FnOnce() -> i32) -> i32 {
    // SAFETY: only processes of one thread come here, so nothing is locked in the child.
    match unsafe { fork() } {
        0 => leave(work()),
        -1 => panic!("no child: {}", std::io::Error::last_os_error()),
        pid => pid,
    }
}

/// Ends the calling process at once.
pub(crate) fn leave(status: i32) -> ! {
    let _ = sys!(SYS_exit_group, status);
    unreachable!("it has ended")
}

/// Waits for a child as `wait4` does: the child that has ended, if any has.
pub(crate) fn wait_for(which: i32, options: i32) -> Result<Option<(i32, End)>, i32> {
    let mut status = 0i32;
    let pid = sys!(SYS_wait4, which, &mut status, options, 0)?;
    let end = if WIFEXITED(status) { End::Exited(WEXITSTATUS(status)) } else { End::Killed(WTERMSIG(status)) };
    Ok((pid != 0).then_some((pid as i32, end)))
}

/// Waits for that child.
///
/// # Panics
/// If it is none.
pub(crate) fn end_of(pid: i32) -> End {
    let (ended, end) = wait_for(pid, 0).expect("a child").expect("that has ended");
    assert_eq!(ended, pid);
    end
}

/// A pipe: its two ends.
pub(crate) fn pipe_ends() -> [i32; 2] {
    let mut ends = [0i32; 2];
    sys!(SYS_pipe2, &mut ends, O_CLOEXEC).expect("a pipe");
    ends
}

/// Waits for a byte of a pipe; none is its end.
pub(crate) fn take(end: i32) -> Option<u8> {
    let mut byte = 0u8;
    (sys!(SYS_read, end, &mut byte, 1) == Ok(1)).then_some(byte)
}

/// Puts a byte into a pipe.
pub(crate) fn give(end: i32, byte: u8) {
    assert_eq!(sys!(SYS_write, end, &byte, 1), Ok(1));
}

/// Closes descriptors.
pub(crate) fn close_all(descriptors: &[i32]) {
    descriptors.iter().for_each(|fd| assert_eq!(sys!(SYS_close, *fd), Ok(0)));
}
