//! The kernel heap: `linked_list_allocator` over pages that are mapped ahead of need, and before it caches of small
//! pieces.
//!
//! ```text
//! HEAP.start      given               mapped                        HEAP.end
//!     | allocator's | tail: mapped, idle |  nothing mapped …           |
//! ```
//!
//! Whoever allocates holds subsystems borrowed, so an allocation cannot take frames. Instead it may
//! eat from the tail, and the boundary tops the tail up ([`reserve`]) between two system calls, where
//! running out of frames can be answered. An allocation that finds the tail empty is a kernel panic: the
//! reserve is too small for what one system call allocates.
//!
//! Vectors grow by moving to twice their size in one piece, so the tail is kept as long as twice the
//! largest piece ever allocated, and [`RESERVE`] at least. What remains to the caller is not to allocate
//! at once what a program asks for by a number: such sizes have a limit of their own.
//!
//! The allocator searches its free pieces one by one, whenever it gives one and takes one back. Small pieces are
//! spared that: one that is given back goes into the cache of its size, and the next one of that size comes out of
//! it. A cache keeps so few that what the allocator could make of them in one piece is not missed.
//!
//! No lock: only a CPU inside the kernel at level 1 allocates, and it is alone there. Interrupt handlers
//! at level 2 never allocate.

use super::paging::{self, DATA, HEAP};
use super::physical::Frames;
use containers::{PAGE_SIZE, PhysicalMemory};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use linked_list_allocator::Heap;
use x86_64::VirtAddr;

/// Bytes that are ready before a system call begins, at least.
pub const RESERVE: usize = 128 << 10;

/// Bytes that the boot begins with.
const INITIAL: usize = 256 << 10;

/// Smallest piece moved from the tail to the allocator.
const STEP: usize = 16 << 10;

/// Sizes of cached pieces are the multiples of this.
const GRAIN: usize = 16;

/// How many such sizes there are: 1 KiB is the largest.
const SIZES: usize = 64;

/// Pieces that a cache keeps at most.
const KEPT: u32 = 64;

/// A cached piece is aligned as its size, but at most so.
const CACHE_LINE: usize = 64;

/// A piece in a cache.
struct Free {
    next: Option<NonNull<Free>>,
}

/// Pieces of one size that nobody has, the one given back last at the front.
#[derive(Clone, Copy)]
struct Cache {
    first: Option<NonNull<Free>>,
    kept: u32,
}

struct State {
    caches: [Cache; SIZES],
    heap: Heap,
    /// End of what the allocator has.
    given: usize,
    /// End of what is mapped.
    mapped: usize,
    /// How long the tail is to be: [`RESERVE`], or more where a piece as large as half of it was allocated.
    goal: usize,
}

struct KernelHeap(UnsafeCell<State>);

// SAFETY: only a CPU at level 1 allocates, and there is one at a time; see the module's comment.
unsafe impl Sync for KernelHeap {}

#[global_allocator]
static KERNEL_HEAP: KernelHeap = KernelHeap(UnsafeCell::new(State {
    caches: [Cache { first: None, kept: 0 }; SIZES],
    heap: Heap::empty(),
    given: HEAP.start as usize,
    mapped: HEAP.start as usize,
    goal: RESERVE,
}));

impl State {
    /// Hands at least `bytes` of the tail to the allocator, or all of it.
    fn grow(&mut self, bytes: usize) -> bool {
        let tail = self.mapped - self.given;
        let bytes = bytes.max(STEP).next_multiple_of(PAGE_SIZE).min(tail);
        if bytes == 0 {
            return false;
        }
        // SAFETY: the tail is mapped, nobody's, and follows directly on what the allocator has.
        unsafe {
            if self.heap.bottom().is_null() {
                self.heap.init(self.given as *mut u8, bytes);
            } else {
                self.heap.extend(bytes);
            }
        }
        self.given += bytes;
        true
    }

    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let Some((cache, layout)) = self.cache(layout) else { return self.allocate_anew(layout) };
        match cache.first {
            Some(piece) => {
                // SAFETY: what is in a cache is nobody's, and was written when it came there.
                cache.first = unsafe { piece.read().next };
                cache.kept -= 1;
                Some(piece.cast())
            }
            None => self.allocate_anew(layout),
        }
    }

    /// # Safety
    /// The piece comes from [`State::allocate`] with this layout, and nobody uses it any more.
    unsafe fn deallocate(&mut self, piece: NonNull<u8>, layout: Layout) {
        match self.cache(layout) {
            Some((cache, _)) if cache.kept < KEPT => {
                // SAFETY: a piece of a cache's size has room for the link, and is aligned for it.
                unsafe { piece.cast().write(Free { next: cache.first }) };
                cache.first = Some(piece.cast());
                cache.kept += 1;
            }
            // SAFETY: the caller's promise; the allocator was asked for just this.
            Some((_, layout)) => unsafe { self.heap.deallocate(piece, layout) },
            // SAFETY: the same.
            None => unsafe { self.heap.deallocate(piece, layout) },
        }
    }

    /// The cache for pieces of a layout, and the layout that they have there.
    fn cache(&mut self, layout: Layout) -> Option<(&mut Cache, Layout)> {
        let size = layout.size().next_multiple_of(GRAIN);
        let cache = self.caches.get_mut((size / GRAIN).wrapping_sub(1))?;
        let align = (1 << size.trailing_zeros()).min(CACHE_LINE);
        let cached = Layout::from_size_align(size, align).ok()?;
        (layout.align() <= align).then_some((cache, cached))
    }

    fn allocate_anew(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.goal = self.goal.max(2 * layout.size() + STEP);
        loop {
            if let Ok(place) = self.heap.allocate_first_fit(layout) {
                return Some(place);
            }
            if !self.grow(layout.size() + layout.align()) {
                return None;
            }
        }
    }
}

// SAFETY: `linked_list_allocator` gives out disjoint, aligned pieces of mapped memory, and the caches what they have
// of these.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no other reference to the state lives; see the module's comment.
        let state = unsafe { &mut *self.0.get() };
        state.allocate(layout).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above; the caller gives back what `alloc` gave.
        unsafe {
            let state = &mut *self.0.get();
            state.deallocate(NonNull::new_unchecked(place), layout);
        }
    }
}

fn tail() -> usize {
    // SAFETY: two words are read; no reference to them lives across a call of this module.
    unsafe { (*KERNEL_HEAP.0.get()).mapped - (*KERNEL_HEAP.0.get()).given }
}

fn goal() -> usize {
    // SAFETY: a word is read.
    unsafe { (*KERNEL_HEAP.0.get()).goal }
}

/// Whether the tail is as long as a system call may need.
#[inline]
pub fn reserve_full() -> bool {
    tail() >= goal()
}

/// Tops the tail up to what a system call may need; false if frames run out. Apart, so that every kernel asks in the
/// same way whether it need be called.
#[cold]
#[inline(never)]
pub fn reserve(frames: &mut Frames) -> bool {
    reserve_bytes(frames, goal())
}

/// Tops the tail up to `bytes`, for what is known to need more; false if frames run out.
pub fn reserve_bytes(frames: &mut Frames, bytes: usize) -> bool {
    while tail() < bytes {
        // SAFETY: a word is read.
        let page = unsafe { (*KERNEL_HEAP.0.get()).mapped };
        let Ok(frame) = frames.allocate() else { return false };
        if page as u64 >= HEAP.end || paging::map_kernel(frames, VirtAddr::new(page as u64), frame, DATA).is_err() {
            frames.release(frame);
            return false;
        }
        // SAFETY: a word is written, with no reference to it alive.
        unsafe { (*KERNEL_HEAP.0.get()).mapped = page + PAGE_SIZE }
    }
    true
}

/// Pages that the heap has, tail included.
pub fn pages() -> usize {
    // SAFETY: a word is read.
    let mapped = unsafe { (*KERNEL_HEAP.0.get()).mapped };
    (mapped - HEAP.start as usize) / PAGE_SIZE
}

/// Bytes that are allocated.
pub fn used() -> usize {
    // SAFETY: words are read, with no other reference to the state alive.
    let state = unsafe { &*KERNEL_HEAP.0.get() };
    let cached = state.caches.iter().zip(1..).map(|(cache, size)| cache.kept as usize * size * GRAIN);
    state.heap.used() - cached.sum::<usize>()
}

/// Gives the heap its first pages.
///
/// # Panics
/// If there are no frames for them.
pub fn init(frames: &mut Frames) {
    assert!(reserve_bytes(frames, INITIAL), "no memory for the kernel heap");
}
