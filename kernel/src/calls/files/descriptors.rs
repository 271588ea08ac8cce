//! Descriptors: duplicating them, and reading and changing their flags and those of their open files.

use super::{locking, opened, resources, resources_mut};
use crate::calls::{Answer, Caller, DONE, value};
use crate::core::files::{Bytes, Files};
use crate::core::kernel::{Memory, Tasks};
use ::files::pipe::{ATOMIC, CAPACITY_MAX};
use ::files::{Errno, InodeId, OpenFlags};
use containers::ObjectId;
use syscalls::Sysno;

/// `O_LARGEFILE`: every file is one.
const LARGE_FILE: u32 = 0o100_000;

/// `dup(fd)`
pub fn dup(caller: &Caller, tasks: &mut Tasks, files: &mut Files) -> Answer {
    let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
    value(descriptors.duplicate(caller.arguments[0] as u32, 0, false, &mut files.open)?)
}

/// `dup2(fd, new)`, `dup3(fd, new, flags)`
pub fn dup2(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    let [fd, new, flags, ..] = caller.arguments.map(|argument| argument as u32);
    let is_older = caller.number == Sysno::dup2 as u64;
    let flags = OpenFlags::from_bits_retain(if is_older { 0 } else { flags });
    if !(flags - OpenFlags::CLOSE_ON_EXEC).is_empty() {
        return Err(Errno::EINVAL);
    }
    if is_older && fd == new {
        resources(caller, tasks)?.descriptors.get(fd)?;
        return value(fd);
    }
    let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
    if let Some(old) = descriptors.duplicate_to(fd, new, !flags.is_empty(), &mut files.open)? {
        files.release(memory, caller.process, old).tell(tasks, files);
    }
    value(new)
}

/// `fcntl(fd, command, argument)`
pub fn fcntl(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    const CLOSE_ON_EXEC: u64 = 1;
    let (fd, argument) = (caller.arguments[0] as u32, caller.arguments[2]);
    let opened = opened(caller, tasks, files, caller.int(0))?;
    let command = caller.int(1);
    // A descriptor opened for its name only (O_PATH) allows no other command.
    if opened.file.flags.contains(OpenFlags::PATH) && !matches!(command, 0 | 1 | 2 | 3 | 1030) {
        return Err(Errno::EBADF);
    }
    let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
    match command {
        // F_DUPFD, F_DUPFD_CLOEXEC
        0 | 1030 => value(descriptors.duplicate(fd, argument as u32, command == 1030, &mut files.open)?),
        // F_GETFD, F_SETFD
        1 => value(u64::from(descriptors.close_on_exec(fd)?)),
        2 => descriptors.set_close_on_exec(fd, argument & CLOSE_ON_EXEC != 0, &mut files.open).and(DONE),
        // F_GETFL, F_SETFL
        3 => value(opened.file.flags.bits() | LARGE_FILE),
        4 => {
            files.open.get_mut(opened.id)?.set_status(OpenFlags::from_bits_retain(argument as u32));
            DONE
        }
        5..=7 | 36..=38 => locking::fcntl(caller, memory, tasks, files, &opened),
        // F_SETOWN, F_GETOWN, F_GETSIG: SIGIO is never sent.
        8 | 9 | 11 => DONE,
        // F_GETOWN_EX: kind and id of the owner; there is none.
        16 => caller.write(memory, argument, &[0_u32; 2]).and(DONE),
        // F_GETLEASE: there is no lease, which is F_UNLCK.
        1025 => value(2_u64),
        // F_SETPIPE_SZ, F_GETPIPE_SZ
        1031 => match opened.bytes {
            Bytes::Pipe(ring) => resize_pipe(memory, tasks, files, (opened.file.inode, ring), argument as u32),
            _ => Err(Errno::EBADF),
        },
        1032 => value(files.pipe(&opened).ok_or(Errno::EBADF)?.capacity()),
        _ => Err(Errno::EINVAL),
    }
}

/// Makes a pipe hold at least a number of bytes: `EINVAL` and `EPERM` for too many, `EBUSY` if its contents would have
/// to be moved.
fn resize_pipe(
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    (inode, ring): (InodeId, ObjectId),
    bytes: u32,
) -> Answer {
    let capacity = bytes.max(ATOMIC).checked_next_power_of_two().ok_or(Errno::EINVAL)?;
    if capacity > CAPACITY_MAX {
        return Err(Errno::EPERM);
    }
    let before = *files.tree.pipe(inode)?;
    if !files.tree.pipe_mut(inode)?.resize(capacity) {
        return Err(Errno::EBUSY);
    }
    if capacity < before.capacity() {
        memory.resize_object(ring, capacity.into());
    }
    files.news(inode, Some(before)).tell(tasks, files);
    value(capacity)
}

/// `fsync`, `fdatasync`: memory is all there is.
pub fn sync(caller: &Caller, tasks: &Tasks, files: &Files) -> Answer {
    match opened(caller, tasks, files, caller.int(0))?.bytes {
        Bytes::Nowhere => Err(Errno::EBADF),
        Bytes::Regular(_) | Bytes::Directory => DONE,
        _ => Err(Errno::EINVAL),
    }
}

/// `fadvise64(fd, offset, length, advice)`: memory is all there is, so this only checks the arguments.
pub fn advise(caller: &Caller, tasks: &Tasks, files: &Files) -> Answer {
    /// `POSIX_FADV_NOREUSE`, the last one.
    const NO_REUSE: u64 = 5;
    let [_, _, length, advice, ..] = *caller.arguments;
    match opened(caller, tasks, files, caller.int(0))?.bytes {
        Bytes::Nowhere => Err(Errno::EBADF),
        Bytes::Pipe(_) => Err(Errno::ESPIPE),
        _ if (length as i64) < 0 || advice > NO_REUSE => Err(Errno::EINVAL),
        _ => DONE,
    }
}

/// `umask(mask)`
pub fn umask(caller: &Caller, tasks: &mut Tasks) -> Answer {
    let umask = &mut resources_mut(caller, tasks)?.umask;
    value(core::mem::replace(umask, caller.arguments[0] as u32 & 0o777))
}
