//! The strategy of papers/001, section 7: several CPUs in the kernel at once. A call that needs nothing of the kernel's
//! state takes no lock; everything else that has no lock of its own yet is behind the [giant one](super::giant).
//!
//! For example, CPU 0 forks a process while CPU 1 calls `getpid`: CPU 1 looks at what it runs, and returns.

use super::giant::Giant;
use super::{Nested, Request, Strategy, Waited};
use ::trace::Class;
use abi::strategies::SUBSYSTEMS;
use containers::CpuSet;
use cpulocal::InKernel;

/// Locks of subsystems.
pub struct Subsystems;

impl Strategy for Subsystems {
    const NAME: &'static str = SUBSYSTEMS;

    const LOCKLESS: bool = true;

    type Turn = <Giant as Strategy>::Turn;

    fn start(cpu: &InKernel) {
        Giant::start(cpu);
    }

    #[inline(always)]
    fn enter(cpu: &InKernel) -> Result<(), Self::Turn> {
        Giant::enter(cpu)
    }

    #[inline(always)]
    fn wait(cpu: &InKernel, turn: Self::Turn, class: Class) -> Waited {
        Giant::wait(cpu, turn, class)
    }

    #[inline(always)]
    fn leave(cpu: &InKernel) {
        Giant::leave(cpu);
    }

    fn nested(cpu: &InKernel, vector: u64) -> Nested {
        Giant::nested(cpu, vector)
    }

    fn enter_nested(cpu: &InKernel) {
        Giant::enter_nested(cpu);
    }

    fn leave_nested(cpu: &InKernel) {
        Giant::leave_nested(cpu);
    }

    #[inline(always)]
    fn request(cpu: &InKernel, vector: u64) -> Request {
        Giant::request(cpu, vector)
    }

    fn prod(cpu: &InKernel, cpus: CpuSet) {
        Giant::prod(cpu, cpus);
    }
}
