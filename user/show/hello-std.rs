//! Prints its arguments and environment.

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
