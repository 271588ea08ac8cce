//! Asks another CPU where it is. That CPU reports it when the non-maskable interrupt reaches it, and goes on.

use super::{cpulocal, remote};
use ::cpulocal::InKernel;
use containers::{Cpu, CpuSet};
use core::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use hardware::apic::{self, Command};

/// The CPUs that have been asked and have not reported yet.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// Asks a CPU to report where it is; it goes on afterwards.
pub fn ask(cpu: Cpu) {
    let bit = CpuSet::only(cpu).0;
    // An interrupt is sent only when the bit is newly set: a second interrupt would find the bit cleared and count as
    // the hardware's.
    if ASKED.fetch_or(bit, Release) & bit == 0 {
        apic::send(remote::id(cpu), Command::NonMaskable);
    }
}

/// Whether this CPU, which a non-maskable interrupt has reached, has been asked where it is. Clears the request.
pub fn is_wanted(cpu: &InKernel) -> bool {
    if ASKED.load(Acquire) == 0 {
        return false;
    }
    let me = CpuSet::only(cpulocal::number(cpu)).0;
    ASKED.fetch_and(!me, Relaxed) & me != 0
}
