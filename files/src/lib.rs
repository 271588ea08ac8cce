//! Names, descriptors and the terminal's line discipline: the part of files that needs no hardware.
//!
//! - [`tree`] is the in-memory file system: inodes, directories, links; [`path`] finds inodes by path and [`namespace`]
//!   implements the system calls on paths;
//! - [`open`] and [`descriptors`] are what a process holds: open files and their numbers;
//! - [`quota`] limits the number of names, [`size`] reads the size that all files together may reach;
//! - [`pipe`] keeps the state of a pipe, [`event`] that of an `eventfd`, [`watch`] that of an `epoll`, [`locks`] the
//!   advisory locks;
//! - [`cpio`] reads the archives that fill the tree at boot, [`unpack`] writes them into it;
//! - [`attributes`] and [`dirent`] are what `stat` and `getdents64` return;
//! - [`tty`] turns the bytes of a keyboard into the input of a program.
//!
//! The bytes of files and pipes are not here: they are in memory objects of the kernel. A regular file or a pipe holds
//! a *content* `C`, a small copyable handle that this crate stores and returns ([`tree::Freed`]) when the last name and
//! the last open file are gone. For example, `rm` of a file that is still open removes the name; the content comes back
//! when the file is closed, and the kernel releases the memory object.
//!
//! The crate relies on its caller: the caller serialises all calls, passes the time, and makes sure that each call can
//! allocate 64 KiB in pieces of at most 32 KiB; no operation needs more. Deliberately absent: permission checks by
//! owner (every program is root), mount points, and any operation that waits.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bitmap;
pub mod cpio;
pub mod descriptors;
pub mod dirent;
pub mod event;
mod ids;
mod list;
pub mod locks;
pub mod open;
pub mod pipe;
pub mod size;
mod slot_map;
pub mod tree;
pub mod tty;
pub mod unpack;
mod word;

pub use descriptors::Descriptors;
pub use event::Counter;
pub use ids::{InodeId, OpenFileId};
pub use locks::{Lock, Locks};
pub use open::{OpenFile, OpenFiles, OpenFlags};
pub use pipe::Pipe;
pub use slot_map::Key;
pub use syscalls::Errno;
pub use tree::Directory;
pub use tree::attributes::Attributes;
pub use tree::inode::{Device, Inode, Kind, ProcFile};
pub use tree::path::Walk;
pub use tree::quota::NameQuota;
pub use tree::watch::{Interest, InterestId, Source, Subscription, Waiters};
pub use tree::{Freed, New, Tree};
pub use tree::{attributes, inode, namespace, path, quota, watch};
pub use tty::Tty;

/// The result of an operation: a value, or the error number that the program sees.
pub type Result<T> = core::result::Result<T, Errno>;

/// The longest name of a directory entry, in bytes (`NAME_MAX`).
pub const NAME_MAX: usize = linux_raw_sys::general::NAME_MAX as usize;

/// The longest path with its terminating NUL, in bytes (`PATH_MAX`).
pub const PATH_MAX: usize = linux_raw_sys::general::PATH_MAX as usize;

/// The greatest number of symbolic links that a path may lead through.
pub const LINKS_MAX: usize = 40;
