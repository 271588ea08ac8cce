//! Threads on the boot CPU: the parameter `migrate`.
//!
//! A thread that calls the kernel more than it computes is *away*: its bootstrap thread has left its loop and runs the
//! program on the boot CPU, where nothing is forwarded. Every 10 ms the first application processor rings the bell at the
//! end of a time slice, and the boot CPU looks at the thread that it has been running. One that computes comes back: its
//! bootstrap thread is diverted into its loop, and the program's registers are the application thread's again.
//! `application::habits` decides.

use super::thread::{Block, SCHEDULER, USER_END};
use super::{bell, cpu, device};
use abi::registers::Registers;
use application::scheduler::Place;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use extension::{EINVAL, Kernel};
use hardware::clock;

/// Linux's error.
const ENOTSUP: i32 = 95;

/// The application processor whose time slices are counted.
const FIRST: u8 = 1;

/// The time from one look to the next, in nanoseconds.
const BETWEEN: u64 = 10_000_000;

/// Whether threads go away at all.
static CHOSEN: AtomicBool = AtomicBool::new(false);

/// How many are away.
static AWAY: AtomicU32 = AtomicU32::new(0);

/// Whether the boot CPU is to look at the thread that it runs.
static LOOKS: AtomicBool = AtomicBool::new(false);

/// The time-stamp of the last ring for a look; the first application processor's alone.
static RUNG: AtomicU64 = AtomicU64::new(0);

/// Lets threads go away from now on.
pub fn choose() {
    CHOSEN.store(true, Relaxed);
}

/// Where the bootstrap thread of a thread that is away takes up its work.
#[derive(Clone, Copy)]
pub struct Return {
    entry: u64,
    stack: u64,
}

/// [`Call::Depart`](abi::application::Call)
pub fn depart(kernel: &Kernel, block: &Block, address: u64) -> Result<u64, i32> {
    if !CHOSEN.load(Relaxed) {
        return Err(ENOTSUP);
    }
    let back = Return { entry: kernel.read_word(address)?, stack: kernel.read_word(address.wrapping_add(8))? };
    if [back.entry, back.stack].iter().any(|address| *address >= USER_END) || block.away.get().is_some() {
        return Err(EINVAL);
    }
    if !block.habits.calls(clock::rdtsc(), block.time.until(clock::rdtsc)) {
        return Ok(0);
    }
    block.away.set(Some(back));
    if AWAY.fetch_add(1, SeqCst) == 0 {
        // It may have halted without a time slice to end.
        cpu::wake(Some(FIRST));
    }
    Ok(1)
}

/// Whether a processor that halts is to count time slices.
pub fn counts(number: u8) -> bool {
    number == FIRST && AWAY.load(SeqCst) != 0
}

/// A time slice of a processor's has ended: has the boot CPU look, if it is time.
pub fn slice_ended(number: u8) {
    let now = clock::rdtsc();
    if counts(number) && now.wrapping_sub(RUNG.load(Relaxed)) >= clock::ticks(BETWEEN) {
        RUNG.store(now, Relaxed);
        LOOKS.store(true, Relaxed);
        bell::ring();
    }
}

/// The bell has been rung: looks at the thread that the boot CPU has been running, if that is to be done.
#[inline]
pub fn look(kernel: &Kernel) {
    if LOOKS.load(Relaxed) && LOOKS.swap(false, Relaxed) {
        look_at_interrupted(kernel);
    }
}

/// Looks at the thread that the boot CPU has been running.
#[cold]
fn look_at_interrupted(kernel: &Kernel) {
    let Some(found) = kernel.interrupted() else { return };
    let Some(block) = device::named(found.value) else { return };
    // A program that has asked for this by itself may have let the thread run since.
    let Some(Return { entry, stack }) = block.away.get().filter(|_| SCHEDULER.place(block.number) == Place::Blocked)
    else {
        return;
    };
    let registers = Registers { rdi: found.mask, ..Registers::for_user(entry, stack) };
    if block.habits.computes(found.in_user_mode != 0) && kernel.divert(&registers, u64::MAX).is_ok() {
        // SAFETY: the thread is blocked, and only this CPU, the boot CPU, could activate it.
        unsafe { block.state() }.registers = Registers { vector: Registers::SET, ..found.registers };
        block.habits.is_back(clock::rdtsc());
        forget(block);
    }
}

/// A thread is not away any more: it comes back, or has ended.
pub fn forget(block: &Block) {
    if block.away.take().is_some() {
        AWAY.fetch_sub(1, SeqCst);
    }
}
