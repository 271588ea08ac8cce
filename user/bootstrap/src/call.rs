//! System calls, and touching memory, so that a signal finds out how far each has come.
//!
//! The handler of a signal looks at the instruction that it has interrupted ([`interrupted`]). Before the `syscall`, or
//! on it, which is where the kernel puts a thread whose call is to be made again, the call does not happen: it returns
//! [`AGAIN`]. Behind it the call has its result. For example, SIGUSR1 comes while a bootstrap thread waits in `read`
//! for its application thread. With `SA_RESTART` the kernel would make the call again after the handler; but the
//! program's handler runs on the application thread first.

use crate::pair::Pair;
use core::arch::{asm, naked_asm};
use core::mem::offset_of;

/// The result of a call that a signal has kept from being made: none of the kernel's.
pub const AGAIN: i64 = i64::MIN;

/// Makes a call for the program; [`AGAIN`] if a signal came first.
///
/// # Safety
/// What the call does is the program's intent, and nothing that this program relies on.
#[unsafe(naked)]
pub unsafe extern "C" fn call(number: u64, arguments: &[u64; 6]) -> i64 {
    naked_asm!(
        "mov rax, rdi",
        "mov r11, rsi",
        "mov rdi, [r11]",
        "mov rsi, [r11 + 8]",
        "mov rdx, [r11 + 16]",
        "mov r10, [r11 + 24]",
        "mov r8, [r11 + 32]",
        "mov r9, [r11 + 40]",
        ".globl call_start, call_syscall, call_again",
        // A signal may have come already.
        "call_start:",
        "cmp byte ptr fs:[{pending}], 0",
        "jne call_again",
        "call_syscall:",
        "syscall",
        "ret",
        "call_again:",
        "mov rax, {again}",
        "ret",
        pending = const offset_of!(Pair, pending),
        again = const AGAIN,
    )
}

/// Reads a byte of the program's memory, or writes it as it is, unless a signal comes first: also that of the fault.
///
/// # Safety
/// As for [`call`].
#[unsafe(naked)]
pub unsafe extern "C" fn touch(address: u64, write: bool) {
    naked_asm!(
        ".globl touch_start, touch_end",
        "touch_start:",
        "cmp byte ptr fs:[{pending}], 0",
        "jne touch_end",
        "test sil, sil",
        "jnz 2f",
        "mov al, [rdi]",
        "ret",
        "2: lock or byte ptr [rdi], 0",
        "touch_end:",
        "ret",
        pending = const offset_of!(Pair, pending),
    )
}

unsafe extern "C" {
    static call_start: u8;
    static call_syscall: u8;
    static call_again: u8;
    static touch_start: u8;
    static touch_end: u8;
}

fn at(symbol: *const u8) -> u64 {
    symbol.addr() as u64
}

/// Where a thread goes on that a signal has interrupted at `rip`.
pub fn interrupted(rip: u64) -> u64 {
    let before_call = at(&raw const call_start)..=at(&raw const call_syscall);
    let touching = at(&raw const touch_start)..at(&raw const touch_end);
    match rip {
        _ if before_call.contains(&rip) => at(&raw const call_again),
        _ if touching.contains(&rip) => touching.end,
        _ => rip,
    }
}

/// Makes a call of this program's own, which does not wait.
pub fn make(number: u32, arguments: [u64; 6]) -> i64 {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result: i64;
    // SAFETY: the callers give addresses of this program's.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") u64::from(number) => result,
            in("rdi") first, in("rsi") second, in("rdx") third, in("r10") fourth, in("r8") fifth, in("r9") sixth,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

/// [`make`] with up to six arguments: `own!(__NR_close, fd)`.
macro_rules! own {
    ($number:expr $(, $argument:expr)* $(,)?) => {{
        let given = [$($argument as u64),*];
        let mut arguments = [0_u64; 6];
        arguments[..given.len()].copy_from_slice(&given);
        $crate::call::make($number, arguments)
    }};
}
pub(crate) use own;
