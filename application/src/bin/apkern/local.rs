//! Calls that the application kernel answers by itself.
//!
//! The bases of FS and GS are the application thread's, not its bootstrap thread's, so `arch_prctl` is always answered
//! here. The others are optional (`local=getpid,…` when the extension is loaded): papers/000, "Conclusions". For
//! example, with `local=getpid` a program that asks for its number costs the boot CPU nothing.

use super::thread::{Block, State, USER_END};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use hardware::clock;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{FsBase, KernelGsBase};

/// Linux's numbers of the calls.
const SCHED_YIELD: u64 = 24;
const GETPID: u64 = 39;
const ARCH_PRCTL: u64 = 158;
const GETTID: u64 = 186;
const CLOCK_GETTIME: u64 = 228;

/// Linux's numbers of the clocks that run from boot on, and of those that run from 1970 on.
const SINCE_BOOT: [u64; 4] = [1, 4, 6, 7];
const SINCE_1970: [u64; 2] = [0, 5];

/// Linux's codes of `arch_prctl`, and its error.
const ARCH_SET_GS: u64 = 0x1001;
const ARCH_SET_FS: u64 = 0x1002;
const EPERM: i64 = -1;

/// The calls that can be answered here, by the names of the option, each with its number and its bit in [`CHOSEN`].
const OPTIONAL: [(&str, u64, u32); 4] = [
    ("getpid", GETPID, 1),
    ("gettid", GETTID, 2),
    ("sched_yield", SCHED_YIELD, 4),
    ("clock_gettime", CLOCK_GETTIME, 8),
];

/// The calls that are answered here.
static CHOSEN: AtomicU32 = AtomicU32::new(0);

/// Chooses calls by a list of names: the name that is none of them.
pub fn choose(names: &str) -> Result<(), &str> {
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let (_, _, bit) = OPTIONAL.iter().find(|(optional, ..)| *optional == name).ok_or(name)?;
        CHOSEN.fetch_or(*bit, Relaxed);
    }
    Ok(())
}

/// No call has this number.
const NO_CALL: u64 = u64::MAX;

/// The call that the entry code answers, without storing any registers, from
/// [`Cpu::known_result`](super::cpu::Cpu::known_result): `getpid` if that has been chosen, which is no more than a
/// number.
pub fn known_call() -> u64 {
    if is_chosen(1) { GETPID } else { NO_CALL }
}

/// What becomes of a call.
pub enum Answer {
    /// The bootstrap thread makes it.
    Forwarded,
    /// It has this result.
    Is(u64),
    /// It has the result 0, and other threads run first.
    Yields,
}

/// Answers a call of a thread that runs on this CPU, if it is one to be answered here.
#[inline(always)]
pub fn answer(block: &Block, state: &mut State) -> Answer {
    match state.registers.code {
        GETTID if is_chosen(2) => Answer::Is(block.thread.into()),
        SCHED_YIELD if is_chosen(4) => Answer::Yields,
        CLOCK_GETTIME if is_chosen(8) => clock_gettime(block, state),
        ARCH_PRCTL => set_base(state),
        _ => Answer::Forwarded,
    }
}

#[inline(always)]
fn is_chosen(bit: u32) -> bool {
    CHOSEN.load(Relaxed) & bit != 0
}

/// `clock_gettime(clock, time)`, of a clock that needs no counts of a process, where the program has writable memory.
fn clock_gettime(block: &Block, state: &State) -> Answer {
    const SECOND: u64 = 1_000_000_000;
    let (clock, time) = (state.registers.rdi, state.registers.rsi);
    let now = match clock {
        _ if !time.is_multiple_of(8) || time > USER_END - 16 => return Answer::Forwarded,
        _ if SINCE_BOOT.contains(&clock) => clock::nanoseconds(),
        _ if SINCE_1970.contains(&clock) => clock::wall_clock(),
        _ => return Answer::Forwarded,
    };
    let (Some(seconds), Some(nanoseconds)) = (block.tables.writable(time), block.tables.writable(time + 8)) else {
        return Answer::Forwarded;
    };
    // SAFETY: words of the program's memory. Frames are not released before this CPU, which is on the program's page
    // directory with interrupts off, has answered.
    unsafe {
        seconds.write_volatile(now / SECOND);
        nanoseconds.write_volatile(now % SECOND);
    }
    Answer::Is(0)
}

/// `arch_prctl(code, address)`, as far as it sets a base.
fn set_base(state: &mut State) -> Answer {
    let (code, address) = (state.registers.rdi, state.registers.rsi);
    if !matches!(code, ARCH_SET_FS | ARCH_SET_GS) {
        return Answer::Forwarded;
    }
    if address >= USER_END {
        return Answer::Is(EPERM as u64);
    }
    if code == ARCH_SET_FS {
        state.fs_base = address;
        FsBase::write(VirtAddr::new_truncate(address));
    } else {
        state.gs_base = address;
        KernelGsBase::write(VirtAddr::new_truncate(address));
    }
    Answer::Is(0)
}
