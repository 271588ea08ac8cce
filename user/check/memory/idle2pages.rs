//! A fresh container owns two pages: the window's page table and the first stack page.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/boot/statistics.rs`, `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use native::{calls, println};

native::entry!(main);

fn main(_: u64) -> i32 {
    // Nothing may touch data or heap before this, for that would cost further pages.
    let usage = calls::container(0).expect("a container has a usage");
    assert_eq!((usage.pages, usage.tables, usage.directories), (2, 1, 0), "pages, tables, directories");
    assert_eq!((usage.processes, usage.threads), (1, 1), "processes, threads");
    println!("ok idle2pages: a window table and a stack page, in the global page directory");
    0
}
