//! New threads and processes, and the end of a thread.
//!
//! `clone` and `fork` are split in two, as in papers/000, figure 5: the bootstrap thread clones itself, and the new
//! bootstrap thread makes the new application thread, with the registers of the old one. A thread gets a new pair and
//! the stack of that; a child process goes on with its copy. For example, `pthread_create` on CPU 3 makes a bootstrap
//! thread on the boot CPU, which activates a thread that may begin on CPU 1.

use crate::call::{AGAIN, own};
use crate::pair::{self, PAGE, Pair, REGION};
use crate::signals;
use crate::{device, futex};
use core::arch::{asm, naked_asm};
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use linux_raw_sys::errno::{EAGAIN, ENOMEM};
use linux_raw_sys::general::*;

/// `clone`, `fork` or `vfork`.
pub fn clone(pair: &'static Pair, number: u32, arguments: &[u64; 6]) -> i64 {
    let [flags, stack, parent_id, child_id, tls, _] = match number {
        __NR_fork => [u64::from(SIGCHLD), 0, 0, 0, 0, 0],
        __NR_vfork => [u64::from(CLONE_VM | CLONE_VFORK | SIGCHLD), 0, 0, 0, 0, 0],
        _ => *arguments,
    };
    let has = |flag: u32| flags & u64::from(flag) != 0;
    // A signal that kills comes while the child has its parent's memory, one with a handler afterwards.
    let mask = signals::block_handled(pair);
    if pair.pending.get() {
        signals::unblock(mask);
        return AGAIN;
    }
    let mut context = *pair.get();
    context.general.rax = 0;
    if stack != 0 {
        context.general.rsp = stack;
    }
    if has(CLONE_SETTLS) {
        context.fs_base = tls;
    }
    let child = if has(CLONE_VM) { companion(pair, has(CLONE_SIGHAND)) } else { Some(pair) };
    let Some(child) = child else {
        signals::unblock(mask);
        return -i64::from(ENOMEM);
    };
    if has(CLONE_VM) {
        child.lent.set(has(CLONE_VFORK));
    }
    if has(CLONE_FILES) {
        pair.note_companions();
    }
    *child.context() = context;
    child.mask.set(mask);
    child.opens.set(!has(CLONE_FILES));
    child.shares.set(has(CLONE_VM));
    child.parent.set(if has(CLONE_THREAD) { pair } else { ptr::null() });
    pair.verdict.store(NONE, Relaxed);
    child.is_alone.set(!has(CLONE_SIGHAND));
    child.affinity.set(pair.affinity.get());
    if !has(CLONE_VM) || has(CLONE_VFORK) {
        child.alternate.set(pair.alternate.get());
    }
    let (stack, base) = if has(CLONE_VM) { (child.stack(), CLONE_SETTLS) } else { (0, 0) };
    let flags = flags & !u64::from(CLONE_SETTLS) | u64::from(base);
    // SAFETY: the stack, if there is one, is the child's own, and its FS base is the pair's address.
    let result = unsafe { spawn(flags, stack, parent_id, child_id, child) };
    let refused = result >= 0 && has(CLONE_THREAD) && wait_for_verdict(pair) == REFUSED;
    signals::unblock(mask);
    if has(CLONE_VM) && (result < 0 || has(CLONE_VFORK)) {
        // There is no child, or it has another program by now, or has ended.
        child.release(!has(CLONE_SIGHAND));
    }
    if refused { -i64::from(EAGAIN) } else { result }
}

/// What a new thread's bootstrap thread tells its parent's: nothing yet; there is an application thread; there is none.
const NONE: u32 = 0;
const MADE: u32 = 1;
const REFUSED: u32 = 2;

/// Waits until the new bootstrap thread has tried to make its application thread.
fn wait_for_verdict(pair: &Pair) -> u32 {
    loop {
        match pair.verdict.load(Acquire) {
            NONE => own!(__NR_futex, pair.verdict.as_ptr().addr(), FUTEX_WAIT | FUTEX_PRIVATE_FLAG, NONE, 0),
            verdict => return verdict,
        };
    }
}

/// Tells the parent's bootstrap thread, which waits for it. Afterwards that may end.
fn tell(parent: *const Pair, verdict: u32) {
    // SAFETY: the pair stays as long as its bootstrap thread waits.
    let word = unsafe { &(*parent).verdict };
    let address = word.as_ptr().addr();
    word.store(verdict, Release);
    own!(__NR_futex, address, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}

/// A new pair in the same memory.
fn companion(pair: &Pair, same_actions: bool) -> Option<&'static Pair> {
    // SAFETY: a process lives as long as its threads.
    let process = if same_actions { pair.process } else { unsafe { &*pair.process }.copy()? };
    Pair::new(pair.device.get(), process)
}

/// The call `clone`: a child goes on in [`child`].
#[unsafe(naked)]
unsafe extern "C" fn spawn(flags: u64, stack: u64, parent_id: u64, child_id: u64, pair: &'static Pair) -> i64 {
    naked_asm!(
        "push rbx",
        "mov rbx, r8",
        "mov r10, rcx",
        "mov eax, {clone}",
        "syscall",
        "test rax, rax",
        "jnz 2f",
        "xor ebp, ebp",
        "mov rdi, rbx",
        "and rsp, -16",
        "call {child}",
        "2: pop rbx",
        "ret",
        clone = const __NR_clone,
        child = sym child,
    )
}

/// The new bootstrap thread.
extern "C" fn child(pair: &'static Pair) -> ! {
    if pair.opens.get() {
        // The parent's open file is the parent's: its threads end with it.
        own!(__NR_close, pair.device.get());
        pair.device.set(device::open_at(pair.device.get()).unwrap_or(u64::MAX));
    }
    pair.robust.set(0);
    // In a copy of the memory the page is still the parent's.
    let made = (pair.shares.get() || pair.renew()) && pair.create();
    let parent = pair.parent.get();
    if !parent.is_null() {
        if !made {
            // For the program there has been no such thread: its end clears no word (`CLONE_CHILD_CLEARTID`).
            own!(__NR_set_tid_address, 0);
            tell(parent, REFUSED);
            exit(pair, 0);
        }
        tell(parent, MADE);
    } else if !made {
        if pair.is_alone.get() {
            signals::leave_for_good(pair);
        }
        // As if there had been no memory for its first page: signals reach it as they reach its parent.
        signals::die(SIGKILL);
    }
    signals::unblock(pair.mask.get());
    pair::run(pair)
}

/// `exit`: ends the thread, whose pair goes too. The application thread, which waits for the answer, ends with its
/// bootstrap thread.
pub fn exit(pair: &Pair, status: u64) -> ! {
    futex::release_robust(pair);
    signals::block();
    if pair.lent.get() {
        // The pair's memory is the parent's, which waits for this, to give it back.
        own!(__NR_exit, status);
    }
    own!(__NR_munmap, pair.message.get().addr(), PAGE);
    // SAFETY: without a stack from the first call on; signals are blocked.
    unsafe {
        asm!(
            "syscall",
            "mov edi, r12d",
            "mov eax, {exit}",
            "syscall",
            exit = const __NR_exit,
            in("rax") u64::from(__NR_munmap), in("rdi") pair.itself, in("rsi") REGION, in("r12") status,
            options(noreturn),
        )
    }
}
