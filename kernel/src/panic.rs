//! A kernel panic: say what and where on the log channel, and end the machine.

use crate::arch::{backtrace, debugcon, exit, interrupts};
use abi::channel::{BACKTRACE, PANIC};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

/// Set by the first panic, so that one inside the panic handler ends the machine at once.
static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    interrupts::disable();
    if PANICKING.load(Ordering::Relaxed) {
        exit::end_machine();
    }
    PANICKING.store(true, Ordering::Relaxed);
    match info.location() {
        Some(place) => debugcon::record(PANIC, format_args!("{} ({}:{})", info.message(), place.file(), place.line())),
        None => debugcon::record(PANIC, format_args!("{}", info.message())),
    }
    backtrace::walk(backtrace::here(), |address| debugcon::record(BACKTRACE, format_args!("{address:x}")));
    exit::end_machine()
}
