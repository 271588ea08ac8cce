//! How long one CPU waits for another before it says so.

use super::clock;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The bound, in nanoseconds, unless the command line sets another.
const DEFAULT: u64 = 10_000_000_000;

static BOUND: AtomicU64 = AtomicU64::new(DEFAULT);

/// When the next report may be made: not every CPU that waits for the same tells the same.
static NEXT_REPORT: AtomicU64 = AtomicU64::new(0);

/// The bound, in nanoseconds.
pub fn bound() -> u64 {
    BOUND.load(Relaxed)
}

/// Sets the bound as the command line tells it.
pub fn set(milliseconds: u32) {
    BOUND.store(u64::from(milliseconds) * 1_000_000, Relaxed);
}

/// Whether it is this CPU's turn to report.
pub fn may_report() -> bool {
    let (now, next) = (clock::nanoseconds(), NEXT_REPORT.load(Relaxed));
    now >= next && NEXT_REPORT.compare_exchange(next, now + bound(), Relaxed, Relaxed).is_ok()
}

/// A wait, looked at in each round.
#[derive(Clone, Copy)]
pub struct Patience {
    /// When it is over; 0 before the first round.
    until: u64,
}

impl Patience {
    /// A wait whose time begins with its first round: most end before one.
    #[inline(always)]
    pub const fn new() -> Patience {
        Patience { until: 0 }
    }

    /// Whether no round has been.
    pub const fn is_fresh(&self) -> bool {
        self.until == 0
    }

    /// Nanoseconds until it is over.
    pub fn left(&self) -> u64 {
        self.until.saturating_sub(clock::nanoseconds())
    }

    /// One round; true if the wait has become too long, once: a report takes time, and the waiting goes on.
    pub fn is_over(&mut self) -> bool {
        let now = clock::nanoseconds();
        if self.is_fresh() {
            self.until = now + bound();
        }
        let over = now > self.until;
        if over {
            self.until = u64::MAX;
        }
        over
    }
}
