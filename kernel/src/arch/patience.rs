//! How long one CPU waits for another before it reports that.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use hardware::clock;

/// The bound, in nanoseconds, unless the command line sets another.
const DEFAULT: u64 = 10_000_000_000;

static BOUND: AtomicU64 = AtomicU64::new(DEFAULT);

/// The earliest time of the next report, so that CPUs that wait for one lock do not all report it.
static NEXT_REPORT: AtomicU64 = AtomicU64::new(0);

/// The bound, in nanoseconds.
pub fn bound() -> u64 {
    BOUND.load(Relaxed)
}

/// Sets the bound that the command line gives.
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
    /// The time at which patience is over; 0 before the first round.
    until: u64,
}

impl Patience {
    /// A wait whose time begins with its first round: most waits end before that.
    #[inline(always)]
    pub const fn new() -> Patience {
        Patience { until: 0 }
    }

    /// Whether there has been no round yet.
    pub const fn is_fresh(&self) -> bool {
        self.until == 0
    }

    /// Nanoseconds until patience is over.
    pub fn left(&self) -> u64 {
        self.until.saturating_sub(clock::nanoseconds())
    }

    /// One round of the wait. True, once only, when the wait has become too long: a report takes time, and the wait
    /// goes on.
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
