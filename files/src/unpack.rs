//! Unpacking an archive into a tree.
//!
//! Later entries replace earlier ones, so a second archive overrides the first. Missing directories on the way to an
//! entry are made. A link to a directory is followed, on the way and as the last component of a directory's entry. For
//! example, `bin/x` becomes `/usr/bin/x` where `/bin` is a link to `/usr/bin`.

use crate::cpio::{self, Entry, Reader};
use crate::ids::InodeId;
use crate::tree::attributes::{file_type, nanoseconds};
use crate::tree::inode::Device;
use crate::tree::path::Walk;
use crate::tree::{New, Tree};
use crate::{Errno, Result};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::fmt;

/// The caller's store for the bytes of regular files.
pub trait Store<C> {
    /// Makes a content with these bytes.
    fn make(&mut self, bytes: &[u8]) -> Result<C>;
    /// Takes back a content that a later entry replaced.
    fn free(&mut self, content: C);
}

/// Counts of an archive's entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unpacked {
    /// Entries unpacked.
    pub entries: usize,
    /// Entries left out: FIFOs, sockets, block devices and unknown character devices.
    pub skipped: usize,
}

/// The reason why an archive could not be unpacked. The entries before the failing one stay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// The archive is damaged.
    Archive(cpio::Error),
    /// The entry with this name cannot be made in the tree.
    Entry(Box<[u8]>, Errno),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Archive(error) => error.fmt(f),
            Error::Entry(name, error) => {
                let reason = error.description().unwrap_or("unknown error");
                write!(f, "the archive's entry \"{}\" cannot be unpacked: {reason}", name.escape_ascii())
            }
        }
    }
}

impl core::error::Error for Error {}

/// Unpacks an archive at the root of a tree. `now` is the time of directories made on the way.
pub fn unpack<C: Copy>(
    tree: &mut Tree<C>,
    archive: &[u8],
    store: &mut impl Store<C>,
    now: i64,
) -> core::result::Result<Unpacked, Error> {
    let mut unpacked = Unpacked::default();
    let mut unpacker = Unpacker { tree, store, now, linked: BTreeMap::new() };
    for entry in Reader::new(archive) {
        let entry = entry.map_err(Error::Archive)?;
        match unpacker.place(&entry) {
            Ok(true) => unpacked.entries += 1,
            Ok(false) => unpacked.skipped += 1,
            Err(error) => return Err(Error::Entry(entry.name.into(), error)),
        }
    }
    Ok(unpacked)
}

struct Unpacker<'a, C, S> {
    tree: &'a mut Tree<C>,
    store: &'a mut S,
    now: i64,
    /// The files so far that have further names, by device and inode in the archive.
    linked: BTreeMap<(u32, u32, u32), InodeId>,
}

impl<C: Copy, S: Store<C>> Unpacker<'_, C, S> {
    /// Unpacks one entry; false if it is of a kind that this tree does not have.
    fn place(&mut self, entry: &Entry) -> Result<bool> {
        let components = entry.components();
        let is_directory = entry.mode & file_type::MASK == file_type::DIRECTORY;
        let Some((name, above)) = components.split_last() else {
            return if is_directory { self.finish(self.tree.root(), entry) } else { Ok(false) };
        };
        let directory = above.iter().try_fold(self.tree.root(), |at, name| {
            self.existing_directory(at, name)?
                .map_or_else(|| self.tree.add(at, name, New::Directory, 0o755, self.now), Ok)
        })?;
        let new = match entry.mode & file_type::MASK {
            file_type::DIRECTORY => {
                if let Ok(Some(there)) = self.existing_directory(directory, name) {
                    return self.finish(there, entry);
                }
                New::Directory
            }
            // Some writers end the target with a NUL.
            file_type::SYMLINK => New::Symlink(entry.data.split(|&b| b == 0).next().unwrap_or(b"")),
            file_type::REGULAR => return self.place_regular(directory, name, entry),
            file_type::CHARACTER => match Device::from_numbers(entry.device.0, entry.device.1) {
                Some(device) => New::Device(device),
                None => return Ok(false),
            },
            _ => return Ok(false),
        };
        self.clear(directory, name)?;
        let id = self.tree.add(directory, name, new, entry.mode, self.now)?;
        self.finish(id, entry)
    }

    fn place_regular(&mut self, directory: InodeId, name: &[u8], entry: &Entry) -> Result<bool> {
        self.clear(directory, name)?;
        let size = entry.data.len() as u64;
        let first = self.linked.get(&entry.identity).copied().filter(|_| entry.links > 1);
        if let Some(first) = first.filter(|first| self.tree.get(*first).is_ok()) {
            self.tree.link(directory, name, first, self.now)?;
            // Only one name of a file carries its bytes; which one depends on the program that wrote the archive.
            if size > 0 {
                let content = self.store.make(entry.data)?;
                let old = self.tree.replace(first, content, size, self.now)?;
                old.0.into_iter().for_each(|content| self.store.free(content));
            }
            return self.finish(first, entry);
        }
        let content = self.store.make(entry.data)?;
        let new = New::Regular(content);
        let id = self.tree.add(directory, name, new, entry.mode, self.now);
        let id = id.inspect_err(|_| self.store.free(content))?;
        self.tree.set_size(id, size, self.now)?;
        if entry.links > 1 {
            self.linked.insert(entry.identity, id);
        }
        self.finish(id, entry)
    }

    /// The directory that a name leads to, perhaps through links; `None` if there is no such name.
    fn existing_directory(&self, at: InodeId, name: &[u8]) -> Result<Option<InodeId>> {
        match self.tree.lookup(at, name) {
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        let walk = Walk { root: self.tree.root(), start: at, own: None, revealed: true };
        let id = self.tree.resolve(&walk, name, true)?;
        self.tree.directory(id).map(|_| Some(id))
    }

    /// Frees a name: removes the file or empty directory there.
    fn clear(&mut self, directory: InodeId, name: &[u8]) -> Result<()> {
        match self.tree.unlink(directory, name, self.now) {
            Ok(freed) => freed.0.into_iter().for_each(|content| self.store.free(content)),
            Err(Errno::ENOENT) => {}
            Err(Errno::EISDIR) => self.tree.rmdir(directory, name, self.now)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn finish(&mut self, id: InodeId, entry: &Entry) -> Result<bool> {
        let mtime = nanoseconds(entry.mtime.into(), 0);
        self.tree.set_owner(id, Some(entry.uid), Some(entry.gid), mtime)?;
        if !self.tree.get(id)?.is_link() {
            self.tree.set_mode(id, entry.mode, mtime)?;
        }
        self.tree.set_times(id, Some(mtime), Some(mtime), mtime)?;
        Ok(true)
    }
}
