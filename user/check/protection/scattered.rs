//! Random numbers, and the random places of a program's parts: `scattered [PROCESSES]`.
//!
//! It prints one line, by which a test compares runs: where the program, its stack, a mapping and its heap are, its
//! `AT_RANDOM` and a number of `getrandom`. Before that it looks for signs of a broken generator: a word that comes
//! twice, more ones than zeroes. With a number it starts that many processes of itself instead.
//!
//! Run by: `tests/tests/boot/random.rs`.

use libc::*;
use programs::system::PAGE;
use std::collections::HashSet;
use std::process::Command;
use std::{env, ptr};

/// 64-bit words that are looked at: several pools of the kernel's generator, and the seams between them.
const WORDS: usize = 8192;

fn main() {
    match env::args().nth(1) {
        None => show(),
        Some(number) => {
            let me = env::current_exe().expect("a path");
            for _ in 0..number.parse().expect("a number") {
                assert!(Command::new(&me).status().expect("it runs").success());
            }
        }
    }
}

/// Looks at the numbers, and prints the line.
fn show() {
    let words = words();
    assert_eq!(words.iter().collect::<HashSet<_>>().len(), WORDS, "a word came twice");
    let ones: u32 = words.iter().map(|word| word.count_ones()).sum();
    // Half of all bits, give or take eight standard deviations.
    let (half, far) = (WORDS as u32 * 32, 8 * ((WORDS * 64) as f64).sqrt() as u32 / 2);
    assert!(ones.abs_diff(half) < far, "{ones} ones in {WORDS} words");

    let local = 0_u8;
    // SAFETY: asks for a page of its own, the heap's end, and the sixteen bytes that AT_RANDOM names.
    let (mapping, heap, random) = unsafe {
        let (rights, kind) = (PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        let mapping = mmap(ptr::null_mut(), PAGE, rights, kind, -1, 0);
        (mapping, sbrk(0), (getauxval(AT_RANDOM) as *const u128).read_unaligned())
    };
    let (program, stack) = (main as fn() as usize, &raw const local);
    println!("{program:#x} {stack:?} {mapping:?} {heap:?} {random:#x} {:#x}", words[0]);
}

/// Random words, asked for in pieces of many lengths.
fn words() -> Vec<u64> {
    let mut bytes = vec![0_u8; WORDS * 8];
    let (mut at, mut length) = (0, 1);
    while at < bytes.len() {
        let end = bytes.len().min(at + length);
        let piece = &mut bytes[at..end];
        // SAFETY: it writes to the piece.
        let given = unsafe { getrandom(piece.as_mut_ptr().cast(), piece.len(), 0) };
        assert_eq!(given, piece.len() as isize);
        at = end;
        length = length % 3000 + 7;
    }
    bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}
