//! Files that are no extensions: the good one, with a mistake in each.

use super::{FILE, delete, init};
use abi::extension::VERSION;
use libc::{ENOEXEC, ENOMEM};
use std::fs;

/// Offsets in a program header.
const TYPE: usize = 0;
const FLAGS: usize = 4;
const OFFSET: usize = 8;
const ADDRESS: usize = 16;
const FILE_SIZE: usize = 32;
const MEMORY_SIZE: usize = 40;

/// Types of program headers.
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
const NOTE: u32 = 4;
const THREAD_LOCAL: u32 = 7;
const STACK: u32 = 0x6474_e551;

/// Tags of the dynamic section.
const RELOCATIONS: u64 = 7;
const RELOCATIONS_SIZE: u64 = 8;
const RELOCATION_SIZE: u64 = 9;
const DEBUG: u64 = 21;

/// The largest image that is looked at.
const LARGEST: usize = 1 << 20;

#[derive(Clone)]
struct Image(Vec<u8>);

impl Image {
    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().expect("N bytes")
    }

    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.get(at))
    }

    /// A copy with other bytes.
    fn with(&self, at: usize, bytes: &[u8]) -> Image {
        let mut other = self.clone();
        other.0[at..at + bytes.len()].copy_from_slice(bytes);
        other
    }

    fn with_word(&self, at: usize, word: u64) -> Image {
        self.with(at, &word.to_le_bytes())
    }

    /// The offsets of the program headers of a type.
    fn headers(&self, kind: u32) -> Vec<usize> {
        let (start, count) = (self.word(32) as usize, usize::from(u16::from_le_bytes(self.get(56))));
        let all = (0..count).map(|index| start + 56 * index);
        all.filter(|at| u32::from_le_bytes(self.get(at + TYPE)) == kind).collect()
    }

    fn header(&self, kind: u32) -> usize {
        self.headers(kind)[0]
    }

    /// The offset of the entry with a tag in the dynamic section.
    fn tag(&self, tag: u64) -> usize {
        let start = self.word(self.header(DYNAMIC) + OFFSET) as usize;
        (start..).step_by(16).find(|at| self.word(*at) == tag).expect("an entry with the tag")
    }

    #[track_caller]
    fn is_refused(&self, why: i32) {
        assert_eq!(init(&self.0, c""), Err(why));
    }
}

pub(super) fn refused() {
    let good = Image(fs::read(FILE).expect("the extension"));
    truncated(&good);
    headers(&good);
    segments(&good);
    notes(&good);
    relocations(&good);
}

fn truncated(good: &Image) {
    let ends = good.headers(LOAD).into_iter().map(|at| good.word(at + OFFSET) + good.word(at + FILE_SIZE));
    let needed = ends.max().expect("segments") as usize;
    for length in (0..needed).step_by(37).chain(needed - 3..needed) {
        Image(good.0[..length].to_vec()).is_refused(ENOEXEC);
    }
    // What no segment needs is not looked at.
    assert_eq!(init(&good.0[..needed], c""), Ok(()));
    assert_eq!(delete(c"hello"), Ok(()));
    Image(vec![b'x'; 5000]).is_refused(ENOEXEC);
    Image(vec![0; LARGEST]).is_refused(ENOEXEC);
    Image(vec![0; LARGEST + 1]).is_refused(ENOMEM);
}

fn headers(good: &Image) {
    good.with(0, b"\x7fELG").is_refused(ENOEXEC);
    good.with(4, &[1]).is_refused(ENOEXEC); // 32 bits
    good.with(16, &[2, 0]).is_refused(ENOEXEC); // at a fixed address
    good.with(16, &[1, 0]).is_refused(ENOEXEC); // not linked
    good.with(18, &[183, 0]).is_refused(ENOEXEC); // of another processor
    good.with_word(24, 0).is_refused(ENOEXEC); // enters what is not code
    good.with_word(32, u64::MAX - 8).is_refused(ENOEXEC);
    good.with(56, &[0xff, 0xff]).is_refused(ENOEXEC);
    for kind in [INTERPRETER, THREAD_LOCAL] {
        good.with(good.header(STACK) + TYPE, &kind.to_le_bytes()).is_refused(ENOEXEC);
    }
}

fn segments(good: &Image) {
    let loads = good.headers(LOAD);
    let last = *loads.last().expect("segments");
    let address = good.word(last + ADDRESS);
    good.with_word(last + MEMORY_SIZE, LARGEST as u64).is_refused(ENOMEM);
    good.with_word(last + ADDRESS, address + LARGEST as u64).is_refused(ENOMEM);
    good.with_word(last + ADDRESS, address % 0x1000).is_refused(ENOEXEC); // over the first one
    good.with_word(last + MEMORY_SIZE, u64::MAX).is_refused(ENOEXEC);
    good.with_word(last + ADDRESS, u64::MAX - 0x1000 + address % 0x1000).is_refused(ENOEXEC);
    good.with_word(last + FILE_SIZE, u64::MAX).is_refused(ENOEXEC);
    for at in loads {
        good.with(at + FLAGS, &[7]).is_refused(ENOEXEC); // to be written and executed
    }
}

fn notes(good: &Image) {
    let header = good.header(NOTE);
    let note = good.word(header + OFFSET) as usize;
    good.with(note + 20, &[VERSION as u8 + 1]).is_refused(ENOEXEC); // another version of the interface
    good.with(note + 20, &[0]).is_refused(ENOEXEC);
    good.with(note + 4, &[35]).is_refused(ENOEXEC); // of another length
    good.with(note + 8, &[9]).is_refused(ENOEXEC); // of another type
    good.with(note + 12, b"Linux\0").is_refused(ENOEXEC);
    good.with(note + 24, b"\0").is_refused(ENOEXEC); // without a name
    good.with(note + 24, b"a/b").is_refused(ENOEXEC);
    good.with(note + 24, &[b'x'; 32]).is_refused(ENOEXEC);
    good.with_word(header + FILE_SIZE, 55).is_refused(ENOEXEC);
    good.with_word(header + OFFSET, u64::MAX - 10).is_refused(ENOEXEC);
    good.with(header + TYPE, &STACK.to_le_bytes()).is_refused(ENOEXEC);
}

fn relocations(good: &Image) {
    let [table, size, entry] = [RELOCATIONS, RELOCATIONS_SIZE, RELOCATION_SIZE].map(|tag| good.tag(tag) + 8);
    // The first segment begins at address and offset 0, and the table is in it.
    let first = good.word(table) as usize;
    let code = good.word(24) & !7;
    for kind in [0, 1, 6, 7, 37] {
        good.with_word(first + 8, kind).is_refused(ENOEXEC);
    }
    good.with_word(first + 8, 1 << 32 | 8).is_refused(ENOEXEC); // of a symbol
    for target in [0, code, LARGEST as u64, !7, good.word(first) + 1] {
        good.with_word(first, target).is_refused(ENOEXEC);
    }
    good.with_word(first + 16, LARGEST as u64).is_refused(ENOEXEC);
    good.with_word(first + 16, u64::MAX).is_refused(ENOEXEC);
    for wrong in [1, 24 * 100_000, u64::MAX - 15] {
        good.with_word(size, wrong).is_refused(ENOEXEC);
    }
    good.with_word(entry, 16).is_refused(ENOEXEC);
    for wrong in [1, LARGEST as u64 - 24, u64::MAX - 15] {
        good.with_word(table, wrong).is_refused(ENOEXEC);
    }
    // A library, tables of other kinds, functions to be called at first.
    for tag in [1, 17, 23, 25, 36] {
        good.with_word(good.tag(DEBUG), tag).is_refused(ENOEXEC);
    }
    let dynamic = good.header(DYNAMIC);
    good.with_word(dynamic + ADDRESS, u64::MAX - 20).is_refused(ENOEXEC);
    good.with_word(dynamic + ADDRESS, LARGEST as u64 / 2).is_refused(ENOEXEC);
}
