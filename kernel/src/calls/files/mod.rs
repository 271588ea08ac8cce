//! Calls on files, names and descriptors.
//!
//! What they share is here: reading a path from user memory, finding where it starts, finding the
//! open file of a descriptor. Errors come in Linux's order: descriptor, flags, address.

mod attributes;
mod copying;
mod descriptors;
mod devices;
mod io;
mod listing;
mod locking;
mod names;
mod opening;
mod polling;
mod stamps;
mod structures;
mod table;
mod transfer;

pub use table::fill;

use super::{Caller, bad_address};
use crate::files::{Bytes, Files, Opened};
use crate::kernel::{Memory, Tasks};
use crate::process::Resources;
use ::files::{Errno, InodeId, PATH_MAX, Walk};
use alloc::vec::Vec;
use containers::{ProcessId, ThreadId};
use core::ops::Deref;

/// In place of a descriptor: the working directory.
pub(super) const AT_FDCWD: i32 = -100;

/// A path copied from user memory.
pub(super) struct Path {
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl Path {
    /// Reads the path at `address`: `EFAULT`, `ENAMETOOLONG`. It may be empty.
    pub(super) fn read(caller: &Caller, memory: &mut Memory, address: u64) -> Result<Path, Errno> {
        let mut path = Path { bytes: [0; PATH_MAX], length: 0 };
        let length = memory.copy_in_string(caller.space, address, &mut path.bytes).map_err(bad_address)?;
        path.length = length.ok_or(Errno::ENAMETOOLONG)?;
        Ok(path)
    }
}

impl Deref for Path {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The caller's resources.
fn resources<'a>(caller: &Caller, tasks: &'a Tasks) -> Result<&'a Resources, Errno> {
    Ok(&tasks.process(caller.process).ok_or(Errno::ESRCH)?.resources)
}

/// The same, to be changed.
fn resources_mut<'a>(caller: &Caller, tasks: &'a mut Tasks) -> Result<&'a mut Resources, Errno> {
    Ok(&mut tasks.process_mut(caller.process).ok_or(Errno::ESRCH)?.resources)
}

/// The open file of a descriptor.
fn opened(caller: &Caller, tasks: &Tasks, files: &Files, fd: i32) -> Result<Opened, Errno> {
    files.opened(&resources(caller, tasks)?.descriptors, fd)
}

/// The same for reading at `position`: a file of `/proc` is written out.
fn readable(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    opened: &mut Opened,
    position: u64,
) -> Result<(), Errno> {
    if let Bytes::Proc(file, number) = opened.bytes {
        let process = match number {
            0 => caller.process,
            _ => process_of(tasks, number).ok_or(Errno::ESRCH)?,
        };
        let object = files.written_out(memory, tasks, process, (opened.id, file), position)?;
        opened.bytes = Bytes::WrittenOut(object);
    }
    Ok(())
}

/// The process of that number, if it has not ended.
fn process_of(tasks: &Tasks, number: u32) -> Option<ProcessId> {
    match tasks.by_number(number)? {
        ThreadId::Main(process) => tasks.process(process).filter(|it| it.ended.is_none()).map(|_| process),
        ThreadId::Further(_) => None,
    }
}

/// Puts the processes that a path names by number into `/proc`: they are there only if somebody looks.
fn reveal(tasks: &Tasks, files: &mut Files, path: &[u8]) {
    /// Most of one path: what a call may allocate has a limit.
    const MOST: usize = 8;
    let numbers = path.split(|byte| *byte == b'/').filter(|name| name.first().is_some_and(u8::is_ascii_digit));
    for name in numbers.take(MOST) {
        let number = core::str::from_utf8(name).ok().and_then(|name| name.parse().ok()).unwrap_or(0);
        if let Some(process) = process_of(tasks, number).and_then(|id| tasks.process(id)) {
            // Without room for it the path leads nowhere.
            let _ = files.reveal(number, &process.resources.executable);
        }
    }
}

/// Where a path starts: at the root, in the directory of `fd`, or in the working directory.
fn walk<'a>(caller: &Caller, tasks: &'a Tasks, files: &mut Files, fd: i32, path: &[u8]) -> Result<Walk<'a>, Errno> {
    reveal(tasks, files, path);
    let resources = resources(caller, tasks)?;
    let root = files.root();
    let start = match fd {
        _ if path.first() == Some(&b'/') => root,
        AT_FDCWD => resources.directory,
        _ => files.opened(&resources.descriptors, fd)?.file.inode,
    };
    Ok(Walk { root, start, exe: &resources.executable })
}

/// The descriptor that a path stands for: in `/dev/fd` and `/proc/self/fd`, which are no directories here,
/// and the names of the first three.
fn descriptor_in(path: &[u8]) -> Option<i32> {
    match path {
        b"/dev/stdin" => return Some(0),
        b"/dev/stdout" => return Some(1),
        b"/dev/stderr" => return Some(2),
        _ => {}
    }
    let number = path.strip_prefix(b"/dev/fd/").or_else(|| path.strip_prefix(b"/proc/self/fd/"))?;
    let digits = number.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(number).ok().filter(|_| digits)?.parse().ok()
}

/// The open file behind such a path, if it is one: `ENOENT`.
fn opened_by_path(caller: &Caller, tasks: &Tasks, files: &Files, path: &[u8]) -> Result<Option<Opened>, Errno> {
    let opened = descriptor_in(path).map(|fd| opened(caller, tasks, files, fd));
    opened.transpose().map_err(|_| Errno::ENOENT)
}

/// The inode that a path leads to. With `empty` the empty path is the file of `fd` itself.
fn find(
    caller: &Caller,
    tasks: &Tasks,
    files: &mut Files,
    fd: i32,
    path: &[u8],
    follow: bool,
    empty: bool,
) -> Result<InodeId, Errno> {
    if empty && path.is_empty() {
        let resources = resources(caller, tasks)?;
        return match fd {
            AT_FDCWD => Ok(resources.directory),
            _ => Ok(files.opened(&resources.descriptors, fd)?.file.inode),
        };
    }
    if let Some(opened) = opened_by_path(caller, tasks, files, path)? {
        return Ok(opened.file.inode);
    }
    let walk = walk(caller, tasks, files, fd, path)?;
    files.tree.resolve(&walk, path, follow)
}

/// The file that `execveat` is to run, and its absolute path, which is empty if it was found by a descriptor.
pub(super) fn find_program(
    caller: &Caller,
    tasks: &Tasks,
    files: &mut Files,
    fd: i32,
    path: &[u8],
    flags: u64,
) -> Result<(InodeId, Vec<u8>), Errno> {
    const EMPTY_PATH: u64 = 0x1000;
    const NO_FOLLOW: u64 = 0x100;
    if flags & !(EMPTY_PATH | NO_FOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    if path.is_empty() || descriptor_in(path).is_some() {
        return find(caller, tasks, files, fd, path, true, flags & EMPTY_PATH != 0).map(|inode| (inode, Vec::new()));
    }
    let walk = walk(caller, tasks, files, fd, path)?;
    if flags & NO_FOLLOW != 0 && files.tree.get(files.tree.resolve(&walk, path, false)?)?.is_link() {
        return Err(Errno::ELOOP);
    }
    files.tree.locate(&walk, path)
}
