//! Deeds that must kill the program. Inline assembly throughout, so that the compiler presumes
//! nothing; none of it is sound, and the kernel must make sure that no other program is harmed.

use libc::*;
use programs::sys;
use programs::system::{PAGE, pages};
use std::arch::asm;
use std::ptr;

const KERNEL: u64 = 0xffff_ffff_8020_0000;

pub(super) fn divide() {
    // SAFETY: registers only.
    unsafe { asm!("xor ecx, ecx", "div ecx", inout("eax") 1 => _, out("ecx") _, inout("edx") 0 => _) }
}

pub(super) fn illegal() {
    // SAFETY: never returns.
    unsafe { asm!("ud2") }
}

pub(super) fn breakpoint() {
    // SAFETY: no effect but the trap.
    unsafe { asm!("int3") }
}

pub(super) fn single_step() {
    // SAFETY: no effect but the trap.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop") }
}

fn jump(to: u64) {
    // SAFETY: nothing can be executed there.
    unsafe { asm!("call {}", in(reg) to, clobber_abi("C")) }
}

fn load(from: u64) {
    // SAFETY: a load changes nothing.
    unsafe { asm!("mov {0}, [{0}]", inout(reg) from => _) }
}

fn store(to: u64) {
    // SAFETY: the store is to be refused.
    unsafe { asm!("mov qword ptr [{}], 0", in(reg) to) }
}

pub(super) fn kernel_jump() {
    jump(KERNEL);
}

pub(super) fn nowhere_jump() {
    jump(0x8000_0000_0000_0000);
}

pub(super) fn privileged() {
    // SAFETY: to be refused.
    unsafe { asm!("hlt") }
}

pub(super) fn ports() {
    // SAFETY: to be refused.
    unsafe { asm!("out dx, al", in("dx") 0xe9u16, in("al") b'!') }
}

/// Uses up the stack it is called on.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let mut place = [depth; 64];
    let place = std::hint::black_box(&mut place);
    if place[0] == u64::MAX { 0 } else { recurse(depth + 1) + place[63] }
}

pub(super) fn stack_overflow() {
    std::hint::black_box(recurse(0));
}

pub(super) fn thread_overflow() {
    let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(|| recurse(0));
    let _ = thread.expect("a thread can start").join();
}

pub(super) fn plain_overflow() {
    default_action(SIGSEGV);
    stack_overflow();
}

/// Takes the handler away that std installs.
fn default_action(signal: i32) {
    let default = [SIG_DFL as u64, 0, 0, 0];
    assert_eq!(sys!(SYS_rt_sigaction, signal, &default, 0, 8), Ok(0));
}

pub(super) fn null() {
    store(0);
}

pub(super) fn read_kernel() {
    load(KERNEL);
}

pub(super) fn write_kernel() {
    store(0xffff_8000_0000_0000);
}

pub(super) fn write_code() {
    store(divide as fn() as usize as u64);
}

pub(super) fn execute_data() {
    let data = pages(1);
    // SAFETY: a page of ours; a `ret`, were it executed.
    unsafe { data.write(0xc3) };
    jump(data as u64);
}

pub(super) fn unmap_stack() {
    let here = 0u64;
    let page = (&raw const here).addr() & !(PAGE - 1);
    assert_eq!(sys!(SYS_munmap, page - 64 * PAGE, 65 * PAGE), Ok(0));
    load(page as u64);
}

pub(super) fn unmap_all() {
    let _ = sys!(SYS_munmap, 0, 0x7fff_ffff_f000u64);
}

fn alternate_stack(place: *mut u8, size: usize) {
    let stack = stack_t { ss_sp: place.cast(), ss_flags: 0, ss_size: size };
    assert_eq!(sys!(SYS_sigaltstack, &stack, 0), Ok(0));
}

fn install(handler: extern "C" fn(i32), flags: i32) {
    // SAFETY: zeroes are a valid `sigaction`; the handler is what it says.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags;
        assert_eq!(sigaction(SIGSEGV, &action, ptr::null_mut()), 0);
    }
}

pub(super) fn bad_signal_stack() {
    extern "C" fn handler(_: i32) {
        println!("handled on a stack that is not there");
    }
    let place = pages(8);
    alternate_stack(place, 8 * PAGE);
    assert_eq!(sys!(SYS_munmap, place, 8 * PAGE), Ok(0));
    install(handler, SA_ONSTACK);
    null();
}

pub(super) fn fault_in_handler() {
    extern "C" fn handler(_: i32) {
        null();
    }
    install(handler, 0);
    null();
}

pub(super) fn thread_fault() {
    for _ in 0..3 {
        std::thread::spawn(|| {
            loop {
                std::thread::yield_now();
            }
        });
    }
    let _ = std::thread::spawn(null).join();
}
