//! What a system call costs that does nothing: `null-call [COUNT]`, or `null-call stop`.
//!
//! Makes `getpid` calls between two readings of the time-stamp counter, holds them against the same loop
//! without the call, and prints the difference per call. On Bochs a tick is an instruction, so the
//! figure is exact there: the instructions from `syscall`, which counts, to the next one of the program's. With
//! `stop` it makes one call when it has made some, and stops Bochs' machine before and after it, for who wants to
//! look at every instruction.

use std::arch::{asm, x86_64::_rdtsc};

/// Calls before the counter is read, for what happens at first only.
const WARM_UP: u64 = 100;

/// Calls unless the program is told otherwise.
const COUNT: u64 = 10_000;

/// Number of `getpid`, which has no arguments and changes nothing.
const GETPID: u64 = 39;

fn main() {
    let count = match std::env::args().nth(1).map(|word| word.parse()) {
        None => COUNT,
        Some(Ok(count)) if count > 0 => count,
        Some(Err(_)) if std::env::args().nth(1).is_some_and(|word| word == "stop") => {
            calls(WARM_UP);
            stop();
            return;
        }
        Some(_) => {
            eprintln!("usage: null-call [COUNT | stop]");
            std::process::exit(2);
        }
    };
    calls(WARM_UP);
    let (with, without) = (calls(count), no_calls(count));
    // In hundredths, so that an interrupt that came between shows.
    let each = with.saturating_sub(without) * 100 / count;
    println!("getpid: {}.{:02} ticks a call, {count} calls", each / 100, each % 100);
}

/// Ticks that the loop takes with a call in each round.
fn calls(count: u64) -> u64 {
    let before = now();
    // SAFETY: the call touches no memory; `syscall` changes the registers named.
    unsafe {
        asm!(
            "2: mov eax, {getpid}", "syscall", "dec {n}", "jnz 2b",
            getpid = const GETPID, n = inout(reg) count => _,
            out("rax") _, out("rcx") _, out("r11") _, options(nostack, nomem)
        );
    }
    now() - before
}

/// One call, the machine being stopped before and after it.
fn stop() {
    // SAFETY: the call touches no memory; `xchg bx, bx` does nothing but stop a machine that takes notice.
    unsafe {
        asm!("mov eax, {getpid}", "xchg bx, bx", "syscall", "xchg bx, bx", getpid = const GETPID,
            out("rax") _, out("rcx") _, out("r11") _, options(nostack, nomem));
    }
}

/// The same without the call.
fn no_calls(count: u64) -> u64 {
    let before = now();
    // SAFETY: counts a register down to zero.
    unsafe {
        asm!("2: mov eax, {getpid}", "dec {n}", "jnz 2b",
            getpid = const GETPID, n = inout(reg) count => _, out("rax") _, options(nostack, nomem));
    }
    now() - before
}

fn now() -> u64 {
    // SAFETY: every 64-bit CPU has it, and the kernel lets programs read it.
    unsafe { _rdtsc() }
}
