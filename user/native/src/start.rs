//! Where a process begins, and how it ends when it panics.

use crate::{PANIC_STATUS, eprintln, system};
use core::arch::naked_asm;
use core::panic::PanicInfo;

unsafe extern "C" {
    /// What `entry!` defines.
    safe fn native_main(argument: u64) -> i32;
}

/// The package's ELF entry: `rdi` is the argument, the stack is aligned to 16 bytes.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
extern "C" fn _start(argument: u64) -> ! {
    naked_asm!("xor ebp, ebp", "call {begin}", "ud2", begin = sym begin)
}

extern "C" fn begin(argument: u64) -> ! {
    system::exit(native_main(argument))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    eprintln!("{info}");
    system::exit(PANIC_STATUS)
}
