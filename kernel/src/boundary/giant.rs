//! The strategy of papers/001: one CPU at a time in the kernel. The giant lock is requested when the level
//! rises and given back when it falls.

use crate::schedule;
use cpulocal::InKernel;
use giantlock::{Cpu, GiantLock};

#[cfg(any(
    all(feature = "lock-mcs", feature = "lock-clh"),
    all(feature = "lock-mcs", feature = "lock-tas"),
    all(feature = "lock-clh", feature = "lock-tas"),
))]
compile_error!(
    "the giant lock has one queue algorithm: choose one of lock-mcs, lock-clh, lock-tas, or none for ticket"
);

#[cfg(feature = "lock-clh")]
use giantlock::Clh as Algorithm;
#[cfg(feature = "lock-mcs")]
use giantlock::Mcs as Algorithm;
#[cfg(feature = "lock-tas")]
use giantlock::Tas as Algorithm;
#[cfg(not(any(feature = "lock-mcs", feature = "lock-clh", feature = "lock-tas")))]
use giantlock::Ticket as Algorithm;

/// The giant lock.
static LOCK: GiantLock<Algorithm> = GiantLock::new(Algorithm::new());

fn me(cpu: &InKernel) -> Cpu {
    Cpu::new(schedule::this_cpu(cpu).0).expect("as many CPUs as the lock has room for")
}

/// The level rises to 1: waits until no other CPU is in the kernel. Tells whether it had to wait.
#[inline(always)]
pub(super) fn enter(cpu: &InKernel) -> bool {
    LOCK.acquire(me(cpu), &mut || ()).contended
}

/// The level is about to fall to 0.
#[inline(always)]
pub(super) fn leave(cpu: &InKernel) {
    LOCK.release(me(cpu));
}
