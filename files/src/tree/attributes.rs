//! The attributes of a file that `stat` and `statx` return, and the two forms of time stamps. For example,
//! [`Attributes::rdev`] of `/dev/null` is 0x103: major number 1, minor number 3.

use crate::ids::InodeId;
use crate::tree::inode::{Inode, Kind, ProcFile};

/// The major number of extensions' devices: the first that Linux gives to a module that asks for none in particular.
const EXTENSION_MAJOR: u32 = 254;

/// The file type bits of a mode; `stat` and cpio archives have equal ones.
pub mod file_type {
    use linux_raw_sys::general as linux;

    /// All the type bits.
    pub const MASK: u32 = linux::S_IFMT;
    /// A FIFO.
    pub const FIFO: u32 = linux::S_IFIFO;
    /// A character device.
    pub const CHARACTER: u32 = linux::S_IFCHR;
    /// A directory.
    pub const DIRECTORY: u32 = linux::S_IFDIR;
    /// A block device.
    pub const BLOCK: u32 = linux::S_IFBLK;
    /// A regular file.
    pub const REGULAR: u32 = linux::S_IFREG;
    /// A symbolic link.
    pub const SYMLINK: u32 = linux::S_IFLNK;
    /// A socket.
    pub const SOCKET: u32 = linux::S_IFSOCK;
}

/// The attributes of an inode at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// The inode's number.
    pub number: u64,
    /// File type and permission bits.
    pub mode: u32,
    /// The number of names, see [`Inode::links`].
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
    /// Last change of the file's contents.
    pub mtime: i64,
    /// Last change of the inode.
    pub ctime: i64,
}

impl Attributes {
    pub(crate) fn of<C>(id: InodeId, inode: &Inode<C>) -> Self {
        Attributes {
            number: id.number(),
            mode: Self::type_bits(inode) | inode.mode,
            // A file without a name counts as having one, as on Linux.
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
                | Kind::Extension(_)
                | Kind::Pipe { .. }
                | Kind::Counter(..)
                | Kind::Epoll(_)
                | Kind::Magic(..)
                | Kind::Proc(..) => 0,
            },
            device: match inode.kind {
                Kind::Device(device) => device.numbers(),
                Kind::Extension(number) => (EXTENSION_MAJOR, number),
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
            Kind::Device(_) | Kind::Extension(_) => file_type::CHARACTER,
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

    /// `st_blocks`: the size in whole pages, in units of 512 bytes.
    pub fn blocks(&self) -> u64 {
        match self.mode & file_type::MASK {
            file_type::REGULAR => self.size.div_ceil(4096).saturating_mul(8),
            _ => 0,
        }
    }

    /// Whether root may execute the file, or search the directory: a file must have at least one execute bit. Root may
    /// always read and write.
    pub fn permits_execution(&self) -> bool {
        self.mode & file_type::MASK == file_type::DIRECTORY || self.mode & 0o111 != 0
    }
}

/// The nanoseconds since 1970 of a `timespec`; times outside of the years 1677 to 2262 become the nearest one inside.
pub fn nanoseconds(seconds: i64, nanoseconds: u32) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanoseconds))
}

/// The `timespec` of nanoseconds since 1970: seconds, and nanoseconds below 1,000,000,000.
pub fn timespec(nanoseconds: i64) -> (i64, u32) {
    (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000) as u32)
}
