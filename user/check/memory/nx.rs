//! Executes its stack, its data and its heap, each in a process of its own: each process gets SIGSEGV.
//!
//! Run by: `tests/tests/boot/hostile.rs`, `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use core::sync::atomic::AtomicU8;
use native::calls::{self, NORMAL_PRIORITY, SIGSEGV};
use native::{FOREVER, Status, println};

native::entry!(main);

/// The instruction `ret`: if it were executed, nothing would happen.
const RETURN: u8 = 0xc3;

static DATA: AtomicU8 = AtomicU8::new(RETURN);

/// Argument 0: the checks; otherwise: what to execute.
fn main(argument: u64) -> i32 {
    let stack = [RETURN; 16];
    match argument {
        0 => {}
        1 => execute(stack.as_ptr().expose_provenance()),
        2 => execute(DATA.as_ptr().expose_provenance()),
        3 => execute(Box::into_raw(Box::new(RETURN)).expose_provenance()),
        _ => return 1,
    }
    if argument != 0 {
        println!("still here after executing data");
        return 1;
    }
    for what in 1..=3 {
        let victim = calls::start("nx", what, NORMAL_PRIORITY, 0).expect("a package can start itself");
        assert_eq!(calls::wait(victim, FOREVER), Ok(Status::Killed(SIGSEGV)), "how number {what} ended");
    }
    println!("ok nx: stack, data and heap are not executed");
    0
}

/// Calls what lies at `address`.
fn execute(address: usize) {
    // SAFETY: if the processor does execute it, it is a `ret`.
    unsafe { core::arch::asm!("call {}", in(reg) address, clobber_abi("C")) }
}
