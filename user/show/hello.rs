//! Prints a line and ends with its argument as exit status: about the smallest native package.
//!
//! Run by: `tests/tests/boot/bochs.rs`, `tests/tests/boot/foreign.rs`, `tests/tests/boot/images.rs`,
//! `tests/tests/boot/machines.rs`, `tests/tests/boot/profile.rs`, `tests/tests/boot/programs.rs`,
//! `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use native::{println, system};

native::entry!(main);

fn main(argument: u64) -> i32 {
    println!("ok hello: a native package, process {}, argument {argument}", system::pid());
    argument as i32
}
