//! The strategy of papers/001: one CPU at a time in the kernel. The giant lock is requested when the level
//! rises and given back when it falls.

use crate::arch::clock;
use crate::schedule;
use core::cell::Cell;
use cpulocal::{InKernel, cpu_local};
use giantlock::{Cpu, GiantLock, Wait};

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

cpu_local! {
    /// This CPU, as the lock knows it.
    static ME: Cell<Cpu> = Cell::new(numbered(0));
    /// When the present wait began; 0: there is none.
    static SINCE: Cell<u64> = Cell::new(0);
    /// Cycles of all waits.
    static WAITED: Cell<u64> = Cell::new(0);
}

/// What a CPU does while it waits for the lock. It holds nothing, so that who need not wait prepares nothing.
struct Waiter;

impl Wait for Waiter {
    fn round(&mut self) {
        // SAFETY: a CPU that asks for the lock is entering the kernel, and the proof ends with the round.
        let cpu = unsafe { InKernel::new() };
        let since = SINCE.get(&cpu);
        if since.get() == 0 {
            since.set(clock::rdtsc());
        }
    }
}

#[cold]
fn end_of_wait(cpu: &InKernel) {
    let waited = clock::rdtsc().wrapping_sub(SINCE.get(cpu).replace(0));
    WAITED.get(cpu).set(WAITED.get(cpu).get() + waited);
}

/// Cycles that this CPU has waited for the lock.
pub(super) fn waited(cpu: &InKernel) -> u64 {
    WAITED.get(cpu).get()
}

const fn numbered(number: u8) -> Cpu {
    Cpu::new(number).expect("as many CPUs as the lock has room for")
}

/// Makes this CPU known, which has got its number; before it enters for the first time.
pub(super) fn init(cpu: &InKernel) {
    ME.get(cpu).set(numbered(schedule::this_cpu(cpu).0));
}

/// The level rises to 1: waits until no other CPU is in the kernel. Tells whether it had to wait, and so
/// whether anything may have changed under the thread that it runs.
#[inline(always)]
pub(super) fn enter(cpu: &InKernel) -> bool {
    let contended = LOCK.acquire(ME.get(cpu).get(), &mut Waiter).contended;
    if contended {
        end_of_wait(cpu);
    }
    contended
}

/// The level is about to fall to 0.
#[inline(always)]
pub(super) fn leave(cpu: &InKernel) {
    LOCK.release(ME.get(cpu).get());
}
