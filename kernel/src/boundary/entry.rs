//! How a CPU enters the kernel and returns to user mode: the only code between user mode and Rust.
//!
//! **System calls.** `syscall` saves nothing but rip and flags, in rcx and r11. The code below pushes them on the CPU's
//! kernel stack with the registers that Rust may overwrite ([`SystemCall`]); the other six are still in place when Rust
//! returns. Most calls go straight back from there, the quick way: pop, `sysret`. The thread does not go straight back
//! if it waits, if another thread is to run, if a signal is pending, or if the call is about the registers themselves.
//! Then all sixteen registers go to its control block first. The thread has not been ended at that point: a call that
//! may end it is one about the registers. `docs/entry-path.md` counts the instructions.
//!
//! **Interrupts and exceptions** from user mode: the registers go straight into the thread's control block, from the
//! end of [`Registers`] towards its start. The CPU itself pushes the first five there, because `rsp0` of the TSS holds
//! the block's address. Then the entry code switches to the kernel stack, which is empty.
//!
//! ```text
//!   rsp0 →  ss rsp rflags cs rip | code vector | rdi rsi rdx rcx rax r8 … r15   ← Registers
//!           \______ iret ______/
//! ```
//!
//! From the kernel (level 1, or the idle loop at level 0) the CPU pushes on the stack that it is on. At level 1 the
//! interrupted code goes on afterwards. The idle loop never does: its frame is dropped, and the CPU dispatches a
//! runnable thread or goes idle anew.
//!
//! For example, `getpid` pushes ten words, calls Rust, pops and executes `sysret`; a page fault in user mode writes all
//! sixteen registers to the control block and returns by `iret`.
//!
//! There is no `swapgs`: the CPU-local section is found by address (see the crate `cpulocal`).

use crate::arch::fault::EXCEPTIONS;
use crate::arch::frame::{FRAME_END, LEVEL, Progress, SystemCall, USER_TIME};
use crate::arch::stack::KERNEL_STACK;
use containers::Registers;
use core::arch::{global_asm, naked_asm};
use core::cell::Cell;
use core::mem::offset_of;
use cpulocal::cpu_local;
use hardware::idt::STUB;
#[cfg(feature = "smp")]
use {crate::arch::frame::cause, cpulocal::InKernel};

cpu_local! {
    /// The user's stack pointer, for the few instructions until it is pushed on the kernel stack.
    static USER_STACK: Cell<u64> = Cell::new(0);
}

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
extern "C" fn system_call() {
    naked_asm!(
        "mov [rip + {user_stack}], rsp",
        "mov rsp, [rip + {kernel_stack}]",
        // A `SystemCall`, from its end.
        "push rax",
        "push [rip + {user_stack}]",
        "push r11",
        "push rcx",
        "push r9; push r8; push r10; push rdx; push rsi; push rdi",
        "mov rdi, rsp",
        // Time in user mode ends.
        "rdtsc",
        "shl rdx, 32",
        "or rax, rdx",
        "add [rip + {user_time}], rax",
        "call {enter}",
        "cmp rax, {returns}",
        "jne 2f",
        // The quick way back, with the result in rdx. Time in user mode begins.
        "mov rcx, rdx",
        "rdtsc",
        "shl rdx, 32",
        "or rax, rdx",
        "sub [rip + {user_time}], rax",
        "mov rax, rcx",
        // Nothing of the kernel's is left in a register.
        "pop rdi; pop rsi; pop rdx; pop r10; pop r8; pop r9",
        "pop rcx",
        "pop r11",
        "pop rsp",
        "sysretq",
        // The thread stays for now: all its registers go into its control block, `Registers` from its end. After
        // `syscall`, rcx and r11 are rip and flags. rax and rdx, which say how far the call has come, go on to Rust.
        "2: mov rdi, rsp",
        "mov rsp, [rip + {frame_end}]",
        "push {user_data}; push [rdi + {rsp}]; push [rdi + {rflags}]; push {user_code}; push [rdi + {rip}]",
        "push [rdi + {number}]; push {by_system_call}",
        "push [rdi + {arguments}]; push [rdi + {arguments} + 8]; push [rdi + {arguments} + 16]",
        "push [rdi + {rip}]; push [rdi + {number}]",
        "push [rdi + {arguments} + 32]; push [rdi + {arguments} + 40]; push [rdi + {arguments} + 24]",
        "push [rdi + {rflags}]",
        "push rbx; push rbp; push r12; push r13; push r14; push r15",
        "mov rsp, rdi",
        "mov rsi, rax",
        "xor ebp, ebp",
        "call {finish}",
        "jmp {to_user}",
        user_stack = sym USER_STACK,
        kernel_stack = sym KERNEL_STACK,
        user_time = sym USER_TIME,
        returns = const Progress::RETURNS,
        frame_end = sym FRAME_END,
        user_data = const Registers::USER_DATA,
        user_code = const Registers::USER_CODE,
        by_system_call = const Registers::SYSTEM_CALL,
        arguments = const offset_of!(SystemCall, arguments),
        rip = const offset_of!(SystemCall, rip),
        rflags = const offset_of!(SystemCall, rflags),
        rsp = const offset_of!(SystemCall, rsp),
        number = const offset_of!(SystemCall, number),
        enter = sym super::enter_system_call,
        finish = sym super::finish_system_call,
        to_user = sym to_user,
    )
}

/// The number of the system call that this CPU is making, if it entered the kernel by one. `outermost` is the return
/// address of the kernel's outermost frame.
#[cfg(feature = "smp")]
pub fn call_under_way(cpu: &InKernel, outermost: u64) -> Option<u64> {
    is_within(syscall_entry(), outermost).then(|| {
        let call = (KERNEL_STACK.get(cpu).get() - size_of::<SystemCall>() as u64) as *const SystemCall;
        // SAFETY: the entry has put it at the top of this CPU's kernel stack, where it stays until the CPU leaves.
        unsafe { (&raw const (*call).number).read_volatile() }
    })
}

/// The vector of the exception or interrupt that brought this CPU in from user mode, if it entered the kernel by one:
/// then the kernel's outermost frame, whose return address is `outermost`, begins at the very top of its stack. The
/// [current](crate::core::schedule::current) thread is several words; this can be asked by a non-maskable interrupt at
/// any time.
#[cfg(feature = "smp")]
pub fn trap_under_way(cpu: &InKernel, outermost: u64) -> Option<u64> {
    let top = (KERNEL_STACK.get(cpu).get() - size_of::<u64>() as u64) as *const u64;
    // SAFETY: this is a word of the kernel stack that this CPU has used since it came up: it is mapped for ever.
    let first = unsafe { top.read_volatile() };
    let is_trap = first == outermost && is_within(common as *const () as u64, outermost);
    is_trap.then(|| cause(cpu).0)
}

/// Whether a return address lies in the code of an entry function.
#[cfg(feature = "smp")]
fn is_within(entry: u64, address: u64) -> bool {
    /// Longer than the code of any entry.
    const LENGTH: u64 = 256;
    (entry..entry + LENGTH).contains(&address)
}

/// The address that `syscall` goes to.
pub fn syscall_entry() -> u64 {
    system_call as *const () as u64
}

/// Returns to user mode with the registers at rax. Interrupts are off.
///
/// A thread that entered by `syscall`, and whose registers have not been set since, returns by `sysret`: its rcx and
/// r11 hold rip and flags. Every other thread returns by `iret`.
#[unsafe(naked)]
extern "C" fn to_user() {
    naked_asm!(
        "mov rsp, rax",
        pop_registers!(),
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

/// Goes to user mode for the first time, from the boot.
///
/// # Safety
/// `registers` are a thread's, as the boundary returns them, and interrupts are off.
pub unsafe fn return_to_user(registers: *const Registers) -> ! {
    // SAFETY: the caller's promise; `to_user` takes the address in rax and does not come back.
    unsafe { core::arch::asm!("jmp {to_user}", to_user = sym to_user, in("rax") registers, options(noreturn)) }
}

/// Drops the stack and goes idle: the kernel stack is empty when the next interrupt arrives.
///
/// Level 0 has been set. Interrupts are off until the `sti`, whose shadow covers the `hlt`.
#[unsafe(naked)]
pub extern "C" fn idle() -> ! {
    naked_asm!(
        "mov rsp, [rip + {kernel_stack}]",
        "2: sti",
        "hlt",
        "jmp 2b",
        kernel_stack = sym KERNEL_STACK,
    )
}

/// The common part of the interrupt and exception stubs: vector and error code are on the stack.
#[unsafe(naked)]
extern "C" fn common() {
    naked_asm!(
        "test byte ptr [rsp + {cs} - {vector}], 3",
        "jz 2f",
        // From user mode; rsp is in the control block, and the memory below it is not a stack.
        push_registers!(),
        "mov rsp, [rip + {kernel_stack}]",
        // Clears the direction flag and AC, which would switch SMAP off.
        "push 2",
        "popfq",
        "xor ebp, ebp",
        "call {from_user}",
        "jmp {to_user}",
        // From the kernel, which keeps both flags clear. Exceptions come first: CPU-local data may not
        // be there yet.
        "2: cmp qword ptr [rsp], {exceptions}",
        "jb 4f",
        "cmp qword ptr [rip + {level}], 0",
        "je 3f",
        push_registers!(),
        "mov rdi, rsp",
        "call {from_kernel}",
        pop_registers!(),
        "add rsp, 16",
        "iretq",
        // From the idle loop, whose registers nobody needs: they are not stored, and what is on the stack is dropped. The
        // six words that are left there keep it aligned.
        "3: pop rdi",
        "call {from_idle}",
        "jmp {to_user}",
        // From an exception in the kernel itself.
        "4:",
        push_registers!(),
        "mov rdi, rsp",
        "jmp {exception}",
        kernel_stack = sym KERNEL_STACK,
        level = sym LEVEL,
        cs = const offset_of!(Registers, cs),
        vector = const offset_of!(Registers, vector),
        exceptions = const EXCEPTIONS,
        exception = sym exception,
        from_user = sym super::enter_trap,
        from_kernel = sym super::interrupted,
        from_idle = sym super::enter_from_idle,
        to_user = sym to_user,
    )
}

/// The entry of double faults, NMIs and machine checks. They arrive on stacks of their own, from anywhere, and the
/// kernel does not return from them.
#[unsafe(naked)]
extern "C" fn special() {
    naked_asm!(
        push_registers!(),
        "push 2",
        "popfq",
        "mov rdi, rsp",
        "jmp {exception}",
        exception = sym exception,
    )
}

/// The entry of a non-maskable interrupt with several CPUs: another CPU may have sent it, and this CPU may go on.
#[cfg(feature = "smp")]
#[unsafe(naked)]
extern "C" fn non_maskable() {
    naked_asm!(
        push_registers!(),
        "push 2",
        "popfq",
        "mov rdi, rsp",
        "call {handler}",
        pop_registers!(),
        "add rsp, 16",
        "iretq",
        handler = sym super::stop::non_maskable,
    )
}

#[cfg(not(feature = "smp"))]
use special as non_maskable;

/// Handles an exception in the kernel; the registers are at rdi and rsp. The address of the faulting instruction is
/// linked into the chain of frames, so that the backtrace shows it.
#[unsafe(naked)]
extern "C" fn exception() {
    naked_asm!(
        "push [rdi + {rip}]",
        "push rbp",
        "mov rbp, rsp",
        "call {in_kernel}",
        "ud2",
        rip = const offset_of!(Registers, rip),
        in_kernel = sym super::in_kernel,
    )
}

// A stub for each vector: an error code where the CPU pushes none (SDM volume 3, table 6-1), then the
// vector, then the common part.
global_asm!(
    ".pushsection .text.entry, \"ax\"",
    ".balign {stub}",
    ".globl interrupt_stubs",
    "interrupt_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign {stub}",
    ".if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)",
    "push 0",
    ".endif",
    "push vector",
    ".if vector == 2",
    "jmp {non_maskable}",
    ".elseif vector == 8 || vector == 18",
    "jmp {special}",
    ".else",
    "jmp {common}",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    ".popsection",
    stub = const STUB,
    non_maskable = sym non_maskable,
    special = sym special,
    common = sym common,
);
