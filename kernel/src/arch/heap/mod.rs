//! The kernel heap. What a piece is made of depends on its size:
//!
//! | piece | made of | gives back |
//! | --- | --- | --- |
//! | up to half a page | a [slab](slabs), a page of the direct map | a page whose last piece goes |
//! | up to a page | a page of the direct map | it |
//! | larger | pages mapped one after the other, see [`large`] | them, a little later |
//! | of any size, allocated before the first program | `linked_list_allocator`'s, in a region mapped as it grows | nothing |
//!
//! The last row is for what lives as long as the kernel: it lies there without gaps, whatever its sizes. Everything else
//! comes and goes in constant time.
//!
//! An allocation cannot take frames, because its caller holds subsystems borrowed; nor can it give any back. It takes
//! pages from a **pool** and puts them there, whatever they are made into, and the boundary keeps the pool in bounds
//! ([`settle`]): between two calls of programs frames may be taken, may be given back, and running out of them can be
//! answered.
//!
//! **Invariant: when a call begins that may allocate, the pool has as many pages as any call uses.** These are
//! [`RESERVE`], and beside that twice what the largest piece ever allocated would need if it grew: vectors grow by moving
//! to twice their size in one piece, and an arena has two that do so together. What remains to the caller is not to allocate at once what a program asks for by a number: such sizes
//! have a limit of their own. An allocation that finds the pool empty is a kernel panic: the reserve is too small.
//!
//! What the pool has beyond that and some slack is given back, so many frames at a time ([`GIVEN`]); and frames that run
//! out before take from it ([`surplus_frame`]).
//!
//! No lock: only a CPU inside the kernel at level 1 allocates, and it is alone there. Interrupt handlers at level 2 never
//! allocate.

mod large;

use super::paging::HEAP;
use super::physical::{DIRECT_MAP, Frames};
use containers::directory::{slot, target};
use containers::{Frame, PhysicalMemory};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use large::Large;
use linked_list_allocator::Heap;
use slabs::{PAGE_SIZE, Size, Slabs};
use x86_64::PhysAddr;

/// Bytes that are ready before a system call begins, at least.
pub const RESERVE: usize = 192 << 10;

/// Pages that the pool may have beyond its goal, before some of them are given back.
const SLACK: usize = 32;

/// Pages of large pieces that may be idle before they are unmapped.
const IDLE: usize = 16;

/// Frames that are given back at a time, at most. Not so many that it takes long, and more than a page or a process
/// asks for before it looks again.
const GIVEN: usize = 2048;

/// Bytes that the boot begins with.
const INITIAL: usize = 256 << 10;

/// Addresses for what is allocated during boot: what finds no room there is allocated as later.
const BOOT: u64 = 1 << 20;

struct State {
    slabs: Slabs,
    large: Large,
    /// What was allocated during boot, and where its region ends.
    boot: Heap,
    boot_end: u64,
    /// No program runs yet.
    booting: bool,
    /// How many pages the pool is to have.
    goal: usize,
}

struct KernelHeap(UnsafeCell<State>);

// SAFETY: only a CPU at level 1 allocates, and there is one at a time; see the module's comment.
unsafe impl Sync for KernelHeap {}

#[global_allocator]
static KERNEL_HEAP: KernelHeap = KernelHeap(UnsafeCell::new(State {
    slabs: Slabs::new(),
    large: Large::new(HEAP.start + BOOT..HEAP.end),
    boot: Heap::empty(),
    boot_end: HEAP.start,
    booting: true,
    goal: RESERVE / PAGE_SIZE,
}));

impl State {
    /// Whether the pool has what a call may need, no more than that and some slack, and little is idle.
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

    /// Uses pages of the pool, which is seldom needed for what is small.
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
                // Two vectors may grow at once: an arena has two of the same length.
                self.goal = self.goal.max(RESERVE / PAGE_SIZE + 2 * Large::need(2 * layout.size()));
                self.large.allocate(layout.size(), &mut self.slabs)
            }
        }
    }

    /// A piece that lives as long as the kernel, most likely.
    #[cold]
    fn allocate_for_good(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        loop {
            if let Ok(piece) = self.boot.allocate_first_fit(layout) {
                return Some(piece);
            }
            // Room for all of it, or what is there may do for others.
            if self.boot_end + (layout.size() + layout.align() + PAGE_SIZE) as u64 > HEAP.start + BOOT {
                return None;
            }
            self.large.map(self.boot_end, &mut self.slabs)?;
            // SAFETY: the page is mapped now, nobody's, and follows directly on what the allocator has.
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
    /// The piece comes from [`State::allocate`] with this layout, and nobody uses it any more.
    #[inline(always)]
    unsafe fn deallocate(&mut self, piece: NonNull<u8>, layout: Layout) {
        if piece.addr().get() as u64 >= HEAP.start {
            // SAFETY: the caller's promise.
            unsafe { self.deallocate_mapped(piece, layout) }
        } else if let Some(size) = Size::of(layout) {
            // SAFETY: the caller's promise; what lies in the direct map is the slabs', and fits into a page.
            unsafe { self.slabs.deallocate(piece, size) }
        }
    }

    /// # Safety
    /// As above, of a piece that was mapped.
    unsafe fn deallocate_mapped(&mut self, piece: NonNull<u8>, layout: Layout) {
        match piece.as_ptr() as u64 {
            // SAFETY: the caller's promise; the region is the boot's.
            place if place < HEAP.start + BOOT => unsafe { self.boot.deallocate(piece, layout) },
            // SAFETY: the caller's promise.
            _ => unsafe { self.large.deallocate(piece, layout.size()) },
        }
    }
}

// SAFETY: all pieces are disjoint and aligned: slabs, pages and slots are each other's neighbours at most, and
// `linked_list_allocator` divides what nobody else has.
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
    // SAFETY: the caller is in the kernel, as whoever allocates is, and `work`, which is of this module, neither
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

/// Apart, so that every kernel asks in the same way whether it need be called.
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

/// Fills the pool up to what a system call may need; false if frames run out. To be asked again before each page that
/// a call takes for a program.
#[cold]
#[inline(never)]
pub fn reserve(frames: &mut Frames) -> bool {
    let goal = with(|state| state.goal);
    reserve_bytes(frames, goal * PAGE_SIZE)
}

/// Fills the pool up to `bytes`, for a call that is known to need more; false if frames run out. The next call gives back
/// what is left of it.
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
    /// Pages of the pool that no call needs.
    fn surplus(&self) -> usize {
        self.slabs.free().saturating_sub(self.goal)
    }

    /// Takes a page out of the pool, as a frame with one reference.
    fn take_frame(&mut self) -> Option<Frame> {
        let page = self.slabs.take()?;
        Some(Frame::containing(PhysAddr::new(page.as_ptr() as u64 - DIRECT_MAP)))
    }
}

/// A frame that the pool has and no call needs, with one reference. It holds anything.
pub fn surplus_frame() -> Option<Frame> {
    with(|state| if state.surplus() > 0 { state.take_frame() } else { None })
}

/// Frames that are free, but for being in the pool.
pub fn surplus() -> usize {
    with(|state| state.surplus())
}

/// Pages in which a piece is in use.
pub fn pages() -> usize {
    with(|state| state.slabs.held() + state.large.pages())
}

/// Pages that the heap keeps besides: those that a call may need, spare slabs, idle pages of
/// large pieces, and page tables.
pub fn idle_pages() -> usize {
    with(|state| state.slabs.free().min(state.goal) + state.slabs.spares() + state.large.idle() + state.large.tables())
}

/// Bytes that are allocated.
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

/// From now on pieces come and go.
pub fn boot_is_over() {
    with(|state| state.booting = false);
}
