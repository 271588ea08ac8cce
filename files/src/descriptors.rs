//! A process's file descriptors: small numbers for open files. For example, after `fork` and one `close`, the child has
//! a table of its own, shares all chunks of 16 descriptors with its parent but one, and has copied that one.
//!
//! A child shares its parent's table until one of them changes it. Then that process gets a table of its own, but still
//! shares the *chunks* of 16 descriptors, and copies only the chunk that it changes. A chunk, not a table, holds a
//! reference to each of its open files. So a fork and the first change after it cost as much for few descriptors as for
//! 65,536, and most children change nothing. Chunks are made when they are used; a lookup is three indexings. A
//! descriptor's reference that is taken out of a table passes to the caller, which gives it back with
//! [`OpenFiles::release`].

use crate::bitmap::Bitmap;
use crate::ids::OpenFileId;
use crate::open::OpenFiles;
use crate::{Errno, Result};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// The greatest number of descriptors that a limit (`RLIMIT_NOFILE`) can allow.
pub const DESCRIPTORS_MAX: u32 = CHUNK * Bitmap::END as u32;

const CHUNK: u32 = u16::BITS;

#[derive(Clone)]
struct Chunk {
    /// Bit n is set if `execve` closes descriptor n.
    close_on_exec: u16,
    /// Bit n is set if descriptor n is in use.
    used: u16,
    files: [Option<OpenFileId>; CHUNK as usize],
}

impl Chunk {
    const EMPTY: Chunk = Chunk { close_on_exec: 0, used: 0, files: [None; CHUNK as usize] };

    fn open_files(&self) -> impl Iterator<Item = OpenFileId> {
        let mut left = self.used;
        core::iter::from_fn(move || {
            let file = self.files.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            *file
        })
    }
}

/// Replaces a shared chunk by a copy that is not shared.
#[cold]
fn copy(chunk: &mut Rc<Chunk>, files: &mut OpenFiles) -> Result<()> {
    chunk.open_files().try_for_each(|file| files.share(file))?;
    *chunk = Rc::new(Chunk::clone(chunk));
    Ok(())
}

/// The descriptors in use.
#[derive(Clone, Default)]
struct Table {
    chunks: Vec<Option<Rc<Chunk>>>,
    /// The chunks that have no free descriptor.
    full: Bitmap,
    len: u32,
}

impl Table {
    #[inline]
    fn set(&mut self, fd: u32, file: OpenFileId, close_on_exec: bool, files: &mut OpenFiles) -> Result<()> {
        if self.chunk(fd).is_none() {
            self.make_chunk(fd);
        }
        let Some(chunk) = self.chunk_mut(fd, files)? else { return Ok(()) };
        if let Some(slot) = chunk.files.get_mut((fd % CHUNK) as usize) {
            *slot = Some(file);
        }
        chunk.used |= bit(fd);
        chunk.close_on_exec |= if close_on_exec { bit(fd) } else { 0 };
        if chunk.used == u16::MAX {
            self.full.insert((fd / CHUNK) as usize);
        }
        self.len += 1;
        Ok(())
    }

    #[cold]
    fn make_chunk(&mut self, fd: u32) {
        let at = (fd / CHUNK) as usize;
        if self.chunks.len() <= at {
            self.chunks.resize_with(at + 1, || None);
        }
        if let Some(slot) = self.chunks.get_mut(at) {
            *slot = Some(Rc::new(Chunk::EMPTY));
        }
    }

    /// Removes a descriptor, if it is in use.
    #[inline]
    fn take(&mut self, fd: u32, files: &mut OpenFiles) -> Result<Option<OpenFileId>> {
        let Some(chunk) = self.chunk_mut(fd, files)? else { return Ok(None) };
        let Some(file) = chunk.files.get_mut((fd % CHUNK) as usize).and_then(Option::take) else { return Ok(None) };
        let was_full = chunk.used == u16::MAX;
        chunk.used &= !bit(fd);
        chunk.close_on_exec &= !bit(fd);
        if was_full {
            self.full.remove((fd / CHUNK) as usize);
        }
        self.len -= 1;
        Ok(Some(file))
    }

    #[inline]
    fn chunk(&self, fd: u32) -> Option<&Rc<Chunk>> {
        self.chunks.get((fd / CHUNK) as usize)?.as_ref()
    }

    /// A chunk to be changed, which belongs to this table alone from now on.
    #[inline]
    fn chunk_mut(&mut self, fd: u32, files: &mut OpenFiles) -> Result<Option<&mut Chunk>> {
        let Some(chunk) = self.chunks.get_mut((fd / CHUNK) as usize).and_then(Option::as_mut) else { return Ok(None) };
        if Rc::strong_count(chunk) > 1 {
            copy(chunk, files)?;
        }
        Ok(Rc::get_mut(chunk))
    }
}

/// A process's descriptors: a table, perhaps shared with other processes, and a limit of its own.
pub struct Descriptors {
    table: Option<Rc<Table>>,
    limit: u32,
}

impl Descriptors {
    /// An empty table with a limit on the numbers, which is cut to [`DESCRIPTORS_MAX`].
    pub const fn new(limit: u32) -> Self {
        let limit = if limit < DESCRIPTORS_MAX { limit } else { DESCRIPTORS_MAX };
        Descriptors { table: None, limit }
    }

    /// The number of descriptors in use.
    pub fn len(&self) -> u32 {
        self.table.as_ref().map_or(0, |table| table.len)
    }

    /// Whether no descriptor is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The limit: new descriptors are below it.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Sets the limit, at most [`DESCRIPTORS_MAX`] (`EPERM`, as on Linux above `fs.nr_open`). Descriptors beyond it
    /// stay.
    pub fn set_limit(&mut self, limit: u32) -> Result<()> {
        self.limit = if limit <= DESCRIPTORS_MAX { limit } else { return Err(Errno::EPERM) };
        Ok(())
    }

    /// The open file of a descriptor: `EBADF`.
    pub fn get(&self, fd: u32) -> Result<OpenFileId> {
        let chunk = self.chunk(fd).ok_or(Errno::EBADF)?;
        chunk.files.get((fd % CHUNK) as usize).copied().flatten().ok_or(Errno::EBADF)
    }

    /// Whether `execve` closes the descriptor (`F_GETFD`).
    pub fn close_on_exec(&self, fd: u32) -> Result<bool> {
        self.get(fd)?;
        Ok(self.chunk(fd).is_some_and(|chunk| chunk.close_on_exec & bit(fd) != 0))
    }

    /// Sets whether `execve` closes the descriptor (`F_SETFD`).
    pub fn set_close_on_exec(&mut self, fd: u32, close: bool, files: &mut OpenFiles) -> Result<()> {
        self.get(fd)?;
        if let Some(chunk) = self.own().chunk_mut(fd, files)? {
            chunk.close_on_exec &= !bit(fd);
            chunk.close_on_exec |= if close { bit(fd) } else { 0 };
        }
        Ok(())
    }

    /// The lowest free descriptor from `from` on: `EMFILE`. To be called before a file is opened.
    pub fn lowest_free(&self, from: u32) -> Result<u32> {
        let used_in = |chunk: u32| self.chunk(chunk * CHUNK).map_or(0, |chunk| chunk.used);
        let chunk = from / CHUNK;
        // Descriptors below `from` count as used.
        let used = used_in(chunk) | (bit(from) - 1);
        let fd = match used {
            u16::MAX => {
                let next = chunk as usize + 1;
                let chunk = self.table.as_ref().map_or(next, |table| table.full.lowest_absent(next)) as u32;
                chunk * CHUNK + used_in(chunk).trailing_ones()
            }
            _ => chunk * CHUNK + used.trailing_ones(),
        };
        if fd < self.limit { Ok(fd) } else { Err(Errno::EMFILE) }
    }

    /// Gives an open file the lowest free descriptor: `EMFILE`. The table takes over a reference.
    pub fn insert(&mut self, file: OpenFileId, close_on_exec: bool, files: &mut OpenFiles) -> Result<u32> {
        let fd = self.lowest_free(0)?;
        self.insert_at(fd, file, close_on_exec, files)?;
        Ok(fd)
    }

    /// Gives an open file a free descriptor, one that [`Descriptors::lowest_free`] has returned. The table takes over a
    /// reference.
    #[inline]
    pub fn insert_at(&mut self, fd: u32, file: OpenFileId, close_on_exec: bool, files: &mut OpenFiles) -> Result<()> {
        self.own().set(fd, file, close_on_exec, files)
    }

    /// Duplicates a descriptor to the lowest free one from `from` on (`dup`, `F_DUPFD`): `EBADF`, `EINVAL`
    /// (`from` at or beyond the limit), `EMFILE`.
    pub fn duplicate(&mut self, fd: u32, from: u32, close_on_exec: bool, files: &mut OpenFiles) -> Result<u32> {
        let file = self.get(fd)?;
        if from >= self.limit {
            return Err(if from == 0 { Errno::EMFILE } else { Errno::EINVAL });
        }
        let new = self.lowest_free(from)?;
        files.share(file)?;
        self.own().set(new, file, close_on_exec, files)?;
        Ok(new)
    }

    /// Duplicates a descriptor to a given one (`dup2` of two different numbers, `dup3`): `EBADF`, `EINVAL` (the two are
    /// equal). Returns the open file that the given descriptor had, with its reference.
    pub fn duplicate_to(
        &mut self,
        fd: u32,
        new: u32,
        close_on_exec: bool,
        files: &mut OpenFiles,
    ) -> Result<Option<OpenFileId>> {
        if fd == new {
            return Err(Errno::EINVAL);
        }
        if new >= self.limit {
            return Err(Errno::EBADF);
        }
        let file = self.get(fd)?;
        files.share(file)?;
        let table = self.own();
        let old = table.take(new, files)?;
        table.set(new, file, close_on_exec, files)?;
        Ok(old)
    }

    /// Closes a descriptor: `EBADF`. Returns the open file, with the descriptor's reference to it.
    #[inline]
    pub fn close(&mut self, fd: u32, files: &mut OpenFiles) -> Result<OpenFileId> {
        if self.is_shared_at(fd) {
            // A descriptor that is not in use needs no copy.
            self.get(fd)?;
        }
        self.own().take(fd, files)?.ok_or(Errno::EBADF)
    }

    /// Closes all descriptors of a chunk at once, if another process shares it and all are in the range or, with
    /// `on_exec`, are closed by `execve`. The open files stay with the processes that share the chunk, and no memory is
    /// needed except for a table of the process's own. True if they have been closed.
    pub fn give_up_shared(&mut self, range: RangeInclusive<u32>, on_exec: bool) -> bool {
        let fd = *range.start();
        let Some(chunk) = self.chunk(fd).filter(|_| self.is_shared_at(fd)) else { return false };
        let (first, used) = (fd - fd % CHUNK, chunk.used);
        let closed = (0..CHUNK).filter(|n| range.contains(&(first + n))).fold(0, |bits, n| bits | 1 << n);
        if used & !(closed & if on_exec { chunk.close_on_exec } else { u16::MAX }) != 0 {
            return false;
        }
        let table = self.own();
        if let Some(chunk) = table.chunks.get_mut((fd / CHUNK) as usize) {
            *chunk = None;
        }
        table.full.remove((fd / CHUNK) as usize);
        table.len -= used.count_ones();
        true
    }

    /// The open files of all descriptors.
    pub fn open_files(&self) -> impl Iterator<Item = OpenFileId> {
        self.chunks().iter().flatten().flat_map(|chunk| chunk.open_files())
    }

    /// The open files of the chunks that no other process shares: those that the end of the process closes.
    pub fn own_open_files(&self) -> impl Iterator<Item = OpenFileId> {
        let chunks = if self.is_shared() { &[] } else { self.chunks() };
        chunks.iter().flatten().filter(|chunk| Rc::strong_count(chunk) == 1).flat_map(|chunk| chunk.open_files())
    }

    /// Removes some descriptors from a table that no other process shares; `None` if there are none. The second value
    /// tells whether no other process shares their chunk: then their references pass to the caller.
    pub fn take_some(&mut self) -> Option<(Vec<OpenFileId>, bool)> {
        let table = Rc::get_mut(self.table.as_mut()?)?;
        let chunk = loop {
            if let Some(chunk) = table.chunks.pop()? {
                break chunk;
            }
        };
        table.full.remove(table.chunks.len());
        table.len -= chunk.used.count_ones();
        Some((chunk.open_files().collect(), Rc::strong_count(&chunk) == 1))
    }

    /// The lowest descriptor in use from `from` on: for `close_range`.
    pub fn next_used(&self, from: u32) -> Option<u32> {
        self.next_with(from, |chunk| chunk.used)
    }

    /// The lowest descriptor from `from` on that `execve` closes.
    pub fn next_close_on_exec(&self, from: u32) -> Option<u32> {
        self.next_with(from, |chunk| chunk.close_on_exec & chunk.used)
    }

    /// The descriptors of a child of `fork`, which shares the table.
    pub fn share(&self) -> Descriptors {
        Descriptors { table: self.table.clone(), limit: self.limit }
    }

    /// Whether another process shares the table.
    pub fn is_shared(&self) -> bool {
        self.table.as_ref().is_some_and(|table| Rc::strong_count(table) > 1)
    }

    /// Whether another process shares the table or the chunk of a descriptor. Then a change takes memory.
    pub fn is_shared_at(&self, fd: u32) -> bool {
        self.is_shared() || self.chunk(fd).is_some_and(|chunk| Rc::strong_count(chunk) > 1)
    }

    fn next_with(&self, from: u32, map: impl Fn(&Chunk) -> u16) -> Option<u32> {
        let at = from / CHUNK;
        let mut hits = self.chunks().get(at as usize..)?.iter().zip(at..).filter_map(|(chunk, number)| {
            let below = if number == at { bit(from) - 1 } else { 0 };
            let bits = map(chunk.as_ref()?) & !below;
            (bits != 0).then(|| number * CHUNK + bits.trailing_zeros())
        });
        hits.next()
    }

    fn chunks(&self) -> &[Option<Rc<Chunk>>] {
        self.table.as_ref().map_or(&[], |table| &table.chunks)
    }

    #[inline]
    fn chunk(&self, fd: u32) -> Option<&Rc<Chunk>> {
        self.table.as_ref()?.chunk(fd)
    }

    /// The table, to be changed: from now on it belongs to this process alone; its chunks may still be shared.
    #[inline]
    fn own(&mut self) -> &mut Table {
        if self.is_shared() {
            self.copy_table();
        }
        let table = Rc::get_mut(self.table.get_or_insert_default());
        table.expect("a table that is not shared has one owner")
    }

    #[cold]
    fn copy_table(&mut self) {
        self.table = self.table.as_deref().cloned().map(Rc::new);
    }
}

impl Default for Descriptors {
    /// An empty table that takes no descriptor: that of a process that has ended.
    fn default() -> Self {
        Descriptors::new(0)
    }
}

fn bit(fd: u32) -> u16 {
    1 << (fd % CHUNK)
}
