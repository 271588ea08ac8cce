//! Where the parts of a Linux program go: stack, mappings, heap, and the program itself if it can go anywhere.
//!
//! ```text
//! LOWEST  program  heap →   …   ← mappings | room for the stack to grow | stack | USER_END
//! ```
//!
//! Each part is moved by a random distance of its own, as on Linux and by as many bits, so that a known address in one
//! part gives away none in another.

use crate::core::random::Random;
use containers::PAGE_SIZE;
use containers::directory::USER_END;
use core::ops::RangeInclusive;

const PAGE: u64 = PAGE_SIZE as u64;

/// Lowest address that a program may be linked at.
pub const LOWEST: u64 = 0x1_0000;

/// The lowest address of a program that can go anywhere.
const RELOCATED: u64 = 0x5555_5555_4000;

/// The least and the most bytes of stack that a program gets, whatever its limit.
pub const STACK: RangeInclusive<u64> = 128 << 10..=1 << 30;

/// Room below the stack's top that mappings leave: for the largest stack, since a limit may be raised, and a guard.
const STACK_ROOM: u64 = *STACK.end() + (1 << 20);

/// By how much the stack may be moved: bits of a number of pages.
const STACK_BITS: u32 = 22;
const MAPPINGS_BITS: u32 = 28;
const PROGRAM_BITS: u32 = 28;
const HEAP_BITS: u32 = 13;

/// The highest end of a program: wherever stack and mappings go, they are above it.
pub const PROGRAMS_END: u64 = USER_END - PAGE - STACK_ROOM - ((1 << STACK_BITS) + (1 << MAPPINGS_BITS)) * PAGE;

/// The places of one program.
pub struct Layout {
    /// By how much the program is moved if it can go anywhere.
    pub base: u64,
    /// The end of the stack.
    pub stack_top: u64,
    /// The address from which `mmap` looks for room, downwards.
    pub mappings_end: u64,
    /// How far behind the program its heap begins.
    pub heap_distance: u64,
}

impl Layout {
    /// Chooses the places for a program.
    pub fn choose(random: &mut Random) -> Layout {
        let stack_top = USER_END - PAGE - random.distance(STACK_BITS);
        Layout {
            base: RELOCATED + random.distance(PROGRAM_BITS),
            stack_top,
            mappings_end: stack_top - STACK_ROOM - random.distance(MAPPINGS_BITS),
            heap_distance: random.distance(HEAP_BITS),
        }
    }
}

/// Chooses the place of a program's interpreter, of this size: far above the program and its heap.
pub fn interpreter(random: &mut Random, size: u64, alignment: u64) -> u64 {
    (PROGRAMS_END - size - random.distance(PROGRAM_BITS)) & !(alignment - 1)
}
