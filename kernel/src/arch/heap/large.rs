//! Pieces that are larger than a page: each has addresses of its own, at which pages are mapped.
//!
//! Addresses are plenty, memory is not. So the addresses of a piece are a **slot**, whose size is a power of two of
//! pages, and only as much of it is mapped as the piece needs. A slot keeps its size for ever. All the state of a slot
//! is in its memory or in its page-table entries, and every step takes constant time for each page. For example, a
//! piece of 20 KiB has a slot of eight pages, five of which are mapped. A slot has one of three states:
//!
//! | slot | its pages | linked by |
//! | --- | --- | --- |
//! | in use | mapped as far as the piece needs, or further | — |
//! | idle: the piece was given back | still mapped | its first bytes ([`Idle`]) |
//! | vacant | none | its first entry, which is not present, so that the CPU takes no notice of it |
//!
//! A piece can be allocated where no request can be made of other CPUs: mapping needs no TLB shootdown, as a CPU caches
//! nothing of an entry that is not present. Unmapping does need one, so a piece that is given back stays mapped until
//! [`Large::vacate`] is called, between two system calls, with one shootdown for many slots.

use crate::arch::layout::DIRECT_MAP;
use crate::arch::paging::DATA;
use core::ops::Range;
use core::ptr::{NonNull, null_mut};
use slabs::{PAGE_SIZE, Slabs};
use x86_64::structures::paging::page_table::PageTableFlags as Flags;

/// How many sizes of slots there are: the first is two pages, the last 512 MiB.
const CLASSES: usize = 17;

/// How many slots are vacated at a time, at most.
const BATCH: usize = 32;

/// How many levels of page tables lie below the one that all page directories share.
const LEVELS: u64 = 3;

/// The first bytes of an idle slot.
struct Idle {
    next: *mut Idle,
    /// How many of its pages are mapped.
    pages: usize,
}

/// The slots of one size.
struct Slots {
    idle: *mut Idle,
    /// The first vacant slot; 0: none.
    vacant: u64,
}

pub(super) struct Large {
    /// The third-level table that covers the heap's addresses.
    root: *mut u64,
    slots: [Slots; CLASSES],
    /// Addresses that belong to no slot yet.
    fresh: Range<u64>,
    /// How many pages are mapped, in use or idle.
    mapped: usize,
    /// How many mapped pages belong to idle slots.
    idle: usize,
    /// How many page tables have been made.
    tables: usize,
    /// How many bytes the pages of the pieces in use have.
    bytes: usize,
}

/// The index of the slots for pieces of a number of bytes: 0 for two pages, 1 for up to four, and so on.
fn class(bytes: usize) -> usize {
    (bytes.div_ceil(PAGE_SIZE).max(2) - 1).ilog2() as usize
}

/// Pages of a slot.
fn slot_pages(class: usize) -> usize {
    2 << class
}

/// The index of an address's entry in a table of a level, the last one being 0.
fn index(address: u64, level: u64) -> usize {
    (address >> (12 + 9 * level)) as usize % 512
}

/// The physical address of a page in the direct map.
fn physical(page: NonNull<u8>) -> u64 {
    page.as_ptr() as u64 - DIRECT_MAP
}

/// The page that an entry names.
fn page_of(entry: u64) -> *mut u8 {
    (DIRECT_MAP + (entry & 0x000f_ffff_ffff_f000)) as *mut u8
}

fn is_present(entry: u64) -> bool {
    entry & Flags::PRESENT.bits() != 0
}

impl Large {
    /// An allocator of large pieces at these addresses of the heap, without any yet.
    pub(super) const fn new(addresses: Range<u64>) -> Large {
        let slots = [const { Slots { idle: null_mut(), vacant: 0 } }; CLASSES];
        Large { root: null_mut(), slots, fresh: addresses, mapped: 0, idle: 0, tables: 0, bytes: 0 }
    }

    /// Sets the page table that covers all addresses of the heap.
    ///
    /// # Safety
    /// It is that table, in the direct map, and no other code changes its entries for the heap.
    pub(super) unsafe fn set_root(&mut self, root: *mut u64) {
        self.root = root;
    }

    /// How many pages are mapped for pieces in use.
    pub(super) fn pages(&self) -> usize {
        self.mapped - self.idle
    }

    /// How many page tables there are; they are never freed.
    pub(super) fn tables(&self) -> usize {
        self.tables
    }

    /// How many pages are mapped and idle.
    pub(super) fn idle(&self) -> usize {
        self.idle
    }

    /// How many bytes the pages of the pieces in use have in all.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many free pages a piece may need: its own, and page tables for it.
    pub(super) fn need(bytes: usize) -> usize {
        bytes.div_ceil(PAGE_SIZE) + bytes.div_ceil(PAGE_SIZE * 512) + LEVELS as usize
    }

    /// Allocates a piece of a number of bytes from free pages; `None` if there are too few.
    pub(super) fn allocate(&mut self, bytes: usize, free: &mut Slabs) -> Option<NonNull<u8>> {
        let class = class(bytes);
        if class >= CLASSES || free.free() < Large::need(bytes) {
            return None;
        }
        let (start, there) = self.take_idle(class).or_else(|| Some((self.take_vacant(class)?, 0)))?;
        let pages = bytes.div_ceil(PAGE_SIZE);
        for page in there..pages {
            self.map(start + (page * PAGE_SIZE) as u64, free)?;
        }
        self.bytes += pages * PAGE_SIZE;
        NonNull::new(start as *mut u8)
    }

    /// Gives a piece back.
    ///
    /// # Safety
    /// It comes from [`Large::allocate`], with this size, and is not used any more.
    pub(super) unsafe fn deallocate(&mut self, piece: NonNull<u8>, bytes: usize) {
        let (class, asked) = (class(bytes), bytes.div_ceil(PAGE_SIZE));
        let start = piece.as_ptr() as u64;
        let further = (asked..slot_pages(class)).take_while(|page| self.is_mapped(start + (page * PAGE_SIZE) as u64));
        let pages = asked + further.count();
        let idle = piece.cast::<Idle>().as_ptr();
        let slots = &mut self.slots[class];
        // SAFETY: the piece is unused now, mapped, aligned and larger than an `Idle`.
        unsafe { idle.write(Idle { next: slots.idle, pages }) };
        slots.idle = idle;
        self.idle += pages;
        self.bytes -= asked * PAGE_SIZE;
    }

    /// Takes the idle slot that was used last: returns its address and how many of its pages are mapped.
    fn take_idle(&mut self, class: usize) -> Option<(u64, usize)> {
        let idle = NonNull::new(self.slots[class].idle)?;
        // SAFETY: an idle slot is mapped, and was written when it became one.
        let Idle { next, pages } = unsafe { idle.read() };
        self.slots[class].idle = next;
        self.idle -= pages;
        Some((idle.as_ptr() as u64, pages))
    }

    /// Takes a slot without pages. There are addresses for more slots than programs can cause pieces.
    fn take_vacant(&mut self, class: usize) -> Option<u64> {
        let vacant = self.slots[class].vacant;
        if vacant != 0 {
            self.slots[class].vacant = self.change(vacant, 0, |_| 0)?;
            return Some(vacant);
        }
        let slot = self.fresh.start..self.fresh.start + (slot_pages(class) * PAGE_SIZE) as u64;
        if slot.end > self.fresh.end {
            return None;
        }
        self.fresh.start = slot.end;
        Some(slot.start)
    }

    /// Maps a page of free memory at an address where there is none.
    pub(super) fn map(&mut self, address: u64, free: &mut Slabs) -> Option<()> {
        let entry = self.entry_or_new(address, free)?;
        let page = free.take()?;
        // SAFETY: an entry of the heap's tables; the page is unused, and the address has none.
        unsafe { entry.write_volatile(physical(page) | DATA.bits()) };
        self.mapped += 1;
        Some(())
    }

    /// Unmaps up to [`BATCH`] idle slots and makes their pages free again. `forget` makes all CPUs forget every
    /// translation of the heap's addresses.
    pub(super) fn vacate(&mut self, free: &mut Slabs, forget: impl FnOnce()) {
        let mut batch = [(0, 0); BATCH];
        let mut count = 0;
        for class in (0..CLASSES).rev() {
            while count < BATCH
                && let Some((start, pages)) = self.take_idle(class)
            {
                (0..pages).for_each(|page| _ = self.change(start, page, |entry| entry & !Flags::PRESENT.bits()));
                batch[count] = (class, start);
                count += 1;
            }
        }
        forget();
        for &(class, start) in &batch[..count] {
            self.empty(class, start, free);
        }
    }

    /// Frees the pages of a slot, of which no CPU has translations any more, and makes the slot vacant.
    fn empty(&mut self, class: usize, start: u64, free: &mut Slabs) {
        for page in 0..slot_pages(class) {
            let Some(entry) = self.change(start, page, |_| 0).filter(|entry| *entry != 0) else { break };
            self.mapped -= 1;
            // SAFETY: the page was this slot's alone, and the slot does not name it any more.
            unsafe { free.give(NonNull::new_unchecked(page_of(entry))) };
        }
        let next = core::mem::replace(&mut self.slots[class].vacant, start);
        // The link is the address of a page, so the entry's present bit is zero.
        self.change(start, 0, |_| next);
    }

    /// Changes the entry for a page of a slot; returns the old entry.
    fn change(&mut self, start: u64, page: usize, change: impl FnOnce(u64) -> u64) -> Option<u64> {
        let entry = self.entry(start + (page * PAGE_SIZE) as u64)?;
        // SAFETY: an entry of the heap's tables, which are the heap's alone. The CPU may set the accessed and the dirty
        // bit of a present entry; the kernel does not read them.
        unsafe {
            let before = entry.read_volatile();
            entry.write_volatile(change(before));
            Some(before)
        }
    }

    fn is_mapped(&self, address: u64) -> bool {
        // SAFETY: as above.
        self.entry(address).is_some_and(|entry| is_present(unsafe { entry.read_volatile() }))
    }

    /// The last-level entry for an address of the heap, if there is a table that has it.
    fn entry(&self, address: u64) -> Option<*mut u64> {
        let mut table = self.root;
        for level in (1..LEVELS).rev() {
            // SAFETY: the root, or a table that an entry of the heap's names.
            let entry = unsafe { table.add(index(address, level)).read_volatile() };
            if !is_present(entry) {
                return None;
            }
            table = page_of(entry).cast();
        }
        Some(table.wrapping_add(index(address, 0)))
    }

    /// The last-level entry for an address of the heap. A table that is missing is made; `None` if no page is free for
    /// it.
    fn entry_or_new(&mut self, address: u64, free: &mut Slabs) -> Option<*mut u64> {
        let mut table = self.root;
        for level in (1..LEVELS).rev() {
            let entry = table.wrapping_add(index(address, level));
            // SAFETY: an entry of the root, or of a table that one names: the heap's alone.
            let there = unsafe { entry.read_volatile() };
            table = match is_present(there) {
                true => page_of(there).cast(),
                false => {
                    let made = free.take()?;
                    self.tables += 1;
                    // SAFETY: an unused page; then an entry of the root, or of a table that one names.
                    unsafe {
                        made.write_bytes(0, PAGE_SIZE);
                        entry.write_volatile(physical(made) | (Flags::PRESENT | Flags::WRITABLE).bits());
                    }
                    made.as_ptr().cast()
                }
            };
        }
        Some(table.wrapping_add(index(address, 0)))
    }
}
