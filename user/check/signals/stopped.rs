//! A process that is stopped does not compute, on whatever CPUs its threads are: `stopped [rounds]`.
//!
//! Threads of a child count in memory that it shares with its parent, without a call. After the parent has been told
//! that the child has stopped, the counts stay as they are; after SIGCONT they go on; after SIGKILL, in whose
//! midst a thread may be anywhere, they stay again.
//!
//! Run by: `tests/tests/boot/application.rs`.

use libc::*;
use programs::cpus;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const THREADS: usize = 3;

type Counts = [AtomicU64; THREADS];

/// Memory that stays shared after a fork.
fn shared() -> &'static Counts {
    // SAFETY: a new mapping, of zeroes, that stays.
    unsafe {
        let size = size_of::<Counts>();
        let address = mmap(ptr::null_mut(), size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ne!(address, MAP_FAILED);
        &*address.cast()
    }
}

/// Counts for ever, on every thread.
fn count(counts: &'static Counts) -> ! {
    let endless = |count: &AtomicU64| loop {
        count.fetch_add(1, SeqCst);
    };
    thread::scope(|scope| {
        for count in counts {
            scope.spawn(move || endless(count));
        }
    });
    unreachable!("the threads do not end")
}

fn now(counts: &Counts) -> [u64; THREADS] {
    std::array::from_fn(|index| counts[index].load(SeqCst))
}

/// Returns when every thread has counted on.
fn wait_for_progress(counts: &Counts) {
    let before = now(counts);
    while now(counts).iter().zip(before).any(|(now, before)| *now == before) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// For a while nobody counts.
fn expect_rest(counts: &Counts, why: &str) {
    let before = now(counts);
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(1));
        assert_eq!(now(counts), before, "a thread of a {why} process computes");
    }
}

/// Sends the child a signal and waits for what becomes of it.
fn send(child: pid_t, signal: i32) -> i32 {
    let mut status = 0;
    // SAFETY: plain calls with a valid pointer.
    unsafe {
        assert_eq!(kill(child, signal), 0);
        assert_eq!(waitpid(child, &mut status, WUNTRACED | WCONTINUED), child);
    }
    status
}

fn main() {
    let rounds = cpus::argument(1, 10);
    let counts = shared();
    // SAFETY: this is the only thread.
    let child = unsafe { fork() };
    if child == 0 {
        count(counts);
    }
    for _ in 0..rounds {
        wait_for_progress(counts);
        assert!(WIFSTOPPED(send(child, SIGSTOP)));
        expect_rest(counts, "stopped");
        assert!(WIFCONTINUED(send(child, SIGCONT)));
    }
    wait_for_progress(counts);
    assert!(WIFSIGNALED(send(child, SIGKILL)));
    expect_rest(counts, "killed");
    println!("ok stopped: {rounds} rounds");
}
