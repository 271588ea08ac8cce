//! A small sorted list of address ranges: what memory there is and what of it is free, before there is
//! a heap to keep anything in.

use core::ops::Range;

/// Most ranges in a list; firmware memory maps have some dozens.
const CAPACITY: usize = 192;

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

    /// Adds a range, merging it with those it touches; false if the list is full.
    pub fn add(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return true;
        }
        let (mut start, mut end) = (range.start, range.end);
        let mut kept = Ranges::new();
        for other in self.iter() {
            if other.end < start || end < other.start {
                kept.push(other);
            } else {
                start = start.min(other.start);
                end = end.max(other.end);
            }
        }
        if kept.length == CAPACITY {
            return false;
        }
        let at = kept.list[..kept.length].partition_point(|&(other, _)| other < start);
        kept.list.copy_within(at..kept.length, at + 1);
        kept.list[at] = (start, end);
        kept.length += 1;
        *self = kept;
        true
    }

    /// Takes a range out. If that splits one more than the list can hold, the part above is lost.
    pub fn remove(&mut self, range: &Range<u64>) {
        let mut kept = Ranges::new();
        for other in self.iter() {
            kept.push(other.start..other.end.min(range.start));
            kept.push(other.start.max(range.end)..other.end);
        }
        *self = kept;
    }

    fn push(&mut self, range: Range<u64>) {
        if !range.is_empty() && self.length < CAPACITY {
            self.list[self.length] = (range.start, range.end);
            self.length += 1;
        }
    }
}
