//! Calls on files, names and descriptors.
//!
//! This module has what they share: it reads a path from user memory, finds the directory at which it starts, and finds
//! the open file of a descriptor. Errors come in Linux's order: descriptor, flags, address. For example,
//! `openat(fd, "a/b", …)` with a bad `fd` and a bad flag is `EBADF`.

mod attributes;
mod buffers;
mod copying;
mod descriptors;
mod devices;
mod io;
mod listing;
mod locking;
mod names;
mod opening;
mod patience;
mod pipes;
mod polling;
mod readiness;
mod stamps;
mod structures;
mod table;
mod transfer;
mod watching;

pub use io::BYTES_MAX;
pub(super) use table::fill;

use super::argument::{self, Fd, UserPath};
use super::{Answer, Caller, bad_address, preempt_at};
use crate::core::files::{Bytes, Files, Opened, SIZE_MAX};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use crate::core::process::Resources;
use crate::core::signals::{self, SI_USER, SIGXFSZ, from_process};
use ::files::path::UNREVEALED;
use ::files::{Errno, InodeId, PATH_MAX, Walk};
use alloc::vec;
use alloc::vec::Vec;
use bitflags::bitflags;
use containers::{PhysicalMemory, Point, ProcessId};
use core::ops::Deref;

bitflags! {
    /// The flags of calls that find a file by its directory and path: how to find it, and what else to do.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct AtFlags: u32 {
        /// An empty path is the file of the descriptor itself.
        const EMPTY_PATH = linux::AT_EMPTY_PATH;
        /// A link in the last component is not followed.
        const SYMLINK_NOFOLLOW = linux::AT_SYMLINK_NOFOLLOW;
        /// `linkat` follows a link in the last component.
        const SYMLINK_FOLLOW = linux::AT_SYMLINK_FOLLOW;
        /// `unlinkat` removes a directory.
        const REMOVEDIR = linux::AT_REMOVEDIR;
        /// `faccessat` goes by the effective user.
        const EACCESS = linux::AT_EACCESS;
        /// `fstatat` mounts nothing on its way: there is nothing to mount.
        const NO_AUTOMOUNT = linux::AT_NO_AUTOMOUNT;
        /// `statx` may ask how fresh its answer is to be.
        const STATX_SYNC_TYPE = linux::AT_STATX_SYNC_TYPE;
    }
}
argument::flags!(AtFlags);

impl AtFlags {
    /// Refuses flags that a call does not have: `EINVAL`
    fn only(self, allowed: AtFlags) -> Result<(), Errno> {
        if allowed.contains(self) { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

/// A path copied from user memory. Most paths are short, and clearing and moving room for the longest would be most of
/// the work on them.
pub(super) struct Path {
    short: [u8; SHORT],
    length: usize,
    /// The path, if it is longer than `short`.
    long: Vec<u8>,
}

/// The size of most paths, NUL included, in bytes.
const SHORT: usize = 64;

impl Path {
    /// Room for a path.
    #[inline(always)]
    fn new() -> Path {
        Path { short: [0; SHORT], length: 0, long: Vec::new() }
    }

    /// Reads a path: `EFAULT`, `ENAMETOOLONG`. It may be empty.
    pub(super) fn read(caller: &Caller, memory: &mut Memory, path: UserPath) -> Result<Path, Errno> {
        let mut room = Path::new();
        room.fill(caller, memory, path)?;
        Ok(room)
    }

    /// Reads a path into existing room, which takes less time: `EFAULT`, `ENAMETOOLONG`.
    #[inline(always)]
    fn fill(&mut self, caller: &Caller, memory: &mut Memory, path: UserPath) -> Result<&[u8], Errno> {
        match memory.copy_in_string(caller.space, path.0, &mut self.short).map_err(bad_address)? {
            Some(length) => {
                self.length = length;
                Ok(&self.short[..length])
            }
            None => self.fill_long(caller, memory, path),
        }
    }

    #[cold]
    fn fill_long(&mut self, caller: &Caller, memory: &mut Memory, path: UserPath) -> Result<&[u8], Errno> {
        self.long = vec![0; PATH_MAX];
        let length = memory.copy_in_string(caller.space, path.0, &mut self.long).map_err(bad_address)?;
        self.long.truncate(length.ok_or(Errno::ENAMETOOLONG)?);
        Ok(&self.long)
    }
}

impl Deref for Path {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.long.is_empty() { &self.short[..self.length] } else { &self.long }
    }
}

/// The caller's resources.
fn resources<'a>(caller: &Caller, tasks: &'a Tasks) -> Result<&'a Resources, Errno> {
    Ok(&tasks.process(caller.process).ok_or(Errno::ESRCH)?.resources)
}

/// The caller's resources, to be changed.
fn resources_mut<'a>(caller: &Caller, tasks: &'a mut Tasks) -> Result<&'a mut Resources, Errno> {
    Ok(&mut tasks.process_mut(caller.process).ok_or(Errno::ESRCH)?.resources)
}

/// The open file of a descriptor.
pub(super) fn opened(caller: &Caller, tasks: &Tasks, files: &Files, fd: Fd) -> Result<Opened, Errno> {
    files.opened(&resources(caller, tasks)?.descriptors, fd.0)
}

/// Prepares a read at `position`: writes the text of a file of `/proc` out up to there. `Err` is the answer of a call
/// that ends here or, having moved `progress` bytes, has come to a preemption point.
fn readable(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    opened: &mut Opened,
    (position, progress): (u64, u64),
) -> Result<(), Answer> {
    if let Bytes::Proc(file, number) = opened.bytes {
        if !memory.physical.has_room_for_bookkeeping() {
            return Err(Err(Errno::ENOMEM));
        }
        let process = match number {
            0 => caller.process,
            _ => process_of(tasks, number).ok_or(Err(Errno::ESRCH))?,
        };
        opened.bytes = match files.written_out(memory, tasks, process, (opened.id, file), position) {
            Ok(Some(object)) => Bytes::WrittenOut(object),
            Ok(None) => return Err(preempt_at(tasks, caller, Point { progress, place: 0, ends_for_handlers: false })),
            Err(error) => return Err(Err(error)),
        };
    }
    Ok(())
}

/// The process with a number.
fn process_of(tasks: &Tasks, number: u32) -> Option<ProcessId> {
    tasks.by_number(number)?.process()
}

/// Puts the names of processes that a path may contain into `/proc`: the processes, by number, and their descriptors.
/// Such a name exists only once a program has looked for it. Without room for it the path leads nowhere.
#[cold]
fn reveal(caller: &Caller, tasks: &Tasks, files: &mut Files, path: &[u8]) {
    /// The most names that one path may reveal: a call may allocate only a limited amount.
    const MOST: usize = 8;
    let number = |name: &[u8]| -> Option<u32> {
        let digits = Some(name).filter(|name| name.first().is_some_and(u8::is_ascii_digit))?;
        core::str::from_utf8(digits).ok()?.parse().ok()
    };
    let is_own = |name: &[u8]| matches!(name, b"self" | b"fd" | b"cwd" | b"stdin" | b"stdout" | b"stderr");
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
    let (mut whose, mut after_fd, mut left) = (None, false, MOST);
    while left > 0
        && let Some(name) = names.next()
    {
        if !is_own(name) && number(name).is_none() {
            continue;
        }
        left -= 1;
        let fd = match name {
            b"stdin" => Some(0),
            b"stdout" => Some(1),
            b"stderr" => Some(2),
            _ if after_fd => number(name),
            _ => None,
        };
        after_fd = name == b"fd";
        whose = match name {
            _ if is_own(name) => whose.or(Some(caller.process)),
            _ if fd.is_some() => whose,
            _ => number(name).and_then(|number| process_of(tasks, number)),
        };
        let Some(id) = whose else { continue };
        let Some(resources) = tasks.process(id).map(|process| &process.resources) else { continue };
        let _ = files.reveal(id.number(), resources);
        // The names behind these do not depend on the process's working directory.
        if !names.peek().is_some_and(|next| matches!(*next, b"exe" | b"fd" | b"maps" | b"stat" | b"status")) {
            let _ = files.point_directory(id.number(), resources);
        }
        if let Some(fd) = fd {
            let _ = files.point_descriptor(id.number(), &resources.descriptors, fd);
        }
    }
}

/// Calls a function with the directory at which a path starts: the root, the directory of `fd`, or the working
/// directory. Calls it again if the path leads to names in `/proc` that are put there only now.
#[inline(always)]
fn at<T>(
    caller: &Caller,
    tasks: &Tasks,
    files: &mut Files,
    (fd, path): (Fd, &[u8]),
    mut act: impl FnMut(&mut Files, &Walk) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let root = files.root();
    let start = match fd {
        _ if path.first() == Some(&b'/') => root,
        Fd::HERE => resources(caller, tasks)?.directory,
        _ => files.opened(&resources(caller, tasks)?.descriptors, fd.0)?.file.inode,
    };
    let mut walk = Walk { root, start, own: None, revealed: false };
    loop {
        match act(files, &walk) {
            Err(UNREVEALED) if !walk.revealed => {
                reveal(caller, tasks, files, path);
                walk = Walk { own: files.revealed(caller.process.number()), revealed: true, ..walk };
            }
            done => return done,
        }
    }
}

/// The inode that a path leads to. With `empty` the empty path is the file of `fd` itself.
fn find(
    caller: &Caller,
    tasks: &Tasks,
    files: &mut Files,
    fd: Fd,
    path: &[u8],
    follow: bool,
    empty: bool,
) -> Result<InodeId, Errno> {
    if empty && path.is_empty() {
        let resources = resources(caller, tasks)?;
        return match fd {
            Fd::HERE => Ok(resources.directory),
            _ => Ok(files.opened(&resources.descriptors, fd.0)?.file.inode),
        };
    }
    at(caller, tasks, files, (fd, path), |files, walk| files.tree.resolve(walk, path, follow))
}

/// The file that `execveat` is to run, and its absolute path, which is empty if it was found by a descriptor.
pub(super) fn find_program(
    caller: &Caller,
    tasks: &Tasks,
    files: &mut Files,
    fd: Fd,
    path: &[u8],
    flags: AtFlags,
) -> Result<(InodeId, Vec<u8>), Errno> {
    flags.only(AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)?;
    if path.is_empty() {
        return find(caller, tasks, files, fd, path, true, flags.contains(AtFlags::EMPTY_PATH))
            .map(|inode| (inode, Vec::new()));
    }
    at(caller, tasks, files, (fd, path), |files, walk| {
        if flags.contains(AtFlags::SYMLINK_NOFOLLOW)
            && files.tree.get(files.tree.resolve(walk, path, false)?)?.is_link()
        {
            return Err(Errno::ELOOP);
        }
        files.tree.locate(walk, path)
    })
}

/// How many bytes a file may have when the caller makes it longer (`RLIMIT_FSIZE`).
fn file_size(caller: &Caller, tasks: &Tasks) -> u64 {
    resources(caller, tasks).map_or(0, |resources| resources.limits.longest_file())
}

/// The error for a file that would become longer than it may: `EFBIG`. Sends `SIGXFSZ` if the process's own limit is
/// the reason.
fn too_long(caller: &Caller, tasks: &mut Tasks) -> Errno {
    if file_size(caller, tasks) < SIZE_MAX {
        signals::send_to_thread(tasks, caller.thread, from_process(SIGXFSZ, SI_USER, caller.process));
    }
    Errno::EFBIG
}
