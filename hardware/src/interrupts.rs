//! The CPU's interrupt flag.

use x86_64::instructions::interrupts as cpu;

/// Lets interrupts in.
#[inline]
pub fn enable() {
    cpu::enable();
}

/// Keeps interrupts out.
#[inline]
pub fn disable() {
    cpu::disable();
}

/// Runs `f` with interrupts kept out.
#[inline]
pub fn without<R>(f: impl FnOnce() -> R) -> R {
    cpu::without_interrupts(f)
}

/// Halts until an interrupt comes, or not at all if one is pending; interrupts are off before and after.
#[cfg(feature = "smp")]
pub fn wait() {
    cpu::enable_and_hlt();
    cpu::disable();
}
