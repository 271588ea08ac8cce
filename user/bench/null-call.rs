//! What entering the kernel and returning costs: `null-call [COUNT [GAP]]`, or `null-call stop`.
//!
//! The program makes `getpid` calls, which do nothing, between two readings of the time-stamp counter, subtracts the
//! same loop without the call, and prints the difference per call. On Bochs a tick is an instruction, so the figure
//! is exact there: the instructions from `syscall`, which counts, to the program's next one. With a GAP the program
//! executes so many instructions between two calls, for example so that a thread that waits for the next one has come to
//! rest meanwhile. With `stop` the program
//! makes one call after a few others and stops Bochs' machine before and after it, so that every instruction between
//! can be listed.
//!
//! An exception takes more. The second figure is the shortest of many page faults that deliver an empty page.
//!
//! Run by: `tests/tests/boot/bochs.rs`, `tests/tests/boot/profile.rs`, `xtask/src/bench/entry.rs`, `xtask/src/bench/application/forwarded.rs`.

use std::arch::{asm, x86_64::_rdtsc};
use std::hint::black_box;

/// Calls before the counter is read, for what happens at first only.
const WARM_UP: u64 = 100;

/// Calls unless the program is told otherwise.
const COUNT: u64 = 10_000;

/// Pages that are touched.
const PAGES: usize = 256;

/// Number of `getpid`, which has no arguments and changes nothing.
const GETPID: u64 = 39;

fn main() {
    let gap = std::env::args().nth(2).map_or(Ok(0), |word| word.parse());
    let count = match std::env::args().nth(1).map(|word| word.parse()) {
        None => COUNT,
        Some(Ok(count)) if count > 0 && gap.is_ok() => count,
        Some(Err(_)) if std::env::args().nth(1).is_some_and(|word| word == "stop") => {
            calls(WARM_UP, 1);
            stop();
            return;
        }
        Some(_) => {
            eprintln!("usage: null-call [COUNT [GAP] | stop]");
            std::process::exit(2);
        }
    };
    // A loop of two, once at least.
    let rounds = (gap.unwrap_or(0) / 2).max(1);
    calls(WARM_UP, rounds);
    let (with, without) = (calls(count, rounds), no_calls(count, rounds));
    // In hundredths, so that an interrupt that came between shows.
    let each = with.saturating_sub(without) * 100 / count;
    println!("getpid: {}.{:02} ticks a call, {count} calls", each / 100, each % 100);
    println!("page fault: {} ticks, the shortest of {PAGES}", page_fault());
}

/// Ticks of the shortest page fault, less those of the same touch without one.
fn page_fault() -> u64 {
    const PAGE: usize = 4096;
    let mut pages = vec![0_u8; (1 + PAGES) * PAGE];
    let mut touch_all = || {
        // The first page has been touched: the allocation's size stands there.
        let touches = pages.chunks_exact_mut(PAGE).skip(1).map(|page| {
            let before = now();
            *black_box(&mut page[PAGE / 2]) = 1;
            now() - before
        });
        touches.min().expect("there are pages")
    };
    let (with, without) = (touch_all(), touch_all());
    with.saturating_sub(without)
}

/// Ticks that the loop takes with a call in each round, behind `rounds` of an inner loop.
fn calls(count: u64, rounds: u64) -> u64 {
    let before = now();
    // SAFETY: the call touches no memory; `syscall` changes the registers named.
    unsafe {
        asm!(
            "2: mov r8, r9", "3: dec r8", "jnz 3b", "mov eax, {getpid}", "syscall", "dec {n}", "jnz 2b",
            getpid = const GETPID, n = inout(reg) count => _, in("r9") rounds, out("r8") _,
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

/// The loop without the call.
fn no_calls(count: u64, rounds: u64) -> u64 {
    let before = now();
    // SAFETY: counts a register down to zero.
    unsafe {
        asm!("2: mov r8, r9", "3: dec r8", "jnz 3b", "mov eax, {getpid}", "dec {n}", "jnz 2b",
            getpid = const GETPID, n = inout(reg) count => _, in("r9") rounds, out("r8") _, out("rax") _,
            options(nostack, nomem));
    }
    now() - before
}

fn now() -> u64 {
    // SAFETY: every 64-bit CPU has it, and the kernel lets programs read it.
    unsafe { _rdtsc() }
}
