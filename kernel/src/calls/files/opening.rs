//! Opening and closing.

use super::{AT_FDCWD, Path, resources, resources_mut, walk};
use crate::calls::{Answer, Caller, DONE, value};
use crate::files::{Files, now, proc};
use crate::kernel::{Memory, Tasks};
use ::files::{Errno, OpenFile, OpenFlags};

/// `open(path, flags, mode)`
pub fn open(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    let [path, flags, mode, ..] = caller.arguments;
    open_at(caller, memory, tasks, files, AT_FDCWD, path, flags as u32, mode as u32)
}

/// `openat(directory, path, flags, mode)`
pub fn openat(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    let [directory, path, flags, mode, ..] = caller.arguments;
    open_at(caller, memory, tasks, files, directory as i32, path, flags as u32, mode as u32)
}

/// `creat(path, mode)`
pub fn creat(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    let [path, mode, ..] = caller.arguments;
    let flags = OpenFlags::CREATE | OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE;
    open_at(caller, memory, tasks, files, AT_FDCWD, path, flags.bits(), mode as u32)
}

#[expect(clippy::too_many_arguments, reason = "the arguments of openat, and what it touches")]
fn open_at(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    directory: i32,
    path: u64,
    flags: u32,
    mode: u32,
) -> Answer {
    let path = Path::read(caller, memory, path)?;
    let flags = OpenFlags::from_bits_retain(flags);
    let resources = resources(caller, tasks)?;
    resources.descriptors.lowest_free(0)?;
    files.open.check_room()?;
    let walk = walk(caller, tasks, files, directory, &path)?;
    let mode = mode & !resources.umask & 0o7777;
    let make = || memory.make_object().map_err(|_| Errno::ENOSPC);
    let opened = files.tree.open(&walk, &path, flags, mode, now(), make)?;
    if opened.truncated
        && let Some((object, ..)) = files.content(opened.inode)
    {
        memory.resize_object(object, 0);
    }
    let written_out = match files.proc_file(opened.inode) {
        Some(file) if !flags.contains(OpenFlags::PATH) => {
            let object = proc::write_out(file, memory);
            if object.is_err() {
                let freed = files.tree.release(opened.inode);
                files.free(memory, freed);
            }
            Some(object?)
        }
        _ => None,
    };
    let file = OpenFile::new(opened.inode, flags);
    let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
    value(files.install(memory, descriptors, file, flags.contains(OpenFlags::CLOSE_ON_EXEC), written_out)?)
}

/// `close(fd)`
pub fn close(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
    files.close(memory, descriptors, caller.arguments[0] as u32)?;
    DONE
}
