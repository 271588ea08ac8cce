//! What `stat` and `statx` tell of a file, and the time stamps' two forms.

use crate::ids::InodeId;
use crate::tree::inode::{Inode, Kind, ProcFile};

/// The file type bits of a mode, the same in `stat` and in cpio archives.
pub mod file_type {
    /// All the type bits.
    pub const MASK: u32 = 0o170_000;
    /// A FIFO.
    pub const FIFO: u32 = 0o010_000;
    /// A character device.
    pub const CHARACTER: u32 = 0o020_000;
    /// A directory.
    pub const DIRECTORY: u32 = 0o040_000;
    /// A block device.
    pub const BLOCK: u32 = 0o060_000;
    /// A regular file.
    pub const REGULAR: u32 = 0o100_000;
    /// A symbolic link.
    pub const SYMLINK: u32 = 0o120_000;
    /// A socket.
    pub const SOCKET: u32 = 0o140_000;
}

/// The attributes of an inode at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// The inode's number.
    pub number: u64,
    /// File type and permission bits.
    pub mode: u32,
    /// Names, see [`Inode::links`].
    pub links: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Bytes in a regular file or in a link's target; for a directory 20 for each entry, as in tmpfs.
    pub size: u64,
    /// Major and minor number of a device, else zeros.
    pub device: (u32, u32),
    /// Last read, in nanoseconds since 1970.
    pub atime: i64,
    /// Last change of what the file holds.
    pub mtime: i64,
    /// Last change of the inode.
    pub ctime: i64,
}

impl Attributes {
    pub(crate) fn of<C>(id: InodeId, inode: &Inode<C>) -> Self {
        Attributes {
            number: id.number(),
            mode: Self::type_bits(inode) | inode.mode,
            // What has no name counts as one, on Linux too.
            links: match inode.kind {
                Kind::Pipe { .. } | Kind::Counter(..) | Kind::Epoll(_) => 1,
                _ => inode.links,
            },
            uid: inode.uid,
            gid: inode.gid,
            size: match &inode.kind {
                Kind::Regular { size, .. } => *size,
                Kind::Directory(directory) => 20 * (directory.len() as u64 + 2),
                Kind::Symlink(to) => to.len() as u64,
                Kind::Device(_)
                | Kind::Pipe { .. }
                | Kind::Counter(..)
                | Kind::Epoll(_)
                | Kind::Magic(..)
                | Kind::Proc(..) => 0,
            },
            device: match inode.kind {
                Kind::Device(device) => device.numbers(),
                _ => (0, 0),
            },
            atime: inode.atime,
            mtime: inode.mtime,
            ctime: inode.ctime,
        }
    }

    /// The bits of [`file_type`] for an inode.
    pub(crate) fn type_bits<C>(inode: &Inode<C>) -> u32 {
        match inode.kind {
            Kind::Regular { .. } => file_type::REGULAR,
            Kind::Directory(_) => file_type::DIRECTORY,
            Kind::Symlink(_) | Kind::Magic(..) | Kind::Proc(ProcFile::SelfLink, _) => file_type::SYMLINK,
            Kind::Device(_) => file_type::CHARACTER,
            Kind::Pipe { .. } => file_type::FIFO,
            Kind::Counter(..) | Kind::Epoll(_) => 0,
            Kind::Proc(..) => file_type::REGULAR,
        }
    }

    /// `st_rdev` as `stat` encodes it.
    pub fn rdev(&self) -> u64 {
        let (major, minor) = (u64::from(self.device.0), u64::from(self.device.1));
        (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
    }

    /// `st_blocks`: the size in units of 512 bytes, whole pages.
    pub fn blocks(&self) -> u64 {
        match self.mode & file_type::MASK {
            file_type::REGULAR => self.size.div_ceil(4096).saturating_mul(8),
            _ => 0,
        }
    }

    /// Whether root may use the file so: always for reading and writing; to execute it, or search it,
    /// it must be a directory or have one execute bit at least.
    pub fn permits_execution(&self) -> bool {
        self.mode & file_type::MASK == file_type::DIRECTORY || self.mode & 0o111 != 0
    }
}

/// Nanoseconds since 1970 of a `timespec`; times beyond the years 1677 to 2262 become the nearest there.
pub fn nanoseconds(seconds: i64, nanoseconds: u32) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanoseconds))
}

/// The `timespec` of nanoseconds since 1970: seconds, and nanoseconds below a thousand million.
pub fn timespec(nanoseconds: i64) -> (i64, u32) {
    (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000) as u32)
}
