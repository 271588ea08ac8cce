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

/// Whether interrupts are let in.
#[inline]
pub fn enabled() -> bool {
    cpu::are_enabled()
}

/// Lets interrupts in and waits for one, with no gap between the two in which one could be missed.
/// Interrupts are enabled afterwards.
#[inline]
pub fn halt() {
    cpu::enable_and_hlt();
}

/// Runs `f` with interrupts kept out.
#[inline]
pub fn without<R>(f: impl FnOnce() -> R) -> R {
    cpu::without_interrupts(f)
}
