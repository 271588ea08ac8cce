//! The data of the entry code: where the current thread's registers go, the frame of a system call, the level, and the
//! times in user mode and idle.
//!
//! The entry code itself belongs to the boundary (`boundary::entry`). Its data is in this lower layer because the
//! scheduler names a thread's control block to it, and the accounts read the times.

use super::gdt;
use containers::Registers;
use core::cell::Cell;
use core::mem::offset_of;
use cpulocal::{InKernel, cpu_local};

/// The frame that a system call pushes on the kernel stack: its arguments, and the user's rip, flags and stack pointer
/// for the return.
#[repr(C)]
pub struct SystemCall {
    /// rdi, rsi, rdx, r10, r8, r9.
    pub arguments: [u64; 6],
    /// The address behind the `syscall` instruction.
    pub rip: u64,
    /// The user's flags.
    pub rflags: u64,
    /// The user's stack pointer.
    pub rsp: u64,
    /// rax.
    pub number: u64,
    /// Proof that code with a reference to this call is in the kernel, on the CPU that the call was made on.
    pub cpu: InKernel,
}

/// How far a system call has come. The entry code finds it in two registers: the variant in rax, the value in rdx.
#[repr(u64)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The call is over: the thread returns to user mode at once, with this value in rax.
    Returns(u64) = Progress::RETURNS,
    /// The call is over and has this value, but the kernel has something to do before the thread may return.
    Held(u64),
    /// The thread does not return now: the call has parked it, or set its registers, or ended it, or is to be made
    /// again.
    Stays,
    /// The call is still to be made, once the thread's registers are in its control block.
    Unmade,
}

impl Progress {
    /// The number of [`Progress::Returns`], for which the entry code looks.
    pub const RETURNS: u64 = 0;

    /// The progress of a call whose thread the kernel does not let return yet.
    pub fn held(self) -> Progress {
        match self {
            Progress::Returns(value) => Progress::Held(value),
            other => other,
        }
    }
}

cpu_local! {
    /// The address of the end of the current thread's [`Registers`].
    pub static FRAME_END: Cell<u64> = Cell::new(0);
    /// The execution level: 0 in user mode and the idle loop, 1 in the kernel, 2 when the kernel was interrupted. The
    /// boundary keeps it; the entry code reads it to tell the idle loop from level 1.
    pub static LEVEL: Cell<u64> = Cell::new(1);
    /// Cycles that this CPU has spent in user mode.
    ///
    /// The entry code subtracts the time-stamp counter where a time begins and adds it where it ends, so that no start
    /// need be remembered. While a time runs, the value is too small by the counter at its start.
    pub static USER_TIME: Cell<u64> = Cell::new(0);
    /// Cycles that this CPU has spent in the idle loop; the boundary subtracts and adds the counter as [`USER_TIME`]
    /// describes.
    pub static IDLE_TIME: Cell<u64> = Cell::new(0);
}

/// Names the current thread's control block to the entry code and to the CPU.
pub fn set_frame(cpu: &InKernel, registers: &mut Registers) {
    let end = core::ptr::from_mut(registers) as u64 + size_of::<Registers>() as u64;
    FRAME_END.get(cpu).set(end);
    gdt::set_rsp0(end);
}

/// The registers with which the current thread returns to user mode.
#[inline(always)]
pub fn frame(cpu: &InKernel) -> *const Registers {
    (FRAME_END.get(cpu).get() - size_of::<Registers>() as u64) as *const Registers
}

/// Vector and error code of the exception or interrupt by which the current thread entered the kernel.
pub fn cause(cpu: &InKernel) -> (u64, u64) {
    let registers = frame(cpu);
    // SAFETY: `set_frame` named this control block, and control blocks stay where they are. A non-maskable interrupt
    // may ask while the interrupted code writes there, so each word is read in one access.
    unsafe { ((&raw const (*registers).vector).read_volatile(), (&raw const (*registers).code).read_volatile()) }
}

const _: () = {
    // The entry code's pushes rely on these orders and sizes, and so does `iret`. A system call's frame leaves
    // the stack aligned for a call to Rust.
    assert!(
        offset_of!(SystemCall, number) + 8 == size_of::<SystemCall>() && size_of::<SystemCall>().is_multiple_of(16)
    );
    assert!(
        offset_of!(SystemCall, rip) == 48 && offset_of!(SystemCall, rflags) == 56 && offset_of!(SystemCall, rsp) == 64
    );
    assert!(offset_of!(Registers, ss) == size_of::<Registers>() - 8);
    assert!(offset_of!(Registers, rip) + 40 == size_of::<Registers>());
    assert!(offset_of!(Registers, vector) + 16 == offset_of!(Registers, rip));
    assert!(offset_of!(containers::Thread, context) == 0 && offset_of!(containers::Context, registers) == 0);
    assert!(hardware::gdt::USER_CODE.0 as u64 == Registers::USER_CODE);
    assert!(hardware::gdt::USER_DATA.0 as u64 == Registers::USER_DATA);
};
