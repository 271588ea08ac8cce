//! What files are: `stat` and its kin.

use super::opened;
use crate::calls::{Answer, Caller, DONE};
use crate::files::Files;
use crate::kernel::{Memory, Tasks};
use ::files::attributes::{Attributes, timespec};
use zerocopy::{Immutable, IntoBytes};

/// Number of the one file system, as a device.
const DEVICE: u64 = 1;

/// The unit in which files are best read and written.
const BLOCK: u32 = 4096;

/// `struct stat`
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Stat {
    device: u64,
    number: u64,
    links: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    _pad: u32,
    rdev: u64,
    size: u64,
    block: u64,
    blocks: u64,
    accessed: [i64; 2],
    modified: [i64; 2],
    changed: [i64; 2],
    _unused: [u64; 3],
}

impl From<Attributes> for Stat {
    fn from(a: Attributes) -> Stat {
        let time = |nanoseconds| {
            let (seconds, rest) = timespec(nanoseconds);
            [seconds, rest.into()]
        };
        Stat {
            device: DEVICE,
            number: a.number,
            links: a.links.into(),
            mode: a.mode,
            uid: a.uid,
            gid: a.gid,
            _pad: 0,
            rdev: a.rdev(),
            size: a.size,
            block: BLOCK.into(),
            blocks: a.blocks(),
            accessed: time(a.atime),
            modified: time(a.mtime),
            changed: time(a.ctime),
            _unused: [0; 3],
        }
    }
}

/// `fstat(fd, stat)`
pub fn fstat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &Files) -> Answer {
    let inode = opened(caller, tasks, files, caller.int(0))?.file.inode;
    caller.write(memory, caller.arguments[1], &Stat::from(files.tree.attributes(inode)?))?;
    DONE
}
