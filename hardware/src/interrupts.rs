//! The CPU's interrupt flag. On a host, where a kernel's calls are tested in user mode, there is nothing to keep out.

use x86_64::instructions::interrupts as cpu;

/// Lets interrupts in.
#[inline]
pub fn enable() {
    if cfg!(target_os = "none") {
        cpu::enable();
    }
}

/// Keeps interrupts out.
#[inline]
pub fn disable() {
    if cfg!(target_os = "none") {
        cpu::disable();
    }
}

/// Runs `f` with interrupts kept out.
#[inline]
pub fn without<R>(f: impl FnOnce() -> R) -> R {
    if cfg!(target_os = "none") { cpu::without_interrupts(f) } else { f() }
}

/// Halts until an interrupt comes, or not at all if one is pending; interrupts are off before and after.
#[cfg(feature = "smp")]
pub fn wait() {
    cpu::enable_and_hlt();
    cpu::disable();
}
