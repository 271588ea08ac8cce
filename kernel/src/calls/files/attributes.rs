//! Calls that read and change the attributes of files: `stat` and its kin, modes, owners, sizes.

use super::structures::{Stat, StatFs, Statx};
use super::{AtFlags, Path, file_size, find, opened, too_long};
use crate::calls::argument::{Fd, Pointer, UserPath};
use crate::calls::{Answer, Caller, DONE, place, preempt};
use crate::core::files::{Bytes, Files, now};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use ::files::inode::Kind;
use ::files::{Errno, InodeId, OpenFlags};
use containers::{Budget, Purpose};

/// The id that tells `chown` to leave an owner as it is.
const UNCHANGED: u32 = u32::MAX;

/// Reads a path and finds it from a directory, by flags.
fn target(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    (directory, path): (Fd, UserPath),
    flags: AtFlags,
    allowed: AtFlags,
) -> Result<InodeId, Errno> {
    flags.only(AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH | allowed)?;
    let (follow, empty) = (!flags.contains(AtFlags::SYMLINK_NOFOLLOW), flags.contains(AtFlags::EMPTY_PATH));
    // With AT_EMPTY_PATH no path at all is an empty one (since Linux 6.11).
    if empty && path.0 == 0 {
        return find(caller, tasks, files, directory, b"", follow, true);
    }
    let path = Path::read(caller, memory, path)?;
    find(caller, tasks, files, directory, &path, follow, empty)
}

/// `fstatat(directory, path, stat, flags)`
pub fn fstatat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    directory: Fd,
    path: UserPath,
    stat: Pointer<Stat>,
    flags: AtFlags,
) -> Answer {
    let inode = target(caller, memory, tasks, files, (directory, path), flags, AtFlags::NO_AUTOMOUNT)?;
    caller.write(memory, stat, &Stat::from(files.tree.attributes(inode)?)).and(DONE)
}

/// `fstat(fd, stat)`
pub fn fstat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &Files,
    fd: Fd,
    stat: Pointer<Stat>,
) -> Answer {
    let inode = opened(caller, tasks, files, fd)?.file.inode;
    caller.write(memory, stat, &Stat::from(files.tree.attributes(inode)?)).and(DONE)
}

/// `statx(directory, path, flags, mask, statx)`
pub fn statx(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    directory: Fd,
    path: UserPath,
    flags: AtFlags,
    mask: u32,
    statx: Pointer<Statx>,
) -> Answer {
    if mask & linux::STATX__RESERVED != 0 || flags.contains(AtFlags::STATX_SYNC_TYPE) {
        return Err(Errno::EINVAL);
    }
    let inode = target(
        caller,
        memory,
        tasks,
        files,
        (directory, path),
        flags,
        AtFlags::NO_AUTOMOUNT | AtFlags::STATX_SYNC_TYPE,
    )?;
    caller.write(memory, statx, &Statx::from(files.tree.attributes(inode)?)).and(DONE)
}

/// `faccessat2(directory, path, mode, flags)`: root may do everything except execute a file that no user may execute.
pub fn faccessat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    directory: Fd,
    path: UserPath,
    mode: u32,
    flags: AtFlags,
) -> Answer {
    if mode & !(linux::R_OK | linux::W_OK | linux::X_OK) != 0 {
        return Err(Errno::EINVAL);
    }
    let inode = target(caller, memory, tasks, files, (directory, path), flags, AtFlags::EACCESS)?;
    let permitted = mode & linux::X_OK == 0 || files.tree.attributes(inode)?.permits_execution();
    if permitted { DONE } else { Err(Errno::EACCES) }
}

/// `fchmodat2(directory, path, mode, flags)`
pub fn fchmodat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    directory: Fd,
    path: UserPath,
    mode: u32,
    flags: AtFlags,
) -> Answer {
    let inode = target(caller, memory, tasks, files, (directory, path), flags, AtFlags::empty())?;
    if matches!(files.tree.get(inode)?.kind, Kind::Symlink(_)) {
        return Err(Errno::EOPNOTSUPP);
    }
    files.tree.set_mode(inode, mode, now()).and(DONE)
}

/// `fchmod(fd, mode)`
pub fn fchmod(caller: &Caller, tasks: &Tasks, files: &mut Files, fd: Fd, mode: u32) -> Answer {
    let inode = open_inode(caller, tasks, files, fd)?;
    files.tree.set_mode(inode, mode, now()).and(DONE)
}

/// `fchownat(directory, path, user, group, flags)`
pub fn fchownat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    directory: Fd,
    path: UserPath,
    user: u32,
    group: u32,
    flags: AtFlags,
) -> Answer {
    let inode = target(caller, memory, tasks, files, (directory, path), flags, AtFlags::empty())?;
    change_owner(files, inode, user, group)
}

/// `fchown(fd, user, group)`
pub fn fchown(caller: &Caller, tasks: &Tasks, files: &mut Files, fd: Fd, user: u32, group: u32) -> Answer {
    let inode = open_inode(caller, tasks, files, fd)?;
    change_owner(files, inode, user, group)
}

fn change_owner(files: &mut Files, inode: InodeId, user: u32, group: u32) -> Answer {
    let given = |id| Some(id).filter(|id| *id != UNCHANGED);
    files.tree.set_owner(inode, given(user), given(group), now()).and(DONE)
}

/// The inode of a descriptor: `EBADF` if it was opened for its name only.
fn open_inode(caller: &Caller, tasks: &Tasks, files: &Files, fd: Fd) -> Result<InodeId, Errno> {
    let file = opened(caller, tasks, files, fd)?.file;
    if file.flags.contains(OpenFlags::PATH) { Err(Errno::EBADF) } else { Ok(file.inode) }
}

/// The answer to calls that ask for an extended attribute: there are none, as on a file system without them.
const NO_ATTRIBUTES: Answer = Err(Errno::EOPNOTSUPP);

/// `getxattr(path, …)` and its kin; with `follow` a link in the last component is followed.
pub fn attribute_of_path(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    path: UserPath,
    follow: bool,
) -> Answer {
    list_of_path(caller, memory, tasks, files, path, follow).and(NO_ATTRIBUTES)
}

/// `fgetxattr(fd, …)` and its kin.
pub fn attribute_of_file(caller: &Caller, tasks: &Tasks, files: &Files, fd: Fd) -> Answer {
    list_of_file(caller, tasks, files, fd).and(NO_ATTRIBUTES)
}

/// `listxattr(path, …)`, `llistxattr`: an empty list; with `follow` a link in the last component is followed.
pub fn list_of_path(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    path: UserPath,
    follow: bool,
) -> Answer {
    let path = Path::read(caller, memory, path)?;
    find(caller, tasks, files, Fd::HERE, &path, follow, false).and(DONE)
}

/// `flistxattr(fd, …)`: an empty list.
pub fn list_of_file(caller: &Caller, tasks: &Tasks, files: &Files, fd: Fd) -> Answer {
    open_inode(caller, tasks, files, fd).and(DONE)
}

/// `truncate(path, size)`
pub fn truncate(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    path: UserPath,
    size: i64,
) -> Answer {
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    let path = Path::read(caller, memory, path)?;
    let inode = find(caller, tasks, files, Fd::HERE, &path, true, false)?;
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
pub fn ftruncate(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    fd: Fd,
    size: i64,
) -> Answer {
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    let opened = opened(caller, tasks, files, fd)?;
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
pub fn fallocate(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    fd: Fd,
    mode: u32,
    offset: i64,
    length: i64,
) -> Answer {
    let (Ok(offset), Ok(length)) = (u64::try_from(offset), u64::try_from(length)) else {
        return Err(Errno::EINVAL);
    };
    let opened = opened(caller, tasks, files, fd)?;
    if opened.bytes == Bytes::Nowhere {
        return Err(Errno::EBADF);
    }
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    if mode & !linux::FALLOC_FL_KEEP_SIZE != 0 {
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
    let grows = mode & linux::FALLOC_FL_KEEP_SIZE == 0 && offset + length > memory.object_size(object);
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
pub fn statfs(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    path: UserPath,
    about: Pointer<StatFs>,
) -> Answer {
    let path = Path::read(caller, memory, path)?;
    find(caller, tasks, files, Fd::HERE, &path, true, false)?;
    give_statfs(caller, memory, files, about)
}

/// `fstatfs(fd, statfs)`
pub fn fstatfs(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &Files,
    fd: Fd,
    about: Pointer<StatFs>,
) -> Answer {
    opened(caller, tasks, files, fd)?;
    give_statfs(caller, memory, files, about)
}

fn give_statfs(caller: &Caller, memory: &mut Memory, files: &Files, to: Pointer<StatFs>) -> Answer {
    let about = StatFs::new(memory.account(Purpose::File), memory.available(), files.tree.name_quota());
    caller.write(memory, to, &about).and(DONE)
}
