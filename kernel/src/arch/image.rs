//! The symbols of `linker/kernel.ld` as addresses and ranges.

use super::layout::KERNEL_BASE;
use core::ops::Range;
use x86_64::PhysAddr;

macro_rules! symbols {
    ($($(#[$meta:meta])* $name:ident = $start:ident .. $end:ident;)*) => {$(
        $(#[$meta])*
        pub fn $name() -> Range<u64> {
            unsafe extern "C" {
                static $start: u8;
                static $end: u8;
            }
            // Only the addresses of the symbols mean something, so nothing is read.
            (&raw const $start as u64)..(&raw const $end as u64)
        }
    )*};
}

symbols! {
    /// Physical addresses that the image occupies.
    occupied = __image_start..__image_end;
    /// Code.
    text = __text_start..__text_end;
    /// Constants.
    rodata = __rodata_start..__rodata_end;
    /// Data that is written.
    data = __data_start..__data_end;
    /// The addresses at which CPU-local data is used.
    cpulocal = __cpulocal_start..__cpulocal_end;
    /// The boot CPU's first stack.
    boot_stack = __boot_stack_bottom..__boot_stack_top;
}

/// The initial contents of the CPU-local section.
pub fn cpulocal_load() -> &'static [u8] {
    unsafe extern "C" {
        static __cpulocal_load: u8;
    }
    let used = cpulocal();
    // SAFETY: the linker script puts that many initialised bytes there; nothing writes them.
    unsafe { core::slice::from_raw_parts(&raw const __cpulocal_load, (used.end - used.start) as usize) }
}

/// The physical address behind an address within the image.
pub fn physical(address: u64) -> PhysAddr {
    PhysAddr::new(address - KERNEL_BASE)
}
