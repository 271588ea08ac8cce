//! Memory objects: pages with contents of their own, apart from any address space.
//!
//! The contents of a regular file are a memory object, and mapping the file maps the object's frames: so a program's
//! text is in memory once, however many processes run it. Pages are made at the first write; a page that was never
//! written reads as zero. For example, a file of 1 GiB with one byte at its end has one page.
//!
//! Every object has a [`Purpose`], and the pages of all objects of one purpose are counted in one [`Account`]: here and
//! nowhere else, where an object gets a page and where it loses one. So a full file system, or pipes that hold too
//! much, leave memory for the rest.

use crate::arena::{Arena, Full, Id};
use crate::budget::Budget;
use crate::frames::{Frame, PAGE_SIZE};
use crate::memory::container::{Container, ContainerId};
use crate::memory::physical::{OutOfFrames, PhysicalMemory, Translation};
use crate::memory::region::{Backing, Region, Traits};
use crate::memory::{KERNEL_RESERVE, Memory};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::ops::Range;

/// Frames that files and buffers leave free: enough for a few programs, which may be those that remove files.
const OBJECTS_RESERVE: usize = 4 * KERNEL_RESERVE;

/// Pages that are looked up together: this number, aligned to a multiple of it.
const CHUNK: usize = 32;

/// The frames of the pages of a chunk; `None` for a page that was never written.
pub(crate) type Chunk = [Option<Frame>; CHUNK];

/// An object with at most this number of chunks is torn down at once.
const FEW_CHUNKS: usize = 16;

/// The chunk of a page, and the page's index in it.
#[inline]
fn place(page: u64) -> (u32, usize) {
    ((page / CHUNK as u64) as u32, (page % CHUNK as u64) as usize)
}

/// What the pages of an object are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Bytes of a file.
    File,
    /// Bytes that wait to be read: the contents of a pipe, or the text of a file of `/proc`. The first page of such an
    /// object is never refused for the limit of their account, so that small messages always get through; the number of
    /// the objects has a limit instead.
    Buffer,
    /// Memory that processes share. It counts as theirs, like their private pages, and has no limit of its own.
    Shared,
}

/// The account of all objects of one purpose and their pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account {
    /// The number of pages.
    pub pages: usize,
    /// The limit of that number. If it was set when there were more, they stay, but no page is added.
    pub limit: usize,
    /// The number of objects.
    pub objects: usize,
    /// The limit of that number, with the same effect.
    pub objects_limit: usize,
}

impl Account {
    pub(crate) const UNBOUNDED: Account =
        Account { pages: 0, limit: usize::MAX, objects: 0, objects_limit: usize::MAX };

    /// The number of pages that may be added.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.pages)
    }
}

/// The reason why an object gets no page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPage {
    /// The account of its purpose is full.
    Full,
    /// No frame is left for it.
    Frames,
}

impl From<OutOfFrames> for NoPage {
    fn from(_: OutOfFrames) -> NoPage {
        NoPage::Frames
    }
}

/// A memory object: pages by number, a size in bytes, and the number of files and regions that refer to it.
pub struct Object {
    purpose: Purpose,
    chunks: BTreeMap<u32, Box<Chunk>>,
    /// The number of its pages that are in its account.
    pages: usize,
    size: u64,
    references: u32,
    /// Whether it may be mapped so that stores go to it: set by such a mapping, and corrected by the next search that
    /// finds none.
    may_be_written: bool,
    /// The number of containers that run it as their program.
    runs: u32,
    /// The next object in the teardown queue.
    pub(crate) next_teardown: Option<ObjectId>,
}

impl Object {
    /// An object without pages.
    fn new(purpose: Purpose, references: u32) -> Object {
        Object {
            purpose,
            chunks: BTreeMap::new(),
            pages: 0,
            size: 0,
            references,
            may_be_written: false,
            runs: 0,
            next_teardown: None,
        }
    }

    /// Whether all its pages can be released in one visit.
    pub(crate) fn is_small(&self) -> bool {
        self.chunks.len() <= FEW_CHUNKS
    }

    /// Removes one chunk of its pages.
    pub(crate) fn take_chunk(&mut self) -> Option<Box<Chunk>> {
        self.chunks.pop_first().map(|(_, chunk)| chunk)
    }

    /// The frame of a page, if it was ever written.
    #[inline]
    fn page(&self, page: u64) -> Option<Frame> {
        let (chunk, index) = place(page);
        self.chunks.get(&chunk)?[index]
    }

    /// The frames of a page and of the following ones, up to the end of their chunk.
    #[inline]
    pub(crate) fn pages(&self, from: u64) -> &[Option<Frame>] {
        const NONE: &Chunk = &[None; CHUNK];
        let (chunk, index) = place(from);
        &self.chunks.get(&chunk).map_or(NONE, |chunk| chunk)[index..]
    }

    /// What its pages are for.
    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The frames of all its pages.
    fn frames(&self) -> impl Iterator<Item = Frame> {
        self.chunks.values().flat_map(|chunk| chunk.iter().flatten()).copied()
    }
}

/// Names an [`Object`].
pub type ObjectId = Id<Object>;

/// The size of the largest object, in bytes: what 32 bits of page numbers reach.
pub const MAX_OBJECT: u64 = 1 << 44;

const PAGE: u64 = PAGE_SIZE as u64;

/// Estimated instructions for making a page.
const COST_OF_A_PAGE: u64 = 800;

/// The piece of a page that a transfer of `length` bytes at `position` begins with: page number,
/// offset in it, bytes.
pub(crate) fn piece(position: u64, length: usize) -> (u64, usize, usize) {
    let offset = (position % PAGE) as usize;
    (position / PAGE, offset, length.min(PAGE_SIZE - offset))
}

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Makes an object without pages, with one reference.
    pub fn make_object(&mut self, purpose: Purpose) -> Result<ObjectId, Full> {
        let account = &mut self.accounts[purpose as usize];
        if account.objects >= account.objects_limit {
            return Err(Full);
        }
        let id = self.objects.insert(Object::new(purpose, 1))?;
        account.objects += 1;
        Ok(id)
    }

    /// The account of a purpose.
    pub fn account(&self, purpose: Purpose) -> Account {
        self.accounts[purpose as usize]
    }

    /// Limits the pages of all objects of a purpose. Existing pages stay.
    pub fn limit_pages(&mut self, purpose: Purpose, limit: usize) {
        self.accounts[purpose as usize].limit = limit;
    }

    /// Limits the number of objects of a purpose.
    pub fn limit_objects(&mut self, purpose: Purpose, limit: usize) {
        self.accounts[purpose as usize].objects_limit = limit;
    }

    /// The numbers of an object's pages and references; 0 if there is no such object.
    pub fn object_usage(&self, id: ObjectId) -> (usize, u32) {
        self.objects.get(id).map_or((0, 0), |object| (object.frames().count(), object.references))
    }

    /// The number of objects.
    pub fn objects_live(&self) -> u32 {
        self.objects.live()
    }

    /// Whether a container runs the object as its program.
    #[inline]
    pub fn is_program(&self, id: ObjectId) -> bool {
        self.objects.get(id).is_some_and(|object| object.runs > 0)
    }

    /// Sets the program that a container runs: until its end, whatever happens to the program's regions.
    pub fn set_program(&mut self, id: ContainerId, program: Option<ObjectId>) {
        if let Some(container) = self.containers.get_mut(id) {
            set_program(&mut self.objects, container, program);
        }
    }

    /// Whether any container has a region for which `such` is true.
    fn is_anywhere(&self, such: impl Fn(&Region) -> bool) -> bool {
        let has = |container: &Container| !container.is_gone && container.regions.iter().any(&such);
        self.containers.ids().filter_map(|id| self.containers.get(id)).any(has)
    }

    /// Whether any container has the object mapped so that stores go to it, or may do so later.
    #[inline]
    pub fn is_written(&mut self, id: ObjectId) -> bool {
        // Most objects were never mapped like this.
        self.objects.get(id).is_some_and(|object| object.may_be_written) && self.is_mapped_to_be_written(id)
    }

    #[inline(never)]
    fn is_mapped_to_be_written(&mut self, id: ObjectId) -> bool {
        let there = self.is_anywhere(|region| {
            let is_it = matches!(region.backing, Backing::Object { object, shared: true, .. } if object == id);
            is_it && !region.traits.contains(Traits::READ_ONLY)
        });
        self.objects.get_mut(id).into_iter().for_each(|object| object.may_be_written = there);
        there
    }

    /// Adds a reference for a region through which the object can be written.
    pub fn share_to_be_written(&mut self, id: ObjectId) {
        self.share_object(id);
        self.objects.get_mut(id).into_iter().for_each(|object| object.may_be_written = true);
    }

    /// Adds a reference.
    pub fn share_object(&mut self, id: ObjectId) {
        if let Some(object) = self.objects.get_mut(id) {
            object.references += 1;
        }
    }

    /// Drops a reference; the last one releases the object's frames, at once or later.
    pub fn release_object(&mut self, id: ObjectId) {
        if self.lose_reference(id) {
            self.discard_object(id);
        }
    }

    /// Drops a reference and returns whether it was the last one; then the pages are in no account any more.
    pub(crate) fn lose_reference(&mut self, id: ObjectId) -> bool {
        let Some(object) = self.objects.get_mut(id) else { return false };
        object.references -= 1;
        if object.references == 0 {
            let account = &mut self.accounts[object.purpose as usize];
            account.pages -= core::mem::take(&mut object.pages);
            account.objects -= 1;
        }
        object.references == 0
    }

    /// The object's size in bytes, 0 if there is no such object.
    pub fn object_size(&self, id: ObjectId) -> u64 {
        self.objects.get(id).map_or(0, |object| object.size)
    }

    /// Makes the object longer or shorter. Bytes beyond the new end disappear from mappings, and are zero if the object
    /// grows again.
    pub fn resize_object(&mut self, id: ObjectId, size: u64) {
        let Some(object) = self.objects.get(id) else { return };
        if size < object.size && object.references > 1 {
            self.discard_beyond(id, size);
        }
        let Some(object) = self.objects.get_mut(id) else { return };
        object.size = size;
        let pages = size.div_ceil(PAGE);
        let beyond = object.chunks.split_off(&(pages.div_ceil(CHUNK as u64) as u32));
        let (last, index) = place(pages);
        let rest = object.chunks.get_mut(&last).into_iter().flat_map(|chunk| &mut chunk[index..]);
        let mut released = 0;
        for frame in rest.filter_map(Option::take) {
            released += 1;
            self.physical.release(frame);
        }
        let left = object.pages - released;
        let moved = if size == 0 { left } else { beyond.values().flat_map(|chunk| chunk.iter().flatten()).count() };
        object.pages = left - moved;
        let purpose = object.purpose;
        self.accounts[purpose as usize].pages -= released + moved;
        if let Some(frame) = object.page(size / PAGE) {
            self.zero(frame, (size % PAGE) as usize..PAGE_SIZE);
        }
        self.discard_pages(beyond, purpose);
    }

    /// Tears down pages that were an object's and are in no account any more: those that remain for later become an
    /// object of their own.
    fn discard_pages(&mut self, chunks: BTreeMap<u32, Box<Chunk>>, purpose: Purpose) {
        if chunks.is_empty() {
            return;
        }
        match self.objects.insert(Object::new(purpose, 0)) {
            Ok(id) => {
                if let Some(object) = self.objects.get_mut(id) {
                    object.chunks = chunks;
                }
                self.discard_object(id);
            }
            // There is no room for another object, so this cannot wait.
            Err(Full) => {
                let frames = chunks.values().flat_map(|chunk| chunk.iter().flatten());
                frames.for_each(|frame| self.physical.release(*frame));
            }
        }
    }

    /// The frame of a page, if it was ever written.
    pub fn object_page(&self, id: ObjectId, page: u64) -> Option<Frame> {
        self.objects.get(id)?.page(page)
    }

    /// The frame of a page, which is made if it is missing. A page of shared memory is made on behalf of a container
    /// that has `holder` pages already.
    pub fn object_page_or_new(&mut self, id: ObjectId, page: u64, holder: u32) -> Result<Frame, NoPage> {
        match self.object_page(id, page) {
            Some(frame) => Ok(frame),
            None => self.make_object_page(id, page, holder),
        }
    }

    fn make_object_page(&mut self, id: ObjectId, page: u64, holder: u32) -> Result<Frame, NoPage> {
        let purpose = self.objects.get(id).ok_or(NoPage::Frames)?.purpose;
        let holder = match purpose {
            Purpose::File | Purpose::Buffer => self.object_as_holder(id),
            Purpose::Shared => holder,
        };
        let always = purpose == Purpose::Buffer && page == 0;
        if self.account(purpose).room() == 0 && !always {
            return Err(NoPage::Full);
        }
        let frame = self.allocate_user(holder)?;
        let object = self.objects.get_mut(id).expect("the object was there above");
        let (chunk, index) = place(page);
        object.chunks.entry(chunk).or_insert_with(|| Box::new([None; CHUNK]))[index] = Some(frame);
        object.pages += 1;
        self.accounts[purpose as usize].pages += 1;
        Ok(frame)
    }

    /// The size by which [`Memory::leave_reserve`] judges a file or buffer: its pages. But it gets nothing from the
    /// last part of the reserve, however small it is, because there may be many of them.
    fn object_as_holder(&self, id: ObjectId) -> u32 {
        match self.physical.free_frames() {
            // There is enough for all.
            free if free > self.reserve => 0,
            free if free > OBJECTS_RESERVE => self.object_usage(id).0 as u32,
            _ => u32::MAX,
        }
    }

    /// Makes the pages that hold a range of bytes, so that no write to it fails for want of a page, until the budget is
    /// spent; returns the position that it has reached. If there is no room for all of them, none is made.
    pub fn fill_object(&mut self, id: ObjectId, range: Range<u64>, budget: &mut Budget) -> Result<u64, NoPage> {
        let pages = range.start / PAGE..range.end.div_ceil(PAGE);
        if !self.has_room_for_pages(id, pages.clone())? {
            return Err(NoPage::Full);
        }
        for page in pages {
            if budget.is_spent() {
                return Ok(page * PAGE);
            }
            self.object_page_or_new(id, page, 0)?;
            budget.spend(COST_OF_A_PAGE);
        }
        Ok(range.end)
    }

    /// Whether the object's account has room for all pages of a range that are still missing.
    fn has_room_for_pages(&self, id: ObjectId, pages: Range<u64>) -> Result<bool, NoPage> {
        let object = self.objects.get(id).ok_or(NoPage::Frames)?;
        let room = self.account(object.purpose).room() as u64;
        if pages.end - pages.start <= room {
            return Ok(true);
        }
        let chunks = object.chunks.range(place(pages.start).0..=place(pages.end).0);
        let numbers = chunks.flat_map(|(chunk, frames)| (u64::from(*chunk) * CHUNK as u64..).zip(frames.iter()));
        let there = numbers.filter(|(page, frame)| frame.is_some() && pages.contains(page)).count() as u64;
        Ok(pages.end - pages.start - there <= room)
    }

    /// Reads from `position` on; returns the number of bytes read.
    pub fn read_object(&self, id: ObjectId, position: u64, to: &mut [u8]) -> usize {
        let left = self.object_size(id).saturating_sub(position);
        let wanted = (to.len() as u64).min(left) as usize;
        let mut done = 0;
        while done < wanted {
            let (page, offset, length) = piece(position + done as u64, wanted - done);
            let to = &mut to[done..done + length];
            match self.object_page(id, page) {
                Some(frame) => self.physical.read(frame, offset, to),
                None => to.fill(0),
            }
            done += length;
        }
        done
    }

    /// Writes at `position`, growing the object if need be; returns the number of bytes written.
    pub fn write_object(&mut self, id: ObjectId, position: u64, from: &[u8]) -> Result<usize, NoPage> {
        let mut done = 0;
        while done < from.len() {
            let (page, offset, length) = piece(position + done as u64, from.len() - done);
            match self.object_page_or_new(id, page, 0) {
                Ok(frame) => self.physical.write(frame, offset, &from[done..done + length]),
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            done += length;
        }
        self.grow_object(id, position + done as u64);
        Ok(done)
    }

    /// Makes the object at least `size` bytes long.
    pub(crate) fn grow_object(&mut self, id: ObjectId, size: u64) {
        if let Some(object) = self.objects.get_mut(id) {
            object.size = object.size.max(size);
        }
    }

    /// Zeroes part of a frame.
    pub(crate) fn zero(&mut self, frame: Frame, range: Range<usize>) {
        const ZEROES: [u8; 512] = [0; 512];
        let mut at = range.start;
        while at < range.end {
            let length = ZEROES.len().min(range.end - at);
            self.physical.write(frame, at, &ZEROES[..length]);
            at += length;
        }
    }
}

/// Sets the program that a container runs, and counts in the objects the containers that run them.
#[inline]
pub(crate) fn set_program(objects: &mut Arena<Object>, container: &mut Container, program: Option<ObjectId>) {
    let before = core::mem::replace(&mut container.program, program);
    if let Some(object) = before.and_then(|before| objects.get_mut(before)) {
        object.runs -= 1;
    }
    if let Some(object) = program.and_then(|program| objects.get_mut(program)) {
        object.runs += 1;
    }
}

#[cfg(test)]
#[path = "../tests/object.rs"]
mod tests;
