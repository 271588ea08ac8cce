//! Event counters (`eventfd`): for example, a thread that reads a counter of 0 waits; a write of 3 lets it return 3 and
//! makes the counter 0 again.

/// The greatest value of a counter.
pub const COUNT_MAX: u64 = u64::MAX - 1;

/// A counter: writes add to it, a read empties it or counts it down.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counter {
    count: u64,
    /// Whether a read takes one instead of all (`EFD_SEMAPHORE`).
    semaphore: bool,
}

impl Counter {
    /// A counter that starts at `count`.
    pub fn new(count: u64, semaphore: bool) -> Counter {
        Counter { count, semaphore }
    }

    /// The present value.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes what a read returns: `None` if the counter is 0.
    pub fn take(&mut self) -> Option<u64> {
        let taken = if self.semaphore { self.count.min(1) } else { self.count };
        self.count -= taken;
        (taken > 0).then_some(taken)
    }

    /// Adds `more`; false if the sum would exceed [`COUNT_MAX`].
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
