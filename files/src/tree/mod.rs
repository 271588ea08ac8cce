//! The tree of inodes, and the operations on one directory at a time.
//!
//! An inode exists while a name leads to it (`links`) or the kernel holds it ([`Tree::hold`]: an open file, a working
//! directory). The operation that takes the last of these away returns [`Freed`], with the content of a regular file or
//! pipe. For example, [`Tree::unlink`] of a closed file returns its content; if the file is open, [`Tree::close`] does
//! so later. Names here are single components; [`namespace`] takes paths.

pub mod attributes;
mod directory;
pub mod inode;
pub mod namespace;
pub mod path;
pub mod quota;
mod rename;
pub mod watch;

pub use self::directory::Directory;
use self::directory::Name;
use self::quota::NameQuota;
use self::watch::{Interest, Source, Watchers};
use crate::dirent::Dirent;
use crate::event::Counter;
use crate::ids::{InodeId, OpenFileId};
use crate::open::OpenFlags;
use crate::pipe::Pipe;
use crate::slot_map::SlotMap;
use crate::tree::inode::{Device, Inode, Kind, ProcFile};
use crate::{Attributes, Errno, NAME_MAX, PATH_MAX, Result};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The greatest number of inodes of a tree; beyond it is `ENOSPC`.
pub const INODES_MAX: usize = 131_072;

/// A file system: its inodes by id, and the root among them.
pub struct Tree<C> {
    pub(crate) inodes: SlotMap<Inode<C>>,
    root: InodeId,
    /// The quota of names.
    pub(crate) quota: NameQuota,
    /// The interests of all `epoll`s.
    pub(crate) interests: SlotMap<Interest>,
    /// The watchers of the console, which has several inodes.
    pub(crate) console: Watchers,
}

/// The content of a file or pipe that an operation has removed, if it has.
#[must_use = "the content has no other owner"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Freed<C>(pub Option<C>);

/// The kind of a new inode, with its contents.
#[derive(Clone, Copy, Debug)]
pub enum New<'a, C> {
    /// A regular file of size 0 with this content; see [`Tree::set_size`].
    Regular(C),
    /// An empty directory.
    Directory,
    /// A symbolic link to this path.
    Symlink(&'a [u8]),
    /// A device.
    Device(Device),
    /// An extension's device, by its number.
    Extension(u32),
    /// A link to an inode itself, see [`Kind::Magic`].
    Magic(InodeId, &'a [u8]),
    /// A file of `/proc`, see [`Kind::Proc`].
    Proc(ProcFile, u32),
}

impl<C: Copy> Tree<C> {
    /// A tree with an empty root directory, made at `now` (nanoseconds since 1970, as everywhere in this module).
    pub fn new(now: i64) -> Self {
        let mut inodes = SlotMap::new(INODES_MAX);
        let root = inodes.insert_with(|key| {
            // The root's parent is the root.
            let directory = Kind::Directory(Box::new(Directory::new(InodeId(key))));
            let quota_units = directory.quota_units() as u32;
            Inode { links: 2, quota_units, ..Inode::new(directory, 0o755, now) }
        });
        let Some(root) = root.map(InodeId) else { unreachable!("an empty table has room") };
        let quota = NameQuota { used: quota::OF_DIRECTORY, limit: INODES_MAX };
        let (interests, console) = (SlotMap::new(watch::INTERESTS_MAX), Watchers::default());
        Tree { inodes, root, quota, interests, console }
    }

    /// The root directory.
    pub fn root(&self) -> InodeId {
        self.root
    }

    /// The number of inodes.
    pub fn len(&self) -> usize {
        self.inodes.len()
    }

    /// All inodes.
    #[cfg(test)]
    pub(crate) fn inodes(&self) -> impl Iterator<Item = &Inode<C>> {
        self.inodes.iter()
    }

    /// Always false, because the root stays; here because `len` is.
    pub fn is_empty(&self) -> bool {
        self.inodes.len() == 0
    }

    /// The inode with this id; `ENOENT` if it is gone.
    pub fn get(&self, id: InodeId) -> Result<&Inode<C>> {
        self.inodes.get(id.0).ok_or(Errno::ENOENT)
    }

    pub(crate) fn get_mut(&mut self, id: InodeId) -> Result<&mut Inode<C>> {
        self.inodes.get_mut(id.0).ok_or(Errno::ENOENT)
    }

    pub(crate) fn directory(&self, id: InodeId) -> Result<&Directory> {
        self.get(id)?.directory().ok_or(Errno::ENOTDIR)
    }

    pub(crate) fn directory_mut(&mut self, id: InodeId) -> Result<&mut Directory> {
        self.get_mut(id)?.directory_mut().ok_or(Errno::ENOTDIR)
    }

    /// The attributes of an inode, for `stat`.
    pub fn attributes(&self, id: InodeId) -> Result<Attributes> {
        self.get(id).map(|inode| Attributes::of(id, inode))
    }

    /// The inode that a name in a directory leads to, `.` and `..` included. Links are not followed.
    pub fn lookup(&self, directory: InodeId, name: &[u8]) -> Result<InodeId> {
        let entries = self.directory(directory)?;
        match name {
            b"." => Ok(directory),
            b".." => self.get(entries.parent).map(|_| entries.parent),
            _ if name.len() > NAME_MAX => Err(Errno::ENAMETOOLONG),
            _ => entries.get(Name::new(name)).ok_or(Errno::ENOENT),
        }
    }

    /// Whether `name` could be made in `directory`: `ENOTDIR`, `ENOENT` (the directory was removed, or is sealed),
    /// `EEXIST`, `ENAMETOOLONG`, `EINVAL` (a slash or NUL in the name).
    pub(crate) fn check_vacant(&self, directory: InodeId, name: &[u8]) -> Result<()> {
        let entries = self.directory(directory)?;
        match name {
            b"." | b".." => return Err(Errno::EEXIST),
            b"" => return Err(Errno::ENOENT),
            _ if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
            _ if name.contains(&b'/') || name.contains(&0) => return Err(Errno::EINVAL),
            _ if entries.get(Name::new(name)).is_some() => return Err(Errno::EEXIST),
            _ => {}
        }
        // On Linux a new name in /proc is refused with ENOENT, too.
        if entries.sealed || self.get(directory)?.links == 0 {
            return Err(Errno::ENOENT);
        }
        Ok(())
    }

    /// Makes a file under a new name. Errors as for [`Tree::link`], and `ENOSPC`; for a symbolic link
    /// also `ENOENT` (empty) and `ENAMETOOLONG`. On an error the content remains the caller's.
    pub fn add(&mut self, directory: InodeId, name: &[u8], new: New<C>, mode: u32, now: i64) -> Result<InodeId> {
        self.check_vacant(directory, name)?;
        if self.inodes.is_full() {
            return Err(Errno::ENOSPC);
        }
        let (kind, mode) = match new {
            New::Regular(content) => (Kind::Regular { content, size: 0 }, mode),
            New::Directory => (Kind::Directory(Box::new(Directory::new(directory))), mode),
            New::Symlink(b"") => return Err(Errno::ENOENT),
            New::Symlink(to) if to.len() >= PATH_MAX => return Err(Errno::ENAMETOOLONG),
            New::Symlink(to) => (Kind::Symlink(to.into()), 0o777),
            New::Device(device) => (Kind::Device(device), mode),
            New::Extension(number) => (Kind::Extension(number), mode),
            New::Magic(to, name) => (Kind::Magic(to, name.into()), mode),
            New::Proc(file, process) => (Kind::Proc(file, process), mode),
        };
        let quota_units = if self.directory(directory)?.on_demand { 0 } else { kind.quota_units() as u32 };
        let mut inode = Inode { quota_units, ..Inode::new(kind, mode, now) };
        let above = self.get_mut(directory)?;
        if inode.is_directory() {
            above.links = above.links.checked_add(1).ok_or(Errno::EMLINK)?;
            inode.links = 2;
        }
        self.quota.used += quota_units as usize;
        let id = self.inodes.insert(inode).map(InodeId).ok_or(Errno::ENOSPC)?;
        self.enter(directory, name, id, now)?;
        Ok(id)
    }

    /// Makes a pipe without a name, held for one reader and one writer: `ENFILE`. The caller gives up each end with
    /// [`Pipe::close`] and [`Tree::release`].
    pub fn make_pipe(&mut self, content: C, now: i64) -> Result<InodeId> {
        let mut pipe = Pipe::default();
        pipe.open(OpenFlags::READ_WRITE);
        self.make_nameless(Kind::Pipe { content, pipe, watchers: None }, 2, now)
    }

    /// Makes an event counter, held for one open file: `ENFILE`.
    pub fn make_counter(&mut self, counter: Counter, now: i64) -> Result<InodeId> {
        self.make_nameless(Kind::Counter(counter, None), 1, now)
    }

    /// Makes an `epoll` that watches nothing yet, held for one open file: `ENFILE`.
    pub fn make_epoll(&mut self, now: i64) -> Result<InodeId> {
        self.make_nameless(Kind::Epoll(Box::default()), 1, now)
    }

    fn make_nameless(&mut self, kind: Kind<C>, holds: u32, now: i64) -> Result<InodeId> {
        let inode = Inode { links: 0, holds, ..Inode::new(kind, 0o600, now) };
        self.inodes.insert(inode).map(InodeId).ok_or(Errno::ENFILE)
    }

    /// The event counter of an inode: `EINVAL` if it is none.
    pub fn counter_mut(&mut self, id: InodeId) -> Result<&mut Counter> {
        match &mut self.get_mut(id)?.kind {
            Kind::Counter(counter, _) => Ok(counter),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The pipe of an inode: `ESPIPE` if it is none.
    pub fn pipe_mut(&mut self, id: InodeId) -> Result<&mut Pipe> {
        match &mut self.get_mut(id)?.kind {
            Kind::Pipe { pipe, .. } => Ok(pipe),
            _ => Err(Errno::ESPIPE),
        }
    }

    /// The pipe of an inode, to be read: `ESPIPE` if it is none.
    pub fn pipe(&self, id: InodeId) -> Result<&Pipe> {
        match &self.get(id)?.kind {
            Kind::Pipe { pipe, .. } => Ok(pipe),
            _ => Err(Errno::ESPIPE),
        }
    }

    /// Makes a further name for a file: `EPERM` for a directory, `EXDEV` into or out of `/proc`, `EMLINK`;
    /// `ENOENT` if the file or the directory has been removed; `ENOTDIR`, `EEXIST`, `ENAMETOOLONG`.
    pub fn link(&mut self, directory: InodeId, name: &[u8], id: InodeId, now: i64) -> Result<()> {
        let sealed = self.directory(directory)?.sealed;
        if !sealed {
            self.check_vacant(directory, name)?;
        }
        let inode = self.get_mut(id)?;
        if sealed || matches!(inode.kind, Kind::Magic(..) | Kind::Proc(..)) {
            return Err(Errno::EXDEV);
        }
        if inode.is_directory() {
            return Err(Errno::EPERM);
        }
        if inode.links == 0 {
            return Err(Errno::ENOENT);
        }
        inode.links = inode.links.checked_add(1).ok_or(Errno::EMLINK)?;
        inode.ctime = now;
        self.quota.used += 1;
        self.enter(directory, name, id, now)
    }

    /// Removes a name of anything but a directory (`EISDIR`); `EPERM` in a sealed directory.
    pub fn unlink(&mut self, directory: InodeId, name: &[u8], now: i64) -> Result<Freed<C>> {
        let id = self.lookup(directory, name)?;
        if self.directory(directory)?.sealed {
            return Err(Errno::EPERM);
        }
        if self.get(id)?.is_directory() {
            return Err(Errno::EISDIR);
        }
        self.leave(directory, name, now)?;
        self.drop_link(id, now)
    }

    /// Removes an empty directory: `ENOTDIR`, `ENOTEMPTY`, `EPERM` if it or its parent is sealed, `EINVAL` for `.`,
    /// `ENOTEMPTY` for `..`.
    pub fn rmdir(&mut self, directory: InodeId, name: &[u8], now: i64) -> Result<()> {
        match name {
            b"." => return Err(Errno::EINVAL),
            b".." => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        let id = self.lookup(directory, name)?;
        let entries = self.directory(id)?;
        if entries.sealed || self.directory(directory)?.sealed {
            return Err(Errno::EPERM);
        }
        if !entries.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.leave(directory, name, now)?;
        self.drop_directory(directory, id, now)
    }

    /// Holds an inode, so that it exists without a name: `ENOENT` if it is gone already.
    pub fn hold(&mut self, id: InodeId) -> Result<()> {
        self.get_mut(id)?.hold()
    }

    /// Reverses one [`Tree::hold`].
    #[inline]
    pub fn release(&mut self, id: InodeId) -> Freed<C> {
        let Ok(inode) = self.get_mut(id) else { return Freed(None) };
        inode.holds = inode.holds.saturating_sub(1);
        if inode.is_unused() { self.reap(id) } else { Freed(None) }
    }

    /// Releases an inode for an open file with these flags, which has no watchers from now on. Returns also the events
    /// at a pipe's ends (see [`Pipe::events_since`]). `file` is `None` for an open file that was never in a table.
    #[inline]
    pub fn close(&mut self, id: InodeId, flags: OpenFlags, file: Option<OpenFileId>) -> (Freed<C>, u32) {
        let Ok(inode) = self.get_mut(id) else { return (Freed(None), 0) };
        let mut events = 0;
        // The ends of a pipe were not opened by a name, and are not counted as writers.
        inode.writers = inode.writers.saturating_sub(u32::from(flags.writable()));
        if let Kind::Pipe { pipe, .. } = &mut inode.kind {
            let before = *pipe;
            pipe.close(flags);
            events = pipe.events_since(&before);
        }
        let source = match &inode.kind {
            Kind::Regular { .. } => None,
            Kind::Device(_) => Some(Source::Console).filter(|_| self.console_is_watched()),
            kind => kind.watchers().filter(|watchers| watchers.is_some()).map(|_| Source::Inode(id)),
        };
        if let (Some(source), Some(file)) = (source, file) {
            self.forget(source, file);
        }
        (self.release(id), events)
    }

    /// Sets the permission bits.
    pub fn set_mode(&mut self, id: InodeId, mode: u32, now: i64) -> Result<()> {
        let inode = self.get_mut(id)?;
        inode.mode = mode & 0o7777;
        inode.ctime = now;
        Ok(())
    }

    /// Sets owner and group, each if given.
    pub fn set_owner(&mut self, id: InodeId, uid: Option<u32>, gid: Option<u32>, now: i64) -> Result<()> {
        let inode = self.get_mut(id)?;
        inode.uid = uid.unwrap_or(inode.uid);
        inode.gid = gid.unwrap_or(inode.gid);
        if !inode.is_directory() {
            // A program that ran as the old owner must not run as the new one. Without the right to execute, the second
            // of these bits is about locks.
            let group = if inode.mode & 0o010 != 0 { 0o2000 } else { 0 };
            inode.mode &= !(0o4000 | group);
        }
        inode.ctime = now;
        Ok(())
    }

    /// Sets the times of last read and last change, each if given (`UTIME_OMIT` is `None`).
    pub fn set_times(&mut self, id: InodeId, atime: Option<i64>, mtime: Option<i64>, now: i64) -> Result<()> {
        let inode = self.get_mut(id)?;
        if atime.is_some() || mtime.is_some() {
            inode.atime = atime.unwrap_or(inode.atime);
            inode.mtime = mtime.unwrap_or(inode.mtime);
            inode.ctime = now;
        }
        Ok(())
    }

    /// Notes that a file was read.
    pub fn accessed(&mut self, id: InodeId, now: i64) {
        if let Ok(inode) = self.get_mut(id) {
            inode.atime = now;
        }
    }

    /// Sets the size of a regular file after a write or truncation: `EISDIR`, else `EINVAL` for what
    /// has no size. The bytes themselves are the caller's business.
    pub fn set_size(&mut self, id: InodeId, new: u64, now: i64) -> Result<()> {
        let inode = self.get_mut(id)?;
        match &mut inode.kind {
            Kind::Regular { size, .. } => *size = new,
            Kind::Directory(_) => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        inode.mtime = now;
        inode.ctime = now;
        Ok(())
    }

    /// Replaces the content and size of a regular file; returns the old content.
    pub fn replace(&mut self, id: InodeId, new: C, new_size: u64, now: i64) -> Result<Freed<C>> {
        let Kind::Regular { content, .. } = &mut self.get_mut(id)?.kind else {
            return Err(Errno::EINVAL);
        };
        let old = core::mem::replace(content, new);
        self.set_size(id, new_size, now)?;
        Ok(Freed(Some(old)))
    }

    /// Seals a directory: from now on programs cannot make, remove or rename entries of it.
    pub fn seal(&mut self, directory: InodeId) -> Result<()> {
        self.directory_mut(directory)?.sealed = true;
        Ok(())
    }

    /// Ends the sealing of a directory.
    pub fn unseal(&mut self, directory: InodeId) -> Result<()> {
        self.directory_mut(directory)?.sealed = false;
        Ok(())
    }

    /// Makes walks to a directory stop with [`UNREVEALED`](crate::tree::path::UNREVEALED) before they look for a name
    /// in it, so that the kernel can make its entries.
    pub fn fill_on_demand(&mut self, directory: InodeId) -> Result<()> {
        self.directory_mut(directory)?.on_demand = true;
        Ok(())
    }

    /// Removes a directory with its entries, sealed or not. They must be neither directories nor regular files; those
    /// that are open exist until they are closed.
    pub fn prune(&mut self, above: InodeId, name: &[u8], now: i64) -> Result<()> {
        let id = self.lookup(above, name)?;
        let entries: Vec<(Box<[u8]>, InodeId)> =
            self.directory(id)?.after(0).map(|(_, entry)| (entry.name.clone(), entry.inode)).collect();
        for (name, inode) in entries {
            self.leave(id, &name, now)?;
            let Freed(_no_content) = self.drop_link(inode, now)?;
        }
        self.leave(above, name, now)?;
        self.drop_directory(above, id, now)
    }

    /// The entries of a listing from `offset` on: `ENOTDIR`, or `ENOENT` if the directory was removed. 0 is the start;
    /// each entry carries the offset at which to continue.
    pub fn list(&self, id: InodeId, offset: u64) -> Result<impl Iterator<Item = Dirent<'_>>> {
        let directory = self.directory(id)?;
        if self.get(id)?.links == 0 {
            return Err(Errno::ENOENT);
        }
        let dots: [(u64, &[u8], InodeId); 2] = [(0, b".", id), (1, b"..", directory.parent)];
        let dots = dots.into_iter().filter(move |(place, ..)| *place >= offset);
        let dots = dots.map(|(place, name, inode)| (place + 1, name, inode));
        let named = directory.after(offset).map(|(at, entry)| (at, &*entry.name, entry.inode));
        Ok(dots.chain(named).filter_map(|(next, name, inode)| {
            let kind = Attributes::type_bits(self.get(inode).ok()?);
            Some(Dirent { number: inode.number(), next, kind, name })
        }))
    }

    /// Puts a vacant name into a directory; a directory learns its new parent.
    pub(crate) fn enter(&mut self, above: InodeId, name: &[u8], id: InodeId, now: i64) -> Result<()> {
        let is_link = self.get(id)?.is_link();
        let place = self.directory_mut(above)?.insert(Name::new(name), id, is_link);
        if let Some(directory) = self.get_mut(id)?.directory_mut() {
            directory.parent = above;
            directory.place = place;
        }
        self.changed(above, now)
    }

    /// Takes a name out of a directory; the caller adjusts the counts.
    pub(crate) fn leave(&mut self, above: InodeId, name: &[u8], now: i64) -> Result<()> {
        self.directory_mut(above)?.remove(Name::new(name));
        self.changed(above, now)
    }

    fn changed(&mut self, directory: InodeId, now: i64) -> Result<()> {
        let inode = self.get_mut(directory)?;
        inode.mtime = now;
        inode.ctime = now;
        Ok(())
    }

    /// Drops a name of a file; returns the content if that was the last.
    pub(crate) fn drop_link(&mut self, id: InodeId, now: i64) -> Result<Freed<C>> {
        let inode = self.get_mut(id)?;
        inode.links = inode.links.saturating_sub(1);
        inode.ctime = now;
        // The last name's unit is given back with the inode.
        if inode.links > 0 {
            self.quota.used -= 1;
        }
        Ok(self.reap(id))
    }

    /// Marks an empty directory, which has been taken out of `above`, as removed.
    pub(crate) fn drop_directory(&mut self, above: InodeId, id: InodeId, now: i64) -> Result<()> {
        let parent = self.get_mut(above)?;
        parent.links = parent.links.saturating_sub(1);
        let inode = self.get_mut(id)?;
        inode.links = 0;
        inode.ctime = now;
        let Freed(_no_content) = self.reap(id);
        Ok(())
    }

    /// Removes an inode if it is unused.
    #[cold]
    fn reap(&mut self, id: InodeId) -> Freed<C> {
        let removed = self.inodes.remove_if(id.0, |inode| inode.is_unused());
        self.quota.used -= removed.as_ref().map_or(0, |inode| inode.quota_units as usize);
        match removed.map(|inode| inode.kind) {
            Some(Kind::Regular { content, .. } | Kind::Pipe { content, .. }) => Freed(Some(content)),
            Some(Kind::Epoll(epoll)) => {
                self.give_up(&epoll);
                Freed(None)
            }
            _ => Freed(None),
        }
    }
}

impl<C> Inode<C> {
    pub(crate) fn hold(&mut self) -> Result<()> {
        self.holds = self.holds.checked_add(1).ok_or(Errno::ENFILE)?;
        Ok(())
    }

    /// Holds the inode for an open file with these flags.
    pub(crate) fn open(&mut self, flags: OpenFlags) -> Result<()> {
        self.hold()?;
        self.writers += u32::from(flags.writable());
        Ok(())
    }

    fn is_unused(&self) -> bool {
        self.links == 0 && self.holds == 0
    }

    fn new(kind: Kind<C>, mode: u32, now: i64) -> Self {
        let mode = mode & 0o7777;
        let (uid, gid, links, holds, writers, quota_units) = (0, 0, 1, 0, 0, 0);
        Inode { kind, mode, uid, gid, links, holds, writers, quota_units, atime: now, mtime: now, ctime: now }
    }
}
