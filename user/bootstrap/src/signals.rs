//! Signals: they come to the bootstrap thread, and their handlers run on the application thread.
//!
//! For each signal that the program handles, the kernel has [`handler`] of this program. That notes what has come, keeps all other
//! signals away, and has the bootstrap thread look ([`call::interrupted`](crate::call)). The bootstrap thread takes the application thread off its
//! CPU, writes the frame that Linux would write on the thread's stack, and lets the thread go on in the program's handler
//! ([`enter`]). `rt_sigreturn` comes as a call like others and takes the frame apart ([`leave`]).
//!
//! The bootstrap thread's mask is the program's: blocking signals needs no work here. For example, `kill -USR1` reaches a shell in
//! `wait4`: the bootstrap thread's call ends with `EINTR`, or is to be made again, as the kernel decides, and the application
//! thread finds just that when its handler returns.

use crate::call::{self, own, touch};
use crate::pair::{Pair, map};
use abi::application::{Context, EXTENDED, Message};
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use linux_raw_sys::errno::{EFAULT, EINVAL, ENOMEM, EPERM};
use linux_raw_sys::general::*;

/// Signals are numbered from 1 to here.
const SIGNALS: usize = 64;
/// All of them, blocked.
const ALL: u64 = u64::MAX;
/// All but those of faults: what is kept away while a signal is pending, when the program's memory may still be touched.
const ALL_BUT_FAULTS: u64 = ALL & !(1 << (SIGSEGV - 1) | 1 << (SIGBUS - 1));
/// Bytes of a set of signals.
const SET: u64 = 8;

/// `si_code` of a signal that the kernel sends.
const SI_KERNEL: i32 = 0x80;

const DEFAULT: u64 = 0;
const IGNORED: u64 = 1;

/// What a program does with a signal, as `rt_sigaction` has it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Action {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

/// What the threads of a process have in common: their actions.
#[repr(C)]
pub struct Process {
    locked: AtomicBool,
    actions: UnsafeCell<[Action; SIGNALS]>,
}

// SAFETY: the actions are reached under the lock only.
unsafe impl Sync for Process {}

impl Process {
    /// Reaches the actions. All bootstrap threads run on one CPU, so one that waits lets the others run.
    fn with<R>(&self, work: impl FnOnce(&mut [Action; SIGNALS]) -> R) -> R {
        while self.locked.swap(true, Acquire) {
            own!(__NR_sched_yield);
        }
        // SAFETY: the lock is this thread's, and no signal handler takes it.
        let result = work(unsafe { &mut *self.actions.get() });
        self.locked.store(false, Release);
        result
    }

    /// A copy, for a process that shares the memory but not the actions.
    pub fn copy(&self) -> Option<*const Process> {
        let place = map(size_of::<Process>() as u64, MAP_PRIVATE)? as *mut Process;
        // SAFETY: new memory of zeros, large enough; zero is unlocked.
        self.with(|actions| unsafe { (*place).actions.get().write(*actions) });
        Some(place)
    }
}

/// `stack_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct StackT {
    base: u64,
    flags: u32,
    size: u64,
}

impl StackT {
    /// No alternate stack.
    pub const NONE: StackT = StackT { base: 0, flags: SS_DISABLE, size: 0 };

    fn has(&self, rsp: u64) -> bool {
        self.size != 0 && rsp > self.base && rsp - self.base <= self.size
    }
}

/// The general registers in a signal's frame, in Linux's order.
#[repr(C)]
#[derive(Clone, Copy)]
struct Frame {
    restorer: u64,
    flags: u64,
    link: u64,
    stack: StackT,
    r8_to_r15: [u64; 8],
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    segments: u64,
    error: u64,
    vector: u64,
    old_mask: u64,
    fault_address: u64,
    extended: u64,
    reserved: [u64; 8],
    mask: u64,
    info: [u64; 16],
}

/// Bytes of the extended state in a frame: behind it stands a word that closes it.
const EXTENDED_IN_FRAME: usize = EXTENDED + 4;
/// Where in the legacy area Linux says how large the state is, and where that ends.
const SAYS: core::ops::Range<usize> = 464..512;

/// What a signal has brought: the frame that the kernel has made for [`handler`].
#[repr(C)]
pub struct Saved {
    signal: u32,
    frame: Frame,
    extended: [u8; EXTENDED_IN_FRAME],
}

/// Has the faults of this program's touches come to it.
pub fn begin() {
    for signal in [SIGSEGV, SIGBUS] {
        install(signal, &Action::default());
    }
}

/// Tells the kernel what to do with a signal: this program's handler for those that the program handles, and for the
/// signals of faults.
fn install(signal: u32, action: &Action) -> i64 {
    const KEPT: u32 = SA_RESTART | SA_NOCLDSTOP | SA_NOCLDWAIT;
    let ours = match action.handler {
        DEFAULT if !matches!(signal, SIGSEGV | SIGBUS) => *action,
        IGNORED => *action,
        _ => Action {
            handler: handler as *const () as u64,
            flags: action.flags & u64::from(KEPT) | u64::from(SA_SIGINFO | SA_RESTORER),
            restorer: restorer as *const () as u64,
            mask: ALL,
        },
    };
    own!(__NR_rt_sigaction, signal, (&raw const ours).addr(), 0, SET)
}

#[unsafe(naked)]
extern "C" fn restorer() {
    naked_asm!("mov eax, {}", "syscall", const __NR_rt_sigreturn)
}

/// Notes a signal; the bootstrap thread then finds out.
unsafe extern "C" fn handler(signal: u32, _: *const u8, context: *mut u8) {
    let pair: *const Pair;
    // SAFETY: the FS base of a bootstrap thread is its pair's address.
    unsafe { core::arch::asm!("mov {}, fs:[0]", out(reg) pair, options(nostack, readonly, preserves_flags)) };
    // The frame begins with the restorer's address, just below the context.
    // SAFETY: the kernel has written the frame, and everything up to its end is this thread's.
    let (pair, frame) = unsafe { (&*pair, &mut *context.sub(offset_of!(Frame, flags)).cast::<Frame>()) };
    // The code of a fault's signal is positive, unlike that of one that a process has sent.
    if matches!(signal, SIGSEGV | SIGBUS) && frame.info[1] as i32 > 0 && call::is_touch(frame.rip) {
        frame.rip = call::failed_touch();
        if pair.probes.get() {
            return;
        }
    }
    if pair.pending.get() {
        // A process has sent it just now.
        pair.late.set(pair.late.get() | 1 << (signal - 1));
        return;
    }
    // SAFETY: nothing else uses it while none is pending.
    let saved = unsafe { &mut *pair.saved.get() };
    saved.signal = signal;
    saved.frame = *frame;
    // SAFETY: the frame's extended state, which it points to.
    saved.extended = unsafe { *(frame.extended as *const [u8; EXTENDED_IN_FRAME]) };
    pair.pending.set(true);
    frame.rip = call::interrupted(frame.rip);
    frame.mask = ALL_BUT_FAULTS;
}

/// `rt_sigaction`
pub fn action(pair: &Pair, &[signal, new, old, size, ..]: &[u64; 6]) -> i64 {
    if size != SET || !(1..=SIGNALS as u64).contains(&signal) {
        return -i64::from(EINVAL);
    }
    let wanted = if new == 0 { None } else { Some(get::<Action>(pair, new)) };
    if wanted == Some(None) {
        return -i64::from(EFAULT);
    }
    // SAFETY: a process lives as long as its threads.
    let process = unsafe { &*pair.process };
    let before = process.with(|actions| {
        let action = &mut actions[signal as usize - 1];
        let before = *action;
        if let Some(Some(wanted)) = wanted {
            let result = install(signal as u32, &wanted);
            if result < 0 {
                return Err(result);
            }
            *action = wanted;
        }
        Ok(before)
    });
    match before {
        Err(result) => result,
        Ok(before) if old != 0 => put(pair, old, before),
        Ok(_) => 0,
    }
}

impl PartialEq for Action {
    fn eq(&self, other: &Action) -> bool {
        (self.handler, self.flags, self.restorer, self.mask) == (other.handler, other.flags, other.restorer, other.mask)
    }
}

/// `sigaltstack`
pub fn alternate_stack(pair: &Pair, message: &Message) -> i64 {
    let [new, old, ..] = message.arguments;
    let before = pair.alternate.get();
    let on_it = before.has(message.rsp);
    if new != 0 {
        let Some(wanted) = get::<StackT>(pair, new) else { return -i64::from(EFAULT) };
        match wanted.flags {
            _ if on_it => return -i64::from(EPERM),
            SS_DISABLE => pair.alternate.set(StackT::NONE),
            0 | SS_ONSTACK if wanted.size < MINSIGSTKSZ.into() => return -i64::from(ENOMEM),
            0 | SS_ONSTACK => pair.alternate.set(StackT { flags: 0, ..wanted }),
            _ => return -i64::from(EINVAL),
        }
    }
    if old == 0 { 0 } else { put(pair, old, StackT { flags: if on_it { SS_ONSTACK } else { before.flags }, ..before }) }
}

/// Has the application thread's registers, in [`Pair::context`], go to the handlers of the signals that have come.
pub fn enter(pair: &Pair) {
    while pair.pending.get() {
        // SAFETY: while a signal is pending all others are blocked.
        let saved = unsafe { &mut *pair.saved.get() };
        let signal = saved.signal;
        // SAFETY: a process lives as long as its threads.
        let action = unsafe { &*pair.process }.with(|actions| {
            let action = &mut actions[signal as usize - 1];
            let taken = *action;
            if taken.flags & u64::from(SA_RESETHAND) != 0 {
                action.handler = DEFAULT;
                install(signal, action);
            }
            taken
        });
        if matches!(action.handler, DEFAULT | IGNORED) {
            die(signal);
        }
        if !write(pair, saved, &action) {
            // As on Linux: the next one is SIGSEGV, and if that is what cannot be delivered, the program ends.
            if signal == SIGSEGV {
                die(SIGSEGV);
            }
            saved.signal = SIGSEGV;
            saved.frame.info = [0; 16];
            saved.frame.info[..2].copy_from_slice(&[SIGSEGV.into(), SI_KERNEL as u64]);
            continue;
        }
        let own_bit = if action.flags & u64::from(SA_NODEFER) == 0 { 1 << (signal - 1) } else { 0 };
        let mask = saved.frame.mask | action.mask | own_bit;
        pair.pending.set(false);
        set_mask(mask);
        for signal in (1..=SIGNALS as u32).filter(|signal| pair.late.get() >> (signal - 1) & 1 != 0) {
            pair.late.set(pair.late.get() & !(1 << (signal - 1)));
            own!(__NR_tgkill, own!(__NR_getpid), own!(__NR_gettid), signal);
        }
    }
}

/// Writes a signal's frame on the application thread's stack, and sets the registers for the handler; false if there is no such memory.
fn write(pair: &Pair, saved: &mut Saved, action: &Action) -> bool {
    const RED_ZONE: u64 = 128;
    let context = pair.context();
    let alternate = pair.alternate.get();
    let switches = action.flags & u64::from(SA_ONSTACK) != 0 && alternate.size != 0 && !alternate.has(context.rsp);
    let top = if switches { alternate.base + alternate.size } else { context.rsp - RED_ZONE };
    let extended = (top - EXTENDED_IN_FRAME as u64) & !63;
    // Where a handler begins, rsp + 8 is a multiple of 16.
    let rsp = ((extended - size_of::<Frame>() as u64) & !15) - 8;
    let frame = Frame {
        restorer: action.restorer,
        stack: StackT { flags: if alternate.has(context.rsp) { SS_ONSTACK } else { alternate.flags }, ..alternate },
        r8_to_r15: [
            context.r8,
            context.r9,
            context.r10,
            context.r11,
            context.r12,
            context.r13,
            context.r14,
            context.r15,
        ],
        rdi: context.rdi,
        rsi: context.rsi,
        rbp: context.rbp,
        rbx: context.rbx,
        rdx: context.rdx,
        rax: context.rax,
        rcx: context.rcx,
        rsp: context.rsp,
        rip: context.rip,
        rflags: context.rflags,
        extended,
        ..saved.frame
    };
    let says: [u8; SAYS.end - SAYS.start] = saved.extended[SAYS].try_into().expect("as many bytes");
    saved.extended[..EXTENDED].copy_from_slice(&context.extended);
    saved.extended[SAYS].copy_from_slice(&says);
    if put(pair, extended, saved.extended) != 0 || put(pair, rsp, frame) != 0 {
        return false;
    }
    let info = rsp + offset_of!(Frame, info) as u64;
    let flags = rsp + offset_of!(Frame, flags) as u64;
    (context.rdi, context.rsi, context.rdx, context.rax) = (saved.signal.into(), info, flags, 0);
    (context.rip, context.rsp) = (action.handler, rsp);
    const DIRECTION_AND_TRAP: u64 = 0x500;
    context.rflags &= !DIRECTION_AND_TRAP;
    context.with_extended = 0;
    true
}

/// `rt_sigreturn`: sets the registers in [`Pair::context`] from the frame, whose restorer's address has been popped.
pub fn leave(pair: &Pair, rsp: u64) {
    let Some(frame) = get::<Frame>(pair, rsp - 8) else { die(SIGSEGV) };
    let context = pair.get();
    let [r8, r9, r10, r11, r12, r13, r14, r15] = frame.r8_to_r15;
    *context = Context {
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rdi: frame.rdi,
        rsi: frame.rsi,
        rbp: frame.rbp,
        rbx: frame.rbx,
        rdx: frame.rdx,
        rax: frame.rax,
        rcx: frame.rcx,
        rsp: frame.rsp,
        rip: frame.rip,
        rflags: frame.rflags,
        ..*context
    };
    context.with_extended = 0;
    if frame.extended != 0 {
        match get::<[u8; EXTENDED]>(pair, frame.extended) {
            Some(extended) => (context.extended, context.with_extended) = (extended, 1),
            None => die(SIGSEGV),
        }
    }
    let on_it = frame.stack.flags == SS_ONSTACK;
    pair.alternate.set(StackT { flags: if on_it { 0 } else { frame.stack.flags }, ..frame.stack });
    set_mask(frame.mask);
    enter(pair);
}

fn set_mask(mask: u64) {
    own!(__NR_rt_sigprocmask, SIG_SETMASK, (&raw const mask).addr(), 0, SET);
}

/// Blocks all signals; the mask before.
pub fn block() -> u64 {
    let (all, mut before) = (ALL, 0_u64);
    own!(__NR_rt_sigprocmask, SIG_SETMASK, (&raw const all).addr(), (&raw mut before).addr(), SET);
    before
}

/// Takes [`block`] back.
pub fn unblock(mask: u64) {
    set_mask(mask);
}

/// Ends the process by a signal, as its default action does.
pub fn die(signal: u32) -> ! {
    let default = Action::default();
    own!(__NR_rt_sigaction, signal, (&raw const default).addr(), 0, SET);
    let process = own!(__NR_getpid);
    own!(__NR_tgkill, process, own!(__NR_gettid), signal);
    set_mask(!(1 << (signal - 1)));
    loop {
        own!(__NR_exit_group, 128 + signal);
    }
}

/// Sends this thread the signal of an exception that its application thread has had.
pub fn raise(vector: u64, rip: u64, address: u64) {
    const ILL_ILLOPN: i32 = 2;
    const FPE_INTDIV: i32 = 1;
    const SEGV_ACCERR: i32 = 2;
    const TRAP_TRACE: i32 = 2;
    let (signal, code, address) = match vector {
        0 => (SIGFPE, FPE_INTDIV, rip),
        1 => (SIGTRAP, TRAP_TRACE, rip),
        3 => (SIGTRAP, SI_KERNEL, 0),
        6 => (SIGILL, ILL_ILLOPN, rip),
        14 => (SIGSEGV, SEGV_ACCERR, address),
        16 | 19 => (SIGFPE, address as i32, rip),
        17 => (SIGBUS, 1, 0),
        _ => (SIGSEGV, SI_KERNEL, 0),
    };
    let mut info = [0_u64; 16];
    info[0] = signal.into();
    info[1] = code as u32 as u64;
    info[2] = address;
    let process = own!(__NR_getpid);
    let thread = own!(__NR_gettid);
    // A blocked signal of an exception ends the program.
    let mut mask = 0_u64;
    own!(__NR_rt_sigprocmask, SIG_BLOCK, 0, (&raw mut mask).addr(), SET);
    if mask >> (signal - 1) & 1 != 0 {
        die(signal);
    }
    own!(__NR_rt_tgsigqueueinfo, process, thread, signal, info.as_ptr().addr());
}

/// Whether the program has this memory, for reading or for writing. At most two pages.
fn is_there(pair: &Pair, address: u64, length: usize, write: bool) -> bool {
    let last = address.wrapping_add(length as u64 - 1);
    pair.probes.set(true);
    // SAFETY: reads, or writes of what is there.
    let there = unsafe { touch(address, write) && touch(last, write) };
    pair.probes.set(false);
    there
}

/// Reads a value of the program's: `None` where it has no memory.
fn get<T: Copy>(pair: &Pair, address: u64) -> Option<T> {
    // SAFETY: the memory is there unless the program takes it away meanwhile, which harms the program alone; and any bytes are
    // a value of the types above.
    is_there(pair, address, size_of::<T>(), false).then(|| unsafe { ptr::read_unaligned(address as *const T) })
}

/// Writes a value of the program's: 0, or the negative `EFAULT`.
pub fn put<T: Copy>(pair: &Pair, address: u64, value: T) -> i64 {
    if !is_there(pair, address, size_of::<T>(), true) {
        return -i64::from(EFAULT);
    }
    // SAFETY: as above.
    unsafe { ptr::write_unaligned(address as *mut T, value) };
    0
}
