//! Setting files' times.

use super::attributes::AT_SYMLINK_NOFOLLOW;
use super::names::AT_EMPTY_PATH;
use super::{AT_FDCWD, Path, find};
use crate::calls::{Answer, Caller, DONE};
use crate::core::files::{Files, now};
use crate::core::kernel::{Memory, Tasks};
use ::files::attributes::nanoseconds;
use ::files::{Errno, InodeId};

/// The number of nanoseconds that stands for the current time.
const UTIME_NOW: i64 = 0x3fff_ffff;

/// The number of nanoseconds that leaves a time as it is.
const UTIME_OMIT: i64 = 0x3fff_fffe;

/// `utimensat(directory, path, times, flags)`; without a path it sets the times of the descriptor's file.
pub fn utimensat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let [_, path, times, flags, ..] = *caller.arguments;
    let times = match times {
        0 => [[0, UTIME_NOW]; 2],
        _ => caller.read::<[[i64; 2]; 2]>(memory, times)?,
    };
    let valid = |nanoseconds| matches!(nanoseconds, 0..1_000_000_000 | UTIME_NOW | UTIME_OMIT);
    if times.iter().any(|[_, rest]| !valid(*rest)) {
        return Err(Errno::EINVAL);
    }
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let inode = if path == 0 && caller.int(0) != AT_FDCWD {
        find(caller, tasks, files, caller.int(0), b"", true, true)?
    } else {
        let path = Path::read(caller, memory, path)?;
        let (follow, empty) = (flags & AT_SYMLINK_NOFOLLOW == 0, flags & AT_EMPTY_PATH != 0);
        find(caller, tasks, files, caller.int(0), &path, follow, empty)?
    };
    set(files, inode, times)
}

/// `utimes(path, times)`, in microseconds
pub fn utimes(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let [path, times, ..] = *caller.arguments;
    let mut both = [[0, UTIME_NOW]; 2];
    if times != 0 {
        both = caller.read::<[[i64; 2]; 2]>(memory, times)?;
        for [_, rest] in &mut both {
            *rest = if (0..1_000_000).contains(rest) { *rest * 1000 } else { return Err(Errno::EINVAL) };
        }
    }
    let path = Path::read(caller, memory, path)?;
    let inode = find(caller, tasks, files, AT_FDCWD, &path, true, false)?;
    set(files, inode, both)
}

fn set(files: &mut Files, inode: InodeId, times: [[i64; 2]; 2]) -> Answer {
    let now = now();
    let [accessed, modified] = times.map(|[seconds, rest]| match rest {
        UTIME_NOW => Some(now),
        UTIME_OMIT => None,
        _ => Some(nanoseconds(seconds, rest as u32)),
    });
    files.tree.set_times(inode, accessed, modified, now).and(DONE)
}
