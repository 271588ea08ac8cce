//! Descriptors: duplicating them, and reading and changing their flags and those of their open files.

use super::{locking, opened, resources, resources_mut};
use crate::calls::argument::{Fd, Pointer};
use crate::calls::{Answer, Caller, DONE, value};
use crate::core::files::{Bytes, Files};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use ::files::pipe::{ATOMIC, CAPACITY_MAX};
use ::files::{Errno, InodeId, OpenFlags};
use containers::ObjectId;

/// `dup(fd)`
pub fn dup(caller: &Caller, tasks: &mut Tasks, files: &mut Files, fd: Fd) -> Answer {
    let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
    value(descriptors.duplicate(fd.index(), 0, false, &mut files.open)?)
}

/// `dup2(fd, new)`
pub fn dup2(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files, fd: Fd, new: Fd) -> Answer {
    if fd == new {
        resources(caller, tasks)?.descriptors.get(fd.index())?;
        return value(fd.index());
    }
    dup3(caller, memory, tasks, files, fd, new, OpenFlags::empty())
}

/// `dup3(fd, new, flags)`
pub fn dup3(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    fd: Fd,
    new: Fd,
    flags: OpenFlags,
) -> Answer {
    if !(flags - OpenFlags::CLOSE_ON_EXEC).is_empty() {
        return Err(Errno::EINVAL);
    }
    let (fd, new) = (fd.index(), new.index());
    let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
    if let Some(old) = descriptors.duplicate_to(fd, new, !flags.is_empty(), &mut files.open)? {
        files.release(memory, caller.process, old).notify(tasks, files);
    }
    value(new)
}

/// `fcntl(fd, command, argument)`
pub fn fcntl(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    fd: Fd,
    command: u32,
    argument: u64,
) -> Answer {
    let opened = opened(caller, tasks, files, fd)?;
    let of_descriptor =
        matches!(command, linux::F_DUPFD | linux::F_DUPFD_CLOEXEC | linux::F_GETFD | linux::F_SETFD | linux::F_GETFL);
    // A descriptor opened for its name only (O_PATH) allows no other command.
    if opened.file.flags.contains(OpenFlags::PATH) && !of_descriptor {
        return Err(Errno::EBADF);
    }
    let fd = fd.index();
    let descriptors = &mut resources_mut(caller, tasks)?.descriptors;
    match command {
        linux::F_DUPFD | linux::F_DUPFD_CLOEXEC => {
            let close_on_exec = command == linux::F_DUPFD_CLOEXEC;
            value(descriptors.duplicate(fd, argument as u32, close_on_exec, &mut files.open)?)
        }
        linux::F_GETFD => value(u64::from(descriptors.close_on_exec(fd)?)),
        linux::F_SETFD => {
            let close_on_exec = argument as u32 & linux::FD_CLOEXEC != 0;
            descriptors.set_close_on_exec(fd, close_on_exec, &mut files.open).and(DONE)
        }
        // Every file may be large.
        linux::F_GETFL => value(opened.file.flags.bits() | linux::O_LARGEFILE),
        linux::F_SETFL => {
            files.open.get_mut(opened.id)?.set_status(OpenFlags::from_bits_retain(argument as u32));
            DONE
        }
        linux::F_GETLK
        | linux::F_SETLK
        | linux::F_SETLKW
        | linux::F_OFD_GETLK
        | linux::F_OFD_SETLK
        | linux::F_OFD_SETLKW => locking::fcntl(caller, memory, tasks, files, &opened, command, Pointer::to(argument)),
        // SIGIO is never sent.
        linux::F_SETOWN | linux::F_GETOWN | linux::F_GETSIG => DONE,
        // Kind and id of the owner; there is none.
        linux::F_GETOWN_EX => caller.write(memory, Pointer::to(argument), &[0_u32; 2]).and(DONE),
        // There is no lease.
        linux::F_GETLEASE => value(linux::F_UNLCK),
        linux::F_SETPIPE_SZ => match opened.bytes {
            Bytes::Pipe(ring) => resize_pipe(memory, tasks, files, (opened.file.inode, ring), argument as u32),
            _ => Err(Errno::EBADF),
        },
        linux::F_GETPIPE_SZ => value(files.pipe(&opened).ok_or(Errno::EBADF)?.capacity()),
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
    files.pipe_events(inode, Some(before)).notify(tasks, files);
    value(capacity)
}

/// `fsync`, `fdatasync`: memory is all there is.
pub fn sync(caller: &Caller, tasks: &Tasks, files: &Files, fd: Fd) -> Answer {
    match opened(caller, tasks, files, fd)?.bytes {
        Bytes::Nowhere => Err(Errno::EBADF),
        Bytes::Regular(_) | Bytes::Directory => DONE,
        _ => Err(Errno::EINVAL),
    }
}

/// `sync()`: memory is all there is.
pub fn sync_all(_: &Caller) -> Answer {
    DONE
}

/// `fadvise64(fd, offset, length, advice)`: memory is all there is, so this only checks the arguments.
pub fn advise(caller: &Caller, tasks: &Tasks, files: &Files, fd: Fd, length: i64, advice: u32) -> Answer {
    match opened(caller, tasks, files, fd)?.bytes {
        Bytes::Nowhere => Err(Errno::EBADF),
        Bytes::Pipe(_) => Err(Errno::ESPIPE),
        _ if length < 0 || advice > linux::POSIX_FADV_NOREUSE => Err(Errno::EINVAL),
        _ => DONE,
    }
}

/// `umask(mask)`
pub fn umask(caller: &Caller, tasks: &mut Tasks, mask: u32) -> Answer {
    let umask = &mut resources_mut(caller, tasks)?.umask;
    value(core::mem::replace(umask, mask & 0o777))
}
