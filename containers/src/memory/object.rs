//! Memory objects: pages with contents of their own, apart from any address space.
//!
//! The contents of a regular file are a memory object, and mapping the file maps the object's frames,
//! so a program's text is in memory once however often it runs. Pages are made at the first write;
//! one that was never written reads as zero.
//!
//! Every object says what its pages are for ([`Purpose`]), and the pages of all objects of one purpose are counted
//! in one [`Account`], here and nowhere else: where an object gets a page and where it loses one. So a file system
//! that is full, or pipes that hold too much, leave the rest of memory to others.

use crate::arena::{Full, Id};
use crate::budget::Budget;
use crate::frames::{Frame, PAGE_SIZE};
use crate::memory::container::{Container, ContainerId};
use crate::memory::physical::{OutOfFrames, PhysicalMemory, Translation};
use crate::memory::region::{Backing, Region, Traits};
use crate::memory::{KERNEL_RESERVE, Memory};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::ops::Range;

/// Frames that files and buffers leave to others: enough for a few programs, which may be those that remove files.
const OBJECTS_RESERVE: usize = 4 * KERNEL_RESERVE;

/// Pages that are looked up together: so many, on a multiple of their number.
const CHUNK: usize = 32;

/// The frames of some pages, as far as they were ever written.
pub(crate) type Chunk = [Option<Frame>; CHUNK];

/// So many chunks are few.
const FEW_CHUNKS: usize = 16;

/// The chunk of a page, and which of its pages it is.
#[inline]
fn place(page: u64) -> (u32, usize) {
    ((page / CHUNK as u64) as u32, (page % CHUNK as u64) as usize)
}

/// What the pages of an object are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Bytes of a file.
    File,
    /// Bytes that wait to be read: what is in a pipe, and the text of a file of `/proc`. The first page of such
    /// an object is never refused for the bound on their pages, so that small messages always get through; there is a
    /// bound on the objects instead.
    Buffer,
    /// Memory that processes share, which is theirs as their private pages are: there is no bound.
    Shared,
}

/// All objects of one purpose, and their pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account {
    /// Pages that there are.
    pub pages: usize,
    /// Pages that there may be. There are more if the bound was set late; then none is added.
    pub limit: usize,
    /// Objects that there are.
    pub objects: usize,
    /// Objects that there may be, likewise.
    pub objects_limit: usize,
}

impl Account {
    pub(crate) const UNBOUNDED: Account =
        Account { pages: 0, limit: usize::MAX, objects: 0, objects_limit: usize::MAX };

    /// How many pages may be added.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.pages)
    }
}

/// Why an object gets no page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPage {
    /// The objects of its purpose have as many as they may.
    Full,
    /// No frame is left for it.
    Frames,
}

impl From<OutOfFrames> for NoPage {
    fn from(_: OutOfFrames) -> NoPage {
        NoPage::Frames
    }
}

/// Pages by number, a size in bytes, and how many files and regions refer to it.
pub struct Object {
    purpose: Purpose,
    chunks: BTreeMap<u32, Box<Chunk>>,
    /// Pages in its account.
    pages: usize,
    size: u64,
    references: u32,
    /// It has been mapped so that it can be written, and may be still.
    may_be_written: bool,
    /// Containers that run it.
    runs: u32,
    /// The next object that is being taken apart.
    pub(crate) next_of_remains: Option<ObjectId>,
}

impl Object {
    /// One without pages.
    fn new(purpose: Purpose, references: u32) -> Object {
        Object {
            purpose,
            chunks: BTreeMap::new(),
            pages: 0,
            size: 0,
            references,
            may_be_written: false,
            runs: 0,
            next_of_remains: None,
        }
    }

    /// Whether its pages may all be released in one visit.
    pub(crate) fn is_small(&self) -> bool {
        self.chunks.len() <= FEW_CHUNKS
    }

    /// Takes some of its pages out of it.
    pub(crate) fn take_chunk(&mut self) -> Option<Box<Chunk>> {
        self.chunks.pop_first().map(|(_, chunk)| chunk)
    }

    /// The frame of a page, if it was ever written.
    #[inline]
    fn page(&self, page: u64) -> Option<Frame> {
        let (chunk, index) = place(page);
        self.chunks.get(&chunk)?[index]
    }

    /// The frames of a page and of those that follow it, up to the end of their chunk.
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

    /// The frames of all pages that there are.
    fn frames(&self) -> impl Iterator<Item = Frame> {
        self.chunks.values().flat_map(|chunk| chunk.iter().flatten()).copied()
    }
}

/// Names an [`Object`].
pub type ObjectId = Id<Object>;

/// Largest object, in bytes: what 32 bits of page numbers reach.
pub const MAX_OBJECT: u64 = 1 << 44;

const PAGE: u64 = PAGE_SIZE as u64;

/// Instructions that it takes to make a page, roughly.
const COST_OF_A_PAGE: u64 = 800;

/// The piece of a page that a transfer of `length` bytes at `position` begins with: page number,
/// offset in it, bytes.
pub(crate) fn piece(position: u64, length: usize) -> (u64, usize, usize) {
    let offset = (position % PAGE) as usize;
    (position / PAGE, offset, length.min(PAGE_SIZE - offset))
}

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// A new object without pages, with one reference.
    pub fn make_object(&mut self, purpose: Purpose) -> Result<ObjectId, Full> {
        let account = &mut self.accounts[purpose as usize];
        if account.objects >= account.objects_limit {
            return Err(Full);
        }
        let id = self.objects.insert(Object::new(purpose, 1))?;
        account.objects += 1;
        Ok(id)
    }

    /// The pages of all objects of a purpose.
    pub fn account(&self, purpose: Purpose) -> Account {
        self.accounts[purpose as usize]
    }

    /// Bounds the pages of all objects of a purpose. Those that there are stay.
    pub fn limit_pages(&mut self, purpose: Purpose, limit: usize) {
        self.accounts[purpose as usize].limit = limit;
    }

    /// Bounds the number of objects of a purpose.
    pub fn limit_objects(&mut self, purpose: Purpose, limit: usize) {
        self.accounts[purpose as usize].objects_limit = limit;
    }

    /// How many pages an object has, and how many files and regions refer to it; none if there is no such object.
    pub fn object_usage(&self, id: ObjectId) -> (usize, u32) {
        self.objects.get(id).map_or((0, 0), |object| (object.frames().count(), object.references))
    }

    /// Objects there are.
    pub fn objects_live(&self) -> u32 {
        self.objects.live()
    }

    /// Whether it is the program of any container.
    #[inline]
    pub fn is_program(&self, id: ObjectId) -> bool {
        self.objects.get(id).is_some_and(|object| object.runs > 0)
    }

    /// Says which program a container runs: until its end, whatever becomes of the program's regions.
    pub fn set_program(&mut self, id: ContainerId, program: Option<ObjectId>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let before = core::mem::replace(&mut container.program, program);
        if let Some(object) = before.and_then(|before| self.objects.get_mut(before)) {
            object.runs -= 1;
        }
        if let Some(object) = program.and_then(|program| self.objects.get_mut(program)) {
            object.runs += 1;
        }
    }

    /// Whether any container has such a region.
    fn is_anywhere(&self, such: impl Fn(&Region) -> bool) -> bool {
        let has = |container: &Container| !container.is_gone && container.regions.iter().any(&such);
        self.containers.ids().filter_map(|id| self.containers.get(id)).any(has)
    }

    /// Whether any container has it mapped so that stores go to it, or may do so later.
    #[inline]
    pub fn is_written(&mut self, id: ObjectId) -> bool {
        // Mostly nobody ever had.
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

    /// One reference more, of a region through which it can be written.
    pub fn share_to_be_written(&mut self, id: ObjectId) {
        self.share_object(id);
        self.objects.get_mut(id).into_iter().for_each(|object| object.may_be_written = true);
    }

    /// One reference more.
    pub fn share_object(&mut self, id: ObjectId) {
        if let Some(object) = self.objects.get_mut(id) {
            object.references += 1;
        }
    }

    /// One reference less; with the last one its frames are released, at once or later.
    pub fn release_object(&mut self, id: ObjectId) {
        if self.lose_reference(id) {
            self.discard_object(id);
        }
    }

    /// Counts one reference less. Whether it was the last one: then the pages are in no account any more.
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

    /// Its size in bytes, 0 if there is no such object.
    pub fn object_size(&self, id: ObjectId) -> u64 {
        self.objects.get(id).map_or(0, |object| object.size)
    }

    /// Makes it longer or shorter; what lies beyond the new end is zero if it grows again, and gone from where
    /// it is mapped.
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

    /// Pages that have been an object's, and are in no account any more: what is taken apart later is an object of its own.
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
            // As many objects as there may be: no time to put it off.
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

    /// The frame of a page, made if it was not there. A page of shared memory is made for a container that has
    /// `holder` pages already.
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

    /// What a file or buffer counts as for [`Memory::leave_reserve`]: its pages; but to the last of the reserve it is a
    /// stranger, however small, for there may be many.
    fn object_as_holder(&self, id: ObjectId) -> u32 {
        match self.physical.free_frames() {
            // That is enough for everybody.
            free if free > self.reserve => 0,
            free if free > OBJECTS_RESERVE => self.object_usage(id).0 as u32,
            _ => u32::MAX,
        }
    }

    /// Makes pages that hold a range of bytes, so that no write to it fails for want of one, until the budget is spent;
    /// returns how far it has come. If there is no room for all of them, none is made.
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

    /// Whether its account has room for all pages of a range that are not there yet.
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

    /// Reads from `position` on; returns how many bytes there were.
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

    /// Writes at `position`, growing the object if need be; returns how many bytes found room.
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

#[cfg(test)]
#[path = "../tests/object.rs"]
mod tests;
