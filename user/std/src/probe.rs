//! Loads and stores that may fail: a fault tells that the page may not be used so.

use libc::{REG_RIP, SA_ONSTACK, SA_SIGINFO, SIG_DFL, SIGSEGV, c_void, siginfo_t, ucontext_t};
use std::arch::naked_asm;
use std::{mem, ptr};

/// Catches the faults of [`read`] and [`write`]. A fault anywhere else still kills the process.
///
/// # Panics
/// If the handler cannot be set.
pub fn catch_faults() {
    let handler: extern "C" fn(i32, *mut siginfo_t, *mut c_void) = fault;
    // SAFETY: the structure is filled in whole, and the handler changes nothing but the two accesses'
    // way on.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        assert_eq!(libc::sigaction(SIGSEGV, &action, ptr::null_mut()), 0, "a handler for SIGSEGV");
    }
}

/// The word at `address`, or none if it may not be read.
pub fn read(address: usize) -> Option<u64> {
    let mut value = 0;
    // SAFETY: what is at the address is a page of the program's that everybody reaches by assembly
    // only, or a fault, which is caught.
    (unsafe { load(address, &mut value) } != 0).then_some(value)
}

/// Stores a word at `address`; tells whether it could.
pub fn write(address: usize, value: u64) -> bool {
    // SAFETY: as for `read`.
    unsafe { store(address, value) != 0 }
}

/// Its first instruction is the access.
#[unsafe(naked)]
unsafe extern "C" fn load(address: usize, value: &mut u64) -> u64 {
    naked_asm!("mov rax, [rdi]", "mov [rsi], rax", "mov eax, 1", "ret")
}

/// Its first instruction is the access.
#[unsafe(naked)]
unsafe extern "C" fn store(address: usize, value: u64) -> u64 {
    naked_asm!("mov [rdi], rsi", "mov eax, 1", "ret")
}

/// How an access goes on that has faulted.
#[unsafe(naked)]
extern "C" fn refused() -> u64 {
    naked_asm!("xor eax, eax", "ret")
}

extern "C" fn fault(_: i32, _: *mut siginfo_t, context: *mut c_void) {
    let accesses = [load as *const () as usize, store as *const () as usize];
    // SAFETY: the kernel passes the context of the interrupted code, which is either at one of the two
    // instructions, where `refused` may take over, or lost.
    unsafe {
        let rip = &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs[REG_RIP as usize];
        if accesses.contains(&(*rip as usize)) {
            *rip = refused as *const () as i64;
        } else {
            libc::signal(SIGSEGV, SIG_DFL);
        }
    }
}
