//! Slabs over pages of the host, against a list of what is in use.

use super::*;
use core::alloc::Layout;
use proptest::prelude::*;
use sizes::SIZES;
use std::alloc;
use std::vec::Vec;

const LAYOUT: Layout = match Layout::from_size_align(PAGE_SIZE, PAGE_SIZE) {
    Ok(layout) => layout,
    Err(_) => panic!("a page has a layout"),
};

/// Slabs with their pages, and all pieces that are in use with the byte that fills each.
struct Machine {
    slabs: Slabs,
    pages: usize,
    pieces: Vec<(NonNull<u8>, Layout, u8)>,
}

impl Machine {
    fn new(pages: usize) -> Machine {
        let mut slabs = Slabs::new();
        for _ in 0..pages {
            // SAFETY: the layout is not empty; the page is given to the slabs alone.
            unsafe { slabs.give(NonNull::new(alloc::alloc(LAYOUT)).unwrap()) };
        }
        Machine { slabs, pages, pieces: Vec::new() }
    }

    /// Whether there was room.
    fn allocate(&mut self, layout: Layout, byte: u8) -> bool {
        let size = Size::of(layout).expect("a piece of a page at most");
        let there = match size {
            Size::Part(class) => self.slabs.allocate(class),
            Size::Page => None,
        };
        let Some(piece) = there.or_else(|| self.slabs.allocate_anew(size)) else { return false };
        assert!(piece.addr().get().is_multiple_of(layout.align()) && size.bytes() >= layout.size());
        // SAFETY: the piece is ours, and so large.
        unsafe { piece.write_bytes(byte, layout.size()) };
        self.pieces.push((piece, layout, byte));
        true
    }

    /// Gives a piece back, in which there is still what was written.
    fn deallocate(&mut self, index: usize) {
        let (piece, layout, byte) = self.pieces.swap_remove(index);
        // SAFETY: the piece is in use, so large, and was written.
        let bytes = unsafe { core::slice::from_raw_parts(piece.as_ptr(), layout.size()) };
        assert!(bytes.iter().all(|there| *there == byte), "a piece that overlaps another, or a header");
        // SAFETY: it came from `allocate` with this layout, and is forgotten.
        unsafe { self.slabs.deallocate(piece, Size::of(layout).unwrap()) };
    }

    fn check(&self) {
        let bytes = self.pieces.iter().map(|(_, layout, _)| Size::of(*layout).unwrap().bytes()).sum();
        let pages = |piece: &(NonNull<u8>, Layout, u8)| piece.0.addr().get() / PAGE_SIZE;
        let mut held: Vec<_> = self.pieces.iter().map(pages).collect();
        held.sort_unstable();
        held.dedup();
        // Every page held has a piece in use.
        assert_eq!((self.slabs.bytes(), self.slabs.held()), (bytes, held.len()));
        assert_eq!(self.slabs.held() + self.slabs.spares() + self.slabs.free(), self.pages);
        assert!(self.slabs.spares() <= SIZES.len());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let spares = self.slabs.partial.iter().filter_map(|slab| NonNull::new(*slab)).map(NonNull::cast);
        let spares: Vec<_> = spares.collect();
        for page in spares.into_iter().chain(core::iter::from_fn(|| self.slabs.take())) {
            // SAFETY: a page comes from there, with this layout.
            unsafe { alloc::dealloc(page.as_ptr(), LAYOUT) };
        }
    }
}

fn layouts() -> impl Strategy<Value = Layout> {
    let sizes = prop_oneof![4 => 1..300_usize, 2 => 300..2100_usize, 1 => 2000..=PAGE_SIZE];
    (sizes, 0..8_u32).prop_map(|(size, align)| Layout::from_size_align(size, 1 << align).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 256 }))]

    /// Pieces are aligned, do not overlap, and no page is held without one.
    #[test]
    fn behaves_as_a_list(steps in proptest::collection::vec((any::<u8>(), layouts(), any::<prop::sample::Index>()), 1..400)) {
        let mut machine = Machine::new(40);
        for (byte, layout, pick) in steps {
            if byte % 8 < 5 || machine.pieces.is_empty() {
                let room = machine.allocate(layout, byte);
                prop_assert!(room || machine.slabs.free() == 0);
            } else {
                machine.deallocate(pick.index(machine.pieces.len()));
            }
            machine.check();
        }
        while !machine.pieces.is_empty() {
            machine.deallocate(machine.pieces.len() / 2);
        }
        prop_assert_eq!((machine.slabs.held(), machine.slabs.bytes()), (0, 0));
        machine.check();
    }
}

#[test]
fn a_page_holds_as_many_as_fit() {
    for size in SIZES {
        let mut machine = Machine::new(1);
        let layout = Layout::from_size_align(size, 1).unwrap();
        let count = (0..).take_while(|n| machine.allocate(layout, *n as u8)).count();
        assert_eq!(count, (PAGE_SIZE - HEADER) / size, "pieces of {size} bytes");
        assert!(count >= 2, "a slab of one piece would be full and empty at once");
        while !machine.pieces.is_empty() {
            machine.deallocate(0);
        }
        assert_eq!((machine.slabs.held(), machine.slabs.spares()), (0, 1));
    }
}

#[test]
fn a_size_has_room_for_its_layout_and_no_more_than_need_be() {
    for size in 0..=PAGE_SIZE {
        for align in [1, 8, 16, 32, 64, 128, 4096] {
            let of = Size::of(Layout::from_size_align(size, align).unwrap()).unwrap();
            let fits = |class: &&usize| **class >= size && class.is_multiple_of(align.max(1)) && align <= HEADER;
            let smallest = SIZES.iter().find(fits).copied();
            match align {
                // Aligned as half a header: as the whole one.
                32 => assert!(of.bytes() >= smallest.unwrap_or(PAGE_SIZE)),
                _ => assert_eq!(of.bytes(), smallest.unwrap_or(PAGE_SIZE), "{size} bytes aligned to {align}"),
            }
        }
    }
    assert_eq!(Size::of(Layout::from_size_align(PAGE_SIZE + 1, 1).unwrap()), None);
    assert_eq!(Size::of(Layout::from_size_align(1, 2 * PAGE_SIZE).unwrap()), None);
}

#[test]
fn without_a_page_there_is_no_piece() {
    let mut slabs = Slabs::new();
    let size = Size::of(Layout::new::<u64>()).unwrap();
    assert_eq!(slabs.allocate_anew(size), None);
    assert_eq!(slabs.take(), None);
}
