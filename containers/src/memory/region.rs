//! Regions: what an address space promises, page directories being what has been delivered so far.

use crate::budget::Budget;
use crate::frames::PAGE_SIZE;
use crate::memory::largest::Largest;
use crate::memory::object::ObjectId;
use alloc::rc::Rc;
use alloc::vec::Vec;
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

bitflags::bitflags! {
    /// What holds for a region besides its rights, for as long as it is there.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Traits: u8 {
        /// Stores can never be granted: the mapped file was not opened for writing.
        const READ_ONLY = 1;
        /// A child of `fork` does not get it (`MADV_DONTFORK`).
        const NOT_FORKED = 2;
        /// A child of `fork` gets it empty (`MADV_WIPEONFORK`).
        const WIPED_BY_FORK = 4;
        /// It grows downwards when the room below it is touched, as stacks do.
        const GROWS = 8;
        /// Its pages are to stay in memory, where they stay anyway (`mlock`).
        const LOCKED = 16;
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
    /// What else holds for it.
    pub traits: Traits,
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
    /// A region for no particular purpose.
    pub fn new(range: Range<u64>, rights: Rights, backing: Backing) -> Region {
        let Range { start, end } = range;
        Region { start, end, rights, backing, label: Label::None, traits: Traits::empty() }
    }

    fn part(&self, range: Range<u64>) -> Region {
        Region { start: range.start, end: range.end, backing: self.backing.advanced(range.start - self.start), ..*self }
    }

    /// The part that lies in `range`, which overlaps it.
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

/// Regions a container may have; as many as Linux allows.
pub const MAX_REGIONS: usize = 65_530;

/// The container has as many regions as it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany;

/// How far a range is in regions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Covered {
    /// To its end.
    All,
    /// Up to this address, where there is a hole, or where the budget ended.
    UpTo(u64),
}

/// Instructions that it takes to look at a region, roughly.
pub(crate) const COST_OF_A_LOOK: u64 = 40;

/// Regions in a run, at most. Few enough to be moved up by one when another one comes between them, and so many that
/// nearly every program has just one run.
const RUN: usize = 64;

/// Regions for which a container has room from the start: as many as small programs have.
const FIRST_RUN: usize = 16;

/// The regions of an address space, which never overlap.
///
/// They lie in runs, sorted vectors of which none is empty. So a region is found by two binary searches, of which
/// the first one has hardly anything to do, and its neighbours lie beside it. With [`MAX_REGIONS`] of them a change
/// still moves one run and the list of runs, and no piece of the heap is large.
///
/// Room for a new region is found without looking at all runs ([`Regions::gap_below`]).
///
/// A clone costs nothing until it changes; then all of it is copied, so clones are for regions that are few.
#[derive(Clone, Default)]
pub struct Regions {
    pub(crate) runs: Rc<Vec<Vec<Region>>>,
    /// For each run, what none of its gaps is larger than. Empty while there is one run at most.
    pub(crate) bounds: Largest,
    len: usize,
    bytes: u64,
}

/// Where a region is, or where one would go before it: its run, and its place in that. Behind all others it is the
/// first one of a run that there is not.
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

    /// All regions by address.
    pub fn iter(&self) -> impl Iterator<Item = &Region> {
        self.runs.iter().flatten()
    }

    /// Those that end behind an address, as slices of limited length.
    pub(crate) fn runs_from(&self, address: u64) -> impl Iterator<Item = &[Region]> {
        let Place { run, index } = self.first_place(&(address..u64::MAX));
        let runs = self.runs.iter().skip(run).map(Vec::as_slice);
        runs.enumerate().map(move |(n, run)| if n == 0 { &run[index..] } else { run })
    }

    /// Takes a run out, whichever, of regions that nobody needs any more; `None` if there is none left, or if clones need
    /// them still.
    pub(crate) fn take_run(&mut self) -> Option<Vec<Region>> {
        let run = Rc::get_mut(&mut self.runs)?.pop()?;
        self.len -= run.len();
        self.bytes -= run.iter().map(|region| region.end - region.start).sum::<u64>();
        Some(run)
    }

    /// Adds a run of another container, all of whose regions lie behind those that are here already.
    pub(crate) fn append(&mut self, run: &[Region]) {
        self.len += run.len();
        self.bytes += run.iter().map(|region| region.end - region.start).sum::<u64>();
        self.runs_mut().push(run.to_vec());
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

    /// The end of the pages of `range` that lie, from its start on without a hole, in regions of which `holds` is true.
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

    /// How far `range` is in regions without a hole, as far as the budget goes; there it goes on.
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

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// What they take of the kernel's heap, in frames.
    pub fn frames(&self) -> usize {
        self.len * size_of::<Region>() / PAGE_SIZE
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of address space in all of them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a region where none is; it merges with neighbours that it continues.
    ///
    /// # Panics
    /// If it is empty or overlaps another (checked in tests only): a bug of the caller.
    pub fn insert(&mut self, region: Region) -> Result<(), TooMany> {
        debug_assert!(region.start < region.end && self.first(region.start..region.end).is_none());
        if self.len >= MAX_REGIONS {
            return Err(TooMany);
        }
        self.put(self.settled(self.up_to(region.start)), region);
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
        let Some(place) = self.overlapping(&range) else { return Ok(None) };
        self.cut_at(place, &range, more).map(|(_, part, rests)| Some((part, rests)))
    }

    /// Gives the first part that lies in `range` what `alter` says, which keeps its place and backing; `None` when
    /// there is none. The part is returned as it was, with the number of references to add to its object.
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

    /// Cuts the part of a region that lies in `range`, and tells where it would go, what it is, and how many rests
    /// it leaves.
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

    /// Where the first region is of which a part lies in `range`, if there is one.
    fn overlapping(&self, range: &Range<u64>) -> Option<Place> {
        if range.is_empty() {
            return None;
        }
        let place = self.first_place(range);
        self.get(place).filter(|region| region.start < range.end).map(|_| place)
    }

    /// Where the first region is that does not end before `range`.
    #[inline]
    fn first_place(&self, range: &Range<u64>) -> Place {
        let place = self.up_to(range.start);
        let before = self.before(place).filter(|before| self.get(*before).is_some_and(|it| it.end > range.start));
        before.unwrap_or_else(|| self.settled(place))
    }

    /// Behind the last region that begins at an address or below it, still in its run.
    #[inline]
    pub(crate) fn up_to(&self, address: u64) -> Place {
        let run = self.runs.partition_point(|run| run[0].start <= address).saturating_sub(1);
        let index = self.runs.get(run).map_or(0, |run| run.partition_point(|region| region.start <= address));
        Place { run, index }
    }

    /// The same place, in the next run if it is behind the last region of one.
    #[inline]
    pub(crate) fn settled(&self, place: Place) -> Place {
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
        self.settled(Place { index: place.index + 1, ..place })
    }

    /// The runs, to be changed: no clone has them any more.
    #[inline]
    fn runs_mut(&mut self) -> &mut Vec<Vec<Region>> {
        Rc::make_mut(&mut self.runs)
    }

    /// Changes a region in its place.
    #[inline]
    fn change(&mut self, place: Place, change: impl FnOnce(&mut Region)) {
        change(&mut self.runs_mut()[place.run][place.index]);
        self.note(place);
    }

    /// Puts a region before the one at a place, or makes it part of a neighbour that it continues.
    fn put(&mut self, place: Place, region: Region) {
        self.bytes += region.end - region.start;
        let before = self.before(place).filter(|at| self.get(*at).is_some_and(|before| before.continues(&region)));
        let after = self.get(place).filter(|after| region.continues(after)).map(|after| after.end);
        match (before, after) {
            (Some(before), Some(end)) => {
                self.runs_mut()[before.run][before.index].end = end;
                self.remove(place);
            }
            (Some(before), None) => self.change(before, |before| before.end = region.end),
            (None, Some(_)) => self.change(place, |after| after.start = region.start),
            (None, None) => _ = self.insert_at(place, region),
        }
    }

    /// Inserts a region before the one at a place, and tells where it is.
    fn insert_at(&mut self, place: Place, region: Region) -> Place {
        let Place { mut run, mut index } = place;
        // Behind the last one of a run, rather than before the first one of another.
        if index == 0 && run > 0 {
            run -= 1;
            index = self.runs[run].len();
        }
        let runs = self.runs_mut();
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
        self.runs_mut()[run].insert(index, region);
        self.len += 1;
        self.note(Place { run, index });
        Place { run, index }
    }

    /// Removes the region at a place, and tells where the one is that followed it.
    ///
    /// Runs that have become short are joined: any two neighbours have more than half a run's regions, so that no
    /// more room is taken than the regions are worth.
    fn remove(&mut self, place: Place) -> Place {
        let Place { mut run, mut index } = place;
        self.len -= 1;
        let runs = self.runs_mut();
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
        self.settled(Place { run, index })
    }
}

#[cfg(test)]
#[path = "../tests/region.rs"]
mod tests;
