//! A slab allocator: small pieces of memory, cut out of whole pages (J. Bonwick, "The Slab Allocator", USENIX Summer
//! 1994).
//!
//! A slab is a page divided into pieces of one size. Its header, at the page's start, has the list of its free pieces
//! and counts those in use; rounding a piece's address down finds the header. The slabs of a size that have a free
//! piece form a list. For example, the first allocation of 100 bytes makes a slab of 31 pieces of 128 bytes; the next
//! thirty come from it, each in constant time.
//!
//! ```text
//! page                                                         page + 4096
//!   | header | piece | piece | free -> free | … | never used … |
//! ```
//!
//! **Invariant: a slab is in its size's list exactly if it has a free piece. If none of its pieces is in use, it was
//! the only slab in the list when its last piece was freed.** The page of any other slab becomes free with its last
//! piece. So a size that needs no page any more keeps at most one, and a single piece that is freed and allocated in
//! turn makes no slab each time. Every step takes constant time, however many pieces there are.
//!
//! A piece of more than [half a page](Size) is a page of its own. Anything larger than a page is outside of this crate;
//! for such purposes its owner can take single pages ([`Slabs::take`]).
//!
//! The pages come from the owner of the [`Slabs`]. The crate does not depend on where they lie, so it is tested on the
//! host.
#![no_std]

#[cfg(test)]
extern crate std;

mod sizes;

use core::ptr::{NonNull, null_mut, with_exposed_provenance_mut};
use sizes::{CLASSES, HEADER};
pub use sizes::{Class, Size};

/// The size and the alignment of a page.
pub const PAGE_SIZE: usize = 4096;

/// A free piece or a free page.
struct Free {
    next: *mut Free,
}

/// The header of a slab.
#[repr(C)]
struct Slab {
    /// The first free piece; null exactly if the slab is full.
    free: *mut Free,
    /// The number of pieces in use.
    used: u32,
    /// The start of the pieces that have not been used since the page became a slab. They are not in the list of free
    /// pieces, so that a slab is made in constant time.
    fresh: u32,
    /// Its neighbours in the list of its size.
    next: *mut Slab,
    previous: *mut Slab,
}

const _: () = assert!(size_of::<Slab>() <= HEADER);

/// Slabs of all sizes, and the free pages that they are made of.
pub struct Slabs {
    /// The slabs of each size that have a free piece.
    partial: [*mut Slab; CLASSES],
    /// The free pages.
    pages: *mut Free,
    free: usize,
    /// The number of pages that are pieces or slabs.
    held: usize,
    /// The number of slabs without a piece in use.
    spares: usize,
    /// The sum of the sizes of all pieces in use.
    bytes: usize,
}

/// The slab that a piece belongs to.
#[inline(always)]
fn slab_of(piece: NonNull<u8>) -> *mut Slab {
    // The provenance of the piece's pointer may cover its own bytes only; that of the page was exposed when it became a
    // slab.
    with_exposed_provenance_mut(piece.addr().get() & !(PAGE_SIZE - 1))
}

impl Slabs {
    /// An allocator without pages.
    pub const fn new() -> Slabs {
        Slabs { partial: [null_mut(); CLASSES], pages: null_mut(), free: 0, held: 0, spares: 0, bytes: 0 }
    }

    /// The number of free pages.
    #[inline(always)]
    pub fn free(&self) -> usize {
        self.free
    }

    /// The number of pages that are pieces, or slabs with a piece in use.
    pub fn held(&self) -> usize {
        self.held - self.spares
    }

    /// The number of slabs without a piece in use: at most one for each size.
    pub fn spares(&self) -> usize {
        self.spares
    }

    /// The sum of the sizes of all pieces in use, as rounded.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a free page.
    ///
    /// # Safety
    /// The argument is a page of memory, aligned, that no other code uses until [`Slabs::take`] returns it.
    pub unsafe fn give(&mut self, page: NonNull<u8>) {
        let page = page.cast::<Free>().as_ptr();
        // SAFETY: the caller's promise.
        unsafe { page.write(Free { next: self.pages }) };
        self.pages = page;
        self.free += 1;
    }

    /// Removes a free page and returns it.
    pub fn take(&mut self) -> Option<NonNull<u8>> {
        let page = NonNull::new(self.pages)?;
        // SAFETY: a free page belongs to this allocator, and its link was written when it was added.
        self.pages = unsafe { page.read().next };
        self.free -= 1;
        Some(page.cast())
    }

    /// Allocates a piece from an existing slab; `None` if none of its size has a free piece.
    #[inline(always)]
    pub fn allocate(&mut self, class: Class) -> Option<NonNull<u8>> {
        let slab = NonNull::new(self.partial[class.index()])?.as_ptr();
        // SAFETY: a slab in a list is a header at the start of a page of ours, and has a free piece.
        unsafe {
            let piece = (*slab).free;
            let next = (*piece).next;
            self.spares -= usize::from((*slab).used == 0);
            (*slab).used += 1;
            self.bytes += class.bytes();
            if next.is_null() {
                self.refill(slab, class);
            } else {
                (*slab).free = next;
            }
            NonNull::new(piece.cast())
        }
    }

    /// Allocates a piece with a free page: as a part of a new slab, or as the page. `None` if there is no free page.
    pub fn allocate_anew(&mut self, size: Size) -> Option<NonNull<u8>> {
        let page = self.take()?;
        self.held += 1;
        let Size::Part(class) = size else {
            self.bytes += PAGE_SIZE;
            return Some(page);
        };
        let slab = page.cast::<Slab>().as_ptr();
        slab.expose_provenance();
        let header = Slab { free: null_mut(), used: 0, fresh: HEADER as u32, next: null_mut(), previous: null_mut() };
        // SAFETY: a free page belongs to this allocator; two pieces of any size fit behind the header.
        unsafe {
            slab.write(header);
            (*slab).free = carve(slab, class);
            self.link(slab, class);
        }
        self.spares += 1;
        self.allocate(class)
    }

    /// Frees a piece.
    ///
    /// # Safety
    /// The piece comes from [`Slabs::allocate`] or [`Slabs::allocate_anew`], with this size, and is not used any more.
    #[inline(always)]
    pub unsafe fn deallocate(&mut self, piece: NonNull<u8>, size: Size) {
        self.bytes -= size.bytes();
        let Size::Part(class) = size else {
            self.held -= 1;
            // SAFETY: the piece is a page of ours.
            return unsafe { self.give(piece) };
        };
        let slab = slab_of(piece);
        // SAFETY: the piece is part of a slab of ours, whose header stands at the start of the page; it has room for a
        // link.
        unsafe {
            let first = (*slab).free;
            piece.cast().write(Free { next: first });
            (*slab).free = piece.as_ptr().cast();
            (*slab).used -= 1;
            if first.is_null() {
                self.link(slab, class);
            } else if (*slab).used == 0 {
                self.retire(slab, class);
            }
        }
    }

    /// Called when the last piece of a slab's free list has been taken: a piece that has never been used becomes the
    /// list, or the slab is full.
    ///
    /// # Safety
    /// The slab is ours, and in the list of its class.
    unsafe fn refill(&mut self, slab: *mut Slab, class: Class) {
        // SAFETY: the caller's promise.
        unsafe {
            (*slab).free = carve(slab, class);
            if (*slab).free.is_null() {
                self.unlink(slab, class);
            }
        }
    }

    /// Called when no piece of a slab is in use any more. The slab was not full before, because it has at least two
    /// pieces. Its page becomes free, unless the slab is the only one in its list.
    ///
    /// # Safety
    /// The slab is ours, in the list of its class, and no piece of it is in use.
    unsafe fn retire(&mut self, slab: *mut Slab, class: Class) {
        // SAFETY: the caller's promise; the header lies in a page, at its start.
        unsafe {
            if (*slab).next.is_null() && (*slab).previous.is_null() {
                self.spares += 1;
            } else {
                self.unlink(slab, class);
                self.held -= 1;
                self.give(NonNull::new_unchecked(slab.cast()));
            }
        }
    }

    /// Puts a slab at the front of its list.
    ///
    /// # Safety
    /// The slab is ours, and in no list.
    unsafe fn link(&mut self, slab: *mut Slab, class: Class) {
        let first = &mut self.partial[class.index()];
        // SAFETY: the caller's promise; every member of a list is a slab of ours.
        unsafe {
            (*slab).previous = null_mut();
            (*slab).next = *first;
            if !first.is_null() {
                (**first).previous = slab;
            }
        }
        *first = slab;
    }

    /// Removes a slab from its list.
    ///
    /// # Safety
    /// The slab is ours, and in the list of its class.
    unsafe fn unlink(&mut self, slab: *mut Slab, class: Class) {
        // SAFETY: the caller's promise; its neighbours are slabs of ours.
        unsafe {
            let (next, previous) = ((*slab).next, (*slab).previous);
            if !next.is_null() {
                (*next).previous = previous;
            }
            if previous.is_null() {
                self.partial[class.index()] = next;
            } else {
                (*previous).next = next;
            }
        }
    }
}

impl Default for Slabs {
    fn default() -> Slabs {
        Slabs::new()
    }
}

/// A list of one piece that has never been used; null if there is none left.
///
/// # Safety
/// The slab is a header at the start of a page of its own, and of this class.
unsafe fn carve(slab: *mut Slab, class: Class) -> *mut Free {
    // SAFETY: the caller's promise; pieces from `fresh` on lie in the page, and are not in use.
    unsafe {
        let start = (*slab).fresh as usize;
        let end = start + class.bytes();
        if end > PAGE_SIZE {
            return null_mut();
        }
        (*slab).fresh = end as u32;
        let piece = slab.byte_add(start).cast::<Free>();
        piece.write(Free { next: null_mut() });
        piece
    }
}

#[cfg(test)]
mod tests;
