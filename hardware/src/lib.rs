//! The hardware of a PC as a kernel sees it: CPU, descriptor tables, interrupt controllers, clocks, ports, and the start of
//! further CPUs. The crate knows no kernel: what a kernel has to give, such as the mapping of a device's registers, it is
//! handed as a value ([`devices::Devices`], `startup::Newcomers`).
//!
//! The crate is a home of unsafe code. Its functions are safe to call for a kernel; where an order must be kept, the
//! kernel's boot keeps it.
//!
//! For example, `apic::init` asks the kernel to map one page of registers, silences the old interrupt controllers and
//! measures the timer; from then on `apic::arm(ticks)` lets the timer's interrupt come once.
#![no_std]

extern crate alloc;

pub mod acpi;
pub mod apic;
pub mod clock;
pub mod cpu;
pub mod debugcon;
pub mod devices;
pub mod entropy;
pub mod exit;
pub mod fpu;
pub mod gdt;
pub mod host;
pub mod idt;
pub mod interrupts;
pub mod ioapic;
mod legacy;
mod ring;
mod rtc;
pub mod serial;
#[cfg(feature = "smp")]
pub mod startup;
mod tsc;
