//! The kernel's half of the address space: what lies at which addresses. [`super::paging`] maps it.
//!
//! | from | what |
//! | --- | --- |
//! | `ffff_8000_0000_0000` | the direct map of memory |
//! | `ffff_ff00_0000_0000` | the kernel heap's large pieces |
//! | `ffff_ff40_0000_0000` | kernel stacks |
//! | `ffff_ff50_0000_0000` | all copies of CPU-local data |
//! | `ffff_ff58_0000_0000` | extensions |
//! | `ffff_ff60_0000_0000` | device registers and firmware tables |
//! | `ffff_ffff_8000_0000` | the image, with the CPU-local section |

use core::ops::Range;

/// The virtual address of physical address zero, where the direct map begins.
#[cfg(not(test))]
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// The tests on a host have their memory here.
#[cfg(test)]
pub const DIRECT_MAP: u64 = 0x1000_0000_0000;

/// Physical memory from this address on has no frame number (32 bits) and is left out.
pub const MEMORY_END: u64 = 16 << 40;

/// The addresses of the kernel heap's large pieces.
pub const HEAP: Range<u64> = 0xffff_ff00_0000_0000..0xffff_ff40_0000_0000;

/// Kernel stacks, a guard page below each.
pub const STACKS: Range<u64> = 0xffff_ff40_0000_0000..0xffff_ff50_0000_0000;

/// Device registers and firmware tables: this plus their physical address.
pub const DEVICES: Range<u64> = 0xffff_ff60_0000_0000..0xffff_ff80_0000_0000;

/// The addresses at which every CPU can read each CPU's copy of the CPU-local section: one after the other, each with
/// the addresses of a last-level page table to itself.
pub const COPIES: Range<u64> = 0xffff_ff50_0000_0000..0xffff_ff58_0000_0000;

/// Extensions: each has the addresses of a last-level page table to itself.
pub const EXTENSIONS: Range<u64> = 0xffff_ff58_0000_0000..0xffff_ff60_0000_0000;

/// Distance from a kernel address to the physical address behind it.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
