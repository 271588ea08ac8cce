//! Writes to its text and its constants, each in a process of its own: each process gets SIGSEGV, and the code that
//! all containers share does not change.
//!
//! Run by: `tests/tests/boot/hostile.rs`, `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use native::calls::{self, NORMAL_PRIORITY, SIGSEGV};
use native::{FOREVER, Status, println};

native::entry!(main);

static CONSTANT: [u8; 16] = *b"constant as ever";

/// Argument 0: the checks; 1: write to text; 2: write to constants.
fn main(argument: u64) -> i32 {
    match argument {
        0 => {}
        1 => overwrite(main as *const u8),
        _ => overwrite(CONSTANT.as_ptr()),
    }
    if argument != 0 {
        println!("still here after writing to the package");
        return 1;
    }
    for what in 1..=2 {
        let victim = calls::start("write-code", what, NORMAL_PRIORITY, 0).expect("a package can start itself");
        assert_eq!(calls::wait(victim, FOREVER), Ok(Status::Killed(SIGSEGV)), "how number {what} ended");
    }
    assert_eq!(&CONSTANT, b"constant as ever", "the shared constants");
    println!("ok write-code: text and constants are not written");
    0
}

fn overwrite(place: *const u8) {
    // SAFETY: the store is to be refused; inline assembly, so that the compiler presumes nothing.
    unsafe { core::arch::asm!("mov byte ptr [{}], 0", in(reg) place) }
}
