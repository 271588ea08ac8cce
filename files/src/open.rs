//! Open files: the objects that `open` makes, and that all duplicated descriptors share. For example, after `dup` the
//! two descriptors have one offset.

use crate::ids::{InodeId, OpenFileId};
use crate::slot_map::SlotMap;
use crate::{Errno, Result};
use bitflags::bitflags;
use linux_raw_sys::general as linux;

bitflags! {
    /// The flags of `open` (`O_…`), with Linux's values on x86-64.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct OpenFlags: u32 {
        /// `O_WRONLY`; together with `READ_WRITE`, neither reading nor writing.
        const WRITE_ONLY = linux::O_WRONLY;
        /// `O_RDWR`.
        const READ_WRITE = linux::O_RDWR;
        /// `O_CREAT`.
        const CREATE = linux::O_CREAT;
        /// `O_EXCL`.
        const EXCLUSIVE = linux::O_EXCL;
        /// `O_TRUNC`.
        const TRUNCATE = linux::O_TRUNC;
        /// `O_APPEND`.
        const APPEND = linux::O_APPEND;
        /// `O_NONBLOCK`.
        const NONBLOCK = linux::O_NONBLOCK;
        /// `O_ASYNC`.
        const ASYNC = linux::FASYNC;
        /// `O_DIRECT`.
        const DIRECT = linux::O_DIRECT;
        /// `O_DIRECTORY`.
        const DIRECTORY = linux::O_DIRECTORY;
        /// `O_NOFOLLOW`.
        const NO_FOLLOW = linux::O_NOFOLLOW;
        /// `O_NOATIME`.
        const NO_ATIME = linux::O_NOATIME;
        /// `O_CLOEXEC`: belongs to the descriptor.
        const CLOSE_ON_EXEC = linux::O_CLOEXEC;
        /// `O_PATH`.
        const PATH = linux::O_PATH;
        /// The bit of `O_TMPFILE` besides `O_DIRECTORY`.
        const TEMPORARY = linux::__O_TMPFILE;
        // All other flags (O_LARGEFILE, O_SYNC, O_NOCTTY, …) are accepted and have no effect.
        const _ = !0;
    }
}

impl OpenFlags {
    /// The flags that `F_SETFL` may change.
    pub const CHANGEABLE: OpenFlags = OpenFlags::APPEND
        .union(OpenFlags::NONBLOCK)
        .union(OpenFlags::ASYNC)
        .union(OpenFlags::DIRECT)
        .union(OpenFlags::NO_ATIME);

    /// The flags that remain once the file is open; `F_GETFL` returns them.
    const KEPT: OpenFlags = OpenFlags::CREATE
        .union(OpenFlags::EXCLUSIVE)
        .union(OpenFlags::TRUNCATE)
        .union(OpenFlags::CLOSE_ON_EXEC)
        .complement();

    /// Whether a file opened with these flags can be read.
    pub fn readable(self) -> bool {
        !self.intersects(OpenFlags::WRITE_ONLY | OpenFlags::PATH)
    }

    /// Whether a file opened with these flags can be written.
    pub fn writable(self) -> bool {
        let access = self & (OpenFlags::WRITE_ONLY | OpenFlags::READ_WRITE);
        !self.contains(OpenFlags::PATH) && (access == OpenFlags::WRITE_ONLY || access == OpenFlags::READ_WRITE)
    }

    /// The flags that have an effect: with `O_PATH` only a few do.
    pub(crate) fn effective(self) -> Result<OpenFlags> {
        if self.contains(OpenFlags::PATH) {
            let few = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NO_FOLLOW;
            return Ok(self & few);
        }
        if self.contains(OpenFlags::TEMPORARY) {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.contains(OpenFlags::CREATE | OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        Ok(self)
    }
}

/// An open file. It holds its inode: the caller that removes it from the table releases that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenFile {
    /// The inode that is open.
    pub inode: InodeId,
    /// The position of the next read or write; in a directory, that of the listing.
    pub offset: u64,
    /// Access mode and status flags.
    pub flags: OpenFlags,
    references: u32,
}

/// The base from which `lseek` counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whence {
    /// `SEEK_SET`.
    Start,
    /// `SEEK_CUR`.
    Current,
    /// `SEEK_END`.
    End,
    /// `SEEK_DATA`.
    Data,
    /// `SEEK_HOLE`.
    Hole,
}

impl Whence {
    /// The base with this number of Linux: `EINVAL` if there is none.
    pub fn from_raw(whence: u32) -> Result<Whence> {
        match whence {
            linux::SEEK_SET => Ok(Whence::Start),
            linux::SEEK_CUR => Ok(Whence::Current),
            linux::SEEK_END => Ok(Whence::End),
            linux::SEEK_DATA => Ok(Whence::Data),
            linux::SEEK_HOLE => Ok(Whence::Hole),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl OpenFile {
    /// A new open file, at offset 0.
    pub fn new(inode: InodeId, flags: OpenFlags) -> Self {
        OpenFile { inode, offset: 0, flags: flags & OpenFlags::KEPT, references: 1 }
    }

    /// Whether exactly one descriptor refers to it.
    pub fn is_sole(&self) -> bool {
        self.references == 1
    }

    /// Changes the status flags as `F_SETFL` does.
    pub fn set_status(&mut self, flags: OpenFlags) {
        self.flags = (self.flags - OpenFlags::CHANGEABLE) | (flags & OpenFlags::CHANGEABLE);
    }

    /// Moves the offset and returns it: `EINVAL` (before the start), `EOVERFLOW`, `ENXIO` (data or hole beyond `size`).
    /// Holes are not recorded, so all of a file is data.
    pub fn seek(&mut self, offset: i64, whence: Whence, size: u64) -> Result<u64> {
        let base = match whence {
            Whence::Start => 0,
            Whence::Current => self.offset,
            Whence::End => size,
            Whence::Data | Whence::Hole => {
                let inside = u64::try_from(offset).is_ok_and(|offset| offset < size);
                let to = if whence == Whence::Data { offset } else { size as i64 };
                self.offset = if inside { to as u64 } else { return Err(Errno::ENXIO) };
                return Ok(self.offset);
            }
        };
        let sum = i128::from(base) + i128::from(offset);
        if sum < 0 {
            return Err(Errno::EINVAL);
        }
        self.offset = i64::try_from(sum).map_err(|_| Errno::EOVERFLOW)? as u64;
        Ok(self.offset)
    }
}

/// All open files of the system, each with the number of its descriptors.
pub struct OpenFiles {
    files: SlotMap<OpenFile>,
}

impl OpenFiles {
    /// A table for at most `limit` open files, a multiple of 64 and at most 262,144.
    pub const fn new(limit: usize) -> Self {
        OpenFiles { files: SlotMap::new(limit) }
    }

    /// The number of open files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether no file is open.
    pub fn is_empty(&self) -> bool {
        self.files.len() == 0
    }

    /// Whether another file can be opened: `ENFILE`. To be called before the tree makes a file.
    pub fn check_room(&self) -> Result<()> {
        if self.files.is_full() { Err(Errno::ENFILE) } else { Ok(()) }
    }

    /// Adds an open file with one reference: `ENFILE`.
    #[inline]
    pub fn insert(&mut self, file: OpenFile) -> Result<OpenFileId> {
        let file = OpenFile { references: 1, ..file };
        self.files.insert(file).map(OpenFileId).ok_or(Errno::ENFILE)
    }

    /// The open file with this name: `EBADF` if it is closed.
    pub fn get(&self, id: OpenFileId) -> Result<&OpenFile> {
        self.files.get(id.0).ok_or(Errno::EBADF)
    }

    /// The open file with this name, to be changed: `EBADF` if it is closed.
    pub fn get_mut(&mut self, id: OpenFileId) -> Result<&mut OpenFile> {
        self.files.get_mut(id.0).ok_or(Errno::EBADF)
    }

    /// Adds a reference.
    pub fn share(&mut self, id: OpenFileId) -> Result<()> {
        let file = self.get_mut(id)?;
        file.references = file.references.checked_add(1).ok_or(Errno::ENFILE)?;
        Ok(())
    }

    /// Drops a reference; the last one closes the file and returns it.
    #[inline]
    pub fn release(&mut self, id: OpenFileId) -> Option<OpenFile> {
        self.files.remove_if(id.0, |file| {
            file.references = file.references.saturating_sub(1);
            file.references == 0
        })
    }
}
