//! What the boot CPU asks of an application processor: to take a held thread off, and to forget translations. It asks,
//! interrupts the CPU and waits for the answer.
//!
//! **Invariant**: a CPU answers what had been asked *before* it looked whether its thread is held. If it looked first,
//! the boot CPU could hold the thread and ask right afterwards, would take the answer for one to this request, and
//! would remove a thread that still runs.

use crate::sync::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// The requests to one CPU, which are numbered.
pub struct Requests {
    asked: AtomicU64,
    answered: AtomicU64,
}

impl Requests {
    /// Without any.
    #[expect(clippy::new_without_default, reason = "each has a CPU that answers")]
    pub fn new() -> Requests {
        Requests { asked: AtomicU64::new(0), answered: AtomicU64::new(0) }
    }

    /// Asks, from the boot CPU: the number that [`Requests::has_answered`] wants to know.
    #[inline]
    pub fn ask(&self) -> u64 {
        let request = self.asked.load(Relaxed) + 1;
        self.asked.store(request, Release);
        request
    }

    /// The last request, to the CPU itself, which sees all that the boot CPU did before it asked; `None` if it has
    /// answered it.
    #[inline]
    pub fn pending(&self) -> Option<u64> {
        let asked = self.asked.load(Acquire);
        (self.answered.load(Relaxed) != asked).then_some(asked)
    }

    /// The CPU has done what it was asked.
    #[inline]
    pub fn answer(&self, request: u64) {
        self.answered.store(request, Release);
    }

    /// Whether the CPU has answered a request; the boot CPU then sees all that it did before.
    #[inline]
    pub fn has_answered(&self, request: u64) -> bool {
        self.answered.load(Acquire) >= request
    }
}
