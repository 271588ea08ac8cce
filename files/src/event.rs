//! Event counters (`eventfd`), and what an `epoll` watches.
//!
//! Nobody is told here: who waits asks again when anything has happened, and finds out by the counts of
//! changes what is new.

use crate::open::OpenFileId;
use alloc::collections::BTreeMap;

/// The most that a counter holds.
pub const COUNT_MAX: u64 = u64::MAX - 1;

/// A counter that is added to by writing and emptied, or counted down, by reading.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counter {
    count: u64,
    /// A read takes one instead of all (`EFD_SEMAPHORE`).
    semaphore: bool,
    changes: u64,
}

impl Counter {
    /// A counter that begins at `count`.
    pub fn new(count: u64, semaphore: bool) -> Counter {
        Counter { count, semaphore, changes: 0 }
    }

    /// What it has counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How often it has changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What a read gives: `None` if there is nothing yet.
    pub fn take(&mut self) -> Option<u64> {
        let taken = if self.semaphore { self.count.min(1) } else { self.count };
        self.count -= taken;
        self.changes += u64::from(taken > 0);
        (taken > 0).then_some(taken)
    }

    /// Adds; false if there is no room for so many.
    pub fn add(&mut self, more: u64) -> bool {
        let fits = more <= COUNT_MAX - self.count;
        if fits {
            self.count += more;
            self.changes += 1;
        }
        fits
    }
}

/// What an `epoll` watches: open files, each with the descriptor under which it was named.
pub type Watches = BTreeMap<(u32, OpenFileId), Watch>;

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watch {
    /// The events that are wanted, and how.
    pub events: u32,
    /// What the program wants to be told with them.
    pub data: u64,
    /// The file's count of changes when it was last told of, if only news is wanted.
    pub seen: Option<u64>,
}

impl Watch {
    /// Only what is new since it was last told is wanted (`EPOLLET`).
    pub const EDGE: u32 = 1 << 31;
    /// It is told once, until it is asked for again (`EPOLLONESHOT`).
    pub const ONCE: u32 = 1 << 30;
    /// Bits that are no events.
    const HOW: u32 = 0xf << 28;

    /// What is to be told of a file that is ready for `ready` and has changed so often: 0 if nothing is.
    pub fn news(&self, ready: u32, changes: u64) -> u32 {
        let old = self.events & Watch::EDGE != 0 && self.seen == Some(changes);
        if old { 0 } else { ready & self.events & !Watch::HOW }
    }

    /// It has been told.
    pub fn told(&mut self, changes: u64) {
        self.seen = Some(changes);
        if self.events & Watch::ONCE != 0 {
            self.events &= Watch::HOW;
        }
    }
}

#[cfg(test)]
#[path = "tests/event.rs"]
mod tests;
