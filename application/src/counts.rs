//! How often a CPU has forwarded what: calls by number, exceptions by vector.
//!
//! Each CPU has counters of its own, which it alone writes; the sum is made by the reader. For example, `/proc/apkern` says
//! `call read 12` when CPU 1 has forwarded seven calls of `read` and CPU 2 five.

use crate::sync::{AtomicU64, Ordering::Relaxed};

/// The counters of a CPU fill a page.
pub const SLOTS: usize = 512;

/// Slots from here on are those of exceptions; the last one below is that of all larger numbers of calls.
const EXCEPTIONS: usize = SLOTS - 32;

/// What a slot counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The call with a number.
    Call(u64),
    /// Calls that have no counter of their own.
    OtherCalls,
    /// The exception with a vector.
    Exception(u64),
}

/// The counters of one CPU.
pub struct Counts([AtomicU64; SLOTS]);

impl Counts {
    /// All zero.
    #[expect(clippy::new_without_default, reason = "each belongs to a CPU")]
    pub fn new() -> Counts {
        Counts(core::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// Counts a call, on the CPU itself.
    #[inline(always)]
    pub fn call(&self, number: u64) {
        self.add((number as usize).min(EXCEPTIONS - 1));
    }

    /// Counts an exception, on the CPU itself.
    #[inline(always)]
    pub fn exception(&self, vector: u64) {
        self.add(EXCEPTIONS + (vector as usize).min(SLOTS - EXCEPTIONS - 1));
    }

    #[inline(always)]
    fn add(&self, slot: usize) {
        let counter = &self.0[slot];
        counter.store(counter.load(Relaxed) + 1, Relaxed);
    }

    /// The count in a slot.
    pub fn get(&self, slot: usize) -> u64 {
        self.0[slot].load(Relaxed)
    }
}

/// What a slot counts.
pub fn what(slot: usize) -> What {
    match slot {
        EXCEPTIONS.. => What::Exception((slot - EXCEPTIONS) as u64),
        _ if slot == EXCEPTIONS - 1 => What::OtherCalls,
        _ => What::Call(slot as u64),
    }
}
