//! Segments, and the task state segment with the stacks that interrupts switch to.
//!
//! `syscall` and `sysret` require this order of the segments (SDM volume 2): kernel code, kernel data; user data, user
//! code. The TSS is CPU-local data, so one descriptor serves all CPUs: every CPU finds its own TSS at that address.

use super::stack::{self, Special};
use containers::Cpu;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use cpulocal::cpu_local;
use lazy_static::lazy_static;
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

cpu_local! {
    static TSS: UnsafeCell<TaskStateSegment> = UnsafeCell::new(TaskStateSegment::new());
}

/// Bit of a TSS's descriptor: a CPU is using it.
const BUSY: u64 = 1 << 41;

lazy_static! {
    // The CPUs themselves write to the table: `ltr` sets `BUSY`.
    static ref GDT: [AtomicU64; 8] = {
        let mut gdt = GlobalDescriptorTable::new();
        let selectors = [
            gdt.append(Descriptor::kernel_code_segment()),
            gdt.append(Descriptor::kernel_data_segment()),
            gdt.append(Descriptor::user_data_segment()),
            gdt.append(Descriptor::user_code_segment()),
            gdt.append(tss_descriptor(TSS.as_ptr() as u64)),
        ];
        assert!(selectors == [KERNEL_CODE, KERNEL_DATA, USER_DATA, USER_CODE, TSS_SELECTOR]);
        core::array::from_fn(|index| AtomicU64::new(gdt.entries().get(index).map_or(0, |entry| entry.raw())))
    };
}

/// The descriptor of a TSS (SDM volume 3, figure 8-4). The crate's own function reads the TSS, which is
/// not mapped yet.
fn tss_descriptor(base: u64) -> Descriptor {
    const PRESENT: u64 = 1 << 47;
    const AVAILABLE_TSS: u64 = 9 << 40;
    let limit = size_of::<TaskStateSegment>() as u64 - 1;
    let low = limit | (base & 0xff_ffff) << 16 | AVAILABLE_TSS | PRESENT | (base >> 24 & 0xff) << 56;
    Descriptor::SystemSegment(low, base >> 32)
}

/// Loads the segments; the TSS needs CPU-local data and comes later.
pub fn init() {
    let table: &'static [AtomicU64; 8] = &GDT;
    let pointer = DescriptorTablePointer { limit: (size_of_val(table) - 1) as u16, base: VirtAddr::from_ptr(table) };
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

/// Gives this CPU its TSS, so that interrupts find their stacks. Its stacks and its CPU-local section
/// are mapped.
pub fn init_tss(cpu: Cpu) {
    let tss: *mut TaskStateSegment = TSS.as_ptr().cast();
    for which in [Special::DoubleFault, Special::NonMaskable, Special::MachineCheck] {
        let top = VirtAddr::new(stack::special(cpu, which).end);
        // SAFETY: this CPU's own TSS, written field by field, not in use yet; packed, so perhaps unaligned.
        unsafe { (&raw mut (*tss).interrupt_stack_table[which as usize]).write_unaligned(top) };
    }
    set_rsp0(stack::kernel(cpu).end);
    // One descriptor serves all CPUs, and they come up one after the other.
    let descriptor = &GDT[usize::from(TSS_SELECTOR.index())];
    descriptor.store(descriptor.load(Relaxed) & !BUSY, Relaxed);
    // SAFETY: the selector is that of the TSS, which lives for ever.
    unsafe { load_tss(TSS_SELECTOR) };
}

/// Sets where the CPU puts its frame when an interrupt or exception comes from user mode.
#[inline]
pub fn set_rsp0(top: u64) {
    let tss: *mut TaskStateSegment = TSS.as_ptr().cast();
    // SAFETY: a plain store to this CPU's own TSS, which the CPU only reads.
    unsafe { (&raw mut (*tss).privilege_stack_table[0]).write_unaligned(VirtAddr::new_truncate(top)) };
}
