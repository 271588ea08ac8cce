//! Notes for deferred work: what an interrupt leaves to be done at level 1.
//!
//! An interrupt handler may run while the kernel's state is in use, so it answers its device, leaves a note, and
//! returns. The CPU works notes off before its level falls to 0. Each CPU has its own notes and writes them with
//! interrupts off, so plain loads and stores suffice. For example, the timer interrupt only leaves [`Notes::TIMER`];
//! `core::work` wakes the threads whose time has come.

use abi::vectors;
use core::cell::Cell;
use cpulocal::{InKernel, cpu_local};

bitflags::bitflags! {
    /// Work to be done at level 1.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Notes: u32 {
        /// The timer went off: deadlines and the time slice.
        const TIMER = 1;
        /// The serial line has input, or room for output.
        const SERIAL = 2;
        /// This CPU is to reschedule.
        const LOOK = 4;
        /// An ended process has left memory that is to be torn down.
        const TEARDOWN = 8;
        /// Interrupts of extensions have come: a bit for each of their vectors.
        const EXTENSIONS = 0xff << FIRST_OF_EXTENSIONS;
    }
}

/// The number of the bit for the first vector of extensions.
const FIRST_OF_EXTENSIONS: usize = 8;
const _: () = assert!(vectors::EXTENSIONS.end - vectors::EXTENSIONS.start == 8, "a bit for each");

impl Notes {
    /// The note for an interrupt of an extension.
    pub fn of_extension(vector: u8) -> Notes {
        Notes::from_bits_truncate(1 << (FIRST_OF_EXTENSIONS + usize::from(vector - vectors::EXTENSIONS.start)))
    }

    /// The vectors of extensions whose interrupts have come.
    pub fn extensions(self) -> impl Iterator<Item = u8> {
        let mut left = (self & Notes::EXTENSIONS).bits() >> FIRST_OF_EXTENSIONS;
        core::iter::from_fn(move || {
            let first = (left != 0).then_some(vectors::EXTENSIONS.start + left.trailing_zeros() as u8)?;
            left &= left - 1;
            Some(first)
        })
    }
}

cpu_local! {
    static SLOTS: Cell<u32> = Cell::new(0);
}

/// Leaves a note. Interrupts are off.
pub fn note(cpu: &InKernel, notes: Notes) {
    let slots = SLOTS.get(cpu);
    slots.set(slots.get() | notes.bits());
}

/// Whether there is anything to do.
#[inline(always)]
pub fn any(cpu: &InKernel) -> bool {
    SLOTS.get(cpu).get() != 0
}

/// Takes all notes. Interrupts are off.
pub fn take(cpu: &InKernel) -> Notes {
    Notes::from_bits_truncate(SLOTS.get(cpu).replace(0))
}
