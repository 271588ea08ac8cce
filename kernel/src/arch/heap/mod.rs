//! The kernel heap. The size of an allocation, called a piece, decides how it is made:
//!
//! | piece | made of | gives back |
//! | --- | --- | --- |
//! | up to half a page | a [slab](slabs), a page of the direct map | a page whose last piece goes |
//! | up to a page | a page of the direct map | it |
//! | larger | pages mapped one after the other, see [`large`] | them, a little later |
//! | of any size, allocated before the first program | `linked_list_allocator`'s, in a region mapped as it grows | nothing |
//!
//! The last row is for pieces that live as long as the kernel: they lie there without gaps, whatever their sizes. All
//! other pieces are allocated and freed in constant time; docs/ARCHITECTURE.md has the instructions that this saves
//! against `linked_list_allocator` alone.
//!
//! For example, a `Vec` of 100 bytes gets a slot of a slab, and one of 20 KiB five pages mapped one after the other.
//!
//! An allocation cannot take frames, because its caller holds subsystems borrowed; a deallocation cannot give any back.
//! Both take pages from a **pool** and return them to it, whatever the pages are made into, and the boundary keeps the
//! pool in bounds ([`settle`]): between two system calls frames may be taken and given back, and a lack of them can be
//! reported to the caller.
//!
//! **Invariant: when a call begins that may allocate, the pool has as many pages as any call uses.** These are
//! [`RESERVE`], and in addition twice what the largest piece ever allocated would need if it grew: vectors grow by
//! moving to twice their size in one piece, and an arena has two vectors that do so together. One duty remains to the
//! caller: it must not allocate at once a size that a program has chosen; such sizes have a limit of their own. An
//! allocation that finds the pool empty is a kernel panic: the reserve is too small.
//!
//! Pages beyond that and some slack are given back, at most [`GIVEN`] frames at a time; and if frames run out before,
//! the frame allocator takes pages from the surplus ([`surplus_frame`]).
//!
//! There is no lock: only a CPU inside the kernel at level 1 allocates, and it is alone there. Interrupt handlers at
//! level 2 never allocate.

mod large;

use super::layout::{DIRECT_MAP, HEAP};
use super::physical::Frames;
use containers::directory::{slot, target};
use containers::{Frame, PhysicalMemory};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use large::Large;
use linked_list_allocator::Heap;
use slabs::{PAGE_SIZE, Size, Slabs};
use x86_64::PhysAddr;

/// The least number of bytes that the pool has before a system call begins.
pub const RESERVE: usize = 192 << 10;

/// How many pages the pool may have beyond its goal before some of them are given back.
const SLACK: usize = 32;

/// How many pages of large pieces may be idle before they are unmapped.
const IDLE: usize = 16;

/// How many frames are given back at a time, at most: few enough to be quick, and more than a page or a process needs
/// before the pool is looked at again.
const GIVEN: usize = 2048;

/// The size of the pool at boot, in bytes.
const INITIAL: usize = 256 << 10;

/// Addresses for pieces that are allocated during boot. A piece that finds no room there is allocated as after boot.
const BOOT: u64 = 1 << 20;

struct State {
    slabs: Slabs,
    large: Large,
    /// The pieces allocated during boot, and the end of their region.
    boot: Heap,
    boot_end: u64,
    /// Whether no program runs yet.
    booting: bool,
    /// How many pages the pool must have.
    goal: usize,
}

struct KernelHeap(UnsafeCell<State>);

// SAFETY: only a CPU at level 1 allocates, and there is one at a time; see the module's comment.
unsafe impl Sync for KernelHeap {}

#[cfg_attr(not(test), global_allocator)]
static KERNEL_HEAP: KernelHeap = KernelHeap(UnsafeCell::new(State {
    slabs: Slabs::new(),
    large: Large::new(HEAP.start + BOOT..HEAP.end),
    boot: Heap::empty(),
    boot_end: HEAP.start,
    booting: true,
    goal: RESERVE / PAGE_SIZE,
}));

impl State {
    /// Whether the pool has what a call may need and no more than some slack beyond it, and few pages are idle.
    #[inline(always)]
    fn is_settled(&self) -> bool {
        self.slabs.free().wrapping_sub(self.goal) <= SLACK && self.large.idle() <= IDLE
    }

    #[inline(always)]
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let size = Size::of(layout);
        if let Some(Size::Part(class)) = size
            && let Some(piece) = self.slabs.allocate(class)
        {
            return Some(piece);
        }
        self.allocate_anew(layout, size)
    }

    /// Allocates with pages of the pool; a small piece seldom needs that.
    #[cold]
    fn allocate_anew(&mut self, layout: Layout, size: Option<Size>) -> Option<NonNull<u8>> {
        if self.booting
            && let Some(piece) = self.allocate_for_good(layout)
        {
            return Some(piece);
        }
        match size {
            Some(size) => self.slabs.allocate_anew(size),
            None if layout.align() > PAGE_SIZE => None,
            None => {
                // Two vectors may grow at once: an arena has two of equal length.
                self.goal = self.goal.max(RESERVE / PAGE_SIZE + 2 * Large::need(2 * layout.size()));
                self.large.allocate(layout.size(), &mut self.slabs)
            }
        }
    }

    /// Allocates a piece that most likely lives as long as the kernel.
    #[cold]
    fn allocate_for_good(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        loop {
            if let Ok(piece) = self.boot.allocate_first_fit(layout) {
                return Some(piece);
            }
            // If the region has no room for the whole piece, the rest is left for smaller pieces.
            if self.boot_end + (layout.size() + layout.align() + PAGE_SIZE) as u64 > HEAP.start + BOOT {
                return None;
            }
            self.large.map(self.boot_end, &mut self.slabs)?;
            // SAFETY: the page is mapped now, unused, and follows directly on the allocator's region.
            unsafe {
                match self.boot_end {
                    start if start == HEAP.start => self.boot.init(start as *mut u8, PAGE_SIZE),
                    _ => self.boot.extend(PAGE_SIZE),
                }
            }
            self.boot_end += PAGE_SIZE as u64;
        }
    }

    /// # Safety
    /// The piece comes from [`State::allocate`] with this layout, and is not used any more.
    #[inline(always)]
    unsafe fn deallocate(&mut self, piece: NonNull<u8>, layout: Layout) {
        if piece.addr().get() as u64 >= HEAP.start {
            // SAFETY: the caller's promise.
            unsafe { self.deallocate_mapped(piece, layout) }
        } else if let Some(size) = Size::of(layout) {
            // SAFETY: the caller's promise; a piece in the direct map is the slabs', and fits into a page.
            unsafe { self.slabs.deallocate(piece, size) }
        }
    }

    /// # Safety
    /// The piece comes from [`State::allocate`] with this layout, lies in [`HEAP`], and is not used any more.
    unsafe fn deallocate_mapped(&mut self, piece: NonNull<u8>, layout: Layout) {
        match piece.as_ptr() as u64 {
            // SAFETY: the caller's promise; the region is the boot's.
            place if place < HEAP.start + BOOT => unsafe { self.boot.deallocate(piece, layout) },
            // SAFETY: the caller's promise.
            _ => unsafe { self.large.deallocate(piece, layout.size()) },
        }
    }
}

// SAFETY: all pieces are disjoint and aligned: slabs, pages and slots do not overlap, and `linked_list_allocator`
// divides a region of its own.
unsafe impl GlobalAlloc for KernelHeap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no other reference to the state lives; see the module's comment.
        let state = unsafe { &mut *self.0.get() };
        state.allocate(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    #[inline]
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above; the caller gives back what `alloc` gave.
        unsafe {
            let state = &mut *self.0.get();
            state.deallocate(NonNull::new_unchecked(place), layout);
        }
    }
}

/// The heap's state, for as long as nothing is allocated.
fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    // SAFETY: the caller is in the kernel, as any code that allocates is, and `work`, which is of this module, neither
    // allocates nor comes here again; so no other reference to the state lives.
    work(unsafe { &mut *KERNEL_HEAP.0.get() })
}

/// Whether the pool has what a system call may need.
#[inline(always)]
pub fn is_ready() -> bool {
    with(|state| state.slabs.free() >= state.goal)
}

/// Keeps the pool in bounds; false if frames run out. To be asked before a call is made.
#[inline(always)]
pub fn settle(frames: &mut Frames) -> bool {
    with(|state| state.is_settled()) || settle_now(frames)
}

/// The slow part of [`settle`]. It is a function of its own, so that the check before it is alike in every kernel.
#[cold]
#[inline(never)]
fn settle_now(frames: &mut Frames) -> bool {
    if with(|state| state.large.idle()) > IDLE {
        with(|state| state.large.vacate(&mut state.slabs, || frames.forget_everywhere(HEAP)));
    }
    let surplus = with(|state| state.slabs.free().saturating_sub(state.goal + SLACK / 2));
    for _ in 0..surplus.min(GIVEN) {
        if let Some(frame) = with(State::take_frame) {
            frames.release(frame);
        }
    }
    reserve(frames)
}

/// Fills the pool up to what a system call may need; false if frames run out. To be called again before each page that
/// a call takes for a program.
#[cold]
#[inline(never)]
pub fn reserve(frames: &mut Frames) -> bool {
    let goal = with(|state| state.goal);
    reserve_bytes(frames, goal * PAGE_SIZE)
}

/// Fills the pool up to `bytes`, for a call that is known to need more; false if frames run out. The next call gives
/// the rest back.
pub fn reserve_bytes(frames: &mut Frames, bytes: usize) -> bool {
    while with(|state| state.slabs.free()) * PAGE_SIZE < bytes {
        let Ok(frame) = frames.allocate_any() else { return false };
        let page = (DIRECT_MAP + frame.address().as_u64()) as *mut u8;
        // SAFETY: the frame has just been allocated, and lies in the direct map.
        with(|state| unsafe { state.slabs.give(NonNull::new_unchecked(page)) });
    }
    true
}

impl State {
    /// How many pages of the pool no call needs.
    fn surplus(&self) -> usize {
        self.slabs.free().saturating_sub(self.goal)
    }

    /// Takes a page out of the pool, as a frame with one reference.
    fn take_frame(&mut self) -> Option<Frame> {
        let page = self.slabs.take()?;
        Some(Frame::containing(PhysAddr::new(page.as_ptr() as u64 - DIRECT_MAP)))
    }
}

/// Takes a page that no call needs out of the pool, as a frame with one reference and arbitrary contents.
pub fn surplus_frame() -> Option<Frame> {
    with(|state| if state.surplus() > 0 { state.take_frame() } else { None })
}

/// How many pages of the pool no call needs, so that they count as free frames.
pub fn surplus() -> usize {
    with(|state| state.surplus())
}

/// How many pages hold a piece in use.
pub fn pages() -> usize {
    with(|state| state.slabs.held() + state.large.pages())
}

/// How many pages the heap keeps that hold no piece: pages that a call may need, spare slabs, idle pages of large
/// pieces, and page tables.
pub fn idle_pages() -> usize {
    with(|state| state.slabs.free().min(state.goal) + state.slabs.spares() + state.large.idle() + state.large.tables())
}

/// How many bytes are allocated.
pub fn used() -> usize {
    with(|state| state.slabs.bytes() + state.large.bytes() + state.boot.used())
}

/// Gives the heap its first pages.
///
/// # Panics
/// If there are no frames for them.
pub fn init(frames: &mut Frames) {
    let directory = frames.kernel_directory();
    let root = target(&frames.entry(directory, slot(HEAP.start, 4))).expect("the kernel's half has its tables");
    let root = (DIRECT_MAP + root.address().as_u64()) as *mut u64;
    // SAFETY: the table for the heap's addresses, which all page directories share; nothing else is mapped there.
    with(|state| unsafe { state.large.set_root(root) });
    assert!(reserve_bytes(frames, INITIAL), "no memory for the kernel heap");
}

/// Ends the boot's way of allocating: from now on pieces are allocated and freed.
pub fn boot_is_over() {
    with(|state| state.booting = false);
}
