//! The interface between the application kernel (papers/000) and a program's bootstrap threads: the calls of
//! `/dev/apkern`, and the messages.
//!
//! A call is an `ioctl` whose request is a [`Call`] with the number of an application thread above it: see [`request`].
//! The results are those of the table; errors are negative as of every `ioctl`, `EINVAL` for a thread that is not of
//! this open file, or in another address space than the caller.
//!
//! | call of papers/000 | here | argument | result |
//! | --- | --- | --- | --- |
//! | `apkern_init` | [`Call::Init`] | | how many CPUs run application threads; the processors are started when the extension is loaded |
//! | `apkern_thread_create` | [`Call::Create`] | address of its [`Message`] | the thread's number; it is the calling thread's companion |
//! | `apkern_thread_ex_regs` | [`Call::ExRegs`] | address of a [`Context`] | 0 |
//! | `apkern_thread_get_regs` | [`Call::GetRegs`] | address of a [`Context`] | 0 |
//! | `apkern_thread_start` | [`Call::Start`] | | 0 |
//! | `apkern_thread_activate` | [`Call::Activate`] | the value of rax | 0 |
//! | | [`Call::Hold`] | | 0 if the thread is between two instructions, 1 if a message of its is under way |
//! | | [`Call::Wait`] | the last result | 0 once there is a message, or [`YIELD`], or [`LOOK_ON`] |
//! | | [`Call::Copy`] | address of `[to, from, length]` | 0; `EFAULT` if the bytes are not all the process's |
//! | | [`Call::Exchange`] | address of `[address, old, new]` | what the 32-bit word was; if that is `old`, it is `new` now |
//! | | [`Call::Depart`] | address of `[rip, rsp]` | 1: depart; 0: stay; `ENOTSUP` without `migrate` |
//!
//! For example, `ioctl(device, request(Call::Activate, 5), 42)` ends a call of thread 5 with the result 42.

use core::sync::atomic::{AtomicU32, AtomicU64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The device's path.
pub const DEVICE: &str = "/dev/apkern";

/// What a bootstrap thread asks of the application kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Call {
    /// How many CPUs run application threads?
    Init = 1,
    /// Make a thread, which the calling thread is the bootstrap thread of.
    Create = 2,
    /// Set the registers of a thread that does not run: created, held, or with a message under way.
    ExRegs = 3,
    /// Read the registers of such a thread.
    GetRegs = 4,
    /// Let a thread run with the registers that it has: a new one, one that is held, or one whose message has been
    /// dealt with.
    Start = 5,
    /// Let a thread run again whose message has been answered. Unless the caller is going to sleep, other threads of the
    /// boot CPU run before it goes on, as after `sched_yield`.
    Activate = 6,
    /// Keep a thread from running until `Start`.
    Hold = 7,
    /// Sleep until there is a message, if that is better than to look for one.
    Wait = 8,
    /// Copy bytes within the process's memory.
    Copy = 9,
    /// Change a word of the process's memory, atomically.
    Exchange = 10,
    /// Should the thread depart: run on the boot CPU, as its bootstrap thread, for as long as it mostly calls the kernel? A
    /// bootstrap thread asks after each [`MESSAGES`], before it deals with the last of them. If so it leaves its loop and
    /// goes on with the program's registers. Later, when the program computes, the bootstrap thread finds itself at the
    /// address that it has given here, on that stack, with all signals blocked and the mask before in rdi; the application
    /// thread has the program's general registers then.
    Depart = 11,
}

/// How many messages a bootstrap thread deals with before it asks whether to [depart](Call::Depart).
pub const MESSAGES: u32 = 64;

/// A result of [`Call::Wait`]: other threads wait for the boot CPU, and the caller is to look again after them.
pub const YIELD: i64 = 1;
/// A result of [`Call::Wait`]: the boot CPU has nothing else to run, and the caller is to look again for some time.
pub const LOOK_ON: i64 = 2;

/// Bits of a request below the thread's number.
pub const CALL_BITS: u32 = 8;

/// The request of an `ioctl` about a thread.
#[must_use]
pub const fn request(call: Call, thread: u32) -> u32 {
    thread << CALL_BITS | call as u32
}

/// What a request asks, and about which thread.
#[must_use]
pub const fn asked(request: u32) -> Option<(Call, u32)> {
    use Call::{Activate, Copy, Create, Depart, ExRegs, Exchange, GetRegs, Hold, Init, Start, Wait};
    const CALLS: [Call; 11] = [Init, Create, ExRegs, GetRegs, Start, Activate, Hold, Wait, Copy, Exchange, Depart];
    let call = (request & ((1 << CALL_BITS) - 1)) as usize;
    if call == 0 || call > CALLS.len() { None } else { Some((CALLS[call - 1], request >> CALL_BITS)) }
}

/// A message from an application thread, in the program's memory: all of it in one page. The application kernel writes
/// it and then [`Message::posted`]; the bootstrap thread clears that word before it answers.
///
/// The answer is [`Message::result`], which counts for a system call alone, and [`Message::answer`]
/// (`application::reply`) if a CPU watches for it; else [`Call::Activate`] or [`Call::Start`].
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct Message {
    /// 1 while there is a message that has not been taken.
    pub posted: AtomicU32,
    /// What it is about: one of the constants below.
    pub kind: u32,
    /// The call's number, the exception's vector.
    pub number: u64,
    /// The call's arguments.
    pub arguments: [u64; 6],
    /// The address of a page fault; the `si_code` of a floating-point exception.
    pub address: u64,
    /// The exception's error code.
    pub code: u64,
    /// The thread's instruction pointer.
    pub rip: u64,
    /// The thread's stack pointer.
    pub rsp: u64,
    /// 1 once another thread waits for the boot CPU, so that the bootstrap thread is not to look for a message for long.
    pub others: AtomicU32,
    /// The result of a system call.
    pub result: AtomicU64,
    /// Whether a CPU watches for the answer, and whether that is there.
    pub answer: AtomicU32,
}

/// A system call.
pub const SYSTEM_CALL: u32 = 1;
/// An exception; a page fault if its vector says so.
pub const EXCEPTION: u32 = 2;

/// Bytes of the extended state: legacy area, XSAVE header, upper halves of AVX.
pub const EXTENDED: usize = 512 + 64 + 256;

/// A thread's general registers, in the order of Linux's `sigcontext`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[expect(missing_docs, reason = "registers are named by their names")]
pub struct General {
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rsp: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// An application thread's registers, as [`Call::GetRegs`] and [`Call::ExRegs`] copy them.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[expect(missing_docs, reason = "registers are named by their names")]
pub struct Context {
    pub general: General,
    pub fs_base: u64,
    pub gs_base: u64,
    /// 1 if the extended state counts; 0: the thread keeps the one that it has.
    pub with_extended: u64,
    /// Zero.
    pub reserved: [u64; 3],
    /// The extended state, as `xsave` or `fxsave` stores it.
    pub extended: [u8; EXTENDED],
}

impl Context {
    /// All registers zero.
    pub const ZERO: Context = zerocopy::transmute!([0_u64; size_of::<Context>() / 8]);
}
