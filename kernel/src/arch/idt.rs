//! The interrupt descriptor table: 256 gates to the stubs of the entry code, which has them at the symbol
//! `interrupt_stubs`.
//!
//! All gates switch interrupts off. The boundary switches them on once it has set the level.

use super::stack::Special;
use abi::vectors;
use lazy_static::lazy_static;
use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::structures::DescriptorTablePointer;
use x86_64::{PrivilegeLevel, structures::gdt::SegmentSelector};

/// The local APIC's timer.
pub const TIMER: u8 = vectors::TIMER;
/// COM1.
pub const SERIAL: u8 = vectors::SERIAL;
#[cfg(feature = "smp")]
/// Another CPU asks this one to reschedule.
pub const RESCHEDULE: u8 = vectors::RESCHEDULE;
#[cfg(feature = "smp")]
/// Another CPU waits for this one to do something at once ([`super::remote`]). Its priority class is higher than that
/// of every other interrupt (SDM volume 3, section 11.8.3), so it reaches a CPU that waits for the giant lock while
/// another interrupt is in service.
pub const REQUEST: u8 = vectors::REQUEST;
/// The local APIC's spurious interrupt: the interrupt to deliver went away.
pub const SPURIOUS: u8 = 0xff;

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

/// The address of a vector's stub.
fn stub(vector: u8) -> u64 {
    unsafe extern "C" {
        safe fn interrupt_stubs();
    }
    interrupt_stubs as *const () as u64 + u64::from(vector) * STUB
}

lazy_static! {
    static ref IDT: [Gate; 256] = core::array::from_fn(|vector| {
        let vector = vector as u8;
        let (stack, privilege) = match vector {
            2 => (1 + Special::NonMaskable as u64, PrivilegeLevel::Ring0),
            8 => (1 + Special::DoubleFault as u64, PrivilegeLevel::Ring0),
            18 => (1 + Special::MachineCheck as u64, PrivilegeLevel::Ring0),
            // `int3` and `into` are for programs to execute.
            3 | 4 => (0, PrivilegeLevel::Ring3),
            _ => (0, PrivilegeLevel::Ring0),
        };
        Gate::new(stub(vector), super::gdt::KERNEL_CODE, stack, privilege)
    });
}

/// Loads the table.
pub fn init() {
    let table: &'static [Gate; 256] = &IDT;
    let pointer = DescriptorTablePointer { limit: (size_of_val(table) - 1) as u16, base: VirtAddr::from_ptr(table) };
    // SAFETY: the table lives for ever, and its gates lead to the stubs.
    unsafe { lidt(&pointer) };
}
