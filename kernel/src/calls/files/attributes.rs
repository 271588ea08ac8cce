//! Calls that read and change the attributes of files: `stat` and its kin, modes, owners, sizes.

use super::names::AT_EMPTY_PATH;
use super::structures::{Stat, StatFs, Statx};
use super::{AT_FDCWD, Path, file_size, find, opened, too_long};
use crate::calls::{Answer, Caller, DONE, place, preempt};
use crate::core::files::{Bytes, Files, now};
use crate::core::kernel::{Memory, Tasks};
use ::files::inode::Kind;
use ::files::{Errno, InodeId, OpenFlags};
use containers::{Budget, Purpose};

/// A link in the last component is not followed.
pub const AT_SYMLINK_NOFOLLOW: u64 = 0x100;

/// `fstatat` mounts nothing on its way: there is nothing to mount.
const AT_NO_AUTOMOUNT: u64 = 0x800;

/// `statx` may ask how fresh its answer is to be.
const AT_STATX_SYNC_TYPE: u64 = 0x6000;

/// `faccessat` goes by the effective user.
const AT_EACCESS: u64 = 0x200;

/// The id that tells `chown` to leave an owner as it is.
const UNCHANGED: u32 = u32::MAX;

/// Reads the path in argument 1 and finds it from the directory in argument 0, by flags.
fn target(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    flags: u64,
    allowed: u64,
) -> Result<InodeId, Errno> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | allowed) != 0 {
        return Err(Errno::EINVAL);
    }
    let (follow, empty) = (flags & AT_SYMLINK_NOFOLLOW == 0, flags & AT_EMPTY_PATH != 0);
    // With AT_EMPTY_PATH no path at all is an empty one (since Linux 6.11).
    if empty && caller.arguments[1] == 0 {
        return find(caller, tasks, files, caller.int(0), b"", follow, true);
    }
    let path = Path::read(caller, memory, caller.arguments[1])?;
    find(caller, tasks, files, caller.int(0), &path, follow, empty)
}

/// `fstatat(directory, path, stat, flags)`
pub fn fstatat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let inode = target(caller, memory, tasks, files, caller.arguments[3], AT_NO_AUTOMOUNT)?;
    caller.write(memory, caller.arguments[2], &Stat::from(files.tree.attributes(inode)?)).and(DONE)
}

/// `fstat(fd, stat)`
pub fn fstat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &Files) -> Answer {
    let inode = opened(caller, tasks, files, caller.int(0))?.file.inode;
    caller.write(memory, caller.arguments[1], &Stat::from(files.tree.attributes(inode)?)).and(DONE)
}

/// `statx(directory, path, flags, mask, statx)`
pub fn statx(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    const RESERVED: u64 = 1 << 31;
    let [_, _, flags, mask, to, _] = *caller.arguments;
    if mask & RESERVED != 0 || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE {
        return Err(Errno::EINVAL);
    }
    let inode = target(caller, memory, tasks, files, flags, AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE)?;
    caller.write(memory, to, &Statx::from(files.tree.attributes(inode)?)).and(DONE)
}

/// `faccessat2(directory, path, mode, flags)`: root may do everything except execute a file that no user may execute.
pub fn faccessat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    const EXECUTE: u64 = 1;
    let [_, _, mode, flags, ..] = *caller.arguments;
    if mode & !7 != 0 {
        return Err(Errno::EINVAL);
    }
    let inode = target(caller, memory, tasks, files, flags, AT_EACCESS)?;
    let permitted = mode & EXECUTE == 0 || files.tree.attributes(inode)?.permits_execution();
    if permitted { DONE } else { Err(Errno::EACCES) }
}

/// `fchmodat2(directory, path, mode, flags)`
pub fn fchmodat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let inode = target(caller, memory, tasks, files, caller.arguments[3], 0)?;
    if matches!(files.tree.get(inode)?.kind, Kind::Symlink(_)) {
        return Err(Errno::EOPNOTSUPP);
    }
    files.tree.set_mode(inode, caller.arguments[2] as u32, now()).and(DONE)
}

/// `fchmod(fd, mode)`
pub fn fchmod(caller: &Caller, tasks: &Tasks, files: &mut Files) -> Answer {
    let inode = open_inode(caller, tasks, files)?;
    files.tree.set_mode(inode, caller.arguments[1] as u32, now()).and(DONE)
}

/// `fchownat(directory, path, user, group, flags)`
pub fn fchownat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let [_, _, user, group, flags, _] = *caller.arguments;
    let inode = target(caller, memory, tasks, files, flags, 0)?;
    change_owner(files, inode, user as u32, group as u32)
}

/// `fchown(fd, user, group)`
pub fn fchown(caller: &Caller, tasks: &Tasks, files: &mut Files) -> Answer {
    let [_, user, group, ..] = *caller.arguments;
    let inode = open_inode(caller, tasks, files)?;
    change_owner(files, inode, user as u32, group as u32)
}

fn change_owner(files: &mut Files, inode: InodeId, user: u32, group: u32) -> Answer {
    let given = |id| Some(id).filter(|id| *id != UNCHANGED);
    files.tree.set_owner(inode, given(user), given(group), now()).and(DONE)
}

/// The inode of the descriptor in argument 0: `EBADF` if it was opened for its name only.
fn open_inode(caller: &Caller, tasks: &Tasks, files: &Files) -> Result<InodeId, Errno> {
    let file = opened(caller, tasks, files, caller.int(0))?.file;
    if file.flags.contains(OpenFlags::PATH) { Err(Errno::EBADF) } else { Ok(file.inode) }
}

/// Whether the path in argument 0 leads to a file.
pub fn path_exists(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    follow: bool,
) -> Result<(), Errno> {
    let path = Path::read(caller, memory, caller.arguments[0])?;
    find(caller, tasks, files, AT_FDCWD, &path, follow, false).map(drop)
}

/// Whether the descriptor in argument 0 is of an open file, and not only of its name.
pub fn is_open(caller: &Caller, tasks: &Tasks, files: &Files) -> Result<(), Errno> {
    open_inode(caller, tasks, files).map(drop)
}

/// `truncate(path, size)`
pub fn truncate(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    let size = u64::try_from(caller.arguments[1] as i64).map_err(|_| Errno::EINVAL)?;
    let path = Path::read(caller, memory, caller.arguments[0])?;
    let inode = find(caller, tasks, files, AT_FDCWD, &path, true, false)?;
    files.check_idle(memory, inode)?;
    resize(caller, memory, tasks, files, inode, size)
}

/// Sets a file's size: `EFBIG`
fn resize(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    inode: InodeId,
    size: u64,
) -> Answer {
    let before = files.content(inode).map_or(0, |(_, size, _)| size);
    if size > before && size > file_size(caller, tasks) {
        return Err(too_long(caller, tasks));
    }
    files.resize(memory, inode, size).and(DONE)
}

/// `ftruncate(fd, size)`
pub fn ftruncate(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    let size = u64::try_from(caller.arguments[1] as i64).map_err(|_| Errno::EINVAL)?;
    let opened = opened(caller, tasks, files, caller.int(0))?;
    match opened.bytes {
        Bytes::Nowhere => Err(Errno::EBADF),
        Bytes::Regular(_) if opened.file.flags.writable() => {
            resize(caller, memory, tasks, files, opened.file.inode, size)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `fallocate(fd, mode, offset, length)`: all pages of the range are there afterwards, so that no write to it finds the
/// file system full. `ENOSPC`
pub fn fallocate(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    const KEEP_SIZE: u64 = 1;
    let [_, mode, offset, length, ..] = *caller.arguments;
    let (Ok(offset), Ok(length)) = (u64::try_from(offset as i64), u64::try_from(length as i64)) else {
        return Err(Errno::EINVAL);
    };
    let opened = opened(caller, tasks, files, caller.int(0))?;
    if opened.bytes == Bytes::Nowhere {
        return Err(Errno::EBADF);
    }
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    if mode & !KEEP_SIZE != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if !opened.file.flags.writable() {
        return Err(Errno::EBADF);
    }
    let object = match opened.bytes {
        Bytes::Regular(object) => object,
        bytes if bytes.is_stream() => return Err(Errno::ESPIPE),
        _ => return Err(Errno::ENODEV),
    };
    let grows = mode & KEEP_SIZE == 0 && offset + length > memory.object_size(object);
    if grows && offset + length > file_size(caller, tasks) {
        return Err(too_long(caller, tasks));
    }
    if offset + length > crate::core::files::SIZE_MAX {
        return Err(Errno::EFBIG);
    }
    let range = place(tasks, caller).max(offset)..offset + length;
    let filled = memory.fill_object(object, range.clone(), &mut Budget::of_a_visit()).map_err(|_| Errno::ENOSPC)?;
    if filled < range.end {
        return preempt(tasks, caller, filled);
    }
    if grows {
        files.resize(memory, opened.file.inode, offset + length)?;
    }
    DONE
}

/// `statfs(path, statfs)`
pub fn statfs(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let path = Path::read(caller, memory, caller.arguments[0])?;
    find(caller, tasks, files, AT_FDCWD, &path, true, false)?;
    give_statfs(caller, memory, files)
}

/// `fstatfs(fd, statfs)`
pub fn fstatfs(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &Files) -> Answer {
    opened(caller, tasks, files, caller.int(0))?;
    give_statfs(caller, memory, files)
}

fn give_statfs(caller: &Caller, memory: &mut Memory, files: &Files) -> Answer {
    let about = StatFs::new(memory.account(Purpose::File), memory.available(), files.tree.places());
    caller.write(memory, caller.arguments[1], &about).and(DONE)
}
