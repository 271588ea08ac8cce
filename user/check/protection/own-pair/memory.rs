//! Deeds to the memory of the pair: the shared page, the bootstrap thread's stack and its code.

use crate::{Random, call_on_and_on};
use abi::application::Message;
use libc::*;
use programs::sys;
use programs::system::PAGE;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::{fs, ptr, thread};

/// What of the program's memory is the pair's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shared,
    /// Private memory in the place of mappings: with it go a few pages of the C library.
    Stacks,
    Code,
}

/// The areas of a kind, as `/proc/self/maps` lists them: start and length.
fn areas(kind: Kind) -> Vec<(u64, u64)> {
    const MAPPINGS: u64 = 0x7e00_0000_0000;
    let here = (&raw const kind).addr() as u64;
    let maps = fs::read_to_string("/proc/self/maps").expect("it reads");
    let mut found = Vec::new();
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ends = words[0].split_once('-').map(|(start, end)| [start, end].map(|end| u64::from_str_radix(end, 16)));
        let Some([Ok(start), Ok(end)]) = ends else { continue };
        let is = match kind {
            Kind::Shared => words[1].ends_with('s'),
            Kind::Code => start >= MAPPINGS && words.len() == 6 && words[5].starts_with('/'),
            Kind::Stacks => {
                start >= MAPPINGS && words[1] == "rw-p" && words.len() == 5 && !(start..end).contains(&here)
            }
        };
        if is {
            found.push((start, end - start));
        }
    }
    assert!(!found.is_empty(), "nothing to attack in\n{maps}");
    found
}

/// Writes nonsense all over, while another thread makes calls.
fn scribble(kind: Kind, random: &mut Random) {
    let areas = areas(kind);
    if random.below(2) == 0 {
        thread::spawn(|| call_on_and_on());
    }
    let seed = random.next();
    // Zeros, ones, jumps to themselves, breakpoints, and whatever comes.
    let word = random.one_of(&[0, u64::MAX, 0xfeeb_feeb_feeb_feeb, 0xcccc_cccc_cccc_cccc, seed]);
    for (start, length) in &areas {
        let _ = sys!(SYS_mprotect, *start, *length, PROT_READ | PROT_WRITE | PROT_EXEC);
    }
    for round in 0..200 {
        for (start, length) in &areas {
            for at in (*start..start + length).step_by(8) {
                let word = if word == seed { word.rotate_left(at as u32 + round) } else { word };
                // SAFETY: none of it holds what this loop needs; what becomes of the process is what is looked for.
                unsafe { ptr::with_exposed_provenance_mut::<u64>(at as usize).write_volatile(word) };
            }
        }
    }
    let _ = sys!(SYS_getppid);
}

pub(crate) fn scribble_shared(random: &mut Random) {
    scribble(Kind::Shared, random);
}

pub(crate) fn scribble_stacks(random: &mut Random) {
    scribble(Kind::Stacks, random);
}

pub(crate) fn scribble_code(random: &mut Random) {
    scribble(Kind::Code, random);
}

/// Takes memory away, or the rights to it, while another thread makes calls.
fn unmap(kind: Kind, random: &mut Random) {
    let areas = areas(kind);
    if random.below(2) == 0 {
        thread::spawn(|| call_on_and_on());
    }
    for (start, length) in areas {
        let _ = match random.below(3) {
            0 => sys!(SYS_mprotect, start, length, PROT_NONE),
            1 => sys!(SYS_munmap, start, length),
            _ => sys!(SYS_mmap, start, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
        };
    }
    let _ = sys!(SYS_getppid);
}

pub(crate) fn unmap_shared(random: &mut Random) {
    unmap(Kind::Shared, random);
}

pub(crate) fn unmap_stacks(random: &mut Random) {
    unmap(Kind::Stacks, random);
}

pub(crate) fn unmap_code(random: &mut Random) {
    unmap(Kind::Code, random);
}

/// Posts messages that no thread has sent, and answers those that are there, while another thread makes calls.
pub(crate) fn forge(random: &mut Random) {
    let areas = areas(Kind::Shared);
    thread::spawn(|| call_on_and_on());
    for _ in 0..100_000 {
        let (start, length) = random.one_of(&areas);
        assert!(length >= PAGE as u64);
        let message = ptr::with_exposed_provenance_mut::<Message>(start as usize);
        // SAFETY: the page is there, and each field is reached as an atomic or by a volatile write.
        unsafe {
            match random.below(4) {
                0 => {
                    (&raw mut (*message).kind).write_volatile(random.below(4) as u32);
                    (&raw mut (*message).number).write_volatile(random.one_of(&[39, 24, 110, 999, 1 << 40]));
                }
                1 => (*ptr::from_ref(&(*message).result).cast::<AtomicU64>()).store(random.next(), SeqCst),
                2 => (*ptr::from_ref(&(*message).answer).cast::<AtomicU32>()).store(random.below(4) as u32, SeqCst),
                _ => (*ptr::from_ref(&(*message).posted).cast::<AtomicU32>()).store(random.below(3) as u32, SeqCst),
            }
        }
    }
}
