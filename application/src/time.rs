//! For how long a thread has been on CPUs.
//!
//! It is one word, which the CPU that runs the thread writes and the boot CPU reads: the time, and while the thread runs
//! the time less the moment at which it was dispatched. That is negative, because a thread has not run for longer than
//! the counter has. For example, a thread that had run for 300 ticks is dispatched at tick 1,000: the word is −700, and at
//! tick 1,250 the thread has run for 550.

use crate::sync::{AtomicU64, Ordering::Relaxed};

/// A thread's time, in ticks of a counter that all CPUs share.
pub struct Time(AtomicU64);

impl Time {
    /// None.
    #[expect(clippy::new_without_default, reason = "each has a thread")]
    pub fn new() -> Time {
        Time(AtomicU64::new(0))
    }

    /// The thread goes on to a CPU now.
    #[inline(always)]
    pub fn begin(&self, now: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(now), Relaxed);
    }

    /// The thread leaves the CPU now.
    #[inline(always)]
    pub fn end(&self, now: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(now), Relaxed);
    }

    /// The time until now, from any CPU.
    pub fn until(&self, now: impl Fn() -> u64) -> u64 {
        loop {
            let time = self.0.load(Relaxed);
            if time.cast_signed() >= 0 {
                return time;
            }
            let until_now = time.wrapping_add(now());
            // If the thread has left the CPU meanwhile, that may be later than it did.
            if self.0.load(Relaxed) == time {
                return until_now;
            }
        }
    }
}
