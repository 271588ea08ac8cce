//! Reading an extension's file: one that is right, and very many that are nearly right.

use super::machine::machine;
use crate::arch::deferred::Notes;
use crate::arch::extension::Page;
use crate::arch::heap;
use crate::arch::paging::{CODE, CONSTANT, DATA};
use crate::core::extensions::image::{Image, NO_MEMORY};
use crate::core::kernel::{Kernel, Memory};
use abi::extension::{NAME_ROOM, NOTE_KIND, NOTE_OWNER, NOTE_OWNER_LENGTH, VERSION, padded};
use abi::random::Random;
use abi::vectors;
use alloc::vec::Vec;
use containers::{PhysicalMemory, Purpose};

/// Where the extension is to start.
const START: u64 = 0xffff_ff58_0000_0000;

/// Offsets in the file, of the note, of two relocations, of the code, and of the data that begins with the dynamic section.
const NOTE: u64 = 0x158;
const RELOCATIONS: u64 = 0x190;
const CODE_AT: u64 = 0x200;
const DATA_AT: u64 = 0x300;
const END: u64 = 0x3a0;

/// The words that the relocations set: in the data, behind the dynamic section.
const TARGETS: [u64; 2] = [0x2380, 0x2398];

/// A small extension, as a linker would lay it out.
fn file() -> Vec<u8> {
    let mut file = Vec::new();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0");
    let _ = [0x1200u64, 64, 0].map(|word| put(&word.to_le_bytes()));
    put(&[0, 0, 0, 0, 64, 0, 56, 0, 5, 0, 64, 0, 0, 0, 0, 0]);
    let headers: [(u32, u32, [u64; 6]); 5] = [
        (1, 4, [0, 0, 0, 0x1c0, 0x1c0, 0x1000]),
        (1, 5, [CODE_AT, 0x1200, 0, 0x10, 0x10, 0x1000]),
        (1, 6, [DATA_AT, 0x2300, 0, END - DATA_AT, 0x2000, 0x1000]),
        (2, 6, [DATA_AT, 0x2300, 0, 0x50, 0x50, 8]),
        (4, 4, [NOTE, NOTE, 0, 56, 56, 4]),
    ];
    for (kind, flags, words) in headers {
        let _ = [kind, flags].map(|word| put(&word.to_le_bytes()));
        let _ = words.map(|word| put(&word.to_le_bytes()));
    }
    let _ = [NOTE_OWNER_LENGTH, 4 + NAME_ROOM as u32, NOTE_KIND].map(|word| put(&word.to_le_bytes()));
    put(&NOTE_OWNER);
    put(&VERSION.to_le_bytes());
    put(&padded("small"));
    for (target, addend) in TARGETS.into_iter().zip([0x1200u64, 0x10]) {
        let _ = [target, 8, addend].map(|word| put(&word.to_le_bytes()));
    }
    file.resize(DATA_AT as usize, 0xcc);
    let dynamic = [[7, RELOCATIONS], [8, 48], [9, 24], [21, 0], [0, 0]];
    dynamic.as_flattened().iter().for_each(|word| file.extend_from_slice(&word.to_le_bytes()));
    file.resize(END as usize, 0);
    file
}

/// Reads a file as an extension: its name, and its pages, whose frames are the caller's.
fn load(memory: &mut Memory, file: &[u8]) -> Option<(alloc::boxed::Box<str>, Vec<Page>)> {
    assert!(heap::reserve_bytes(&mut memory.physical, heap::RESERVE + (64 << 10)));
    let object = memory.make_object(Purpose::Buffer).expect("an object");
    assert_eq!(memory.write_object(object, 0, file), Ok(file.len()));
    let image = Image::read(memory, object);
    let loaded = image.and_then(|image| image.load(memory, object, START).map(|pages| (image.name, pages)));
    memory.release_object(object);
    loaded.ok()
}

fn frames(memory: &Memory) -> usize {
    memory.physical.free() + heap::pages() + heap::idle_pages()
}

#[test]
fn a_file_is_laid_out_and_relocated() {
    let Kernel { memory, .. } = &mut *machine();
    let (name, pages) = load(memory, &file()).expect("an extension");
    assert_eq!(&*name, "small");
    let seen: Vec<_> = pages.iter().map(|page| (page.offset, page.rights)).collect();
    assert_eq!(seen, [(0, CONSTANT), (0x1000, CODE), (0x2000, DATA), (0x3000, DATA), (0x4000, DATA)]);
    let word = |at: u64| memory.physical.value::<u64>(pages[(at >> 12) as usize].frame, (at & 0xfff) as usize);
    assert_eq!(TARGETS.map(word), [START + 0x1200, START + 0x10]);
    assert_eq!([word(0x1200), word(0x2388), word(0x23a0), word(0x4000)], [0xcccc_cccc_cccc_cccc, 0, 0, 0]);
    pages.iter().for_each(|page| memory.physical.release(page.frame));
}

#[test]
fn a_file_with_mistakes_is_refused_or_stays_within_its_pages() {
    let Kernel { memory, .. } = &mut *machine();
    let (good, mut random) = (file(), Random::new(15));
    let odd = [0, 1, 7, 8, 0xfff, 0x1000, 0x10_0000, 0x7fff_ffff, u64::MAX, u64::MAX - 7, 1 << 63, 0x2300];
    let (mut loaded, mut refused) = (0, 0);
    let before = frames(memory);
    for _ in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..=random.below(3) {
            let (at, odd) = (random.below(END - 8) as usize, odd[random.below(odd.len() as u64) as usize]);
            match random.below(4) {
                0 => bad[at] = random.below(256) as u8,
                1 => bad[at & !7..][..8].copy_from_slice(&odd.to_le_bytes()),
                2 => bad[at & !3..][..4].copy_from_slice(&(odd as u32).to_le_bytes()),
                _ => bad.truncate((END - random.below(64)) as usize),
            }
            bad.resize(END as usize, 0);
        }
        match load(memory, &bad) {
            Some((_, pages)) => {
                loaded += 1;
                assert!(pages.is_sorted_by(|page, next| page.offset < next.offset), "pages that overlap");
                pages.iter().for_each(|page| memory.physical.release(page.frame));
            }
            None => refused += 1,
        }
    }
    assert!(loaded > 1000 && refused > 1000, "{loaded} loaded, {refused} refused");
    assert_eq!(frames(memory), before);
}

#[test]
fn a_file_for_which_there_is_no_memory_leaves_none_behind() {
    let Kernel { memory, .. } = &mut *machine();
    assert!(heap::reserve_bytes(&mut memory.physical, heap::RESERVE + (64 << 10)));
    let object = memory.make_object(Purpose::Buffer).expect("an object");
    assert_eq!(memory.write_object(object, 0, &file()), Ok(END as usize));
    let image = Image::read(memory, object).expect("an extension");
    let mut taken: Vec<_> = core::iter::from_fn(|| memory.physical.allocate().ok()).collect();
    // It has five pages.
    for free in 0..7 {
        let loaded = image.load(memory, object, START);
        assert_eq!(loaded.as_ref().err().copied(), (free < 5).then_some(NO_MEMORY), "{free} frames");
        loaded.unwrap_or_default().iter().for_each(|page| memory.physical.release(page.frame));
        assert_eq!(memory.physical.free(), free);
        memory.physical.release(taken.pop().expect("all memory"));
    }
    taken.into_iter().for_each(|frame| memory.physical.release(frame));
    memory.release_object(object);
}

#[test]
fn each_vector_of_extensions_leaves_a_note_of_its_own() {
    let mut all = Notes::empty();
    for vector in vectors::EXTENSIONS {
        let note = Notes::of_extension(vector);
        assert!(!all.intersects(note) && Notes::EXTENSIONS.contains(note), "{vector:#x}");
        assert_eq!((note | Notes::TIMER | Notes::TEARDOWN).extensions().collect::<Vec<_>>(), [vector]);
        all |= note;
    }
    assert_eq!(all, Notes::EXTENSIONS);
    assert!(!Notes::EXTENSIONS.intersects(Notes::TIMER | Notes::SERIAL | Notes::LOOK | Notes::TEARDOWN));
}
