//! The benchmark process of papers/001, section 4, and papers/004, section 5.2, without an end: a loop in user mode
//! with a system call every so often.
//!
//! Run by: `user/bench/throughput.rs`.
#![no_std]
#![no_main]

use core::hint::black_box;
use native::time::spend;
use native::{calls, system};

native::entry!(main);

/// Bits 0 to 31: instructions in user mode between two calls. The rest: instructions that
/// each call executes inside the kernel besides coming and going; [`NULL`] is a call that does nothing.
fn main(argument: u64) -> i32 {
    const NULL: u64 = 0xffff_ffff;
    let (user, burn) = (argument & 0xffff_ffff, argument >> 32);
    loop {
        spend(user);
        match burn {
            NULL => _ = black_box(system::pid()),
            _ => calls::burn(burn).expect("the kernel burns"),
        }
    }
}
