//! A heap in the window, behind the data: allocation moves a mark up, and only the last piece can be
//! given back. Enough for packages, and not a page is touched before it is used.
//!
//! The mark is atomic, for threads and the other processes of the container share it.

use crate::image;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

struct Heap {
    /// Bytes of [`image::heap`] given out.
    used: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap = Heap { used: AtomicUsize::new(0) };

// SAFETY: pieces lie in the heap's range, aligned, and do not overlap: each begins at or behind the
// mark that the winning exchange has moved past its end.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let range = image::heap();
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let Some(start) = (range.start + used).checked_next_multiple_of(layout.align()) else {
                return ptr::null_mut();
            };
            let Some(end) = start.checked_add(layout.size()).filter(|end| *end <= range.end) else {
                return ptr::null_mut();
            };
            match self.used.compare_exchange_weak(used, end - range.start, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return ptr::with_exposed_provenance_mut(start),
                Err(now) => used = now,
            }
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        let start = piece.addr() - image::heap().start;
        let _ = self.used.compare_exchange(start + layout.size(), start, Ordering::Relaxed, Ordering::Relaxed);
    }
}
