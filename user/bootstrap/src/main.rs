//! The launcher and the bootstrap thread (papers/000): the kernel maps this program beside every other one, as it would
//! map `ld.so`, and enters it first.
//!
//! The launcher opens `/dev/apkern`, makes an application thread that begins where the program does, and becomes its
//! bootstrap thread ([`pair`]). From then on the program runs on the other CPUs. With `NOAPPKERN` in the environment,
//! or without the device, it jumps to the program instead, which then runs on the boot CPU like any other. For example,
//! `NOAPPKERN=1 ls` in a shell.
#![no_std]
#![no_main]
#![expect(unreachable_pub, reason = "in a binary `pub` says what a module offers the others")]
#![expect(non_upper_case_globals, reason = "Linux's names of calls, in patterns")]

mod affinity;
mod away;
mod call;
mod cloning;
mod device;
mod futex;
mod memory;
mod pair;
mod signals;
mod start;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: ends the program with SIGILL.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}
