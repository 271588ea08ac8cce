//! A signal to the host's debugger, if the machine is simulated and has one.

/// Stops Bochs where its debugger waits for this, with all clocks, so that the host can act at one moment of the
/// machine's time and all runs are alike; does nothing anywhere else.
pub fn pause() {
    // SAFETY: exchanging a register with itself changes nothing; Bochs calls it the magic breakpoint.
    unsafe { core::arch::asm!("xchg bx, bx", options(nomem, nostack, preserves_flags)) };
}
