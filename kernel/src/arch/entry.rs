//! Entries into the kernel: for now, every one of them is a fault of the kernel's own.

use super::fault::{Fault, kernel_fault};
use core::arch::global_asm;

/// Distance from one stub to the next.
const STUB_SIZE: u64 = 16;

// Each stub evens out the error code and pushes its vector:
//   [rsp] vector  [rsp+8] error code  [rsp+16] rip  cs  rflags  rsp  ss
global_asm!(
    r#"
.section .text.entry, "ax"
.balign 16
.global entry_stubs
entry_stubs:
.set vector, 0
.rept 256
    .balign 16
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21)
    .else
    push 0
    .endif
    push vector
    jmp entry_common
    .set vector, vector + 1
.endr

entry_common:
    mov rdi, rsp
    cld
    push [rdi + 16]
    push rbp
    mov rbp, rsp
    and rsp, -16
    call entry_report
    ud2

.global entry_syscall
entry_syscall:
    ud2
"#
);

unsafe extern "C" {
    static entry_stubs: u8;
    static entry_syscall: u8;
}

/// The address of the code that a vector's gate points to.
pub fn stub(vector: u8) -> u64 {
    &raw const entry_stubs as u64 + u64::from(vector) * STUB_SIZE
}

/// The address that `syscall` jumps to.
pub fn syscall_entry() -> u64 {
    &raw const entry_syscall as u64
}

#[unsafe(no_mangle)]
extern "C" fn entry_report(frame: &[u64; 7]) -> ! {
    let &[vector, error, rip, _, _, rsp, _] = frame;
    kernel_fault(Fault { vector: vector as u8, error, rip, rsp })
}
