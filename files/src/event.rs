//! Event counters (`eventfd`).

/// The most that a counter holds.
pub const COUNT_MAX: u64 = u64::MAX - 1;

/// A counter that is added to by writing and emptied, or counted down, by reading.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counter {
    count: u64,
    /// A read takes one instead of all (`EFD_SEMAPHORE`).
    semaphore: bool,
}

impl Counter {
    /// A counter that begins at `count`.
    pub fn new(count: u64, semaphore: bool) -> Counter {
        Counter { count, semaphore }
    }

    /// What it has counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What a read gives: `None` if there is nothing yet.
    pub fn take(&mut self) -> Option<u64> {
        let taken = if self.semaphore { self.count.min(1) } else { self.count };
        self.count -= taken;
        (taken > 0).then_some(taken)
    }

    /// Adds; false if there is no room for so many.
    pub fn add(&mut self, more: u64) -> bool {
        let fits = more <= COUNT_MAX - self.count;
        if fits {
            self.count += more;
        }
        fits
    }
}

#[cfg(test)]
#[path = "tests/event.rs"]
mod tests;
