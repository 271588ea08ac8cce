//! The interrupt descriptor table: 256 gates to the stubs of a kernel's entry code. All gates switch interrupts off.

use crate::gdt::{KERNEL_CODE, Special};
use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::structures::DescriptorTablePointer;
use x86_64::{PrivilegeLevel, structures::gdt::SegmentSelector};

/// An interrupt gate (SDM volume 3, figure 7-8).
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Gate([u64; 2]);

impl Gate {
    /// A gate to `handler`; `stack` is an index into the interrupt stack table, from 1, or 0.
    fn new(handler: u64, segment: SegmentSelector, stack: u64, privilege: PrivilegeLevel) -> Gate {
        const PRESENT: u64 = 1 << 47;
        const INTERRUPT_GATE: u64 = 0xe << 40;
        let flags = PRESENT | INTERRUPT_GATE | (privilege as u64) << 45 | stack << 32;
        let low = handler & 0xffff | u64::from(segment.0) << 16 | flags | (handler >> 16 & 0xffff) << 48;
        Gate([low, handler >> 32])
    }
}

/// Bytes from one stub to the next.
pub const STUB: u64 = 16;

/// An interrupt descriptor table.
pub struct Table([Gate; 256]);

impl Table {
    /// The table whose gates lead to 256 stubs, of which the first is at `stubs`.
    pub fn new(stubs: u64) -> Table {
        Table(core::array::from_fn(|vector| {
            let (stack, privilege) = match vector {
                2 => (1 + Special::NonMaskable as u64, PrivilegeLevel::Ring0),
                8 => (1 + Special::DoubleFault as u64, PrivilegeLevel::Ring0),
                18 => (1 + Special::MachineCheck as u64, PrivilegeLevel::Ring0),
                // `int3` and `into` are for programs to execute.
                3 | 4 => (0, PrivilegeLevel::Ring3),
                _ => (0, PrivilegeLevel::Ring0),
            };
            Gate::new(stubs + vector as u64 * STUB, KERNEL_CODE, stack, privilege)
        }))
    }

    /// Loads the table on this CPU.
    ///
    /// # Safety
    /// There are entry functions at the stubs.
    pub unsafe fn load(&'static self) {
        let pointer =
            DescriptorTablePointer { limit: (size_of_val(&self.0) - 1) as u16, base: VirtAddr::from_ptr(self) };
        // SAFETY: the table lives for ever, and the caller has promised that its gates lead to entry functions.
        unsafe { lidt(&pointer) };
    }
}
