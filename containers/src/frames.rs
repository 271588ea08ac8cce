//! Physical frames: the reference count of each page of memory, and the free ones.
//!
//! [`FrameTable`] keeps eight bytes for every frame from address zero to the end of memory: a reference count and the
//! link of a free list. For example, a frame that two containers share after a fork has two references, and is free
//! when both have released it. Taking and releasing a frame are constant time. Holes in the memory map (firmware,
//! device registers, the kernel's own image) are never given to the table, so they can neither be allocated nor named:
//! a [`Frame`] comes from an allocation, or is checked against the table when it is read back from a page-table entry.

use x86_64::PhysAddr;

/// Bytes in a page and in the frame behind it.
pub const PAGE_SIZE: usize = 4096;

/// A 4 KiB frame of physical memory, by number (physical address / 4096).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Frame(u32);

impl Frame {
    /// The frame at a physical address; the low twelve bits are dropped.
    ///
    /// Addresses above 16 TiB have no frame number here; the boot leaves such memory out.
    #[inline]
    pub const fn containing(address: PhysAddr) -> Frame {
        Frame((address.as_u64() >> 12) as u32)
    }

    /// The physical address of the frame's first byte.
    #[inline]
    pub fn address(self) -> PhysAddr {
        PhysAddr::new(u64::from(self.0) << 12)
    }

    /// The frame's number, an index into tables that have an element per frame.
    #[inline]
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

/// The table's element for one frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameInfo {
    /// References from page tables, memory objects and the kernel; 0: free or a hole.
    references: u32,
    /// The next free frame or [`END`], if the frame is free; [`HOLE`] for a hole; the groups of entries in use, if the
    /// frame is a page table ([`FrameTable::note_entry`]).
    link: u32,
}

/// Entries of a page table that one bit stands for: a link has 32 bits, a page table 512 entries.
pub const GROUP: usize = 512 / u32::BITS as usize;

const END: u32 = u32::MAX;
const HOLE: u32 = u32::MAX - 1;

impl FrameInfo {
    /// A frame that is no memory, or none that has been given to the table. Every element starts as one.
    pub const HOLE: FrameInfo = FrameInfo { references: 0, link: HOLE };
}

/// The reference counts of all frames and the list of the free ones.
pub struct FrameTable {
    info: &'static mut [FrameInfo],
    /// The first free frame with arbitrary contents, and the first one of those that are all zero.
    first_free: [u32; 2],
    free: usize,
    total: usize,
}

impl FrameTable {
    /// A table over `info`, which has an element for every frame number up to the end of memory,
    /// each [`FrameInfo::HOLE`]. It starts with no memory at all; see [`FrameTable::add`].
    pub fn new(info: &'static mut [FrameInfo]) -> FrameTable {
        FrameTable { info, first_free: [END; 2], free: 0, total: 0 }
    }

    /// Gives the table a frame of usable memory, free from now on.
    ///
    /// A frame beyond the table's end or already in it is ignored: firmware memory maps overlap.
    pub fn add(&mut self, frame: Frame) {
        match self.info.get_mut(frame.number()) {
            Some(info) if info.references == 0 && info.link == HOLE => {
                *info = FrameInfo { references: 0, link: self.first_free[0] };
                self.first_free[0] = frame.0;
                self.free += 1;
                self.total += 1;
            }
            _ => {}
        }
    }

    /// Takes a free frame and gives it one reference. If the caller prefers a frame that is all zero (`zero`) and there
    /// is one, it gets that; the second value of the result tells whether the frame is all zero. Constant time.
    #[inline]
    pub fn take(&mut self, zero: bool) -> Option<(Frame, bool)> {
        let zero = (self.first_free[usize::from(zero)] == END) != zero;
        let number = self.first_free[usize::from(zero)];
        let info = self.info.get_mut(number as usize)?;
        self.first_free[usize::from(zero)] = info.link;
        *info = FrameInfo { references: 1, link: 0 };
        self.free -= 1;
        Some((Frame(number), zero))
    }

    /// Adds a reference to a frame that is in use.
    ///
    /// # Panics
    /// If the frame is not in use, or has 2³² − 1 references: bugs of the caller.
    #[inline]
    pub fn share(&mut self, frame: Frame) {
        let info = self.used_mut(frame);
        info.references = info.references.checked_add(1).expect("frame reference count overflows");
    }

    /// Drops a reference to a frame; the last one frees the frame. Constant time.
    ///
    /// # Panics
    /// If the frame is not in use: a bug of the caller.
    #[inline]
    pub fn release(&mut self, frame: Frame) {
        self.release_as(frame, false);
    }

    /// Drops a reference to a frame that is all zero if this is the last reference: then the frame joins the free ones
    /// that are all zero.
    #[inline]
    pub fn release_zero(&mut self, frame: Frame) {
        self.release_as(frame, true);
    }

    #[inline]
    fn release_as(&mut self, frame: Frame, zero: bool) {
        let first_free = self.first_free[usize::from(zero)];
        let info = self.used_mut(frame);
        info.references -= 1;
        if info.references == 0 {
            info.link = first_free;
            self.first_free[usize::from(zero)] = frame.0;
            self.free += 1;
        }
    }

    /// The number of references to a frame; 0 if it is free or not in the table.
    #[inline]
    pub fn references(&self, frame: Frame) -> u32 {
        self.info.get(frame.number()).map_or(0, |info| info.references)
    }

    /// Records that a page table has an entry in a slot, so that [`FrameTable::groups`] tells where to look for
    /// entries.
    ///
    /// # Panics
    /// If the frame is not in use, or has no such slot: bugs of the caller.
    #[inline]
    pub fn note_entry(&mut self, table: Frame, slot: usize) {
        assert!(slot < 512, "slot {slot} of a page table");
        self.used_mut(table).link |= 1 << (slot / GROUP);
    }

    /// Where a page table may have entries: bit n stands for the [`GROUP`] slots from n × `GROUP` on.
    #[inline]
    pub fn groups(&self, table: Frame) -> u32 {
        self.info.get(table.number()).map_or(0, |info| info.link)
    }

    /// The number of free frames.
    #[inline]
    pub fn free(&self) -> usize {
        self.free
    }

    /// The number of frames in the table, used and free.
    pub fn total(&self) -> usize {
        self.total
    }

    #[inline]
    fn used_mut(&mut self, frame: Frame) -> &mut FrameInfo {
        let info = &mut self.info[frame.number()];
        assert!(info.references != 0, "frame {:#x} is not in use", frame.address());
        info
    }
}

#[cfg(test)]
#[path = "tests/frames.rs"]
mod tests;
