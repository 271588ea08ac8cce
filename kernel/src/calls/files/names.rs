//! Making, moving and removing names; links; the working directory.

use super::{AT_FDCWD, Path, at, find, opened, resources, resources_mut};
use crate::calls::{Answer, Caller, DONE, bad_address, value};
use crate::core::files::{Files, now};
use crate::core::kernel::{Memory, Tasks};
use ::files::{Errno, Freed};
use syscalls::Sysno;

/// `unlinkat` removes a directory.
pub const AT_REMOVEDIR: u64 = 0x200;

/// An empty path is the file of the descriptor itself.
pub const AT_EMPTY_PATH: u64 = 0x1000;

/// `linkat` follows a link in the last component.
const AT_SYMLINK_FOLLOW: u64 = 0x400;

/// `renameat2` does not replace.
const RENAME_NOREPLACE: u64 = 1;

/// `mkdirat(directory, path, mode)`
pub fn mkdirat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let path = Path::read(caller, memory, caller.arguments[1])?;
    // Linux takes the permission bits and the sticky bit.
    let mode = caller.arguments[2] as u32 & !resources(caller, tasks)?.umask & 0o1777;
    let made =
        at(caller, tasks, files, (caller.int(0), &path), |files, walk| files.tree.mkdir_at(walk, &path, mode, now()));
    made.and(DONE)
}

/// `unlinkat(directory, path, flags)`
pub fn unlinkat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let [_, path, flags, ..] = *caller.arguments;
    if flags & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL);
    }
    let path = Path::read(caller, memory, path)?;
    let freed = at(caller, tasks, files, (caller.int(0), &path), |files, walk| match flags {
        AT_REMOVEDIR => files.tree.rmdir_at(walk, &path, now()).map(|()| Freed(None)),
        _ => files.tree.unlink_at(walk, &path, now()),
    })?;
    files.free(memory, freed);
    DONE
}

/// `renameat2(old directory, old path, new directory, new path, flags)`
pub fn renameat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let [_, old, _, new, flags, _] = *caller.arguments;
    if flags & !RENAME_NOREPLACE != 0 {
        return Err(Errno::EINVAL);
    }
    let old = Path::read(caller, memory, old)?;
    let new = Path::read(caller, memory, new)?;
    let freed = at(caller, tasks, files, (caller.int(0), &old), |files, from| {
        at(caller, tasks, files, (caller.int(2), &new), |files, to| {
            files.tree.rename_at((from, &old), (to, &new), flags & RENAME_NOREPLACE != 0, now())
        })
    })?;
    files.free(memory, freed);
    DONE
}

/// `linkat(old directory, old path, new directory, new path, flags)`
pub fn linkat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let [_, old, _, new, flags, _] = *caller.arguments;
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let (follow, empty) = (flags & AT_SYMLINK_FOLLOW != 0, flags & AT_EMPTY_PATH != 0);
    let old = Path::read(caller, memory, old)?;
    let inode = find(caller, tasks, files, caller.int(0), &old, follow, empty)?;
    let new = Path::read(caller, memory, new)?;
    at(caller, tasks, files, (caller.int(2), &new), |files, to| files.tree.link_at(to, &new, inode, now())).and(DONE)
}

/// `symlinkat(target, directory, path)`
pub fn symlinkat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let target = Path::read(caller, memory, caller.arguments[0])?;
    let path = Path::read(caller, memory, caller.arguments[2])?;
    let made = at(caller, tasks, files, (caller.int(1), &path), |files, walk| {
        files.tree.symlink_at(walk, &path, &target, now())
    });
    made.and(DONE)
}

/// `readlinkat(directory, path, buffer, size)`
pub fn readlinkat(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &mut Files) -> Answer {
    let [_, path, buffer, _, ..] = *caller.arguments;
    let size = usize::try_from(caller.int(3)).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let path = Path::read(caller, memory, path)?;
    // A link that was opened itself is named by the empty path.
    let inode = find(caller, tasks, files, caller.int(0), &path, false, caller.int(0) != AT_FDCWD)?;
    let target =
        files.tree.link_target(files.revealed(caller.process.number()), inode).map_err(|error| match error {
            Errno::EINVAL if path.is_empty() => Errno::ENOENT,
            error => error,
        })?;
    let target = &target[..target.len().min(size)];
    memory.copy_out(caller.space, buffer, target).map_err(bad_address)?;
    value(target.len())
}

/// `chdir(path)`, `fchdir(fd)`
pub fn chdir(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    let inode = if caller.number == Sysno::fchdir as u64 {
        opened(caller, tasks, files, caller.int(0))?.file.inode
    } else {
        let path = Path::read(caller, memory, caller.arguments[0])?;
        find(caller, tasks, files, AT_FDCWD, &path, true, false)?
    };
    if !files.tree.get(inode)?.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    files.enter(inode)?;
    let before = core::mem::replace(&mut resources_mut(caller, tasks)?.directory, inode);
    files.leave(memory, Some(before));
    DONE
}

/// `getcwd(buffer, size)`
pub fn getcwd(caller: &Caller, memory: &mut Memory, tasks: &Tasks, files: &Files) -> Answer {
    let [buffer, size, ..] = *caller.arguments;
    let mut path = files.tree.path_of(files.root(), resources(caller, tasks)?.directory)?;
    path.push(0);
    if path.len() as u64 > size {
        return Err(Errno::ERANGE);
    }
    memory.copy_out(caller.space, buffer, &path).map_err(bad_address)?;
    value(path.len())
}
