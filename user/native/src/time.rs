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
