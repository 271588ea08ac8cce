//! Segments, and the task state segment with the stacks that interrupts switch to. The kernel that uses them has the
//! memory: a [`Table`] that lives for ever, and a [`Tss`] for each CPU.
//!
//! `syscall` and `sysret` require this order of the segments (SDM volume 2): kernel code, kernel data; user data, user
//! code.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::{lgdt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

/// The kernel's code segment.
pub const KERNEL_CODE: SegmentSelector = SegmentSelector::new(1, PrivilegeLevel::Ring0);
/// The kernel's data segment.
pub const KERNEL_DATA: SegmentSelector = SegmentSelector::new(2, PrivilegeLevel::Ring0);
/// User programs' data segment.
pub const USER_DATA: SegmentSelector = SegmentSelector::new(3, PrivilegeLevel::Ring3);
/// User programs' code segment.
pub const USER_CODE: SegmentSelector = SegmentSelector::new(4, PrivilegeLevel::Ring3);
/// The task state segment.
const TSS_SELECTOR: SegmentSelector = SegmentSelector::new(5, PrivilegeLevel::Ring0);

/// Bit of a TSS's descriptor: a CPU is using it.
const BUSY: u64 = 1 << 41;

/// The interrupts with a stack of their own, numbered as in the TSS's interrupt stack table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Special {
    /// A double fault: the kernel's own stack may be broken.
    DoubleFault = 0,
    /// A non-maskable interrupt: it comes at any instruction, the first ones of a system call included.
    NonMaskable = 1,
    /// A machine check: it comes at any instruction, the first ones of a system call included.
    MachineCheck = 2,
}

/// A CPU's task state segment: the stacks that interrupts and exceptions switch to.
#[repr(transparent)]
pub struct Tss(UnsafeCell<TaskStateSegment>);

impl Tss {
    /// One without stacks.
    pub const fn new() -> Tss {
        Tss(UnsafeCell::new(TaskStateSegment::new()))
    }

    /// Sets the top of the stack for a special interrupt.
    pub fn set_stack(&self, which: Special, top: u64) {
        let tss = self.0.get();
        // SAFETY: a store to the CPU's own TSS, to which no reference is ever made; packed, so perhaps unaligned.
        unsafe {
            (&raw mut (*tss).interrupt_stack_table[which as usize]).write_unaligned(VirtAddr::new_truncate(top));
        }
    }

    /// Sets where the CPU puts its frame when an interrupt or exception comes from user mode.
    #[inline(always)]
    pub fn set_rsp0(&self, top: u64) {
        let tss = self.0.get();
        // SAFETY: as above; the CPU itself only reads it.
        unsafe { (&raw mut (*tss).privilege_stack_table[0]).write_unaligned(VirtAddr::new_truncate(top)) };
    }
}

impl Default for Tss {
    fn default() -> Tss {
        Tss::new()
    }
}

/// A global descriptor table. The CPUs themselves write to it: `ltr` sets [`BUSY`].
pub struct Table([AtomicU64; 8]);

impl Table {
    /// The kernel's and the user's segments, and a TSS by its address.
    pub fn new(tss: u64) -> Table {
        let mut gdt = GlobalDescriptorTable::new();
        let selectors = [
            gdt.append(Descriptor::kernel_code_segment()),
            gdt.append(Descriptor::kernel_data_segment()),
            gdt.append(Descriptor::user_data_segment()),
            gdt.append(Descriptor::user_code_segment()),
            gdt.append(tss_descriptor(tss)),
        ];
        assert!(selectors == [KERNEL_CODE, KERNEL_DATA, USER_DATA, USER_CODE, TSS_SELECTOR]);
        Table(core::array::from_fn(|index| AtomicU64::new(gdt.entries().get(index).map_or(0, |entry| entry.raw()))))
    }

    /// Loads the table and the kernel's segments on this CPU.
    pub fn load(&'static self) {
        let pointer =
            DescriptorTablePointer { limit: (size_of_val(&self.0) - 1) as u16, base: VirtAddr::from_ptr(self) };
        // SAFETY: the table lives for ever; the selectors are its, flat segments of the right kind.
        unsafe {
            lgdt(&pointer);
            CS::set_reg(KERNEL_CODE);
            SS::set_reg(KERNEL_DATA);
            for load in [DS::set_reg, ES::set_reg, FS::set_reg, GS::set_reg] {
                load(SegmentSelector::NULL);
            }
        }
    }

    /// Loads the TSS on this CPU, which has loaded the table. One descriptor serves all CPUs that have their TSS at one
    /// address, if they come one after the other.
    ///
    /// # Safety
    /// The TSS is mapped for ever, with stacks in it.
    pub unsafe fn load_tss(&'static self) {
        let descriptor = &self.0[usize::from(TSS_SELECTOR.index())];
        descriptor.store(descriptor.load(Relaxed) & !BUSY, Relaxed);
        // SAFETY: the selector is that of the TSS, of which the caller has promised that it is there.
        unsafe { load_tss(TSS_SELECTOR) };
    }
}

/// The descriptor of a TSS (SDM volume 3, figure 8-4). The crate's own function reads the TSS, which may not be mapped
/// yet.
fn tss_descriptor(base: u64) -> Descriptor {
    const PRESENT: u64 = 1 << 47;
    const AVAILABLE_TSS: u64 = 9 << 40;
    let limit = size_of::<TaskStateSegment>() as u64 - 1;
    let low = limit | (base & 0xff_ffff) << 16 | AVAILABLE_TSS | PRESENT | (base >> 24 & 0xff) << 56;
    Descriptor::SystemSegment(low, base >> 32)
}
