//! Initialised and zeroed data: right at the first touch, private to the container, one page for each touch.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use native::calls::{self, NORMAL_PRIORITY};
use native::{FOREVER, Status, println};

native::entry!(main);

/// Words of each array: five pages.
const WORDS: usize = 5 * 512;

/// A page-aligned array, so that touches can be counted in pages.
#[repr(align(4096))]
struct Pages([AtomicU64; WORDS]);

/// Word n is `pattern(n)`.
static INITIALISED: Pages = {
    let mut words = [const { AtomicU64::new(0) }; WORDS];
    let mut index = 0;
    while index < WORDS {
        words[index] = AtomicU64::new(pattern(index));
        index += 1;
    }
    Pages(words)
};

static ZEROED: Pages = Pages([const { AtomicU64::new(0) }; WORDS]);

const fn pattern(index: usize) -> u64 {
    (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Argument 0: the parent; 1: the child, which must find everything as at the start.
fn main(argument: u64) -> i32 {
    count_pages();
    check(0, "at the start");
    change(argument + 1);
    check(argument + 1, "after changing it");
    if argument != 0 {
        return 0;
    }
    let child = calls::start("lazy-data", 1, NORMAL_PRIORITY, 0).expect("a package can start itself");
    assert_eq!(calls::wait(child, FOREVER), Ok(Status::Exited(0)), "what the child found");
    check(1, "after the child has changed its own");
    println!("ok lazy-data: data of two containers, each with its own pages");
    0
}

/// Reads or writes one word a page; each first touch of a page costs one page.
fn count_pages() {
    let pages = || calls::container(0).expect("a container has a usage").pages;
    let before = pages();
    assert_eq!(INITIALISED.0[512 * 2 + 7].load(Relaxed), pattern(512 * 2 + 7), "a word of the third page");
    assert_eq!(pages() - before, 1, "pages for reading initialised data");
    ZEROED.0[512 * 4].store(0, Relaxed);
    assert_eq!(pages() - before, 2, "pages for writing zeroed data");
    ZEROED.0[512 * 4 + 511].store(0, Relaxed);
    assert_eq!(pages() - before, 2, "pages for the same page again");
}

fn check(added: u64, when: &str) {
    for index in 0..WORDS {
        assert_eq!(INITIALISED.0[index].load(Relaxed), pattern(index).wrapping_add(added), "word {index} {when}");
        assert_eq!(ZEROED.0[index].load(Relaxed), added, "zeroed word {index} {when}");
    }
}

fn change(by: u64) {
    for word in INITIALISED.0.iter().chain(&ZEROED.0) {
        word.fetch_add(by, Relaxed);
    }
}
