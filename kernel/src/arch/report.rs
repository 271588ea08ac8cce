//! Asking another CPU where it is. It tells that when the non-maskable interrupt reaches it, and goes on.

use super::apic::{self, Command};
use super::{cpulocal, remote};
use ::cpulocal::InKernel;
use containers::{Cpu, CpuSet};
use core::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// The CPUs that are asked where they are, and go on.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// Asks a CPU to tell where it is; it goes on afterwards.
pub fn ask(cpu: Cpu) {
    let bit = CpuSet::only(cpu).0;
    // One interrupt for each time that the bit is set: a second one would find it cleared, and be nobody's.
    if ASKED.fetch_or(bit, Release) & bit == 0 {
        apic::send(remote::id(cpu), Command::NonMaskable);
    }
}

/// Whether this CPU, which a non-maskable interrupt has reached, is asked where it is; only once for each time.
pub fn is_wanted(cpu: &InKernel) -> bool {
    if ASKED.load(Acquire) == 0 {
        return false;
    }
    let me = CpuSet::only(cpulocal::number(cpu)).0;
    ASKED.fetch_and(!me, Relaxed) & me != 0
}
