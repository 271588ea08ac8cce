//! Returns from a signal handler with registers that no program may have.
//!
//! The kernel made the frame, but the program may have changed every word of it.

use libc::*;
use programs::sys;
use programs::system::{PAGE, pages};
use std::arch::asm;
use std::cell::Cell;
use std::ptr;

thread_local! {
    /// How the handler changes the frame.
    static CHANGE: Cell<fn(&mut ucontext_t)> = const { Cell::new(|_| {}) };
}

extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a context that is the handler's to change.
    let context = unsafe { &mut *context.cast::<ucontext_t>() };
    // Past the `ud2`, and back to the default, so that the next signal kills.
    context.uc_mcontext.gregs[REG_RIP as usize] += 2;
    CHANGE.get()(context);
}

/// Raises a signal, in whose handler the frame is changed.
fn raise_with(change: fn(&mut ucontext_t)) {
    CHANGE.set(change);
    for signal in [SIGSEGV, SIGBUS] {
        // SAFETY: the default action is no handler.
        unsafe { libc::signal(signal, SIG_DFL) };
    }
    // SAFETY: zeroes are a valid `sigaction`, the handler one for SA_SIGINFO; `ud2` is skipped.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = SA_SIGINFO;
        assert_eq!(sigaction(SIGILL, &action, ptr::null_mut()), 0);
        asm!("ud2");
    }
}

fn set(context: &mut ucontext_t, register: i32, value: i64) {
    context.uc_mcontext.gregs[register as usize] = value;
}

pub(super) fn nothing() {
    let _ = sys!(SYS_rt_sigreturn);
}

pub(super) fn instruction() {
    raise_with(|context| set(context, REG_RIP, 0x8000_0000_0000));
}

pub(super) fn kernel() {
    raise_with(|context| {
        set(context, REG_RIP, 0xffff_ffff_8020_0000u64 as i64);
        set(context, REG_RSP, 0xffff_ff40_0000_8000u64 as i64);
    });
}

pub(super) fn segment() {
    // The word holds cs, gs, fs, ss; the kernel's code segment is 8 or 16 in every kernel known.
    raise_with(|context| set(context, REG_CSGSFS, 0x0010_0000_0000_0008));
}

/// Where the frame says that the vector state is: the word behind the general registers.
fn state_pointer(context: &mut ucontext_t) -> &mut *mut u32 {
    let registers = (&raw mut context.uc_mcontext.gregs).cast::<*mut u32>();
    // SAFETY: `mcontext_t` has that word there, under a name that differs between C libraries.
    unsafe { &mut *registers.add(context.uc_mcontext.gregs.len()) }
}

pub(super) fn state() {
    raise_with(|context| *state_pointer(context) = ptr::without_provenance_mut(0xffff_8000_0000_0000));
}

pub(super) fn mxcsr() {
    raise_with(|context| {
        // SAFETY: the frame's own vector state, MXCSR at byte 24.
        unsafe { *(*state_pointer(context)).add(6) = 0xffff_ffff }
    });
}

/// Components that are not enabled, in a state that ends with its page: AVX, where the CPU has none, and one that no CPU has.
pub(super) fn component() {
    raise_with(|context| {
        let state = state_pointer(context);
        // SAFETY: the frame's own vector state, its size with the mark behind it at byte 468, and a page of its own.
        unsafe {
            let size = (*state).add(117).read() as usize;
            let last = pages(1).add(PAGE - size.next_multiple_of(64)).cast::<u32>();
            ptr::copy_nonoverlapping((*state).cast::<u8>(), last.cast(), size);
            *last.add(128) |= 1 << 2;
            *last.add(129) |= 1 << 8;
            *state = last;
        }
    });
}

/// I/O privilege, interrupts off, virtual-8086 mode: a program's flags have none of them.
pub(super) fn flags() {
    const IO_PRIVILEGE: i64 = 3 << 12;
    const INTERRUPT: i64 = 1 << 9;
    const VIRTUAL_8086: i64 = 1 << 17;
    raise_with(|context| {
        let flags = context.uc_mcontext.gregs[REG_EFL as usize];
        set(context, REG_EFL, (flags | IO_PRIVILEGE | VIRTUAL_8086) & !INTERRUPT);
    });
    let flags: i64;
    // SAFETY: reads the flags.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags) };
    assert_eq!(flags & (IO_PRIVILEGE | INTERRUPT | VIRTUAL_8086), INTERRUPT, "flags are {flags:#x}");
}
