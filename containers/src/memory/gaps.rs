//! The search for free address space.
//!
//! A *gap* is the free range before a region. A search within one run of regions looks at its gaps in turn. As soon as
//! there are several runs, an upper bound of the gaps in each run is kept. A change raises the bound at once, by the
//! gaps beside the region that has changed; it never lowers it. A search goes to the last run whose bound is large
//! enough. If there is no room in that run after all, it corrects the bound and goes on. Each wrong bound was left by a
//! region that has been inserted, so on average a search visits at most one needless run per insertion, however many
//! runs there are. For example, after `mmap` has filled the only gap of a run, the next search visits that run once
//! more, in vain, and lowers its bound.

use crate::memory::max_tree::MaxTree;
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

    /// The end of the region before a place.
    fn end_before(&self, place: Place) -> u64 {
        self.before(place).and_then(|before| self.get(before)).map_or(0, |region| region.end)
    }

    /// Updates the bounds after a change to the free ranges beside a region.
    #[inline]
    pub(crate) fn note(&mut self, place: Place) {
        if !self.bounds.is_empty() {
            let place = self.normalized(place);
            [place, self.after(place)].into_iter().for_each(|place| self.note_gap(place));
        }
    }

    fn note_gap(&mut self, place: Place) {
        if let Some(region) = self.get(place) {
            self.bounds.raise(place.run, region.start - self.end_before(place));
        }
    }

    /// Sets the bound of a run to its largest gap.
    fn put_bound_right(&mut self, run: usize) {
        let Some(regions) = self.runs.get(run).filter(|_| !self.bounds.is_empty()) else { return };
        let mut end = self.end_before(Place { run, index: 0 });
        let gaps = regions.iter().map(|region| region.start - core::mem::replace(&mut end, region.end));
        self.bounds.set(run, gaps.max().unwrap_or(0));
    }

    /// Enters a bound for a new run, of whose gaps nothing is known.
    #[cold]
    pub(crate) fn run_added(&mut self, run: usize) {
        match self.runs.len() {
            0 | 1 => {}
            2 => (0..2).for_each(|run| self.bounds.insert(run, u64::MAX)),
            _ => self.bounds.insert(run, u64::MAX),
        }
    }

    /// Drops the bound of a removed run. Its regions, if there were any, have become part of the run before it.
    #[cold]
    pub(crate) fn run_removed(&mut self, run: usize) {
        match self.runs.len() {
            0 | 1 => self.bounds = MaxTree::default(),
            runs => {
                self.bounds.remove(run);
                (run.saturating_sub(1)..runs.min(run + 1)).for_each(|run| self.bounds.set(run, u64::MAX));
            }
        }
    }
}
