//! What the tree keeps of one file, whatever its kind.

use crate::event::Counter;
use crate::ids::InodeId;
use crate::pipe::Pipe;
use crate::tree::directory::Directory;
use crate::tree::watch::{Epoll, Watched};
use alloc::boxed::Box;

/// A file: its kind with what belongs to it, and what every file has.
///
/// All fields may be read; they change only through [`Tree`](crate::Tree).
pub struct Inode<C> {
    /// What it is.
    pub kind: Kind<C>,
    /// The permission bits, `0o7777`.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Names that lead here; for a directory 2 and one for each directory in it, 0 once removed.
    pub links: u32,
    /// Open files, working directories and the like that keep the inode when no name is left.
    pub holds: u32,
    /// Those of the open files that may write to it, if it has a name.
    pub writers: u32,
    /// What it takes of the bound on names, see [`places`](crate::tree::places).
    pub places: u32,
    /// Last read, in nanoseconds since 1970.
    pub atime: i64,
    /// Last change of what the file holds.
    pub mtime: i64,
    /// Last change of the inode.
    pub ctime: i64,
}

/// The kinds of file.
pub enum Kind<C> {
    /// Bytes, kept by the kernel.
    Regular {
        /// The kernel's handle of the bytes.
        content: C,
        /// How many there are.
        size: u64,
    },
    /// Names of other inodes.
    Directory(Box<Directory>),
    /// A path to go on with.
    Symlink(Box<[u8]>),
    /// A character device.
    Device(Device),
    /// A pipe. It has no name, only open files.
    Pipe {
        /// The kernel's handle of the ring.
        content: C,
        /// What is in it, and who is at its ends.
        pipe: Pipe,
        /// Who is told of events on it, if anybody ever has been.
        watched: Option<Box<Watched>>,
    },
    /// An event counter (`eventfd`), without a name as well.
    Counter(Counter, Option<Box<Watched>>),
    /// An `epoll`, likewise.
    Epoll(Box<Epoll>),
    /// A link that leads to an inode itself, whatever it is called, and what it says that it leads to: what is
    /// in `/proc/self/fd`, `/proc/self/cwd` and `/proc/self/exe`.
    Magic(InodeId, Box<[u8]>),
    /// A file whose bytes the kernel makes up when it is read, and the number of the process that it speaks
    /// of, 0 if of none.
    Proc(ProcFile, u32),
}

/// The devices there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// `/dev/null`: takes everything, gives end of file.
    Null,
    /// `/dev/zero`: gives zeros.
    Zero,
    /// `/dev/full`: gives zeros, takes nothing (`ENOSPC`).
    Full,
    /// `/dev/random`: gives random bytes.
    Random,
    /// `/dev/urandom`: gives random bytes.
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

    /// The device of these numbers, if it is one of ours.
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
    /// `/proc/mounts`.
    Mounts,
    /// `/proc/version`.
    Version,
}

impl<C> Kind<C> {
    /// Who is told of events on it, if it is a kind that can be waited for.
    pub fn watched(&self) -> Option<&Option<Box<Watched>>> {
        match self {
            Kind::Pipe { watched, .. } | Kind::Counter(_, watched) => Some(watched),
            Kind::Epoll(epoll) => Some(&epoll.watched),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn watched_mut(&mut self) -> Option<&mut Option<Box<Watched>>> {
        match self {
            Kind::Pipe { watched, .. } | Kind::Counter(_, watched) => Some(watched),
            Kind::Epoll(epoll) => Some(&mut epoll.watched),
            _ => None,
        }
    }
}

impl ProcFile {
    /// Whether path resolution goes on from here instead of stopping.
    pub fn is_link(self) -> bool {
        self == ProcFile::SelfLink
    }
}

impl<C> Inode<C> {
    /// The directory, if it is one.
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
