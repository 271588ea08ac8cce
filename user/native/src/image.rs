//! What the linker script says of the package.

use core::ops::Range;

unsafe extern "C" {
    static heap_start: [u8; 0];
    static heap_end: [u8; 0];
}

/// The part of the window that belongs to the heap.
pub(crate) fn heap() -> Range<usize> {
    (&raw const heap_start).addr()..(&raw const heap_end).addr()
}
