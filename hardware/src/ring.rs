//! A ring of bytes between one writer and one reader: an interrupt handler and the code that it interrupts.
//!
//! Each side writes one index and only reads the other's: loads and stores, no read-modify-write.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// A ring that holds up to `N` bytes, a power of two.
pub(crate) struct Ring<const N: usize> {
    bytes: UnsafeCell<[u8; N]>,
    /// Bytes ever written, and ever read; both wrap.
    written: AtomicUsize,
    read: AtomicUsize,
}

// SAFETY: the writer touches only the bytes between `read + N` and `written`, the reader only those between `written`
// and `read`. The owner of the ring must have only one of each.
unsafe impl<const N: usize> Sync for Ring<N> {}

impl<const N: usize> Ring<N> {
    /// An empty ring.
    pub(crate) const fn new() -> Ring<N> {
        assert!(N.is_power_of_two());
        Ring { bytes: UnsafeCell::new([0; N]), written: AtomicUsize::new(0), read: AtomicUsize::new(0) }
    }

    /// Bytes to be read.
    pub(crate) fn len(&self) -> usize {
        self.written.load(Acquire).wrapping_sub(self.read.load(Acquire))
    }

    /// Bytes that can be written.
    pub(crate) fn room(&self) -> usize {
        N - self.len()
    }

    /// Writes as many of the bytes as there is room for; returns how many.
    pub(crate) fn write(&self, bytes: &[u8]) -> usize {
        let at = self.written.load(Relaxed);
        let count = bytes.len().min(self.room());
        for (index, &byte) in bytes[..count].iter().enumerate() {
            // SAFETY: within the array, and not yet visible to the reader.
            unsafe { self.slot(at.wrapping_add(index)).write(byte) };
        }
        self.written.store(at.wrapping_add(count), Release);
        count
    }

    /// Copies bytes out without taking them; returns how many.
    pub(crate) fn peek(&self, to: &mut [u8]) -> usize {
        let at = self.read.load(Relaxed);
        let count = to.len().min(self.len());
        for (index, byte) in to[..count].iter_mut().enumerate() {
            // SAFETY: within the array, and written.
            *byte = unsafe { self.slot(at.wrapping_add(index)).read() };
        }
        count
    }

    /// Takes bytes that have been [peeked](Ring::peek) at.
    pub(crate) fn consume(&self, count: usize) {
        let at = self.read.load(Relaxed);
        self.read.store(at.wrapping_add(count.min(self.len())), Release);
    }

    fn slot(&self, index: usize) -> *mut u8 {
        self.bytes.get().cast::<u8>().wrapping_add(index % N)
    }
}
