//! This kernel's interrupt descriptor table: 256 gates to the stubs of the entry code, which has them at the symbol
//! `interrupt_stubs`. The boundary switches interrupts on once it has set the level.

use hardware::idt::Table;
use lazy_static::lazy_static;

unsafe extern "C" {
    safe fn interrupt_stubs();
}

lazy_static! {
    static ref IDT: Table = Table::new(interrupt_stubs as *const () as u64);
}

/// Loads the table.
pub fn init() {
    // SAFETY: the entry code has a stub for each vector.
    unsafe { IDT.load() };
}
