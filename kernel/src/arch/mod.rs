//! The code that touches the hardware: boot, traps, page-table entries, interrupt controllers, clocks, ports.
//!
//! The home of the kernel's unsafe code. Its functions are safe to call for the rest of the kernel; where an order must
//! be kept (frames before heap before CPU-local data), `main.rs` keeps it.

pub mod accounts;
pub mod backtrace;
pub mod bootinfo;
pub mod cpulocal;
pub mod deferred;
pub mod devices;
pub mod extended;
pub mod extension;
pub mod fault;
pub mod frame;
pub mod gdt;
pub mod heap;
pub mod idt;
pub mod image;
pub mod layout;
pub mod own;
pub mod paging;
#[cfg(feature = "smp")]
pub mod patience;
pub mod physical;
pub mod ranges;
#[cfg(feature = "smp")]
pub mod remote;
#[cfg(feature = "smp")]
pub mod report;
#[cfg(feature = "smp")]
pub mod smp;
pub mod stack;
#[cfg(feature = "trace")]
pub mod trace;
#[cfg(not(feature = "trace"))]
#[path = "untraced.rs"]
pub mod trace;
