//! The benchmark process of papers/001, section 4, with user times that vary: it computes for a time drawn from the
//! exponential distribution, makes a system call, and so on, as many times as it is told.
//!
//! Run by: `user/bench/throughput.rs`.
#![no_std]
#![no_main]

use abi::workload::{Exponential, PASS};
use native::calls;
use native::time::spend;

native::entry!(main);

/// Bits 0 to 23: the mean of the instructions in user mode between two calls. Bits 24 to 31: the seed of their sequence. Bits
/// 32 to 55: instructions that each call executes inside the kernel besides coming and going. The rest: passes of
/// [`PASS`] calls.
fn main(argument: u64) -> i32 {
    let field = |from: u32, bits: u32| argument >> from & ((1 << bits) - 1);
    let mut times = Exponential::new(field(24, 8), field(0, 24));
    for _ in 0..field(56, 8) * PASS as u64 {
        spend(times.draw());
        calls::burn(field(32, 24)).expect("the kernel burns");
    }
    0
}
