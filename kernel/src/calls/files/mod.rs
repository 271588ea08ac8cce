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
use core::ops::Deref;

/// In place of a descriptor: the working directory.
const AT_FDCWD: i32 = -100;

/// A path copied from user memory.
struct Path {
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl Path {
    /// Reads the path at `address`: `EFAULT`, `ENAMETOOLONG`. It may be empty.
    fn read(caller: &Caller, memory: &mut Memory, address: u64) -> Result<Path, Errno> {
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
    if let Bytes::Proc(file) = opened.bytes {
        let object = files.written_out(memory, tasks, caller.process, (opened.id, file), position)?;
        opened.bytes = Bytes::WrittenOut(object);
    }
    Ok(())
}

/// Where a path starts: at the root, in the directory of `fd`, or in the working directory.
fn walk<'a>(caller: &Caller, tasks: &'a Tasks, files: &Files, fd: i32, path: &[u8]) -> Result<Walk<'a>, Errno> {
    let resources = resources(caller, tasks)?;
    let root = files.root();
    let start = match fd {
        _ if path.first() == Some(&b'/') => root,
        AT_FDCWD => resources.directory,
        _ => files.opened(&resources.descriptors, fd)?.file.inode,
    };
    Ok(Walk { root, start, exe: &resources.executable })
}

/// The inode that a path leads to. With `empty` the empty path is the file of `fd` itself.
fn find(
    caller: &Caller,
    tasks: &Tasks,
    files: &Files,
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
    files.tree.resolve(&walk(caller, tasks, files, fd, path)?, path, follow)
}
