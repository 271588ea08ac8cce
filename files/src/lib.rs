//! Names, descriptors and the terminal's line discipline: the part of files that needs no hardware.
//!
//! - [`tree`] is the in-memory file system: inodes, directories, links; [`path`] finds them by name and
//!   [`namespace`] is the system calls on paths;
//! - [`open`] and [`descriptors`] are what a process holds: open files and their numbers;
//! - [`places`] bounds how many names there are, [`size`] reads how large all files together may become;
//! - [`pipe`] keeps the books of a pipe, [`event`] those of `eventfd` and `epoll`, [`locks`] those of advisory locks;
//! - [`cpio`] reads the archives that fill the tree at boot, [`unpack`] lays them over it;
//! - [`attributes`] and [`dirent`] say what `stat` and `getdents64` tell of a file;
//! - [`tty`] turns the bytes of a keyboard into what a program reads.
//!
//! The bytes of files and pipes are not here: they live in the kernel's memory objects. A regular file
//! or a pipe holds a *content* `C`, a small copyable handle that this crate stores and hands back
//! ([`tree::Freed`]) when the last name and the last open file are gone.
//!
//! Relied on: the caller serialises (nothing here is shared or locked), tells the time, and can allocate
//! 64 KiB for each call, in pieces of 32 KiB at most; no operation asks for more. Deliberately absent:
//! permission checks by owner (every program is root), mount points, and any operation that waits.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod arena;
pub mod cpio;
pub mod descriptors;
pub mod dirent;
pub mod event;
mod ids;
mod list;
pub mod locks;
mod numbers;
pub mod open;
pub mod pipe;
pub mod size;
pub mod tree;
pub mod tty;
pub mod unpack;
mod word;

pub use arena::Key;
pub use descriptors::Descriptors;
pub use event::Counter;
pub use ids::{InodeId, OpenFileId};
pub use locks::{Lock, Locks};
pub use open::{OpenFile, OpenFiles, OpenFlags};
pub use pipe::Pipe;
pub use syscalls::Errno;
pub use tree::Directory;
pub use tree::attributes::Attributes;
pub use tree::inode::{Device, Inode, Kind, ProcFile};
pub use tree::path::Walk;
pub use tree::places::Places;
pub use tree::watch::{Interest, InterestId, Source, Told, Wish};
pub use tree::{Freed, New, Tree};
pub use tree::{attributes, inode, namespace, path, places, watch};
pub use tty::Tty;

/// What the operations here return: a value, or the error number that the program sees.
pub type Result<T> = core::result::Result<T, Errno>;

/// The longest name of a directory entry, in bytes (`NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// The longest path with its terminating NUL, in bytes (`PATH_MAX`).
pub const PATH_MAX: usize = 4096;

/// The symbolic links that one path may lead through.
pub const LINKS_MAX: usize = 40;
