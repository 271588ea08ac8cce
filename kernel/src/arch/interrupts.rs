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
