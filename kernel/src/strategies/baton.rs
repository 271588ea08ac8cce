//! A strategy for show: the right to be in the kernel is a baton that CPUs hand on in the order of their numbers.
//! `docs/strategies.md` explains it, and it is small enough to start a new strategy from.
//!
//! For example, if CPUs 0 and 3 wait when CPU 2 leaves, CPU 3 gets the baton, then CPU 0. So a CPU that waits gets in
//! after each other CPU has been in once at most.

use super::waiting::{self, Holder};
use super::{Nested, Request, Strategy, Waited};
use crate::arch::cpulocal::number;
use ::trace::Class;
use abi::strategies::BATON;
use containers::{Cpu, CpuSet};
use core::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::SeqCst};
use cpulocal::InKernel;

/// The CPU that has the baton, as a set of one; zero if the baton is free.
static HAS: AtomicU64 = AtomicU64::new(0);

/// The CPUs that wait for the baton.
static WANT: AtomicU64 = AtomicU64::new(0);

fn only(cpu: &InKernel) -> u64 {
    CpuSet::only(number(cpu)).0
}

/// Takes the baton if it is free.
fn take(me: u64) -> bool {
    HAS.compare_exchange(0, me, Acquire, Relaxed).is_ok()
}

/// The CPU of a set that comes next after this one: the next higher number, else the lowest.
fn after(me: Cpu, cpus: u64) -> u64 {
    let behind = cpus & !(u64::MAX >> (63 - me.0));
    let from = if behind != 0 { behind } else { cpus };
    from & from.wrapping_neg()
}

/// One baton.
pub struct Baton;

impl Strategy for Baton {
    const NAME: &'static str = BATON;

    type Turn = ();

    fn start(_cpu: &InKernel) {}

    fn enter(cpu: &InKernel) -> Result<(), ()> {
        if take(only(cpu)) { Ok(()) } else { Err(()) }
    }

    fn wait(cpu: &InKernel, (): (), class: Class) -> Waited {
        let me = only(cpu);
        waiting::wait(cpu, class, holder, |waiter| {
            WANT.fetch_or(me, SeqCst);
            giantlock::until(waiter, |_| {
                // The baton has been handed over; or it is free, as the CPU that had it did not see this one wait.
                let is_taken = HAS.load(Acquire) == me || HAS.load(Relaxed) == 0 && take(me);
                if is_taken {
                    WANT.fetch_and(!me, Relaxed);
                }
                is_taken
            });
        })
    }

    fn leave(cpu: &InKernel) {
        HAS.store(after(number(cpu), WANT.load(SeqCst)), SeqCst);
        if waiting::any_has_halted() {
            waiting::wake(next);
        }
    }

    fn nested(cpu: &InKernel, vector: u64) -> Nested {
        waiting::nested(cpu, vector)
    }

    fn request(cpu: &InKernel, vector: u64) -> Request {
        waiting::request(cpu, vector)
    }

    fn prod(cpu: &InKernel, cpus: CpuSet) {
        waiting::prod(cpu, cpus);
    }
}

/// The CPU that has been given the baton. If the baton is free, all CPUs: one that halts may have begun to wait after
/// the CPU that left looked for waiters.
fn next(_: &InKernel) -> CpuSet {
    match HAS.load(Relaxed) {
        0 => CpuSet(u64::MAX),
        next => CpuSet(next),
    }
}

fn holder() -> Option<Holder> {
    let has = HAS.load(Relaxed);
    (has != 0).then(|| Holder { cpu: Cpu(has.trailing_zeros() as u8), depth: 1 })
}
