//! A program that calls the kernel for a while and then computes, again and again: with `migrate` the application kernel
//! moves it to the boot CPU and back. `commuter [rounds]`.
//!
//! It looks at everything that moves with it: general registers, extended state, thread-local data, signal mask, actions
//! and alternate stack; a timer's signal comes all the time.
//!
//! Run by: `tests/tests/boot/application.rs`.

use abi::application::{Call, Context, request};
use libc::*;
use programs::children::{End, child, end_of};
use programs::sys;
use std::arch::asm;
use std::cell::Cell;
use std::fs;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// How often it looks for a move before it gives up.
const MOST: u32 = 2000;

/// Rounds of the loop in a stretch of computing.
const STRETCH: u64 = 2_000_000;

/// Bytes of the alternate stack.
const STACK: usize = 64 << 10;

static ALARMS: AtomicU32 = AtomicU32::new(0);
static WRONG_STACKS: AtomicU32 = AtomicU32::new(0);
static MEANT: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static OWN: Cell<u32> = const { Cell::new(0x5eed) };
}

extern "C" fn on_alarm(_: c_int) {
    let mut stack = no_stack();
    // SAFETY: `sigaltstack` writes the description.
    unsafe { sigaltstack(ptr::null(), &mut stack) };
    if stack.ss_flags & SS_ONSTACK == 0 || OWN.get() != 0x5eed {
        WRONG_STACKS.fetch_add(1, Relaxed);
    }
    ALARMS.fetch_add(1, Relaxed);
}

extern "C" fn on_usr1(_: c_int) {
    MEANT.fetch_add(1, Relaxed);
}

fn no_stack() -> stack_t {
    stack_t { ss_sp: ptr::null_mut(), ss_flags: 0, ss_size: 0 }
}

fn handle(signal: c_int, handler: extern "C" fn(c_int), flags: c_int) {
    // SAFETY: a zeroed action, with a handler that may run at any time.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags;
        assert_eq!(sigaction(signal, &action, ptr::null_mut()), 0);
    }
}

fn handler_of(signal: c_int) -> usize {
    // SAFETY: `sigaction` writes the action.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        assert_eq!(sigaction(signal, ptr::null(), &mut action), 0);
        action.sa_sigaction
    }
}

/// Whether the application kernel has this thread, in a state that begins like this.
fn is_there(state: &str) -> bool {
    let text = fs::read_to_string("/proc/apkern").expect("the application kernel");
    // SAFETY: a number.
    let own = format!(" tid {} {state}", unsafe { gettid() });
    text.contains(&own)
}

/// Whether this thread is on the boot CPU.
fn is_away() -> bool {
    is_there("away")
}

/// Computes for a while, with a value in each register that moves.
fn compute(seed: u64) {
    let mut wrong: u64;
    // SAFETY: the registers are named, and nothing else is touched.
    unsafe {
        asm!(
            "movq xmm0, {seed}", "movq xmm15, {seed}", "punpcklqdq xmm15, xmm15",
            "fldpi", "fldcw [{word}]",
            "mov r10, {seed}", "mov r13, {seed}", "mov r14, {seed}", "not r14",
            "2:", "add r10, 1", "dec {rounds}", "jnz 2b",
            "sub r10, {stretch}", "xor r10, {seed}", "mov {wrong}, r10",
            "xor r13, {seed}", "or {wrong}, r13",
            "not r14", "xor r14, {seed}", "or {wrong}, r14",
            "movq r13, xmm0", "xor r13, {seed}", "or {wrong}, r13",
            "movq r13, xmm15", "xor r13, {seed}", "or {wrong}, r13",
            "psrldq xmm15, 8", "movq r13, xmm15", "xor r13, {seed}", "or {wrong}, r13",
            "fldpi", "fcomip st(0), st(1)", "setne r13b", "movzx r13, r13b", "or {wrong}, r13", "fstp st(0)",
            seed = in(reg) seed, word = in(reg) &0x37f_u16, rounds = inout(reg) STRETCH => _, wrong = out(reg) wrong,
            stretch = const STRETCH, out("r10") _, out("r13") _, out("r14") _, out("xmm0") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _, out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    assert_eq!(wrong, 0, "a register has another value");
}

/// A child made on the boot CPU has the parent's open file of the device, and nothing to say about the parent's thread. A
/// parent that has come back makes a child with a thread of its own.
fn child_asks() {
    let pid = child(|| {
        if is_there("") {
            return 0;
        }
        let ask = |fd: u64, call, thread| {
            let mut context = Context::ZERO;
            sys!(SYS_ioctl, fd, request(call, thread), (&raw mut context).addr())
        };
        let device = (0..4096).find(|fd| ask(*fd, Call::Init, 0).is_ok()).expect("the device is open");
        let refused = (0..100).all(|thread| ask(device, Call::GetRegs, thread) == Err(EINVAL));
        i32::from(!refused)
    });
    assert_eq!(end_of(pid), End::Exited(0), "a child has its parent's thread");
}

/// Does something until the thread has moved.
fn until(away: bool, mut work: impl FnMut()) {
    for _ in 0..MOST {
        work();
        if is_away() == away {
            return;
        }
    }
    panic!("it does not move: away {away}");
}

fn check() {
    assert_eq!(handler_of(SIGALRM), on_alarm as *const () as usize);
    assert_eq!(handler_of(SIGUSR1), on_usr1 as *const () as usize);
    assert_eq!(handler_of(SIGHUP), SIG_IGN);
    assert_eq!(handler_of(SIGTERM), SIG_DFL);
    let mut stack = no_stack();
    // SAFETY: `sigaltstack` writes the description.
    unsafe { sigaltstack(ptr::null(), &mut stack) };
    assert_eq!((stack.ss_size, stack.ss_flags), (STACK, 0));
    assert_eq!(OWN.get(), 0x5eed);
}

fn main() {
    let rounds: u32 = std::env::args().nth(1).map_or(4, |word| word.parse().expect("a number"));
    let memory = vec![0_u8; STACK].leak();
    let stack = stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
    let every = timeval { tv_sec: 0, tv_usec: 7000 };
    let timer = itimerval { it_interval: every, it_value: every };
    // SAFETY: the stack stays; the timer's signal is handled.
    unsafe {
        assert_eq!(sigaltstack(&stack, ptr::null_mut()), 0);
        handle(SIGALRM, on_alarm, SA_ONSTACK | SA_RESTART);
        handle(SIGUSR1, on_usr1, 0);
        signal(SIGHUP, SIG_IGN);
        assert_eq!(setitimer(ITIMER_REAL, &timer, ptr::null_mut()), 0);
    }
    for round in 0..rounds {
        until(true, || {
            for _ in 0..500 {
                // SAFETY: a number.
                unsafe { getppid() };
            }
        });
        check();
        child_asks();
        let alarms = ALARMS.load(Relaxed);
        // SAFETY: a signal to itself, which is blocked from here until it is back.
        unsafe {
            let mut set: sigset_t = std::mem::zeroed();
            sigaddset(&mut set, SIGUSR1);
            sigprocmask(SIG_BLOCK, &set, ptr::null_mut());
            raise(SIGUSR1);
        }
        until(false, || compute(u64::from(round) << 40 | 0x1234_5678));
        check();
        assert_eq!(MEANT.load(Relaxed), round, "a blocked signal has come");
        // SAFETY: the signal comes now.
        unsafe {
            let mut set: sigset_t = std::mem::zeroed();
            sigaddset(&mut set, SIGUSR1);
            sigprocmask(SIG_UNBLOCK, &set, ptr::null_mut());
        }
        assert_eq!(MEANT.load(Relaxed), round + 1, "the blocked signal has not come");
        assert!(ALARMS.load(Relaxed) > alarms, "no alarm");
    }
    assert_eq!(WRONG_STACKS.load(Relaxed), 0, "a handler on another stack, or with other thread-local data");
    println!("ok commuter: {} alarms", ALARMS.load(Relaxed));
}
