//! The call that lets the kernel execute a number of instructions, by which the strategies are measured.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use native::calls::{self, Errno, NORMAL_PRIORITY};
use native::thread::spawn;
use native::time::{MILLISECOND, cycles, nanoseconds};
use native::{println, system};

native::entry!(main);

/// Calls when the argument names no number.
const CALLS: u64 = 500;

fn main(argument: u64) -> i32 {
    // The sleeper below must wait for this CPU.
    system::set_affinity(0, 1 << system::cpu()).expect("the CPU it is on");
    let count = if argument == 0 { CALLS } else { argument };
    let mut last = 0;
    for n in [0, 1_000, 10_000, 100_000] {
        // The least, since the host may take the CPU away in the midst of a call.
        let mut least = u64::MAX;
        for _ in 0..count {
            let start = cycles();
            calls::burn(n).expect("the kernel burns");
            least = least.min(cycles() - start);
        }
        println!("burn({n}): {least} cycles at least");
        assert!(least > last, "more instructions take longer");
        last = least;
    }
    let entries = calls::statistic("entries_system_call");
    let start = nanoseconds();
    calls::burn(1_000_000).expect("the kernel burns");
    assert!(nanoseconds() > start, "time goes on");
    // The call, two of the clock and one for the statistics.
    assert_eq!(calls::statistic("entries_system_call") - entries, 4, "entries by system call");
    interrupted();
    println!("ok lock-burn: {count} calls");
    0
}

/// A deadline that comes while the kernel burns interrupts the kernel itself: execution level 2. Its
/// thread runs when the call is over.
fn interrupted() {
    let before = calls::statistic("level2_interrupts");
    // On a busy host the deadline may come before the burning begins, but not every time.
    let came = (0..50).any(|_| {
        let sleeper = spawn(sleep, 2 * MILLISECOND, NORMAL_PRIORITY).expect("a thread can start");
        system::yield_now();
        calls::burn(20_000_000).expect("the kernel burns");
        let came = calls::statistic("level2_interrupts") > before;
        sleeper.join();
        came
    });
    assert!(came, "the timer interrupted the kernel");
}

fn sleep(nanoseconds: u64) {
    assert_eq!(calls::receive(&mut [0; 8], nanoseconds), Err(Errno::ETIMEDOUT), "nobody sends");
}
