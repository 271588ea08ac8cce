//! The end of the machine, and the last report to the host.

use crate::{debugcon, host, interrupts, serial};
use abi::channel::{BOCHS_EXIT_PORT, BOCHS_EXIT_WORD, EXIT, PANIC, QEMU_EXIT_CODE, QEMU_EXIT_PORT};
use core::fmt;
use x86_64::instructions::{hlt, port::Port};

/// The longest wait without progress for the console to take the output of programs.
const PATIENCE_NS: u64 = 30_000_000_000;

/// Ends the run with a status.
pub fn exit(status: u8) -> ! {
    interrupts::disable();
    serial::flush(PATIENCE_NS);
    debugcon::record(EXIT, format_args!("{status}"));
    end_machine()
}

/// Ends the run because the kernel cannot do its work; the reason is one sentence.
pub fn fatal(reason: impl fmt::Display) -> ! {
    interrupts::disable();
    debugcon::record(PANIC, format_args!("{reason}"));
    end_machine()
}

/// Ends the machine without a report; on a machine that has no means to end, the CPU stops.
pub fn end_machine() -> ! {
    interrupts::disable();
    host::pause();
    // SAFETY: these ports end the machine under QEMU and Bochs and are unused elsewhere.
    unsafe {
        Port::<u32>::new(QEMU_EXIT_PORT).write(QEMU_EXIT_CODE);
        let mut bochs = Port::<u8>::new(BOCHS_EXIT_PORT);
        BOCHS_EXIT_WORD.iter().for_each(|&byte| bochs.write(byte));
    }
    loop {
        hlt();
    }
}
