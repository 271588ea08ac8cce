//! This kernel's segments. The TSS is CPU-local data, so one descriptor serves all CPUs: every CPU finds its own TSS at
//! that address.

use super::stack;
use containers::Cpu;
use cpulocal::cpu_local;
use hardware::gdt::{Special, Table, Tss};
use lazy_static::lazy_static;

cpu_local! {
    static TSS: Tss = Tss::new();
}

lazy_static! {
    static ref GDT: Table = Table::new(TSS.as_ptr() as u64);
}

/// Loads the segments; the TSS needs CPU-local data and comes later.
pub fn init() {
    GDT.load();
}

/// Gives this CPU its TSS, so that interrupts find their stacks. Its stacks and its CPU-local section
/// are mapped.
pub fn init_tss(cpu: Cpu) {
    for which in [Special::DoubleFault, Special::NonMaskable, Special::MachineCheck] {
        tss().set_stack(which, stack::special(cpu, which).end);
    }
    set_rsp0(stack::kernel(cpu).end);
    // SAFETY: CPU-local data is mapped for ever, and the stacks have just been set.
    unsafe { GDT.load_tss() };
}

/// Sets where the CPU puts its frame when an interrupt or exception comes from user mode.
#[inline]
pub fn set_rsp0(top: u64) {
    tss().set_rsp0(top);
}

/// This CPU's TSS. CPU-local data is mapped.
#[inline(always)]
fn tss() -> &'static Tss {
    // SAFETY: mapped for ever, and made of cells. The reference does not leave this module, so it stays on this CPU.
    unsafe { &*TSS.as_ptr() }
}
