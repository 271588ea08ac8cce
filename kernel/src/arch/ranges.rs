//! A small sorted list of address ranges: the memory and its free parts, before there is a heap.

use core::ops::Range;

/// The most ranges in a list; firmware memory maps have some dozens.
const CAPACITY: usize = 128;

/// Disjoint ranges in ascending order.
#[derive(Clone)]
pub struct Ranges {
    list: [(u64, u64); CAPACITY],
    length: usize,
}

impl Ranges {
    /// No range at all.
    pub const fn new() -> Ranges {
        Ranges { list: [(0, 0); CAPACITY], length: 0 }
    }

    /// The ranges, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.list[..self.length].iter().map(|&(start, end)| start..end)
    }

    /// Bytes in all ranges.
    pub fn total(&self) -> u64 {
        self.iter().map(|range| range.end - range.start).sum()
    }

    /// The end of the last range.
    pub fn end(&self) -> u64 {
        self.iter().last().map_or(0, |range| range.end)
    }

    /// Whether one range holds all of `inner`.
    pub fn contains(&self, inner: &Range<u64>) -> bool {
        self.iter().any(|range| range.start <= inner.start && inner.end <= range.end)
    }

    /// Adds a range, merging it with the ranges that it touches; false if the list is full.
    pub fn add(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return true;
        }
        // The ranges that touch it are neighbours in the list: one range replaces them.
        let list = &self.list[..self.length];
        let first = list.partition_point(|&(_, end)| end < range.start);
        let last = list.partition_point(|&(start, _)| start <= range.end);
        let touched = &list[first..last];
        let start = touched.first().map_or(range.start, |&(start, _)| start.min(range.start));
        let end = touched.last().map_or(range.end, |&(_, end)| end.max(range.end));
        self.replace(first, last, &[(start, end)])
    }

    /// Takes a range out. If the list has no room for the two parts of a range that this splits, the whole of the split
    /// range is taken out.
    pub fn remove(&mut self, range: &Range<u64>) {
        let mut at = 0;
        while at < self.length {
            let (start, end) = self.list[at];
            let below = (start, end.min(range.start));
            let above = (start.max(range.end), end);
            let done = match (below.0 < below.1, above.0 < above.1) {
                (true, true) => self.replace(at, at + 1, &[below, above]) || self.replace(at, at + 1, &[]),
                (true, false) => self.replace(at, at + 1, &[below]),
                (false, true) => self.replace(at, at + 1, &[above]),
                (false, false) => {
                    self.replace(at, at + 1, &[]);
                    continue;
                }
            };
            debug_assert!(done);
            at += 1;
        }
    }

    /// Replaces the ranges from `first` to before `last` by `with`; false, and no change, if the list is full.
    fn replace(&mut self, first: usize, last: usize, with: &[(u64, u64)]) -> bool {
        let length = self.length - (last - first) + with.len();
        if length > CAPACITY {
            return false;
        }
        self.list.copy_within(last..self.length, first + with.len());
        self.list[first..first + with.len()].copy_from_slice(with);
        self.length = length;
        true
    }
}
