//! Inodes: what the tree keeps of a file, of whatever kind. For example, a pipe is an [`Inode`] of [`Kind::Pipe`] with
//! no name (`links` is 0) and two holds, one for each end.

use crate::event::Counter;
use crate::ids::InodeId;
use crate::pipe::Pipe;
use crate::tree::directory::Directory;
use crate::tree::watch::{Epoll, Watchers};
use alloc::boxed::Box;

/// A file: its kind with the data of that kind, and what every file has.
///
/// All fields may be read; they change only through [`Tree`](crate::Tree).
pub struct Inode<C> {
    /// The kind of file.
    pub kind: Kind<C>,
    /// The permission bits, `0o7777`.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The number of names that lead here; for a directory 2 and one for each directory in it, 0 once removed.
    pub links: u32,
    /// The number of open files, working directories and the like that keep the inode when no name is left.
    pub holds: u32,
    /// The number of open files that may write to it, if it has a name.
    pub writers: u32,
    /// The units that it takes of the quota of names, see [`quota`](crate::tree::quota).
    pub quota_units: u32,
    /// Last read, in nanoseconds since 1970.
    pub atime: i64,
    /// Last change of the file's contents.
    pub mtime: i64,
    /// Last change of the inode.
    pub ctime: i64,
}

/// The kinds of file.
pub enum Kind<C> {
    /// A regular file, whose bytes the kernel keeps.
    Regular {
        /// The kernel's handle of the bytes.
        content: C,
        /// The number of bytes.
        size: u64,
    },
    /// A directory.
    Directory(Box<Directory>),
    /// A symbolic link to this path.
    Symlink(Box<[u8]>),
    /// A character device.
    Device(Device),
    /// A character device of an extension of the kernel, by the number that the kernel has given it.
    Extension(u32),
    /// A pipe. It has no name, only open files.
    Pipe {
        /// The kernel's handle of the ring.
        content: C,
        /// The state of the ring, and of its ends.
        pipe: Pipe,
        /// The watchers, if it has ever had any.
        watchers: Option<Box<Watchers>>,
    },
    /// An event counter (`eventfd`) and its watchers. It has no name, only open files.
    Counter(Counter, Option<Box<Watchers>>),
    /// An `epoll`. It has no name, only open files.
    Epoll(Box<Epoll>),
    /// A link that leads to an inode itself, whatever its name is, and the text that `readlink` returns: the links in
    /// `/proc/self/fd`, `/proc/self/cwd` and `/proc/self/exe`.
    Magic(InodeId, Box<[u8]>),
    /// A file whose bytes the kernel makes when it is read, and the number of the process that it describes, or 0.
    Proc(ProcFile, u32),
}

/// The devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// `/dev/null`: discards what is written; a read is at the end of file.
    Null,
    /// `/dev/zero`: a read returns zeros.
    Zero,
    /// `/dev/full`: a read returns zeros, a write fails (`ENOSPC`).
    Full,
    /// `/dev/random`: a read returns random bytes.
    Random,
    /// `/dev/urandom`: a read returns random bytes.
    Urandom,
    /// `/dev/tty`: the terminal.
    Tty,
    /// `/dev/console`: the terminal.
    Console,
}

impl Device {
    /// Every device, with its name in `/dev`.
    pub const ALL: [(&'static str, Device); 7] = [
        ("null", Device::Null),
        ("zero", Device::Zero),
        ("full", Device::Full),
        ("random", Device::Random),
        ("urandom", Device::Urandom),
        ("tty", Device::Tty),
        ("console", Device::Console),
    ];

    /// Major and minor number, those of Linux.
    pub fn numbers(self) -> (u32, u32) {
        match self {
            Device::Null => (1, 3),
            Device::Zero => (1, 5),
            Device::Full => (1, 7),
            Device::Random => (1, 8),
            Device::Urandom => (1, 9),
            Device::Tty => (5, 0),
            Device::Console => (5, 1),
        }
    }

    /// The device with these numbers, if there is one.
    pub fn from_numbers(major: u32, minor: u32) -> Option<Device> {
        let all = Device::ALL.into_iter().map(|(_, device)| device);
        all.into_iter().find(|device| device.numbers() == (major, minor))
    }
}

/// The files of `/proc`. Those that begin with `Self` are in a process's directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcFile {
    /// `/proc/self`: a symbolic link to the caller's directory; see [`Walk::own`](crate::Walk::own).
    SelfLink,
    /// `/proc/self/maps`.
    SelfMaps,
    /// `/proc/self/stat`.
    SelfStat,
    /// `/proc/self/status`.
    SelfStatus,
    /// `/proc/self/cmdline`.
    SelfCmdline,
    /// `/proc/self/comm`.
    SelfComm,
    /// `/proc/cpuinfo`.
    Cpuinfo,
    /// `/proc/meminfo`.
    Meminfo,
    /// `/proc/stat`.
    Stat,
    /// `/proc/uptime`.
    Uptime,
    /// `/proc/loadavg`.
    Loadavg,
    /// `/proc/modules`.
    Modules,
    /// `/proc/mounts`.
    Mounts,
    /// `/proc/version`.
    Version,
    /// A text of an extension of the kernel, by the number that the kernel has given it.
    Extension(u32),
}

impl<C> Kind<C> {
    /// The watchers, if the kind of file has any.
    pub fn watchers(&self) -> Option<&Option<Box<Watchers>>> {
        match self {
            Kind::Pipe { watchers, .. } | Kind::Counter(_, watchers) => Some(watchers),
            Kind::Epoll(epoll) => Some(&epoll.watchers),
            _ => None,
        }
    }

    /// The watchers, to be changed, if the kind of file has any.
    pub(crate) fn watchers_mut(&mut self) -> Option<&mut Option<Box<Watchers>>> {
        match self {
            Kind::Pipe { watchers, .. } | Kind::Counter(_, watchers) => Some(watchers),
            Kind::Epoll(epoll) => Some(&mut epoll.watchers),
            _ => None,
        }
    }
}

impl ProcFile {
    /// Whether it is a symbolic link, so that path resolution continues at its target.
    pub fn is_link(self) -> bool {
        self == ProcFile::SelfLink
    }
}

impl<C> Inode<C> {
    /// The directory, if the inode is one.
    pub fn directory(&self) -> Option<&Directory> {
        match &self.kind {
            Kind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// Whether it is a symbolic link, `/proc/self` included.
    pub fn is_link(&self) -> bool {
        match self.kind {
            Kind::Symlink(_) | Kind::Magic(..) => true,
            Kind::Proc(file, _) => file.is_link(),
            _ => false,
        }
    }

    pub(crate) fn directory_mut(&mut self) -> Option<&mut Directory> {
        match &mut self.kind {
            Kind::Directory(directory) => Some(directory),
            _ => None,
        }
    }
}
