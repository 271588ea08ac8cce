//! Prints its arguments and environment.
//!
//! Run by: `tests/tests/boot/foreign.rs`, `tests/tests/boot/machines.rs`, `tests/tests/boot/programs.rs`,
//! `tests/tests/boot/shortage.rs`.

use std::env;

fn main() {
    println!("hello from std, process {}", std::process::id());
    for (index, argument) in env::args_os().enumerate() {
        println!("argument {index}: {}", argument.display());
    }
    for (name, value) in env::vars_os() {
        println!("environment: {}={}", name.display(), value.display());
    }
}
