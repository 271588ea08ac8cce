//! Leaves the window, and so gets a page directory for its container.
//!
//! Inside the window a fault adds a page to the window's table and nothing else. The first touch outside gives the
//! container a page directory of its own, once.
//!
//! Run by: `tests/tests/boot/bochs.rs`, `tests/tests/boot/programs.rs`, `tests/tests/boot/statistics.rs`,
//! `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use native::calls::{self, Usage};
use native::{println, system};

native::entry!(main);

const PAGE: usize = 4096;

/// In `.bss`, at the bottom of the window.
#[repr(align(4096))]
struct Within([AtomicU8; 8 * PAGE]);

static WITHIN: Within = Within([const { AtomicU8::new(0) }; 8 * PAGE]);

fn main(_: u64) -> i32 {
    // First, for its buffer takes the stack to a page that must not be counted below.
    let made = calls::statistic("container_directories_made");
    let start = show("at the start");

    for page in 0..8 {
        black_box(&WITHIN.0)[page * PAGE].store(1, Relaxed);
    }
    let within = show("8 pages of the window touched");
    assert_eq!(within.pages - start.pages, 8, "one page a fault");
    assert_eq!((within.tables, within.directories), (1, 0), "still in the global page directory");

    let pages = system::pages(1 << 20).expect("memory can be mapped");
    for page in pages.chunks_mut(PAGE) {
        assert_eq!(page[0], 0, "new pages are zero");
        page[0] = 1;
    }
    let outside = show("256 pages outside touched");
    assert_eq!(outside.directories, 1, "a container page directory");
    assert_eq!(outside.pages - outside.tables - (within.pages - within.tables), 256, "pages that are no tables");
    assert_eq!(calls::statistic("container_directories_made") - made, 1, "directories made");

    system::give_back(pages).expect("memory can be unmapped");
    let back = show("256 pages given back");
    assert_eq!(outside.pages - outside.tables - (back.pages - back.tables), 256, "pages given back");
    println!("ok outgrow: one container page directory, made at the first touch outside the window");
    0
}

fn show(when: &str) -> Usage {
    let usage = calls::container(0).expect("a container has a usage");
    println!("{when:32} {:4} pages, of these {} tables, {} directories", usage.pages, usage.tables, usage.directories);
    usage
}
