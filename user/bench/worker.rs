//! The benchmark process of papers/001, section 4: a loop in user mode with a system call every so often. Two of them
//! make the benchmark.
//!
//! Run by: `user/bench/two-processes.rs`, `user/bench/speed.rs`, `user/show/tour/several.rs`.
#![no_std]
#![no_main]

use core::hint::black_box;
use native::{calls, system};

native::entry!(main);

/// Bits 0 to 23: rounds of the loop between two calls, in units of 16. Bits 24 to 39: calls, in units
/// of 16. The rest: instructions that each call executes inside the kernel; 0 is a call that does
/// nothing.
fn main(argument: u64) -> i32 {
    let rounds = (argument & 0xff_ffff) * 16;
    let calls = (argument >> 24 & 0xffff) * 16;
    let burn = argument >> 40;
    for _ in 0..calls {
        for round in 0..rounds {
            black_box(round);
        }
        match burn {
            0 => _ = black_box(system::pid()),
            _ => calls::burn(burn).expect("the kernel burns"),
        }
    }
    0
}
