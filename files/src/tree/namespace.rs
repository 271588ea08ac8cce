//! The system calls on paths: `openat`, `mkdirat`, `linkat` and the like, with Linux's error cases. For example,
//! `mkdir("a/")` makes a directory, but `open("a/", O_CREAT)` is `EISDIR`.
//!
//! This module decides what trailing slashes and dots mean to a call; [`Tree`] performs the operation. Modes have the
//! umask already applied.

use crate::ids::InodeId;
use crate::open::OpenFlags;
use crate::tree::inode::{Inode, Kind};
use crate::tree::path::{Follow, Found, Last, Walk};
use crate::tree::quota;
use crate::tree::{Freed, New, Tree};
use crate::{Errno, Result};
use alloc::boxed::Box;

/// The result of [`Tree::open`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The inode, held once for the caller.
    pub inode: InodeId,
    /// Whether the file is new.
    pub created: bool,
    /// Whether the caller must set the size of the regular file to 0.
    pub truncate: bool,
}

impl<C: Copy> Tree<C> {
    /// Opens a path and holds the inode it leads to; the caller makes the open file.
    ///
    /// `make` returns the content of a new file and the time; it is called after all other checks. Errors, besides
    /// those of [`Tree::resolve`] and of `make`: `EEXIST`, `EISDIR`, `ENOTDIR`, `ELOOP` (a link and `O_NOFOLLOW`),
    /// `ENOSPC`, `EACCES` (writing to a file of `/proc`), `EINVAL` (`O_CREAT` with `O_DIRECTORY`), `EOPNOTSUPP`
    /// (`O_TMPFILE`).
    pub fn open(
        &mut self,
        walk: &Walk,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
        make: impl FnOnce() -> Result<(C, i64)>,
    ) -> Result<Opened> {
        let flags = flags.effective()?;
        let create = flags.contains(OpenFlags::CREATE);
        let exclusive = flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE);
        let follow = match (create, exclusive || flags.contains(OpenFlags::NO_FOLLOW)) {
            (false, false) => Follow::Links,
            (false, true) => Follow::Slash,
            (true, false) => Follow::Create,
            (true, true) => Follow::Never,
        };
        let found = self.walk(walk, path, follow)?;
        match (found.inode, found.last) {
            (None, Last::Name(_)) if found.slash && create => Err(Errno::EISDIR),
            (None, Last::Name(name)) if create => {
                self.check_vacant(found.directory, name)?;
                self.check_quota(1)?;
                let (directory, name): (_, Box<[u8]>) = (found.directory, name.into());
                let (content, now) = make()?;
                let inode = self.add(directory, &name, New::Regular(content), mode, now)?;
                self.get_mut(inode)?.open(flags)?;
                Ok(Opened { inode, created: true, truncate: false })
            }
            (None, _) => Err(Errno::ENOENT),
            (Some(_), Last::Name(_)) if found.slash && create => Err(Errno::EISDIR),
            (Some(_), _) if exclusive => Err(Errno::EEXIST),
            (Some(inode), _) => self.open_found(inode, flags, found.slash),
        }
    }

    /// Opens an existing inode.
    fn open_found(&mut self, id: InodeId, flags: OpenFlags, slash: bool) -> Result<Opened> {
        let inode = self.get_mut(id)?;
        let regular = matches!(inode.kind, Kind::Regular { .. });
        // Most files are regular, and may be opened in any way but as a directory.
        if !regular || slash || flags.contains(OpenFlags::DIRECTORY) {
            inode.check_open(flags, slash)?;
        }
        let truncate = regular && flags.contains(OpenFlags::TRUNCATE);
        inode.open(flags)?;
        if let Kind::Pipe { pipe, .. } = &mut inode.kind {
            pipe.open(flags);
        }
        Ok(Opened { inode: id, created: false, truncate })
    }

    /// Makes a directory.
    pub fn mkdir_at(&mut self, walk: &Walk, path: &[u8], mode: u32, now: i64) -> Result<InodeId> {
        let (directory, name) = self.vacancy(walk, path, true)?;
        self.check_quota(quota::OF_DIRECTORY)?;
        self.add(directory, &name, New::Directory, mode, now)
    }

    /// Makes a symbolic link at `path` that leads to `target`.
    pub fn symlink_at(&mut self, walk: &Walk, path: &[u8], target: &[u8], now: i64) -> Result<InodeId> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        let (directory, name) = self.vacancy(walk, path, false)?;
        self.check_quota(quota::of_link(target))?;
        self.add(directory, &name, New::Symlink(target), 0o777, now)
    }

    /// Makes `path` another name of `id`; see [`Tree::link`].
    pub fn link_at(&mut self, walk: &Walk, path: &[u8], id: InodeId, now: i64) -> Result<()> {
        let (directory, name) = self.vacancy(walk, path, false)?;
        self.check_quota(1)?;
        self.link(directory, &name, id, now)
    }

    /// Removes a name; `EISDIR` for a directory.
    pub fn unlink_at(&mut self, walk: &Walk, path: &[u8], now: i64) -> Result<Freed<C>> {
        let found = self.walk(walk, path, Follow::Never)?;
        let Last::Name(name) = found.last else { return Err(Errno::EISDIR) };
        let id = found.inode.ok_or(Errno::ENOENT)?;
        if found.slash && !self.get(id)?.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let (directory, name): (_, Box<[u8]>) = (found.directory, name.into());
        self.unlink(directory, &name, now)
    }

    /// Removes an empty directory; `EBUSY` for the root.
    pub fn rmdir_at(&mut self, walk: &Walk, path: &[u8], now: i64) -> Result<()> {
        let found = self.walk(walk, path, Follow::Never)?;
        match found.last {
            Last::Root => Err(Errno::EBUSY),
            Last::Dot => Err(Errno::EINVAL),
            Last::DotDot => Err(Errno::ENOTEMPTY),
            Last::Name(name) => {
                let (directory, name): (_, Box<[u8]>) = (found.directory, name.into());
                self.rmdir(directory, &name, now)
            }
        }
    }

    /// Renames a file; see [`Tree::rename`]. The two paths may start in different directories.
    pub fn rename_at(
        &mut self,
        from: (&Walk, &[u8]),
        to: (&Walk, &[u8]),
        no_replace: bool,
        now: i64,
    ) -> Result<Freed<C>> {
        let old = self.walk(from.0, from.1, Follow::Never)?;
        let new = self.walk(to.0, to.1, Follow::Never)?;
        let Last::Name(old_name) = old.last else { return Err(Errno::EBUSY) };
        let Last::Name(new_name) = new.last else {
            return Err(if no_replace { Errno::EEXIST } else { Errno::EBUSY });
        };
        let source = old.inode.ok_or(Errno::ENOENT)?;
        if no_replace && new.inode.is_some() {
            return Err(Errno::EEXIST);
        }
        if (old.slash || new.slash) && !self.get(source)?.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let (old_name, new_name): (Box<[u8]>, Box<[u8]>) = (old_name.into(), new_name.into());
        let (from, to) = ((old.directory, &*old_name), (new.directory, &*new_name));
        self.rename(from, to, no_replace, now)
    }

    /// The directory and the free name that a path leads to.
    fn vacancy(&self, walk: &Walk, path: &[u8], directory: bool) -> Result<(InodeId, Box<[u8]>)> {
        match self.walk(walk, path, Follow::Never)? {
            Found { inode: Some(_), .. } => Err(Errno::EEXIST),
            Found { slash: true, .. } if !directory => Err(Errno::ENOENT),
            Found { last: Last::Name(name), directory, .. } => Ok((directory, name.into())),
            Found { .. } => Err(Errno::EEXIST),
        }
    }
}

impl<C> Inode<C> {
    /// Whether the inode may be opened with these flags.
    fn check_open(&self, flags: OpenFlags, slash: bool) -> Result<()> {
        let is_directory = self.is_directory();
        let path_only = flags.contains(OpenFlags::PATH);
        let writes = flags.writable() || flags.contains(OpenFlags::TRUNCATE);
        if is_directory && flags.contains(OpenFlags::CREATE) {
            return Err(Errno::EISDIR);
        }
        if !is_directory && (slash || flags.contains(OpenFlags::DIRECTORY)) {
            return Err(Errno::ENOTDIR);
        }
        if self.is_link() && !path_only {
            return Err(Errno::ELOOP);
        }
        if matches!(self.kind, Kind::Counter(..) | Kind::Epoll(_)) && !path_only {
            return Err(Errno::ENXIO);
        }
        if is_directory && writes {
            return Err(Errno::EISDIR);
        }
        if matches!(self.kind, Kind::Proc(..)) && writes {
            return Err(Errno::EACCES);
        }
        Ok(())
    }
}
