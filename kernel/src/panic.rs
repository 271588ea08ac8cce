//! A kernel panic: writes the message, its place and the places of the other CPUs to the log channel, and ends the
//! machine.

use crate::arch::backtrace;
use abi::channel::{BACKTRACE, PANIC};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU64, Ordering};
use hardware::{debugcon, exit, interrupts};
#[cfg(feature = "smp")]
use {crate::boundary::stop, hardware::cpu::initial_id};

/// The CPU that panicked first, by its local APIC id.
static FIRST: AtomicU64 = AtomicU64::new(NOBODY);
const NOBODY: u64 = u64::MAX;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    interrupts::disable();
    begin();
    match info.location() {
        Some(place) => debugcon::record(PANIC, format_args!("{} ({}:{})", info.message(), place.file(), place.line())),
        None => debugcon::record(PANIC, format_args!("{}", info.message())),
    }
    backtrace::walk(backtrace::here(), |address| debugcon::record(BACKTRACE, format_args!("{address:x}")));
    #[cfg(feature = "smp")]
    stop::others();
    exit::end_machine()
}

/// Returns only on the CPU that panics first, and only once.
#[cfg(feature = "smp")]
fn begin() {
    let me = u64::from(initial_id());
    match FIRST.compare_exchange(NOBODY, me, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => {}
        // A panic inside the panic handler.
        Err(first) if first == me => exit::end_machine(),
        // The CPU that panicked first stops this one, and has it report where it is.
        Err(_) => stop::halt(),
    }
}

/// Returns only for the first panic.
#[cfg(not(feature = "smp"))]
fn begin() {
    if FIRST.load(Ordering::Relaxed) != NOBODY {
        exit::end_machine();
    }
    FIRST.store(0, Ordering::Relaxed);
}
