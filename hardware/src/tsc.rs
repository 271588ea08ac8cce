//! The time-stamp counter, which counts up from the CPU's reset.

/// The time-stamp counter.
#[inline]
pub fn rdtsc() -> u64 {
    // SAFETY: every 64-bit CPU has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The time-stamp counter, read only when all earlier instructions are complete: [`rdtsc`] does not wait for loads (SDM
/// volume 2, RDTSC).
#[cfg(feature = "smp")]
pub fn rdtsc_ordered() -> u64 {
    // SAFETY: it changes nothing, and every 64-bit CPU has it.
    unsafe { core::arch::asm!("lfence", options(nostack, preserves_flags)) };
    rdtsc()
}
