//! Job control without a terminal: process groups and sessions, processes that stop and continue, and what `wait`
//! tells their parents: `jobs [check]`.
//!
//! It runs on Linux as well, with the same output. Only the check `everybody`, which runs when it is named, kills all
//! processes but itself and the first.
//!
//! Run by: `tests/tests/boot/checked.rs`, `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

mod groups;
mod stopping;
mod telling;

use libc::*;
use programs::children::*;
use programs::{native, sys};
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::{env, ptr, thread};

/// A check by name.
type Check = (&'static str, fn());

const CHECKS: [&[Check]; 3] = [groups::CHECKS, stopping::CHECKS, telling::CHECKS];

fn main() {
    let wanted = env::args().nth(1);
    match wanted.as_deref() {
        Some("wait") => exit(groups::wait()),
        Some("everybody") => return groups::everybody(),
        _ => {}
    }
    for (name, check) in CHECKS.into_iter().flatten() {
        if wanted.as_ref().is_none_or(|wanted| wanted == name) {
            // A child makes it, in a session of its own: the process itself may lead one already.
            let pid = child(|| {
                sys!(SYS_setsid).expect("no leader of a group");
                check();
                0
            });
            assert_eq!(end_of(pid), End::Exited(0), "{name}");
            println!("ok {name}");
        }
    }
    println!("ok jobs");
}

fn send(pid: i32, signal: i32) {
    assert_eq!(sys!(SYS_kill, pid, signal), Ok(0), "signal {signal} to {pid}");
}

fn pid() -> i32 {
    sys!(SYS_getpid).expect("a number") as i32
}

/// A change of a child's, as `wait4` tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Stopped(i32),
    Continued,
    Exited(i32),
    Killed(i32),
}

/// What `wait4` tells of a child: nothing with WNOHANG and nothing to tell.
fn change(which: i32, options: i32) -> Result<Option<Change>, i32> {
    let mut status = -1i32;
    let told = sys!(SYS_wait4, which, &mut status, options | WUNTRACED | WCONTINUED, 0)?;
    Ok((told != 0).then(|| {
        assert!(which < 0 || told == which as u64);
        match status {
            _ if WIFSTOPPED(status) => Change::Stopped(WSTOPSIG(status)),
            _ if WIFCONTINUED(status) => Change::Continued,
            _ if WIFEXITED(status) => Change::Exited(WEXITSTATUS(status)),
            _ => Change::Killed(WTERMSIG(status)),
        }
    }))
}

/// Waits for the next change of a child.
fn next(which: i32) -> Change {
    change(which, 0).expect("a child").expect("something to tell")
}

/// Words that children share with their parent.
fn shared() -> &'static [AtomicU64; 16] {
    let flags = MAP_SHARED | MAP_ANONYMOUS;
    let address = sys!(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, flags, -1, 0).expect("memory");
    // SAFETY: a page of zeroes that is never given back.
    unsafe { &*ptr::with_exposed_provenance::<[AtomicU64; 16]>(address as usize) }
}

/// Waits until a counter has gone on.
fn goes_on(counter: &AtomicU64) {
    let before = counter.load(SeqCst);
    programs::cpus::spin_until(|| counter.load(SeqCst) != before);
}

/// Sees that counters stand still while others have the CPU.
fn stands_still(counters: &[AtomicU64]) {
    let read = || counters.iter().map(|counter| counter.load(SeqCst)).collect::<Vec<_>>();
    let before = read();
    for _ in 0..500 {
        thread::yield_now();
    }
    let _ = sys!(SYS_nanosleep, &[0u64, 2_000_000], 0);
    assert_eq!(read(), before, "a stopped process counts");
}

/// Sets the action on a signal, in the calling process.
fn set_action(signal: i32, what: usize, flags: i32) {
    // SAFETY: zeroes are a valid `sigaction`; a caller with a handler for SA_SIGINFO says so.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = what;
        action.sa_flags = flags;
        assert_eq!(sigaction(signal, &action, ptr::null_mut()), 0);
    }
}

/// Changes the mask.
fn mask(how: i32, signals: &[i32]) {
    let set = signals.iter().fold(0u64, |set, signal| set | 1 << (signal - 1));
    assert_eq!(sys!(SYS_rt_sigprocmask, how, &set, 0, 8), Ok(0));
}

/// Has this process end though a check that has failed has left it alone. In Jotun it ends with the first process, and is not
/// to end before because the host is slow.
fn not_left_alone() {
    if !native::present() {
        let _ = sys!(SYS_alarm, 100);
    }
}

/// Waits for signals for ever.
fn forever() -> ! {
    not_left_alone();
    loop {
        let _ = sys!(SYS_pause);
    }
}
