//! Setting files' times.

use super::{AtFlags, Path, find};
use crate::calls::argument::{Fd, Pointer, UserPath};
use crate::calls::{Answer, Caller, DONE};
use crate::core::files::{Files, now};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use ::files::attributes::nanoseconds;
use ::files::{Errno, InodeId};

/// The number of nanoseconds that stands for the current time.
const UTIME_NOW: i64 = linux::UTIME_NOW as i64;

/// The number of nanoseconds that leaves a time as it is.
const UTIME_OMIT: i64 = linux::UTIME_OMIT as i64;

/// Two times: of the last access and the last change.
pub type Times = [[i64; 2]; 2];

/// `utimensat(directory, path, times, flags)`; without a path it sets the times of the descriptor's file.
pub fn utimensat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    directory: Fd,
    path: UserPath,
    times: Option<Pointer<Times>>,
    flags: AtFlags,
) -> Answer {
    let times = times.map_or(Ok([[0, UTIME_NOW]; 2]), |times| caller.read(memory, times))?;
    let valid = |nanoseconds| matches!(nanoseconds, 0..1_000_000_000 | UTIME_NOW | UTIME_OMIT);
    if times.iter().any(|[_, rest]| !valid(*rest)) {
        return Err(Errno::EINVAL);
    }
    flags.only(AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    let inode = if path.0 == 0 && directory != Fd::HERE {
        find(caller, tasks, files, directory, b"", true, true)?
    } else {
        let path = Path::read(caller, memory, path)?;
        let (follow, empty) = (!flags.contains(AtFlags::SYMLINK_NOFOLLOW), flags.contains(AtFlags::EMPTY_PATH));
        find(caller, tasks, files, directory, &path, follow, empty)?
    };
    set(files, inode, times)
}

/// `utimes(path, times)`, in microseconds
pub fn utimes(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    path: UserPath,
    times: Option<Pointer<Times>>,
) -> Answer {
    let mut both = [[0, UTIME_NOW]; 2];
    if let Some(times) = times {
        both = caller.read(memory, times)?;
        for [_, rest] in &mut both {
            *rest = if (0..1_000_000).contains(rest) { *rest * 1000 } else { return Err(Errno::EINVAL) };
        }
    }
    let path = Path::read(caller, memory, path)?;
    let inode = find(caller, tasks, files, Fd::HERE, &path, true, false)?;
    set(files, inode, both)
}

fn set(files: &mut Files, inode: InodeId, times: Times) -> Answer {
    let now = now();
    let [accessed, modified] = times.map(|[seconds, rest]| match rest {
        UTIME_NOW => Some(now),
        UTIME_OMIT => None,
        _ => Some(nanoseconds(seconds, rest as u32)),
    });
    files.tree.set_times(inode, accessed, modified, now).and(DONE)
}
