//! The bell: wakes bootstrap threads that sleep, by an interrupt of the boot CPU.
//!
//! An application processor puts the thread into the scheduler's list and rings; the boot CPU, on its way out of
//! whatever it does, wakes the bootstrap threads of all threads in the list. For example, two CPUs ring at the same
//! time: one interrupt is enough, since the second CPU finds the list not empty.

use super::thread::{self, SCHEDULER};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use extension::Kernel;
use hardware::apic::{self, Command};

/// The boot CPU's local APIC id.
static BOOT: AtomicU32 = AtomicU32::new(0);
/// The interrupt's vector.
static VECTOR: AtomicU32 = AtomicU32::new(0);

/// Hangs the bell up: on the boot CPU, with the vector that the kernel has given.
pub fn hang(vector: u8) {
    BOOT.store(apic::id(), Relaxed);
    VECTOR.store(vector.into(), Relaxed);
}

/// Interrupts the boot CPU.
pub fn ring() {
    apic::send(BOOT.load(Relaxed), Command::Interrupt(VECTOR.load(Relaxed) as u8));
}

/// The boot CPU has been interrupted: wakes the bootstrap threads.
pub fn answer(kernel: &Kernel) {
    while let Some(number) = SCHEDULER.rung() {
        if let Some(block) = thread::find(number) {
            let _ = kernel.wake(block.number.into());
        }
    }
}
