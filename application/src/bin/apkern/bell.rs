//! The bell: wakes bootstrap threads that sleep, by an interrupt of the boot CPU.
//!
//! An application processor puts the thread into the scheduler's list and rings; the boot CPU, on its way out of
//! whatever it does, wakes the bootstrap threads of all threads in the list. For example, two CPUs ring at the same
//! time: one interrupt is enough, since the second CPU finds the list not empty.

use super::away;
use super::thread::{self, Block, SCHEDULER};
use application::scheduler::Number;
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

/// The thread whose bootstrap thread has been told to look for a message as long as it is alone, or [`NOBODY`].
static LOOKS: AtomicU32 = AtomicU32::new(NOBODY);
const NOBODY: u32 = u32::MAX;

/// Notes that a thread's bootstrap thread looks for a message. All this is on the boot CPU.
pub fn looks(block: &Block) {
    say(block, 0);
    LOOKS.store(block.number.into(), Relaxed);
}

/// Notes that a thread goes, with its message.
pub fn looks_no_more(block: &Block) {
    if LOOKS.load(Relaxed) == u32::from(block.number) {
        LOOKS.store(NOBODY, Relaxed);
    }
}

/// Says whether other threads wait for the boot CPU.
fn say(block: &Block, others: u32) {
    // SAFETY: the message's page stays as long as the thread; the word is only ever used as an atomic.
    unsafe { &(*block.message()).others }.store(others, Relaxed);
}

/// The boot CPU has been interrupted: wakes the bootstrap threads, and has the one that looks for a message let them
/// run.
#[inline(always)]
pub fn answer(kernel: &Kernel) {
    away::look(kernel);
    if let Some(block) = Number::try_from(LOOKS.load(Relaxed)).ok().and_then(thread::find) {
        LOOKS.store(NOBODY, Relaxed);
        say(block, 1);
    }
    while let Some(number) = SCHEDULER.rung() {
        if let Some(block) = thread::find(number) {
            let _ = kernel.wake(block.number.into());
        }
    }
}
