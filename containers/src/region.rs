//! Regions: what an address space promises, page directories being what has been delivered so far.

use crate::object::ObjectId;
use alloc::collections::BTreeMap;
use core::ops::Range;

bitflags::bitflags! {
    /// What may be done with the pages of a region.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Rights: u8 {
        /// Loads.
        const READ = 1;
        /// Stores.
        const WRITE = 2;
        /// Instruction fetches.
        const EXECUTE = 4;
    }
}

/// Where the first contents of a region's pages come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// Zeroes.
    Zero,
    /// A memory object from `offset` bytes on; past the object's end there is nothing (SIGBUS).
    Object {
        /// The object; the region holds a reference to it.
        object: ObjectId,
        /// Page-aligned offset of the region's first byte.
        offset: u64,
        /// Writes go to the object itself and not to a copy of the page.
        shared: bool,
    },
    /// `length` bytes of a memory object, then zeroes: a segment of a program.
    Image {
        /// The object; the region holds a reference to it.
        object: ObjectId,
        /// Page-aligned offset of the region's first byte.
        offset: u64,
        /// Bytes of the region, counted from its start, that come from the object.
        length: u64,
    },
}

impl Backing {
    /// The object behind it.
    pub fn object(self) -> Option<ObjectId> {
        match self {
            Backing::Zero => None,
            Backing::Object { object, .. } | Backing::Image { object, .. } => Some(object),
        }
    }

    /// The backing of the part that starts `by` bytes further on.
    fn advanced(self, by: u64) -> Backing {
        match self {
            Backing::Zero => Backing::Zero,
            Backing::Object { object, offset, shared } => Backing::Object { object, offset: offset + by, shared },
            Backing::Image { object, offset, length } => {
                Backing::Image { object, offset: offset + by, length: length.saturating_sub(by) }
            }
        }
    }
}

/// A range of pages with the same rights and backing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// First address, page-aligned.
    pub start: u64,
    /// First address after it, page-aligned.
    pub end: u64,
    /// What may be done.
    pub rights: Rights,
    /// Where contents come from.
    pub backing: Backing,
    /// What it is called in `/proc/self/maps`.
    pub label: Label,
}

/// The purpose of a region, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Label {
    /// Nothing in particular.
    None,
    /// The main thread's stack.
    Stack,
    /// The heap that `brk` moves.
    Heap,
}

impl Region {
    fn part(&self, range: Range<u64>) -> Region {
        Region { start: range.start, end: range.end, backing: self.backing.advanced(range.start - self.start), ..*self }
    }

    fn continues(&self, next: &Region) -> bool {
        self.end == next.start
            && self.rights == next.rights
            && self.label == next.label
            && self.backing == Backing::Zero
            && next.backing == Backing::Zero
    }
}

/// Regions a container may have; as many as Linux allows.
pub const MAX_REGIONS: usize = 65_530;

/// The container has as many regions as it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany;

/// The regions of an address space, which never overlap.
#[derive(Default)]
pub struct Regions {
    by_start: BTreeMap<u64, Region>,
    bytes: u64,
}

impl Regions {
    /// The region that holds an address.
    pub fn at(&self, address: u64) -> Option<&Region> {
        self.by_start.range(..=address).next_back().map(|(_, region)| region).filter(|region| address < region.end)
    }

    /// All regions by address.
    pub fn iter(&self) -> impl Iterator<Item = &Region> {
        self.by_start.values()
    }

    /// The parts of regions that lie in `range`, by address.
    pub fn within(&self, range: Range<u64>) -> impl Iterator<Item = Region> + '_ {
        let first = self.at(range.start).map_or(range.start, |region| region.start);
        self.by_start
            .range(first..range.end.max(first))
            .map(move |(_, region)| region.part(region.start.max(range.start)..region.end.min(range.end)))
            .filter(|part| part.start < part.end)
    }

    /// Whether every page of `range` is in some region.
    pub fn covers(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        for part in self.within(range.clone()) {
            if part.start != at {
                return false;
            }
            at = part.end;
        }
        at >= range.end
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_start.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// Bytes of address space in all of them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a region where none is; it merges with neighbours that it continues.
    ///
    /// # Panics
    /// If it is empty or overlaps another (checked in tests only): a bug of the caller.
    pub fn insert(&mut self, mut region: Region) -> Result<(), TooMany> {
        debug_assert!(region.start < region.end && self.within(region.start..region.end).next().is_none());
        if self.len() >= MAX_REGIONS {
            return Err(TooMany);
        }
        self.bytes += region.end - region.start;
        if region.backing == Backing::Zero {
            if let Some(before) = self.by_start.range(..region.start).next_back().map(|(_, r)| *r)
                && before.continues(&region)
            {
                self.by_start.remove(&before.start);
                region.start = before.start;
            }
            if let Some(after) = self.by_start.get(&region.end).copied()
                && region.continues(&after)
            {
                self.by_start.remove(&after.start);
                region.end = after.end;
            }
        }
        self.by_start.insert(region.start, region);
        Ok(())
    }

    /// Cuts the first part that lies in `range` out of its region; `None` when there is none left.
    ///
    /// The caller loops, so that however many regions a range has, a step is bounded. Of a reference
    /// to an object that the region held, the part takes one along and each rest keeps one: the
    /// number of references to add is returned with the part.
    ///
    /// `more` regions can be inserted afterwards: who puts the part back, changed, asks for one. So a
    /// part is never left without a place.
    pub fn cut(&mut self, range: Range<u64>, more: usize) -> Result<Option<(Region, u32)>, TooMany> {
        let Some(region) = self.first_overlapping(&range) else { return Ok(None) };
        let cut = region.start.max(range.start)..region.end.min(range.end);
        let (left, right) = (region.start < cut.start, cut.end < region.end);
        if self.len() - 1 + usize::from(left) + usize::from(right) + more > MAX_REGIONS {
            return Err(TooMany);
        }
        self.bytes -= cut.end - cut.start;
        match self.by_start.get_mut(&region.start) {
            Some(rest) if left => rest.end = cut.start,
            _ => _ = self.by_start.remove(&region.start),
        }
        if right {
            self.by_start.insert(cut.end, region.part(cut.end..region.end));
        }
        Ok(Some((region.part(cut), u32::from(left) + u32::from(right))))
    }

    /// The highest free range of `length` bytes in `within`, at a multiple of the page size.
    pub fn gap_below(&self, within: Range<u64>, length: u64) -> Option<u64> {
        let mut top = within.end;
        for (_, region) in self.by_start.range(..within.end).rev() {
            if region.end < top && top - region.end >= length {
                break;
            }
            if region.end <= within.start {
                break;
            }
            top = top.min(region.start);
        }
        let start = top.checked_sub(length)?;
        (start >= within.start && self.within(start..top).next().is_none()).then_some(start)
    }

    /// The first part of a region that lies in `range`.
    pub fn first(&self, range: Range<u64>) -> Option<Region> {
        let region = self.first_overlapping(&range)?;
        Some(region.part(region.start.max(range.start)..region.end.min(range.end)))
    }

    fn first_overlapping(&self, range: &Range<u64>) -> Option<Region> {
        let (_, last) = self.by_start.range(..range.end).next_back()?;
        if last.end <= range.start || range.is_empty() {
            return None;
        }
        // Nearly always there is just this one, and else it may be far from being the first.
        let first = if last.start <= range.start { Some(last) } else { self.at(range.start) };
        first.or_else(|| self.by_start.range(range.start..).next().map(|(_, region)| region)).copied()
    }
}
