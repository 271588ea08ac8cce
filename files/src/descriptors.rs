//! A process's file descriptors: small numbers for open files.
//!
//! A child shares its parent's table until one of them changes it: then who does gets a copy, in which every open
//! file has one reference more. Most children change nothing. The table grows by 16 descriptors at a time as they
//! are used; a lookup is three indexings. What is taken out of it is the caller's, who gives it back to those who keep
//! it ([`OpenFiles::release`]).

use crate::open::{OpenFileId, OpenFiles};
use crate::{Errno, Result};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

/// The most descriptors that a limit (`RLIMIT_NOFILE`) can allow: a whole table can be copied within
/// what one call may allocate.
pub const DESCRIPTORS_MAX: u32 = 4096;

const CHUNK: u32 = u16::BITS;

#[derive(Clone)]
struct Chunk {
    /// Bit n set: descriptor n is to be closed by `execve`.
    close_on_exec: u16,
    /// Bit n set: descriptor n is in use.
    used: u16,
    files: [Option<OpenFileId>; CHUNK as usize],
}

impl Chunk {
    fn open_files(&self) -> impl Iterator<Item = OpenFileId> {
        let mut left = self.used;
        core::iter::from_fn(move || {
            let file = self.files.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            *file
        })
    }
}

/// The descriptors in use. It has a reference to the open file of each, however many processes share it.
#[derive(Clone, Default)]
struct Table {
    chunks: Vec<Option<Box<Chunk>>>,
    len: u32,
}

impl Table {
    fn open_files(&self) -> impl Iterator<Item = OpenFileId> {
        self.chunks.iter().flatten().flat_map(|chunk| chunk.open_files())
    }

    #[inline]
    fn set(&mut self, fd: u32, file: OpenFileId, close_on_exec: bool) {
        if self.chunk_mut(fd).is_none() {
            self.make_chunk(fd);
        }
        let Some(chunk) = self.chunk_mut(fd) else { return };
        if let Some(slot) = chunk.files.get_mut((fd % CHUNK) as usize) {
            *slot = Some(file);
        }
        chunk.used |= bit(fd);
        chunk.close_on_exec |= if close_on_exec { bit(fd) } else { 0 };
        self.len += 1;
    }

    #[cold]
    fn make_chunk(&mut self, fd: u32) {
        let at = (fd / CHUNK) as usize;
        if self.chunks.len() <= at {
            self.chunks.resize_with(at + 1, || None);
        }
        let chunk = Chunk { close_on_exec: 0, used: 0, files: [None; CHUNK as usize] };
        if let Some(slot) = self.chunks.get_mut(at) {
            *slot = Some(Box::new(chunk));
        }
    }

    #[inline]
    fn take(&mut self, fd: u32) -> Option<OpenFileId> {
        let chunk = self.chunk_mut(fd)?;
        let file = chunk.files.get_mut((fd % CHUNK) as usize)?.take()?;
        chunk.used &= !bit(fd);
        chunk.close_on_exec &= !bit(fd);
        self.len -= 1;
        Some(file)
    }

    fn chunk_mut(&mut self, fd: u32) -> Option<&mut Chunk> {
        self.chunks.get_mut((fd / CHUNK) as usize)?.as_deref_mut()
    }
}

/// A process's descriptors: a table, perhaps with other processes, and a limit of its own.
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

    /// Descriptors in use.
    pub fn len(&self) -> u32 {
        self.table.as_ref().map_or(0, |table| table.len)
    }

    /// Whether none is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The limit on new descriptors: they are below it.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Sets the limit, at most [`DESCRIPTORS_MAX`] (`EPERM`, as Linux says above `fs.nr_open`).
    /// Descriptors beyond it stay.
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

    /// Sets that (`F_SETFD`).
    pub fn set_close_on_exec(&mut self, fd: u32, close: bool, files: &mut OpenFiles) -> Result<()> {
        self.get(fd)?;
        if let Some(chunk) = self.own(files)?.chunk_mut(fd) {
            chunk.close_on_exec &= !bit(fd);
            chunk.close_on_exec |= if close { bit(fd) } else { 0 };
        }
        Ok(())
    }

    /// The lowest free descriptor from `from` on: `EMFILE`. To be asked before a file is opened.
    pub fn lowest_free(&self, from: u32) -> Result<u32> {
        let mut fd = from;
        while fd < self.limit {
            let used = self.chunk(fd).map_or(0, |chunk| chunk.used);
            let taken = (used >> (fd % CHUNK)).trailing_ones();
            let next = (fd / CHUNK + 1) * CHUNK;
            if fd + taken < next {
                fd += taken;
                break;
            }
            fd = next;
        }
        if fd < self.limit { Ok(fd) } else { Err(Errno::EMFILE) }
    }

    /// Gives an open file the lowest free descriptor: `EMFILE`. The table takes over one reference.
    pub fn insert(&mut self, file: OpenFileId, close_on_exec: bool, files: &mut OpenFiles) -> Result<u32> {
        let fd = self.lowest_free(0)?;
        self.insert_at(fd, file, close_on_exec, files)?;
        Ok(fd)
    }

    /// Gives an open file a descriptor that is free, as [`Descriptors::lowest_free`] has said. The table takes over one
    /// reference.
    #[inline]
    pub fn insert_at(&mut self, fd: u32, file: OpenFileId, close_on_exec: bool, files: &mut OpenFiles) -> Result<()> {
        self.own(files)?.set(fd, file, close_on_exec);
        Ok(())
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
        self.own(files)?.set(new, file, close_on_exec);
        Ok(new)
    }

    /// Duplicates a descriptor to a given one, closing what that was (`dup2` of two different numbers,
    /// `dup3`): `EBADF`, `EINVAL` (the two are the same). What that was comes back, with its reference.
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
        let table = self.own(files)?;
        let old = table.take(new);
        table.set(new, file, close_on_exec);
        Ok(old)
    }

    /// Closes a descriptor: `EBADF`. The open file comes back, with the descriptor's reference to it.
    #[inline]
    pub fn close(&mut self, fd: u32, files: &mut OpenFiles) -> Result<OpenFileId> {
        if self.is_shared() {
            // There is no copy to be made for a descriptor that is not there.
            self.get(fd)?;
        }
        self.own(files)?.take(fd).ok_or(Errno::EBADF)
    }

    /// The open files of all descriptors: for the end of a process, which closes them if nobody shares the table.
    pub fn open_files(&self) -> impl Iterator<Item = OpenFileId> {
        self.table.iter().flat_map(|table| table.open_files())
    }

    /// The lowest descriptor in use from `from` on: for `close_range`.
    pub fn next_used(&self, from: u32) -> Option<u32> {
        self.next_with(from, |chunk| chunk.used)
    }

    /// The lowest descriptor from `from` on that `execve` closes.
    pub fn next_close_on_exec(&self, from: u32) -> Option<u32> {
        self.next_with(from, |chunk| chunk.close_on_exec & chunk.used)
    }

    /// The same table for a child, as `fork` makes it.
    pub fn share(&self) -> Descriptors {
        Descriptors { table: self.table.clone(), limit: self.limit }
    }

    /// Whether another process has the same table. Then to change it takes memory.
    pub fn is_shared(&self) -> bool {
        self.table.as_ref().is_some_and(|table| Rc::strong_count(table) > 1)
    }

    fn next_with(&self, from: u32, map: impl Fn(&Chunk) -> u16) -> Option<u32> {
        let chunks = self.table.iter().flat_map(|table| &table.chunks).zip((0..).step_by(CHUNK as usize));
        let mut hits = chunks.skip((from / CHUNK) as usize).filter_map(|(chunk, first)| {
            let below = if first < from { bit(from) - 1 } else { 0 };
            let bits = map(chunk.as_ref()?) & !below;
            (bits != 0).then(|| first + bits.trailing_zeros())
        });
        hits.next()
    }

    fn chunk(&self, fd: u32) -> Option<&Chunk> {
        self.table.as_ref()?.chunks.get((fd / CHUNK) as usize)?.as_deref()
    }

    /// The table, to be changed: from now on this process's alone.
    #[inline]
    fn own(&mut self, files: &mut OpenFiles) -> Result<&mut Table> {
        if self.is_shared() {
            self.copy_table(files)?;
        }
        let table = Rc::get_mut(self.table.get_or_insert_default());
        Ok(table.expect("a table that is not shared has one owner"))
    }

    #[cold]
    fn copy_table(&mut self, files: &mut OpenFiles) -> Result<()> {
        self.open_files().try_for_each(|file| files.share(file))?;
        self.table = self.table.as_deref().cloned().map(Rc::new);
        Ok(())
    }
}

impl Default for Descriptors {
    /// An empty table that takes no descriptor: what is left of a process that has ended.
    fn default() -> Self {
        Descriptors::new(0)
    }
}

fn bit(fd: u32) -> u16 {
    1 << (fd % CHUNK)
}
