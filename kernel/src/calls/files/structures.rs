//! The structures that `stat` and its kin fill in, laid out as in Linux.

use crate::core::linux;
use ::files::attributes::{Attributes, timespec};
use ::files::{NAME_MAX, NameQuota};
use containers::PAGE_SIZE;
use containers::object::Account;
use zerocopy::{Immutable, IntoBytes};

/// The device number of the one file system: major 0, as for every file system without a disk.
const DEVICE_MINOR: u32 = 1;

/// The best unit for reads and writes of files, in bytes.
const BLOCK: u32 = 4096;

/// `struct stat`
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub struct Stat {
    device: u64,
    number: u64,
    links: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    padding: u32,
    rdev: u64,
    size: u64,
    block: u64,
    blocks: u64,
    accessed: [i64; 2],
    modified: [i64; 2],
    changed: [i64; 2],
    reserved: [u64; 3],
}

impl From<Attributes> for Stat {
    fn from(a: Attributes) -> Stat {
        let time = |nanoseconds| {
            let (seconds, rest) = timespec(nanoseconds);
            [seconds, rest.into()]
        };
        Stat {
            device: DEVICE_MINOR.into(),
            number: a.number,
            links: a.links.into(),
            mode: a.mode,
            uid: a.uid,
            gid: a.gid,
            padding: 0,
            rdev: a.rdev(),
            size: a.size,
            block: BLOCK.into(),
            blocks: a.blocks(),
            accessed: time(a.atime),
            modified: time(a.mtime),
            changed: time(a.ctime),
            reserved: [0; 3],
        }
    }
}

/// `struct statx_timestamp`
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
    reserved: i32,
}

/// `struct statx`
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub struct Statx {
    mask: u32,
    block: u32,
    attributes: u64,
    links: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    padding: u16,
    number: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    accessed: Timestamp,
    created: Timestamp,
    changed: Timestamp,
    modified: Timestamp,
    rdev: [u32; 2],
    device: [u32; 2],
    reserved: [u64; 14],
}

const _: () = assert!(size_of::<Stat>() == 144 && size_of::<Statx>() == 256 && size_of::<StatFs>() == 120);

impl From<Attributes> for Statx {
    fn from(a: Attributes) -> Statx {
        let time = |nanoseconds| {
            let (seconds, nanoseconds) = timespec(nanoseconds);
            Timestamp { seconds, nanoseconds, reserved: 0 }
        };
        Statx {
            // All fields but the time of creation, which is not kept.
            mask: linux::STATX_BASIC_STATS,
            block: BLOCK,
            attributes: 0,
            links: a.links,
            uid: a.uid,
            gid: a.gid,
            mode: a.mode as u16,
            padding: 0,
            number: a.number,
            size: a.size,
            blocks: a.blocks(),
            attributes_mask: 0,
            accessed: time(a.atime),
            created: time(0),
            changed: time(a.ctime),
            modified: time(a.mtime),
            rdev: [a.device.0, a.device.1],
            device: [0, DEVICE_MINOR],
            reserved: [0; 14],
        }
    }
}

/// `struct statfs`
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub struct StatFs {
    kind: u64,
    block: u64,
    blocks: u64,
    free: u64,
    available: u64,
    inodes: u64,
    inodes_free: u64,
    id: [u32; 2],
    name_max: u64,
    fragment: u64,
    flags: u64,
    reserved: [u64; 4],
}

impl StatFs {
    /// The description of a file system in memory whose files have these pages and whose names these places, while
    /// `free` frames are left for files.
    pub fn new(files: Account, free: usize, names: NameQuota) -> StatFs {
        StatFs {
            kind: linux::TMPFS_MAGIC.into(),
            block: PAGE_SIZE as u64,
            blocks: files.limit as u64,
            free: files.room() as u64,
            available: files.room().min(free) as u64,
            inodes: names.limit as u64,
            inodes_free: names.free() as u64,
            id: [0, DEVICE_MINOR],
            name_max: NAME_MAX as u64,
            fragment: PAGE_SIZE as u64,
            flags: 0,
            reserved: [0; 4],
        }
    }
}
