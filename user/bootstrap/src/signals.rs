//! Signals: they come to the bootstrap thread, and their handlers run on the application thread.
//!
//! For each signal that the program handles, the kernel has [`handler`] of this program. That notes what has come,
//! keeps all other signals away, and has the bootstrap thread look ([`call::interrupted`](crate::call)). The bootstrap
//! thread takes the application thread off its CPU, writes the frame that Linux would write on the thread's stack, and
//! lets the thread go on in the program's handler ([`enter`]). `rt_sigreturn` comes as a call like others and takes the
//! frame apart ([`leave`]).
//!
//! The bootstrap thread's mask is the program's: blocking signals needs no work here. For example, `kill -USR1` reaches
//! a shell in `wait4`: the bootstrap thread's call ends with `EINTR`, or is to be made again, as the kernel decides,
//! and the application thread finds just that when its handler returns.

use crate::call::{self, own};
use crate::memory::{get, put};
use crate::pair::{Pair, map};
use abi::application::{Context, EXTENDED, General, Message};
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

impl Action {
    /// Whether the program has a handler.
    fn is_handled(&self) -> bool {
        !matches!(self.handler, DEFAULT | IGNORED)
    }
}

/// What the threads of a process have in common: their actions.
#[repr(C)]
pub struct Process {
    locked: AtomicBool,
    /// Whether there has been another thread with these descriptors.
    pub has_threads: AtomicBool,
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
#[derive(Clone, Copy, Default)]
pub struct StackT {
    base: u64,
    flags: u32,
    size: u64,
}

impl StackT {
    /// What a thread with this stack pointer is told.
    fn seen_from(self, rsp: u64) -> StackT {
        StackT { flags: if self.has(rsp) { SS_ONSTACK } else { self.flags }, ..self }
    }

    /// No alternate stack.
    pub const NONE: StackT = StackT { base: 0, flags: SS_DISABLE, size: 0 };

    fn has(&self, rsp: u64) -> bool {
        self.flags & SS_AUTODISARM == 0 && self.spans(rsp)
    }

    fn spans(&self, rsp: u64) -> bool {
        rsp > self.base && rsp - self.base <= self.size
    }
}

/// A signal's frame, as Linux has it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Frame {
    restorer: u64,
    flags: u64,
    link: u64,
    stack: StackT,
    general: General,
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

impl Frame {
    /// The selectors of a program's code and data.
    const SEGMENTS: u64 = 0x23 | 0x1b << 48;
    const CS_AND_SS: u64 = 0xffff_0000_0000_ffff;
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

/// Tells the kernel what to do with a signal: this program's handler for those that the program handles.
fn install(signal: u32, action: &Action) -> i64 {
    const KEPT: u32 = SA_RESTART | SA_NOCLDSTOP | SA_NOCLDWAIT;
    let ours = if action.is_handled() {
        Action {
            handler: handler as *const () as u64,
            flags: action.flags & u64::from(KEPT) | u64::from(SA_SIGINFO | SA_RESTORER),
            restorer: restorer as *const () as u64,
            mask: ALL,
        }
    } else {
        *action
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
    // SAFETY: nothing else uses it while none is pending.
    let saved = unsafe { &mut *pair.saved.get() };
    saved.signal = signal;
    saved.frame = *frame;
    // SAFETY: the frame's extended state, which it points to.
    saved.extended = unsafe { *(frame.extended as *const [u8; EXTENDED_IN_FRAME]) };
    pair.pending.set(true);
    frame.general.rip = call::interrupted(frame.general.rip);
    frame.mask = ALL;
}

/// Whether the kernel ignores a signal, as the program wants or the one that it has taken the place of.
fn is_ignored(signal: u32) -> bool {
    let mut action = Action::default();
    own!(__NR_rt_sigaction, signal, 0, (&raw mut action).addr(), SET);
    action.handler == IGNORED
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
        let mut before = *action;
        if is_ignored(signal as u32) {
            // Perhaps since before `execve`.
            before.handler = IGNORED;
        }
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
        match wanted.flags & !SS_AUTODISARM {
            _ if on_it => return -i64::from(EPERM),
            SS_DISABLE => pair.alternate.set(StackT::NONE),
            0 | SS_ONSTACK if wanted.size < MINSIGSTKSZ.into() => return -i64::from(ENOMEM),
            0 | SS_ONSTACK => pair.alternate.set(StackT { flags: wanted.flags & SS_AUTODISARM, ..wanted }),
            _ => return -i64::from(EINVAL),
        }
    }
    if old == 0 { 0 } else { put(pair, old, before.seen_from(message.rsp)) }
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
        if !action.is_handled() {
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
        let mask = pair.waited_with.take().unwrap_or(saved.frame.mask) | action.mask | own_bit;
        pair.pending.set(false);
        set_mask(mask);
    }
}

/// Writes a signal's frame on the application thread's stack, and sets the registers for the handler; false if there is
/// no such memory.
fn write(pair: &Pair, saved: &mut Saved, action: &Action) -> bool {
    const RED_ZONE: u64 = 128;
    let context = pair.context();
    let (general, alternate) = (&mut context.general, pair.alternate.get());
    let switches = action.flags & u64::from(SA_ONSTACK) != 0 && alternate.size != 0 && !alternate.has(general.rsp);
    let top = if switches { alternate.base.wrapping_add(alternate.size) } else { general.rsp.wrapping_sub(RED_ZONE) };
    let extended = top.wrapping_sub(EXTENDED_IN_FRAME as u64) & !63;
    // Where a handler begins, rsp + 8 is a multiple of 16.
    let rsp = (extended.wrapping_sub(size_of::<Frame>() as u64) & !15).wrapping_sub(8);
    if (switches || alternate.has(general.rsp)) && !alternate.spans(rsp) {
        // What lies below the alternate stack is not the handler's.
        return false;
    }
    let frame = Frame {
        restorer: action.restorer,
        stack: alternate.seen_from(general.rsp),
        general: *general,
        extended,
        ..saved.frame
    };
    let says: [u8; SAYS.end - SAYS.start] = saved.extended[SAYS].try_into().expect("as many bytes");
    saved.extended[..EXTENDED].copy_from_slice(&context.extended);
    saved.extended[SAYS].copy_from_slice(&says);
    if put(pair, extended, saved.extended) != 0 || put(pair, rsp, frame) != 0 {
        return false;
    }
    if alternate.flags & SS_AUTODISARM != 0 {
        pair.alternate.set(StackT::NONE);
    }
    let info = rsp + offset_of!(Frame, info) as u64;
    let flags = rsp + offset_of!(Frame, flags) as u64;
    (general.rdi, general.rsi, general.rdx, general.rax) = (saved.signal.into(), info, flags, 0);
    (general.rip, general.rsp) = (action.handler, rsp);
    const DIRECTION_AND_TRAP: u64 = 0x500;
    general.rflags &= !DIRECTION_AND_TRAP;
    (context.extended, context.with_extended) = (fresh(), 1);
    true
}

/// The extended state with which a handler begins.
fn fresh() -> [u8; EXTENDED] {
    // The control words of x87 and SSE: all exceptions masked. The header says that all registers are as after a reset.
    const CONTROL: [u8; 2] = 0x37f_u16.to_le_bytes();
    const MXCSR: [u8; 4] = 0x1f80_u32.to_le_bytes();
    let mut fresh = [0; EXTENDED];
    fresh[..2].copy_from_slice(&CONTROL);
    fresh[24..28].copy_from_slice(&MXCSR);
    fresh
}

/// `rt_sigreturn`: sets the registers in [`Pair::context`] from the frame, whose restorer's address has been popped.
/// Without a frame there is a fault.
pub fn leave(pair: &Pair, rsp: u64) {
    let context = pair.get();
    if restore(pair, context, rsp.wrapping_sub(8)).is_none() {
        raise(pair, SIGSEGV, SI_KERNEL, 0);
    }
    enter(pair);
}

/// Has the bootstrap thread itself go on with the registers of [`Pair::context`], on the boot CPU, as if there were no
/// application kernel. Its process has no other threads.
pub fn leave_for_good(pair: &Pair) -> ! {
    const ARCH_SET_GS: u64 = 0x1001;
    const ARCH_SET_FS: u64 = 0x1002;
    block();
    // SAFETY: a process lives as long as its threads.
    unsafe { &*pair.process }.with(|actions| {
        for (action, signal) in actions.iter().zip(1..) {
            // For the others the kernel has the program's own.
            if action.is_handled() {
                own!(__NR_rt_sigaction, signal, ptr::from_ref(action).addr(), 0, SET);
            }
        }
    });
    let context = pair.context();
    let frame = Frame {
        stack: pair.alternate.get(),
        general: context.general,
        segments: Frame::SEGMENTS,
        mask: pair.mask.get(),
        extended: context.extended.as_ptr().addr() as u64,
        ..Frame::default()
    };
    own!(__NR_arch_prctl, ARCH_SET_GS, context.gs_base);
    own!(__NR_arch_prctl, ARCH_SET_FS, context.fs_base);
    // SAFETY: the frame is that of a handler that returns; signals are blocked until then.
    unsafe {
        core::arch::asm!("mov rsp, {}", "syscall", in(reg) &raw const frame.flags, in("eax") __NR_rt_sigreturn, options(noreturn))
    }
}

/// Takes over from the program, which has been on the boot CPU by itself: its actions and its alternate stack. All signals
/// are blocked.
pub fn take_over(pair: &Pair) {
    // SAFETY: a process lives as long as its threads.
    unsafe { &*pair.process }.with(|actions| {
        for (action, signal) in actions.iter_mut().zip(1..) {
            own!(__NR_rt_sigaction, signal, 0, ptr::from_mut(action).addr(), SET);
            if action.is_handled() {
                install(signal, action);
            }
        }
    });
    own!(__NR_sigaltstack, 0, pair.alternate.as_ptr().addr());
}

fn restore(pair: &Pair, context: &mut Context, rsp: u64) -> Option<()> {
    let frame = get::<Frame>(pair, rsp)?;
    (context.general, context.with_extended) = (frame.general, 0);
    // As on Linux, a handler of the fault finds these registers.
    if (frame.segments ^ Frame::SEGMENTS) & Frame::CS_AND_SS != 0 {
        return None;
    }
    if frame.extended != 0 {
        (context.extended, context.with_extended) = (get(pair, frame.extended)?, 1);
    }
    pair.alternate.set(StackT { flags: frame.stack.flags & !SS_ONSTACK, ..frame.stack });
    change_mask(pair, frame.mask);
    Some(())
}

/// Sets the program's mask: if a signal is pending, the one after its handler.
fn change_mask(pair: &Pair, mask: u64) {
    let before = block();
    if pair.pending.get() {
        // SAFETY: all signals are blocked.
        unsafe { &mut *pair.saved.get() }.frame.mask = mask;
        set_mask(before);
    } else {
        set_mask(mask);
    }
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

/// Blocks the signals that the program handles; the mask before.
pub fn block_handled(pair: &Pair) -> u64 {
    // SAFETY: a process lives as long as its threads.
    let handled = unsafe { &*pair.process }.with(|actions| {
        (0..SIGNALS).filter(|signal| actions[*signal].is_handled()).fold(0, |set, signal| set | 1_u64 << signal)
    });
    let mut before = 0_u64;
    own!(__NR_rt_sigprocmask, SIG_BLOCK, (&raw const handled).addr(), (&raw mut before).addr(), SET);
    before
}

/// Takes [`block`] and [`block_handled`] back.
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
pub fn raise_exception(pair: &Pair, vector: u64, rip: u64, address: u64) {
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
    raise(pair, signal, code, address);
}

/// Sends this thread a signal that its application thread has caused; it ends the program if that blocks or ignores it.
/// If a signal is pending, the application thread causes this one again after the handler.
fn raise(pair: &Pair, signal: u32, code: i32, address: u64) {
    let mask = block();
    if !pair.pending.get() {
        let mut info = [0_u64; 16];
        (info[0], info[1], info[2]) = (signal.into(), code as u32 as u64, address);
        if mask >> (signal - 1) & 1 != 0 || is_ignored(signal) {
            die(signal);
        }
        own!(__NR_rt_tgsigqueueinfo, own!(__NR_getpid), own!(__NR_gettid), signal, info.as_ptr().addr());
    }
    unblock(mask);
}

/// The mask that a call sets while it waits, which is the one that a handler begins with.
pub fn mask_of_wait(pair: &Pair, number: u32, arguments: &[u64; 6]) -> Option<u64> {
    let address = match number {
        __NR_rt_sigsuspend => arguments[0],
        __NR_ppoll => arguments[3],
        __NR_epoll_pwait | __NR_epoll_pwait2 => arguments[4],
        __NR_pselect6 => get::<u64>(pair, arguments[5])?,
        _ => 0,
    };
    if address == 0 { None } else { get(pair, address) }
}
