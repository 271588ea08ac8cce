//! An exception in the kernel itself: always a bug, reported as clearly as possible, and always the end.

use super::{image, stack};
use x86_64::registers::control::Cr2;

/// Vectors below this one are exceptions (SDM volume 3, section 6.3.1).
pub const EXCEPTIONS: u64 = 32;

/// What the CPU and the entry code record of an exception.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The exception's number.
    pub vector: u8,
    /// Its error code, 0 if it has none.
    pub error: u64,
    /// The address of the instruction that caused it.
    pub rip: u64,
    /// The stack pointer there.
    pub rsp: u64,
}

/// Panics with a description of an exception in the kernel.
pub fn kernel_fault(fault: Fault) -> ! {
    let Fault { vector, error, rip, rsp } = fault;
    if vector != 14 && vector != 8 {
        panic!("{} in the kernel at {rip:#x}, error code {error:#x}, rsp {rsp:#x}", name(vector));
    }
    let address = Cr2::read_raw();
    if stack::is_guard(address) {
        panic!("kernel stack overflow at {rip:#x}, address {address:#x}");
    }
    if vector == 8 {
        panic!("double fault in the kernel at {rip:#x}, rsp {rsp:#x}, last fault address {address:#x}");
    }
    if image::cpulocal().contains(&address) {
        panic!("CPU-local data touched before this CPU's copy is mapped: {address:#x}, by {rip:#x}");
    }
    let access = match (error & 16 != 0, error & 2 != 0) {
        (true, _) => "executing",
        (_, true) => "writing",
        _ => "reading",
    };
    let why = if error & 1 != 0 { "not allowed" } else { "not mapped" };
    panic!("page fault in the kernel at {rip:#x}: {access} {address:#x}, which is {why}");
}

/// The name of a vector's exception (SDM volume 3, table 7-1).
pub fn name(vector: u8) -> &'static str {
    const NAMES: [&str; 22] = [
        "divide error",
        "debug exception",
        "non-maskable interrupt",
        "breakpoint",
        "overflow",
        "bound range exceeded",
        "invalid opcode",
        "device not available",
        "double fault",
        "coprocessor segment overrun",
        "invalid TSS",
        "segment not present",
        "stack-segment fault",
        "general protection fault",
        "page fault",
        "reserved exception",
        "x87 floating-point error",
        "alignment check",
        "machine check",
        "SIMD floating-point exception",
        "virtualization exception",
        "control protection exception",
    ];
    NAMES.get(usize::from(vector)).copied().unwrap_or("unexpected interrupt")
}
