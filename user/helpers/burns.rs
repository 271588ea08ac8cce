//! Holds the lock for a known number of instructions a known number of times, and has exactly that recorded: 200
//! calls, 100 of them 10,000 instructions longer than the others, and nothing else between the marks.
//!
//! Run by: `tests/tests/boot/bochs.rs`, `tests/tests/boot/profile.rs`.
#![no_std]
#![no_main]

use native::calls::{self, TRACE_BEGIN, TRACE_END, TRACE_MARK};
use native::println;

native::entry!(main);

const TIMES: u64 = 100;
const SHORT: u64 = 20_000;
const LONG: u64 = 30_000;

fn main(_: u64) -> i32 {
    let recorded = calls::trace(TRACE_BEGIN, 0).is_ok();
    for instructions in [SHORT, LONG] {
        let _ = calls::trace(TRACE_MARK, instructions);
        for _ in 0..TIMES {
            calls::burn(instructions).expect("the kernel burns");
        }
    }
    let _ = calls::trace(TRACE_END, 0);
    println!("ok burns: {}", if recorded { "recorded" } else { "nothing is recorded in this run" });
    0
}
