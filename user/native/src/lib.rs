//! The runtime below native packages: an entry point, output, a heap, threads, and Jotun's calls.
//!
//! A package is a `no_std`, `no_main` program with `native::entry!(main)`. It runs without a C
//! library, without floating point and without unwinding; a panic prints and ends the process with
//! [`PANIC_STATUS`]. All unsafe code of a well-behaved package is here.
//!
//! What it relies on: the kernel starts `_start` as `abi::native::START` says, and the linker script
//! `package.ld` says where data and heap are.
#![no_std]

#[cfg(target_os = "none")]
extern crate alloc;

pub mod calls;
pub mod far;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod image;
pub mod output;
#[cfg(target_os = "none")]
mod start;
pub mod system;
#[cfg(target_os = "none")]
pub mod thread;
pub mod time;

pub use abi::random;
pub use calls::{Errno, FOREVER, POLL, SAME_CONTAINER, Status};

/// Exit status of a process that panicked, as of a Rust program with `std`.
pub const PANIC_STATUS: i32 = 101;

/// Names the package's main function: `fn(argument: u64) -> i32`, which returns the exit status.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn native_main(argument: u64) -> i32 {
            let main: fn(u64) -> i32 = $main;
            main(argument)
        }
    };
}
