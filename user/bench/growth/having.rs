//! What operations cost a process among other processes, or among much that it has itself.

use super::{Figure, errno, strangers, times};
use libc::*;
use programs::sys;

const PAGE: u64 = 4096;

/// Starts this number of processes, none of them a child of the caller, of which each waits for a pipe of its own.
fn elsewhere(count: usize) -> Result<(), String> {
    let mut ready = [0_i32; 2];
    sys!(SYS_pipe2, &mut ready, 0).map_err(errno)?;
    strangers(1, || {
        let _ = strangers(count, || {
            let mut own = [0_i32; 2];
            let _ = sys!(SYS_pipe2, &mut own, 0);
            let _ = sys!(SYS_write, ready[1], &0_u8, 1);
            let _ = sys!(SYS_read, own[0], &mut 0_u8, 1);
        });
        let _ = sys!(SYS_pause);
    })?;
    (0..count).try_for_each(|_| sys!(SYS_read, ready[0], &mut 0_u8, 1).map(drop)).map_err(errno)
}

/// A child that ends at once.
fn child() -> Result<u64, i32> {
    match sys!(SYS_fork)? {
        0 => loop {
            let _ = sys!(SYS_exit_group, 0);
        },
        child => Ok(child),
    }
}

/// A process copied, ended, waited for.
pub(crate) fn fork(count: usize) -> Figure {
    elsewhere(count)?;
    times(20, || sys!(SYS_wait4, child()?, 0, 0, 0).map(drop))
}

/// A look for children that have ended, where there is one and it has not.
pub(crate) fn wait(count: usize) -> Figure {
    elsewhere(count)?;
    strangers(1, || _ = sys!(SYS_pause))?;
    times(100, || sys!(SYS_wait4, -1, 0, WNOHANG, 0).map(drop))
}

/// A signal that is ignored to a group of one process.
pub(crate) fn kill_group(count: usize) -> Figure {
    elsewhere(count)?;
    let member = sys!(SYS_fork).map_err(errno)? as i64;
    if member == 0 {
        let _ = sys!(SYS_pause);
    }
    sys!(SYS_setpgid, member, member).map_err(errno)?;
    let figure = times(100, || sys!(SYS_kill, -member, SIGURG).map(drop));
    let _ = sys!(SYS_kill, member, SIGKILL);
    figure
}

/// The load averages, read anew.
pub(crate) fn load_average(count: usize) -> Figure {
    elsewhere(count)?;
    times(20, || {
        let fd = sys!(SYS_open, c"/proc/loadavg".as_ptr(), O_RDONLY, 0)?;
        sys!(SYS_read, fd, [0_u8; 64].as_mut_ptr(), 64)?;
        sys!(SYS_close, fd).map(drop)
    })
}

/// A file opened and closed by a process that has this number open already.
pub(crate) fn open(count: usize) -> Figure {
    for _ in 0..count {
        sys!(SYS_dup, 0).map_err(errno)?;
    }
    times(100, || {
        let fd = sys!(SYS_open, c"/".as_ptr(), O_RDONLY, 0)?;
        sys!(SYS_close, fd).map(drop)
    })
}

/// Two pages mapped wherever there is room.
fn map(rights: i32) -> Result<u64, i32> {
    sys!(SYS_mmap, 0, 2 * PAGE, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
}

/// This number of regions with a page free between each two.
fn regions(count: usize) -> Result<(), String> {
    for _ in 0..count {
        let at = map(PROT_READ).map_err(errno)?;
        sys!(SYS_munmap, at + PAGE, PAGE).map_err(errno)?;
    }
    Ok(())
}

/// Two pages mapped and unmapped, for which there is no room between the others.
pub(crate) fn mapping(count: usize) -> Figure {
    regions(count)?;
    times(100, || sys!(SYS_munmap, map(PROT_READ | PROT_WRITE)?, 2 * PAGE).map(drop))
}

/// Rights taken from a page and given back.
pub(crate) fn protecting(count: usize) -> Figure {
    let at = map(PROT_READ | PROT_WRITE).map_err(errno)?;
    regions(count)?;
    times(100, || {
        sys!(SYS_mprotect, at, PAGE, PROT_READ)?;
        sys!(SYS_mprotect, at, PAGE, PROT_READ | PROT_WRITE).map(drop)
    })
}

/// A page touched that is not there.
pub(crate) fn touching(count: usize) -> Figure {
    let at = map(PROT_READ | PROT_WRITE).map_err(errno)?;
    regions(count)?;
    times(100, || {
        sys!(SYS_madvise, at, PAGE, MADV_DONTNEED)?;
        // SAFETY: the page is mapped, can be written, and nothing else is there.
        unsafe { (at as *mut u8).write_volatile(1) };
        Ok(())
    })
}
