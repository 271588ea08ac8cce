//! Where an address space has room.
//!
//! A *gap* is what is free before a region. The gaps in a run are looked at in turn. As soon as there are several runs,
//! a bound is kept for each: no gap in it is larger. A change can only raise it, at once, by what is beside the region
//! that has changed. A search goes to the last run whose bound is large enough; if there is no room all the same, it
//! puts the bound right and goes on. Each bound that is wrong was left so by a region that has been inserted, so this is
//! one run more to look at for each of those, at most, however many runs there are.

use crate::memory::largest::Largest;
use crate::memory::region::{Place, Regions};
use core::ops::Range;

impl Regions {
    /// The highest free range of `length` bytes in `within`, at a multiple of the page size.
    pub fn gap_below(&mut self, within: Range<u64>, length: u64) -> Option<u64> {
        let place = self.up_to(within.end);
        if within.end.saturating_sub(self.end_before(place)) >= length {
            return Some(within.end - length).filter(|start| *start >= within.start);
        }
        let mut next = self.last_with_room(place.run + 1, length);
        while let Some(run) = next {
            if let Some(start) = self.gap_in_run(run, within.end, length) {
                return Some(start).filter(|start| *start >= within.start);
            }
            self.put_bound_right(run);
            next = self.last_with_room(run, length);
        }
        None
    }

    /// The last run before a run that may have a gap of `length` bytes.
    fn last_with_room(&self, run: usize, length: u64) -> Option<usize> {
        if self.bounds.is_empty() { run.checked_sub(1) } else { self.bounds.last_before(run, length) }
    }

    /// The highest free range of `length` bytes below `top` in a gap of a run.
    fn gap_in_run(&self, run: usize, top: u64, length: u64) -> Option<u64> {
        let (last, others) = self.runs.get(run)?.split_last()?;
        let mut top = top.min(last.start);
        for region in others.iter().rev() {
            if top.saturating_sub(region.end) >= length {
                return Some(top - length);
            }
            top = top.min(region.start);
        }
        let end = self.end_before(Place { run, index: 0 });
        (top.saturating_sub(end) >= length).then(|| top - length)
    }

    /// Where the region before a place ends.
    fn end_before(&self, place: Place) -> u64 {
        self.before(place).and_then(|before| self.get(before)).map_or(0, |region| region.end)
    }

    /// What is free before or behind a region has changed.
    #[inline]
    pub(crate) fn note(&mut self, place: Place) {
        if !self.bounds.is_empty() {
            let place = self.settled(place);
            [place, self.after(place)].into_iter().for_each(|place| self.note_gap(place));
        }
    }

    fn note_gap(&mut self, place: Place) {
        if let Some(region) = self.get(place) {
            self.bounds.raise(place.run, region.start - self.end_before(place));
        }
    }

    /// Makes the bound of a run its largest gap.
    fn put_bound_right(&mut self, run: usize) {
        let Some(regions) = self.runs.get(run).filter(|_| !self.bounds.is_empty()) else { return };
        let mut end = self.end_before(Place { run, index: 0 });
        let gaps = regions.iter().map(|region| region.start - core::mem::replace(&mut end, region.end));
        self.bounds.set(run, gaps.max().unwrap_or(0));
    }

    /// A run has been added; nothing is known of its gaps.
    #[cold]
    pub(crate) fn run_added(&mut self, run: usize) {
        match self.runs.len() {
            0 | 1 => {}
            2 => (0..2).for_each(|run| self.bounds.insert(run, u64::MAX)),
            _ => self.bounds.insert(run, u64::MAX),
        }
    }

    /// A run has been removed. Its regions, if there were any, have become part of the run before it.
    #[cold]
    pub(crate) fn run_removed(&mut self, run: usize) {
        match self.runs.len() {
            0 | 1 => self.bounds = Largest::default(),
            runs => {
                self.bounds.remove(run);
                (run.saturating_sub(1)..runs.min(run + 1)).for_each(|run| self.bounds.set(run, u64::MAX));
            }
        }
    }
}
