//! Regions: the ranges of an address space that a container may use. Page tables are filled from them, page by page,
//! when the pages are touched. For example, `mmap` of a gigabyte adds one region and no page; the first access to each
//! of its pages delivers that page.

use crate::budget::Budget;
use crate::frames::PAGE_SIZE;
use crate::memory::max_tree::MaxTree;
use crate::memory::object::ObjectId;
use alloc::vec::Vec;
use core::ops::Range;

bitflags::bitflags! {
    /// The accesses that a region grants.
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

bitflags::bitflags! {
    /// Properties of a region besides its rights.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Traits: u8 {
        /// Stores can never be granted: the mapped file was not opened for writing.
        const READ_ONLY = 1;
        /// A child of `fork` does not get it (`MADV_DONTFORK`).
        const NOT_FORKED = 2;
        /// A child of `fork` gets it empty (`MADV_WIPEONFORK`).
        const WIPED_BY_FORK = 4;
        /// It grows downwards when an access touches the room below it, as stacks do.
        const GROWS = 8;
        /// Its pages must stay in memory, where they stay anyway (`mlock`).
        const LOCKED = 16;
    }
}

/// The source of the first contents of a region's pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// Zeroes.
    Zero,
    /// A memory object from `offset` on; an access past the object's end fails (SIGBUS).
    Object {
        /// The object; the region holds a reference to it.
        object: ObjectId,
        /// Page-aligned offset of the region's first byte.
        offset: u64,
        /// Whether stores go to the object itself and not to a copy of the page.
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
    /// The object behind the region, if there is one.
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
    /// The accesses that it grants.
    pub rights: Rights,
    /// The source of its pages' contents.
    pub backing: Backing,
    /// Its name in `/proc/self/maps`.
    pub label: Label,
    /// Further properties.
    pub traits: Traits,
}

/// The purpose of a region, for `/proc/self/maps`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Label {
    /// No particular purpose.
    None,
    /// The main thread's stack.
    Stack,
    /// The heap that `brk` moves.
    Heap,
}

impl Region {
    /// A region without a particular purpose.
    pub fn new(range: Range<u64>, rights: Rights, backing: Backing) -> Region {
        let Range { start, end } = range;
        Region { start, end, rights, backing, label: Label::None, traits: Traits::empty() }
    }

    fn part(&self, range: Range<u64>) -> Region {
        Region { start: range.start, end: range.end, backing: self.backing.advanced(range.start - self.start), ..*self }
    }

    /// The part that lies in `range`, which must overlap the region.
    fn clipped(&self, range: &Range<u64>) -> Region {
        self.part(self.start.max(range.start)..self.end.min(range.end))
    }

    fn continues(&self, next: &Region) -> bool {
        self.end == next.start
            && self.rights == next.rights
            && self.label == next.label
            && self.traits == next.traits
            && self.backing == Backing::Zero
            && next.backing == Backing::Zero
    }
}

/// The greatest number of regions of a container; as many as Linux allows.
pub const MAX_REGIONS: usize = 65_530;

/// The container has [`MAX_REGIONS`] regions already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany;

/// The part of a range that lies in regions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Covered {
    /// All of it.
    All,
    /// The part up to this address, where there is a hole or where the budget was spent.
    UpTo(u64),
}

/// Estimated instructions for looking at a region.
pub(crate) const COST_OF_A_LOOK: u64 = 40;

/// The greatest number of regions in a run: few enough to be moved up by one when another is inserted, and so many that
/// nearly every program has just one run.
const RUN: usize = 64;

/// The number of regions for which a container has room from the start, enough for small programs.
const FIRST_RUN: usize = 16;

/// The regions of an address space, which never overlap.
///
/// They lie in runs: sorted vectors, none of them empty. So two binary searches find a region, the first of which is
/// nearly always trivial, and its neighbours lie beside it. With [`MAX_REGIONS`] of them a change still moves only one
/// run and the list of runs, and no allocation is large.
///
/// Room for a new region is found without looking at all runs ([`Regions::gap_below`]).
#[derive(Clone, Default)]
pub struct Regions {
    pub(crate) runs: Vec<Vec<Region>>,
    /// For each run an upper bound of the gaps in it. Empty while there is at most one run.
    pub(crate) bounds: MaxTree,
    len: usize,
    bytes: u64,
}

/// The position of a region, or the position before which a new one would be inserted: its run, and its index in the
/// run. The position behind all regions is the first one of a run that does not exist.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) run: usize,
    pub(crate) index: usize,
}

impl Regions {
    /// The region that holds an address.
    #[inline]
    pub fn at(&self, address: u64) -> Option<&Region> {
        self.get(self.before(self.up_to(address))?).filter(|region| address < region.end)
    }

    /// All regions, by address.
    pub fn iter(&self) -> impl Iterator<Item = &Region> {
        self.runs.iter().flatten()
    }

    /// The regions that end behind an address, as slices of limited length.
    pub(crate) fn runs_from(&self, address: u64) -> impl Iterator<Item = &[Region]> {
        let Place { run, index } = self.first_place(&(address..u64::MAX));
        let runs = self.runs.iter().skip(run).map(Vec::as_slice);
        runs.enumerate().map(move |(n, run)| if n == 0 { &run[index..] } else { run })
    }

    /// Removes any run of regions that are being torn down; `None` if there is none left.
    pub(crate) fn take_run(&mut self) -> Option<Vec<Region>> {
        let run = self.runs.pop()?;
        self.len -= run.len();
        self.bytes -= run.iter().map(|region| region.end - region.start).sum::<u64>();
        Some(run)
    }

    /// Appends a run of another container. All its regions must lie behind those that are here already.
    pub(crate) fn append(&mut self, run: &[Region]) {
        self.len += run.len();
        self.bytes += run.iter().map(|region| region.end - region.start).sum::<u64>();
        self.runs.push(run.to_vec());
        self.run_added(self.runs.len() - 1);
    }

    /// The parts of regions that lie in `range`, by address.
    pub fn within(&self, range: Range<u64>) -> impl Iterator<Item = Region> + '_ {
        let Place { run, index } = self.first_place(&range);
        let first = self.runs.get(run).map_or(&[][..], |run| &run[index..]);
        let rest = self.runs.iter().skip(run + 1).flatten();
        let end = range.end;
        let regions = first.iter().chain(rest).take_while(move |region| region.start < end);
        regions.map(move |region| region.clipped(&range)).filter(|part| part.start < part.end)
    }

    /// Whether every page of `range` is in some region.
    pub fn covers(&self, range: Range<u64>) -> bool {
        self.extent(range.clone(), |_| true) == range.end
    }

    /// The end of the pages of `range` that lie, from its start on without a hole, in regions for which `holds` is
    /// true.
    pub fn extent(&self, range: Range<u64>, holds: impl Fn(&Region) -> bool) -> u64 {
        let mut at = range.start;
        let mut place = self.first_place(&range);
        while at < range.end {
            match self.get(place) {
                Some(region) if region.start <= at && holds(region) => at = region.end,
                _ => break,
            }
            place = self.after(place);
        }
        at.min(range.end)
    }

    /// The part of `range` that lies in regions without a hole, as far as the budget allows; the caller continues
    /// there.
    pub fn covered(&self, range: Range<u64>, budget: &mut Budget) -> Covered {
        let mut at = range.start;
        let mut place = self.first_place(&range);
        while at < range.end {
            match self.get(place) {
                Some(region) if region.start <= at && !budget.is_spent() => at = region.end,
                _ => return Covered::UpTo(at),
            }
            budget.spend(COST_OF_A_LOOK);
            place = self.after(place);
        }
        Covered::All
    }

    /// The number of regions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The kernel's heap memory that they take, in frames.
    pub fn frames(&self) -> usize {
        self.len * size_of::<Region>() / PAGE_SIZE
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sum of their sizes in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a region where none is; it is merged with neighbours that it continues.
    ///
    /// # Panics
    /// If it is empty or overlaps another (checked in tests only): a bug of the caller.
    pub fn insert(&mut self, region: Region) -> Result<(), TooMany> {
        debug_assert!(region.start < region.end && self.first(region.start..region.end).is_none());
        if self.len >= MAX_REGIONS {
            return Err(TooMany);
        }
        self.put(self.normalized(self.up_to(region.start)), region);
        Ok(())
    }

    /// Cuts the first part that lies in `range` out of its region; `None` if there is none left.
    ///
    /// The caller loops, so that a step is bounded however many regions a range has. The part takes the region's
    /// reference to its object along, and each rest of the region needs one: the number of references to add is
    /// returned with the part.
    ///
    /// Afterwards `more` regions can be inserted: a caller that puts the part back, changed, asks for one. So a part is
    /// never left without a position.
    pub fn cut(&mut self, range: Range<u64>, more: usize) -> Result<Option<(Region, u32)>, TooMany> {
        let Some(place) = self.overlapping(&range) else { return Ok(None) };
        self.cut_at(place, &range, more).map(|(_, part, rests)| Some((part, rests)))
    }

    /// Replaces the first part that lies in `range` by what `alter` returns for it, with unchanged range and backing;
    /// `None` if there is none. Returns the old part, with the number of references to add to its object.
    pub fn alter(
        &mut self,
        range: Range<u64>,
        alter: impl Fn(Region) -> Region,
    ) -> Result<Option<(Region, u32)>, TooMany> {
        let Some(place) = self.overlapping(&range) else { return Ok(None) };
        match self.get(place) {
            Some(region) if alter(*region) == *region => return Ok(Some((region.clipped(&range), 0))),
            _ => {}
        }
        let (place, part, rests) = self.cut_at(place, &range, 1)?;
        self.put(place, alter(part));
        Ok(Some((part, rests)))
    }

    /// Cuts the part of a region that lies in `range`, and returns its position, the part, and the number of rests.
    fn cut_at(&mut self, place: Place, range: &Range<u64>, more: usize) -> Result<(Place, Region, u32), TooMany> {
        let whole = self.runs[place.run][place.index];
        let part = whole.clipped(range);
        let (left, right) = (whole.start < part.start, part.end < whole.end);
        let rests = usize::from(left) + usize::from(right);
        if self.len - 1 + rests + more > MAX_REGIONS {
            return Err(TooMany);
        }
        self.bytes -= part.end - part.start;
        let rest = || whole.part(part.end..whole.end);
        let place = match (left, right) {
            (false, false) => self.remove(place),
            (false, true) => {
                self.change(place, |region| *region = rest());
                place
            }
            (true, _) => {
                self.change(place, |region| region.end = part.start);
                let after = self.after(place);
                if right { self.insert_at(after, rest()) } else { after }
            }
        };
        Ok((place, part, rests as u32))
    }

    /// The first part of a region that lies in `range`.
    pub fn first(&self, range: Range<u64>) -> Option<Region> {
        self.overlapping(&range).and_then(|place| self.get(place)).map(|region| region.clipped(&range))
    }

    /// The position of the first region of which a part lies in `range`, if there is one.
    fn overlapping(&self, range: &Range<u64>) -> Option<Place> {
        if range.is_empty() {
            return None;
        }
        let place = self.first_place(range);
        self.get(place).filter(|region| region.start < range.end).map(|_| place)
    }

    /// The position of the first region that does not end before `range`.
    #[inline]
    fn first_place(&self, range: &Range<u64>) -> Place {
        let place = self.up_to(range.start);
        let before = self.before(place).filter(|before| self.get(*before).is_some_and(|it| it.end > range.start));
        before.unwrap_or_else(|| self.normalized(place))
    }

    /// The position behind the last region that begins at an address or below it, still in that region's run.
    #[inline]
    pub(crate) fn up_to(&self, address: u64) -> Place {
        let run = self.runs.partition_point(|run| run[0].start <= address).saturating_sub(1);
        let index = self.runs.get(run).map_or(0, |run| run.partition_point(|region| region.start <= address));
        Place { run, index }
    }

    /// The position as one that [`Regions::get`] finds: in the next run, if it is behind the last region of a run.
    #[inline]
    pub(crate) fn normalized(&self, place: Place) -> Place {
        match self.runs.get(place.run) {
            Some(run) if place.index >= run.len() => Place { run: place.run + 1, index: 0 },
            _ => place,
        }
    }

    #[inline]
    pub(crate) fn get(&self, place: Place) -> Option<&Region> {
        self.runs.get(place.run)?.get(place.index)
    }

    #[inline]
    pub(crate) fn before(&self, place: Place) -> Option<Place> {
        match place.index.checked_sub(1) {
            Some(index) => Some(Place { index, ..place }),
            None => place.run.checked_sub(1).map(|run| Place { run, index: self.runs[run].len() - 1 }),
        }
    }

    #[inline]
    pub(crate) fn after(&self, place: Place) -> Place {
        self.normalized(Place { index: place.index + 1, ..place })
    }

    /// Changes a region in place.
    #[inline]
    fn change(&mut self, place: Place, change: impl FnOnce(&mut Region)) {
        change(&mut self.runs[place.run][place.index]);
        self.note(place);
    }

    /// Inserts a region at a position, or merges it with a neighbour that it continues.
    fn put(&mut self, place: Place, region: Region) {
        self.bytes += region.end - region.start;
        let before = self.before(place).filter(|at| self.get(*at).is_some_and(|before| before.continues(&region)));
        let after = self.get(place).filter(|after| region.continues(after)).map(|after| after.end);
        match (before, after) {
            (Some(before), Some(end)) => {
                self.runs[before.run][before.index].end = end;
                self.remove(place);
            }
            (Some(before), None) => self.change(before, |before| before.end = region.end),
            (None, Some(_)) => self.change(place, |after| after.start = region.start),
            (None, None) => _ = self.insert_at(place, region),
        }
    }

    /// Inserts a region at a position and returns where it is.
    fn insert_at(&mut self, place: Place, region: Region) -> Place {
        let Place { mut run, mut index } = place;
        // Prefer the end of a run to the beginning of the next.
        if index == 0 && run > 0 {
            run -= 1;
            index = self.runs[run].len();
        }
        let runs = &mut self.runs;
        match runs.get_mut(run) {
            None => runs.push(Vec::with_capacity(FIRST_RUN)),
            Some(full) if full.len() == RUN => {
                let upper = full.split_off(RUN / 2);
                runs.insert(run + 1, upper);
                self.run_added(run + 1);
                if index > RUN / 2 {
                    run += 1;
                    index -= RUN / 2;
                }
            }
            Some(_) => {}
        }
        self.runs[run].insert(index, region);
        self.len += 1;
        self.note(Place { run, index });
        Place { run, index }
    }

    /// Removes the region at a position, and returns the position of the one that followed it.
    ///
    /// Runs that have become short are joined: any two neighbours have more than half a run's regions together, so that
    /// the memory for runs stays in proportion to the regions.
    fn remove(&mut self, place: Place) -> Place {
        let Place { mut run, mut index } = place;
        self.len -= 1;
        let runs = &mut self.runs;
        runs[run].remove(index);
        let length = |run: Option<&Vec<Region>>| run.map_or(RUN, Vec::len);
        let own = runs[run].len();
        let (before, next) = (length(run.checked_sub(1).map(|run| &runs[run])), length(runs.get(run + 1)));
        if own == 0 {
            runs.remove(run);
            self.run_removed(run);
        } else if own + before.min(next) <= RUN / 2 {
            if before < next {
                run -= 1;
                index += before;
            }
            let next = runs.remove(run + 1);
            runs[run].extend(next);
            self.run_removed(run + 1);
        } else {
            self.note(place);
        }
        self.normalized(Place { run, index })
    }
}

#[cfg(test)]
#[path = "../tests/region.rs"]
mod tests;
