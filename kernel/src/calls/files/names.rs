//! Making, moving and removing names; links; the working directory.

use super::{AtFlags, Path, at, find, opened, resources, resources_mut};
use crate::calls::argument::{self, Fd, Pointer, UserPath};
use crate::calls::{Answer, Caller, DONE, bad_address, value};
use crate::core::files::{Files, now};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use ::files::{Errno, Freed, InodeId};
use bitflags::bitflags;

bitflags! {
    /// The flags of `renameat2`.
    #[derive(Clone, Copy)]
    pub struct RenameFlags: u32 {
        /// Nothing is replaced.
        const NOREPLACE = linux::RENAME_NOREPLACE;
    }
}
argument::flags!(RenameFlags);

/// `mkdirat(directory, path, mode)`
pub fn mkdirat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    directory: Fd,
    path: UserPath,
    mode: u32,
) -> Answer {
    let path = Path::read(caller, memory, path)?;
    // Linux takes the permission bits and the sticky bit.
    let mode = mode & !resources(caller, tasks)?.umask & 0o1777;
    let made =
        at(caller, tasks, files, (directory, &path), |files, walk| files.tree.mkdir_at(walk, &path, mode, now()));
    made.and(DONE)
}

/// `unlinkat(directory, path, flags)`
pub fn unlinkat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    directory: Fd,
    path: UserPath,
    flags: AtFlags,
) -> Answer {
    flags.only(AtFlags::REMOVEDIR)?;
    let path = Path::read(caller, memory, path)?;
    let freed = at(caller, tasks, files, (directory, &path), |files, walk| match flags {
        AtFlags::REMOVEDIR => files.tree.rmdir_at(walk, &path, now()).map(|()| Freed(None)),
        _ => files.tree.unlink_at(walk, &path, now()),
    })?;
    files.free(memory, freed);
    DONE
}

/// `renameat2(old directory, old path, new directory, new path, flags)`
pub fn renameat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    from: Fd,
    old: UserPath,
    to: Fd,
    new: UserPath,
    flags: RenameFlags,
) -> Answer {
    if !RenameFlags::all().contains(flags) {
        return Err(Errno::EINVAL);
    }
    let old = Path::read(caller, memory, old)?;
    let new = Path::read(caller, memory, new)?;
    let freed = at(caller, tasks, files, (from, &old), |files, from| {
        at(caller, tasks, files, (to, &new), |files, to| {
            files.tree.rename_at((from, &old), (to, &new), flags.contains(RenameFlags::NOREPLACE), now())
        })
    })?;
    files.free(memory, freed);
    DONE
}

/// `linkat(old directory, old path, new directory, new path, flags)`
pub fn linkat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    from: Fd,
    old: UserPath,
    to: Fd,
    new: UserPath,
    flags: AtFlags,
) -> Answer {
    flags.only(AtFlags::SYMLINK_FOLLOW | AtFlags::EMPTY_PATH)?;
    let (follow, empty) = (flags.contains(AtFlags::SYMLINK_FOLLOW), flags.contains(AtFlags::EMPTY_PATH));
    let old = Path::read(caller, memory, old)?;
    let inode = find(caller, tasks, files, from, &old, follow, empty)?;
    let new = Path::read(caller, memory, new)?;
    at(caller, tasks, files, (to, &new), |files, to| files.tree.link_at(to, &new, inode, now())).and(DONE)
}

/// `symlinkat(target, directory, path)`
pub fn symlinkat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    target: UserPath,
    directory: Fd,
    path: UserPath,
) -> Answer {
    let target = Path::read(caller, memory, target)?;
    let path = Path::read(caller, memory, path)?;
    let made =
        at(caller, tasks, files, (directory, &path), |files, walk| files.tree.symlink_at(walk, &path, &target, now()));
    made.and(DONE)
}

/// `readlinkat(directory, path, buffer, size)`
pub fn readlinkat(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &mut Files,
    directory: Fd,
    path: UserPath,
    buffer: Pointer<u8>,
    size: i32,
) -> Answer {
    let size = usize::try_from(size).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let path = Path::read(caller, memory, path)?;
    // A link that was opened itself is named by the empty path.
    let inode = find(caller, tasks, files, directory, &path, false, directory != Fd::HERE)?;
    let target =
        files.tree.link_target(files.revealed(caller.process.number()), inode).map_err(|error| match error {
            Errno::EINVAL if path.is_empty() => Errno::ENOENT,
            error => error,
        })?;
    let target = &target[..target.len().min(size)];
    memory.copy_out(caller.space, buffer.address, target).map_err(bad_address)?;
    value(target.len())
}

/// `chdir(path)`
pub fn chdir(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files, path: UserPath) -> Answer {
    let path = Path::read(caller, memory, path)?;
    let inode = find(caller, tasks, files, Fd::HERE, &path, true, false)?;
    change_directory(caller, memory, tasks, files, inode)
}

/// `fchdir(fd)`
pub fn fchdir(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files, fd: Fd) -> Answer {
    let inode = opened(caller, tasks, files, fd)?.file.inode;
    change_directory(caller, memory, tasks, files, inode)
}

fn change_directory(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    inode: InodeId,
) -> Answer {
    if !files.tree.get(inode)?.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    files.enter(inode)?;
    let before = core::mem::replace(&mut resources_mut(caller, tasks)?.directory, inode);
    files.leave(memory, Some(before));
    DONE
}

/// `getcwd(buffer, size)`
pub fn getcwd(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    files: &Files,
    buffer: Pointer<u8>,
    size: u64,
) -> Answer {
    let mut path = files.tree.path_of(files.root(), resources(caller, tasks)?.directory)?;
    path.push(0);
    if path.len() as u64 > size {
        return Err(Errno::ERANGE);
    }
    memory.copy_out(caller.space, buffer.address, &path).map_err(bad_address)?;
    value(path.len())
}
