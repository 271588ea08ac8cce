//! Test-and-set: whoever comes first when the lock is free.
//!
//! **Not fair.** Nobody is in a queue; a CPU may lose every race and wait for ever, and one whose cache
//! holds the line tends to win. It is here as the measure of what fairness costs. A waiter reads
//! until the lock looks free and only then writes (test-and-test-and-set).

use super::QueueLock;
use crate::sync::{AtomicBool, Ordering::*, Padded, const_fn};
use crate::{Cpu, Wait, wait};

/// The test-and-set lock. No bound on overtaking.
pub struct Tas {
    taken: Padded<AtomicBool>,
}

impl Tas {
    const_fn! {
        /// A free lock.
        pub fn new() -> Tas {
            Tas { taken: Padded(AtomicBool::new(false)) }
        }
    }
}

impl Tas {
    /// Takes the lock if it is free.
    #[inline]
    fn take(&self) -> bool {
        // The look is relaxed, being no more than a hint, and so is the attempt that fails. It
        // fails without a store, as a swap would not: so only owners write the word, each after the last.
        !self.taken.0.load(Relaxed) && self.taken.0.compare_exchange(false, true, Acquire, Relaxed).is_ok()
    }
}

impl Default for Tas {
    fn default() -> Tas {
        Tas::new()
    }
}

impl QueueLock for Tas {
    const NAME: &'static str = "tas";
    const FAIR: bool = false;

    /// There is no queue.
    type Place = ();

    #[inline]
    fn ask(&self, _: Cpu) -> Option<()> {
        (!self.take()).then_some(())
    }

    #[inline]
    fn wait(&self, _: Cpu, (): (), wait: &mut impl Wait) {
        wait::until(wait, || self.take());
    }

    #[inline]
    fn unlock(&self, _: Cpu) {
        self.taken.0.store(false, SeqCst);
    }

    /// There is no queue, and nobody's turn.
    fn next(&self, _: Cpu) -> Option<Cpu> {
        None
    }
}
