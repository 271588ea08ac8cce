//! Shared by the host tests: a lock with a value to guard, and a macro that makes each test once per algorithm.
#![allow(dead_code, reason = "each test file uses its part")]

use giantlock::{Acquired, Contender, GiantLock, QueueLock, Wait};
use std::cell::UnsafeCell;

/// The CPU with this id.
pub(crate) fn cpu(id: usize) -> Contender {
    Contender::new(id as u8).expect("tests use ids that exist")
}

/// The hook of a test's CPU while it waits: a test has more CPUs than the host.
pub(crate) fn idle() {
    std::thread::yield_now();
}

/// A giant lock, and a value that only its owner touches, by plain reads and writes.
#[derive(Default)]
pub(crate) struct Guarded<L: QueueLock, T> {
    pub(crate) lock: GiantLock<L>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through `with`, which holds the lock. That this is enough is what the
// tests test: Miri and the counts tell if it is not.
unsafe impl<L: QueueLock + Sync, T: Send> Sync for Guarded<L, T> {}

impl<L: QueueLock, T> Guarded<L, T> {
    /// One visit: takes the lock, calls `work` with the value, releases the lock.
    pub(crate) fn with<R>(&self, cpu: Contender, wait: &mut impl Wait, work: impl FnOnce(&mut T, Acquired) -> R) -> R {
        let acquired = self.lock.acquire(cpu, wait);
        assert_eq!(acquired.depth, 1);
        assert_eq!(self.lock.owner(), Some(cpu));
        // SAFETY: this CPU holds the lock, and has entered only once.
        let result = work(unsafe { &mut *self.value.get() }, acquired);
        assert_eq!(self.lock.owner(), Some(cpu));
        assert_eq!(self.lock.release(cpu), 0);
        result
    }

    /// The value, at the end.
    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

/// Makes each generic function, which takes a `QueueLock`, a test per algorithm.
#[macro_export]
macro_rules! per_algorithm {
    ($($algorithm:ident: $queue:ident { $($test:ident),* $(,)? })*) => {$(
        mod $algorithm {
            $(#[test] fn $test() { super::$test::<giantlock::$queue>() })*
        }
    )*};
}
