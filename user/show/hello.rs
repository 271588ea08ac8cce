//! Prints a line and ends with its argument as exit status.
#![no_std]
#![no_main]

use native::{println, system};

native::entry!(main);

fn main(argument: u64) -> i32 {
    println!("ok hello: a native package, process {}, argument {argument}", system::pid());
    argument as i32
}
