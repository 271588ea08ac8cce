//! The mapping of devices: the one thing that drivers ask of a kernel.

use x86_64::{PhysAddr, VirtAddr};

/// What is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A device's registers: read and written, not cached.
    Registers,
    /// A table of the firmware: read only.
    Table,
}

/// The kernel has no memory for a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory;

/// A kernel that maps devices into its address space.
pub trait Devices {
    /// Maps `size` bytes at a physical address, for good, and returns where. A range that is mapped already is at its
    /// place.
    fn map(&mut self, at: PhysAddr, size: u64, kind: Kind) -> Result<VirtAddr, NoMemory>;
}
