//! The monotonic clock, and cycles.

use crate::system;

/// Nanoseconds of the monotonic clock.
pub fn nanoseconds() -> u64 {
    let [seconds, nanoseconds] = system::monotonic();
    seconds * 1_000_000_000 + nanoseconds
}

/// The time-stamp counter.
pub fn cycles() -> u64 {
    // SAFETY: reading the counter has no effect.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// A millisecond in the unit of time-outs.
pub const MILLISECOND: u64 = 1_000_000;

/// Executes this number of instructions, rounded down to an even number: a loop of two.
pub fn spend(instructions: u64) {
    if let rounds @ 1.. = instructions / 2 {
        // SAFETY: counts a register down to zero.
        unsafe {
            core::arch::asm!("2: dec {n}", "jnz 2b", n = inout(reg) rounds => _, options(nostack, nomem));
        }
    }
}
