//! Signals that are sent: to processes and threads, what the receiver learns of them, which thread takes them, which
//! stay pending, and how they interrupt calls.
//!
//! It runs on Linux as well, with the same output.
//!
//! Run by: `tests/tests/boot/checked.rs`, `tests/tests/boot/machines.rs`, `tests/tests/boot/programs.rs`,
//! `tests/tests/smp.rs`.

mod interrupted;
mod kept;
mod stacks;
mod timers;
mod waiting;
mod whom;

use libc::*;
use programs::sys;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst};

/// What a handler saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    signal: i32,
    code: i32,
    /// `si_pid`.
    sender: i32,
    /// `si_value`.
    value: u64,
    /// The thread that the handler ran on.
    thread: i32,
}

/// The handler's notes, in the order in which it was called: words of atomics, since it may run anywhere.
static NOTES: [[AtomicU64; 3]; 64] = [const { [const { AtomicU64::new(0) }; 3] }; 64];
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// The handler writes a byte there at each call, if that is a descriptor.
static TELL: AtomicI32 = AtomicI32::new(-1);
/// The mask that the last handler ran with.
static MASK: AtomicU64 = AtomicU64::new(0);

fn pack(high: i32, low: i32) -> u64 {
    u64::from(high as u32) << 32 | u64::from(low as u32)
}

extern "C" fn handler(signal: i32, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes what `sigaction` promises for SA_SIGINFO.
    let info = unsafe { &*info };
    // SAFETY: fields of a signal from a process; of others they are what is there.
    let (sender, value) = unsafe { (info.si_pid(), info.si_value().sival_ptr.addr() as u64) };
    assert_eq!(info.si_signo, signal);
    let mut mask = 0u64;
    let _ = sys!(SYS_rt_sigprocmask, SIG_BLOCK, 0, &mut mask, 8);
    MASK.store(mask, SeqCst);
    let note = &NOTES[COUNT.load(SeqCst) % NOTES.len()];
    note[0].store(pack(signal, info.si_code), SeqCst);
    note[1].store(pack(sender, programs::cpus::thread_number()), SeqCst);
    note[2].store(value, SeqCst);
    COUNT.fetch_add(1, SeqCst);
    let to = TELL.load(SeqCst);
    if to >= 0 {
        let _ = sys!(SYS_write, to, c"!", 1);
    }
}

/// What the handler has seen since the last time.
fn seen() -> Vec<Seen> {
    let halves = |word: u64| ((word >> 32) as i32, word as i32);
    let notes = NOTES.iter().take(COUNT.swap(0, SeqCst)).map(|note| {
        let [(signal, code), (sender, thread)] = [halves(note[0].load(SeqCst)), halves(note[1].load(SeqCst))];
        Seen { signal, code, sender, value: note[2].load(SeqCst), thread }
    });
    notes.collect()
}

/// The numbers of the signals that the handler has seen since the last time.
fn numbers() -> Vec<i32> {
    seen().iter().map(|seen| seen.signal).collect()
}

/// Sets the action on a signal: our handler, with these flags and this mask.
fn install(signal: i32, flags: i32, mask: u64) {
    set_action(signal, handler as *const () as usize, SA_SIGINFO | flags, mask);
}

fn set_action(signal: i32, what: usize, flags: i32, mask: u64) {
    // SAFETY: the handler is one for SA_SIGINFO; zeroes are a valid `sigaction`, and a set begins with the
    // mask's word.
    unsafe {
        let mut action: sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = what;
        action.sa_flags = flags;
        (&raw mut action.sa_mask).cast::<u64>().write(mask);
        assert_eq!(sigaction(signal, &action, ptr::null_mut()), 0, "an action for signal {signal}");
    }
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Changes the calling thread's mask; returns what it was.
fn mask(how: i32, set: u64) -> u64 {
    let mut old = 0u64;
    sys!(SYS_rt_sigprocmask, how, &set, &mut old, 8).expect("a mask");
    old
}

fn pending() -> u64 {
    let mut set = 0u64;
    sys!(SYS_rt_sigpending, &mut set, 8).expect("a set");
    set
}

fn pid() -> i32 {
    std::process::id() as i32
}

/// Sends a signal to this process.
fn send(signal: i32) {
    assert_eq!(sys!(SYS_kill, pid(), signal), Ok(0));
}

/// The first real-time signals that the C library leaves alone.
const REAL_TIME: [i32; 2] = [40, 41];

/// A test, by its name.
type Test = (&'static str, fn());

fn main() {
    let tests: &[Test] = &[
        ("told", whom::told),
        ("errors", whom::errors),
        ("threads", whom::threads),
        ("elsewhere", whom::elsewhere),
        ("pending", kept::pending_ones),
        ("real-time", kept::real_time),
        ("no room", kept::no_room),
        ("ignored", kept::ignored),
        ("flags", kept::flags),
        ("frame", kept::frame),
        ("fresh", kept::fresh),
        ("nowhere", kept::nowhere),
        ("anywhere", stacks::anywhere),
        ("unwritable", stacks::unwritable),
        ("disarmed", stacks::disarmed),
        ("suspend", waiting::suspend),
        ("timed wait", waiting::timed_wait),
        ("unblocked", waiting::unblocked),
        ("pause", waiting::pause),
        ("read", interrupted::read),
        ("futex", interrupted::futex),
        ("poll", interrupted::poll),
        ("sleep", interrupted::sleep),
        ("alarm", timers::alarm),
        ("interval", timers::interval),
    ];
    for signal in [SIGUSR1, SIGUSR2, SIGALRM, REAL_TIME[0], REAL_TIME[1]] {
        install(signal, 0, 0);
    }
    for (name, test) in tests {
        seen();
        test();
        println!("ok {name}");
    }
    println!("ok sent-signals");
}
