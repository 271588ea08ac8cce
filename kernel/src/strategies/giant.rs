//! The strategy of papers/001: one CPU at a time in the kernel. A CPU requests the giant lock when its level rises and
//! releases it when the level falls.
//!
//! For example, CPU 0 makes a system call while CPU 1 handles a page fault: CPU 0 takes a place in the lock's queue and
//! spins; when CPU 1 returns to user mode, its release hands the lock to CPU 0.

use super::waiting::{self, Holder};
use super::{Nested, Request, Strategy, Waited};
use crate::arch::cpulocal::number;
use ::trace::Class;
use abi::strategies::GIANT;
use containers::CpuSet;
use core::cell::Cell;
use cpulocal::{InKernel, cpu_local};
use giantlock::{Contender, GiantLock, QueueLock};

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
    /// This CPU's number, as the type that the lock takes.
    static ME: Cell<Contender> = Cell::new(numbered(0));
}

const fn numbered(number: u8) -> Contender {
    Contender::new(number).expect("as many CPUs as the lock has room for")
}

/// One giant lock.
pub struct Giant;

impl Strategy for Giant {
    const NAME: &'static str = GIANT;

    type Turn = <Algorithm as QueueLock>::Place;

    fn start(cpu: &InKernel) {
        ME.get(cpu).set(numbered(number(cpu).0));
    }

    #[inline(always)]
    fn enter(cpu: &InKernel) -> Result<(), Self::Turn> {
        LOCK.ask(ME.get(cpu).get()).map(|_depth| ())
    }

    #[inline(always)]
    fn wait(cpu: &InKernel, turn: Self::Turn, class: Class) -> Waited {
        waiting::wait(cpu, class, holder, |waiter| LOCK.wait(ME.get(cpu).get(), turn, waiter))
    }

    #[inline(always)]
    fn leave(cpu: &InKernel) {
        LOCK.release(ME.get(cpu).get());
        if waiting::any_has_halted() {
            waiting::wake(next);
        }
    }

    fn nested(cpu: &InKernel, vector: u64) -> Nested {
        waiting::nested(cpu, vector)
    }

    fn enter_nested(cpu: &InKernel) {
        assert!(LOCK.ask(ME.get(cpu).get()).is_ok(), "a CPU at level 1 that is not in");
    }

    fn leave_nested(cpu: &InKernel) {
        LOCK.release(ME.get(cpu).get());
    }

    #[inline(always)]
    fn request(cpu: &InKernel, vector: u64) -> Request {
        waiting::request(cpu, vector)
    }

    fn prod(cpu: &InKernel, cpus: CpuSet) {
        waiting::prod(cpu, cpus);
    }
}

/// The CPU that has been given the lock; all CPUs, where the lock has no queue and so no CPU's turn has come.
fn next(cpu: &InKernel) -> CpuSet {
    match LOCK.next(ME.get(cpu).get()) {
        Some(next) => CpuSet(1 << next.id()),
        None if Algorithm::FAIR => CpuSet::NONE,
        None => CpuSet(u64::MAX),
    }
}

fn holder() -> Option<Holder> {
    LOCK.holder().map(|holder| Holder { cpu: containers::Cpu(holder.cpu.id()), depth: holder.depth })
}
