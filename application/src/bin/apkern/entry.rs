//! How an application processor comes into the application kernel and goes back to user mode: the only code between
//! user mode and Rust.
//!
//! Every way in stores all registers in the control block of the thread that runs, from the end of [`Registers`]
//! towards its start: an exception or interrupt because `rsp0` of the TSS points there, a system call because the code
//! below does the same by hand. The CPU finds its own data by GS: `swapgs` on the way in and on the way out. In the
//! application kernel interrupts are off but in the idle loop, whose interrupts go straight back there.
//!
//! There is one stack for each CPU, empty at each way in.

use super::cpu::Cpu;
use super::thread::Registers;
use core::arch::{global_asm, naked_asm};
use core::mem::offset_of;
use hardware::idt::STUB;

// Pushes the registers below `code` and `vector`, in the order of `Registers`.
macro_rules! push_registers {
    () => {
        "push rdi; push rsi; push rdx; push rcx; push rax; push r8; push r9; push r10; push r11
         push rbx; push rbp; push r12; push r13; push r14; push r15"
    };
}

macro_rules! pop_registers {
    () => {
        "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx
         pop r11; pop r10; pop r9; pop r8; pop rax; pop rcx; pop rdx; pop rsi; pop rdi"
    };
}

/// The target of `syscall`: rcx holds the user's rip, r11 its flags; interrupts are off.
#[unsafe(naked)]
pub extern "C" fn system_call() {
    naked_asm!(
        "swapgs",
        "cmp rax, gs:[{known_call}]",
        "je 2f",
        "mov gs:[{user_stack}], rsp",
        "mov rsp, gs:[{frame_end}]",
        "push {user_data}; push gs:[{user_stack}]; push r11; push {user_code}; push rcx",
        "push rax; push {by_system_call}",
        push_registers!(),
        "jmp {trapped}",
        // `getpid`, if it is answered here: all registers but rax are still the thread's.
        "2: mov rax, gs:[{known_result}]",
        "swapgs",
        "sysretq",
        known_call = const offset_of!(Cpu, known_call),
        known_result = const offset_of!(Cpu, known_result),
        user_stack = const offset_of!(Cpu, user_stack),
        frame_end = const offset_of!(Cpu, frame_end),
        user_data = const Registers::USER_DATA,
        user_code = const Registers::USER_CODE,
        by_system_call = const Registers::SYSTEM_CALL,
        trapped = sym trapped,
    )
}

/// The registers are in the control block: calls Rust on the CPU's stack, and goes back with the registers that it
/// returns.
#[unsafe(naked)]
extern "C" fn trapped() {
    naked_asm!(
        "mov rsp, gs:[{stack}]",
        "mov rdi, gs:[{itself}]",
        "xor ebp, ebp",
        "call {trap}",
        "jmp {to_user}",
        stack = const offset_of!(Cpu, stack),
        itself = const offset_of!(Cpu, itself),
        trap = sym super::trap::trapped,
        to_user = sym to_user,
    )
}

/// Returns to user mode with the registers at rax. A thread that entered by `syscall`, and whose registers have not
/// been set since, returns by `sysret`: its rcx and r11 hold rip and flags. Every other thread returns by `iret`.
#[unsafe(naked)]
extern "C" fn to_user() {
    naked_asm!(
        "mov rsp, rax",
        pop_registers!(),
        "swapgs",
        "cmp qword ptr [rsp], {by_system_call}",
        "jne 2f",
        "mov rsp, [rsp + {rsp} - {vector}]",
        "sysretq",
        "2: add rsp, 16",
        "iretq",
        by_system_call = const Registers::SYSTEM_CALL,
        rsp = const offset_of!(Registers, rsp),
        vector = const offset_of!(Registers, vector),
    )
}

/// Goes to user mode for the first time on this CPU.
///
/// # Safety
/// `registers` are those of the thread that this CPU runs, and interrupts are off.
pub unsafe fn return_to_user(registers: *const Registers) -> ! {
    // SAFETY: the caller's promise; `to_user` takes the address in rax and does not come back.
    unsafe { core::arch::asm!("jmp {to_user}", to_user = sym to_user, in("rax") registers, options(noreturn)) }
}

/// The common part of the stubs: vector and error code are on the stack, or in the control block.
#[unsafe(naked)]
extern "C" fn common() {
    naked_asm!(
        push_registers!(),
        "test byte ptr [rsp + {cs}], 3",
        "jz 2f",
        "swapgs",
        "mov rsp, gs:[{stack}]",
        // Clears the direction flag and AC, which would switch SMAP off.
        "push 2",
        "popfq",
        "jmp {trapped}",
        // From the idle loop, or an exception in the application kernel.
        "2: mov rdi, rsp",
        "call {interrupted}",
        pop_registers!(),
        "add rsp, 16",
        "iretq",
        cs = const offset_of!(Registers, cs),
        stack = const offset_of!(Cpu, stack),
        trapped = sym trapped,
        interrupted = sym super::trap::interrupted,
    )
}

// A stub for each vector: an error code where the CPU pushes none (SDM volume 3, table 6-1), then the vector, then the
// common part. Double faults, NMIs and machine checks come from anywhere, and no CPU returns from them.
global_asm!(
    ".pushsection .text.entry, \"ax\"",
    ".balign {stub}",
    ".globl apkern_stubs",
    "apkern_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign {stub}",
    ".if vector == 2 || vector == 8 || vector == 18",
    "mov edi, vector",
    "jmp {special}",
    ".else",
    ".if !((vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)",
    "push 0",
    ".endif",
    "push vector",
    "jmp {common}",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    ".popsection",
    stub = const STUB,
    special = sym super::trap::special,
    common = sym common,
);

unsafe extern "C" {
    static apkern_stubs: u8;
}

/// The address of the first stub.
pub fn stubs() -> u64 {
    (&raw const apkern_stubs).addr() as u64
}
