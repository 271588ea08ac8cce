//! A thread's general registers in user mode, as an entry into a kernel stores them.
//!
//! The kernel and the application kernel store them alike, so that extensions and the kernel can hand them over. For
//! example, [`crate::extension::Functions::divert`] gives a thread others than those with which it came in.

/// A thread's user registers, in the order in which an entry into a kernel stores them: the entry
/// code pushes from the end towards the start, straight into the thread's control block.
#[repr(C, align(16))]
#[derive(Clone, Copy, Default, Debug)]
#[expect(missing_docs, reason = "registers are named by their names")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// What brought the thread into the kernel: an interrupt vector, or [`Registers::SYSTEM_CALL`].
    pub vector: u64,
    /// The exception's error code, or the number of the system call.
    pub code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl Registers {
    /// The value of `vector` after a system call: the thread may return by `sysret`, because nothing has changed its
    /// instruction pointer and flags since.
    pub const SYSTEM_CALL: u64 = 0x100;

    /// The registers of a new thread that runs `entry` on `stack`.
    #[must_use]
    pub fn for_user(entry: u64, stack: u64) -> Registers {
        Registers {
            vector: Registers::SET,
            rip: entry,
            cs: Registers::USER_CODE,
            // Interrupts on; the second bit is always set.
            rflags: 0x202,
            rsp: stack,
            ss: Registers::USER_DATA,
            ..Registers::default()
        }
    }

    /// Selector of user code; `sysret` fixes its place after [`Registers::USER_DATA`].
    pub const USER_CODE: u64 = 0x23;
    /// Selector of user data.
    pub const USER_DATA: u64 = 0x1b;
    /// The value of `vector` if the kernel has set the registers: all of them count, so the thread returns by `iret`.
    pub const SET: u64 = 0x101;
    /// Bytes of the `syscall` instruction.
    pub const SYSCALL_LENGTH: u64 = 2;
}
