//! Signals to threads that are about to wait: `late-signal [rounds]`.
//!
//! One thread makes a call that waits for ever, another one sends it a signal. If the signal comes first, the thread
//! has it before it waits, and may already be on its way into the kernel for its call: the wait must end all the
//! same. On more than two CPUs a third thread keeps the kernel busy, so that both calls arrive while the lock is
//! held.
//!
//! The handler runs before the call or ends it: if the thread has not reached its `syscall` instruction yet, the
//! handler moves it behind that instruction (as C libraries do for `pthread_cancel`).
//!
//! Run by: `tests/tests/smp.rs`.

use libc::*;
use programs::cpus;
use programs::sys;
use std::arch::asm;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::SeqCst};
use std::thread;

/// Instructions for which the kernel is kept busy at a time.
const BURN: u64 = 1 << 27;

/// Most rounds of a loop between the word that the signal is on its way and the call that waits.
const DELAY: u64 = 10_000;

/// First and last instruction of the way into the waiting call.
static WINDOW: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes what `sigaction` promises.
    let rip = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs[REG_RIP as usize] };
    let [first, last] = [&WINDOW[0], &WINDOW[1]].map(|bound| bound.load(SeqCst) as i64);
    if (first..=last).contains(rip) {
        *rip = last + 2;
    }
}

/// Says that it is about to wait, sees the signal `going` out, and waits on a futex that nobody wakes, until a signal ends that.
#[inline(never)]
fn wait(round: u64, delay: u64, [waiting, going]: [&AtomicU64; 2], word: &AtomicI32) {
    // SAFETY: words that outlive the call, and a call that returns at a signal.
    unsafe {
        asm!(
            "lea {scratch}, [rip + 2f]",
            "mov [{window}], {scratch}",
            "lea {scratch}, [rip + 3f]",
            "mov [{window} + 8], {scratch}",
            // From here on the signal may come.
            "2: mov [{waiting}], {round}",
            "4: pause",
            "cmp [{going}], {round}",
            "jb 4b",
            "5: sub {delay}, 1",
            "ja 5b",
            "mov eax, {futex}",
            "3: syscall",
            scratch = out(reg) _,
            window = in(reg) WINDOW.as_ptr(),
            waiting = in(reg) waiting.as_ptr(),
            going = in(reg) going.as_ptr(),
            round = in(reg) round,
            delay = inout(reg) delay => _,
            futex = const SYS_futex,
            in("rdi") word.as_ptr(),
            in("rsi") FUTEX_WAIT,
            in("rdx") 0,
            in("r10") 0,
            out("rax") _,
            out("rcx") _,
            out("r11") _,
        );
    }
}

fn main() {
    // SAFETY: the handler is one for SA_SIGINFO; zeroes are a valid `sigaction`.
    unsafe {
        let mut action: sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = SA_SIGINFO;
        assert_eq!(sigaction(SIGUSR1, &action, ptr::null_mut()), 0);
    }
    let rounds = cpus::argument(1, 20) as u64;
    let process = std::process::id();
    let (waiting, going) = (AtomicU64::new(0), AtomicU64::new(0));
    let (number, word) = (AtomicI32::new(0), AtomicI32::new(0));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        if cpus::allowed().len() > 2 && programs::native::present() {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    sys!(abi::native::BURN, BURN).expect("time in the kernel");
                }
            });
        }
        scope.spawn(|| {
            number.store(cpus::thread_number(), SeqCst);
            let mut random = cpus::Random::new(2);
            (1..=rounds).for_each(|round| wait(round, random.below(DELAY), [&waiting, &going], &word));
            done.store(true, SeqCst);
        });
        for round in 1..=rounds {
            cpus::spin_until(|| waiting.load(SeqCst) == round);
            going.store(round, SeqCst);
            sys!(SYS_tgkill, process, number.load(SeqCst), SIGUSR1).expect("a thread to be told");
        }
    });
    println!("ok late-signal: {rounds} rounds on {} CPUs", cpus::allowed().len());
}
