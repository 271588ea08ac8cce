//! Threads of one process on one CPU: they share memory, take turns by time slices, and obey priorities. `parallel`
//! is the counterpart for several CPUs.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/boot/statistics.rs`, `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use native::calls::{self, Errno, NORMAL_PRIORITY};
use native::thread::spawn;
use native::time::{MILLISECOND, nanoseconds};
use native::{println, system};

native::entry!(main);

const BUSY: usize = 4;

/// Rounds that each busy thread has made.
static ROUNDS: [AtomicU64; BUSY] = [const { AtomicU64::new(0) }; BUSY];
static STOP: AtomicBool = AtomicBool::new(false);

/// Priorities in the order in which their threads ran.
static ORDER: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static NEXT: AtomicUsize = AtomicUsize::new(0);

fn main(_: u64) -> i32 {
    // Threads inherit the CPUs that their maker may run on.
    system::set_affinity(0, 1 << system::cpu()).expect("the CPU it is on");
    let main = system::tid();
    assert_eq!(main, system::pid(), "the main thread's number is its process's");
    time_slices();
    priorities();
    refused();
    println!("ok threads: time slices, priorities");
    0
}

/// Threads that never wait still share the CPU, with each other and with this one.
fn time_slices() {
    let busy: [_; BUSY] =
        core::array::from_fn(|index| spawn(count, index as u64, NORMAL_PRIORITY).expect("a thread can start"));
    let usage = calls::container(0).expect("a container has a usage");
    assert_eq!((usage.threads, usage.directories), (1 + BUSY as u64, 1), "threads and directories");
    let end = nanoseconds() + 400 * MILLISECOND;
    while nanoseconds() < end {
        system::yield_now();
    }
    STOP.store(true, SeqCst);
    for thread in &busy {
        thread.join();
    }
    let rounds: [u64; BUSY] = core::array::from_fn(|index| ROUNDS[index].load(SeqCst));
    let all: u64 = rounds.iter().sum();
    let shares = rounds.map(|count| count * 100 / all);
    println!("shares of {BUSY} busy threads in percent: {shares:?}");
    assert!(shares.iter().all(|share| *share >= 10), "each busy thread got its turns");
}

fn count(index: u64) {
    while !STOP.load(SeqCst) {
        ROUNDS[index as usize].fetch_add(1, SeqCst);
    }
}

/// Threads of lower priority than this one wait until it waits; then the most urgent runs first.
fn priorities() {
    assert_eq!(calls::set_priority(0, 2), Ok(NORMAL_PRIORITY), "the priority until now");
    assert_eq!(calls::priority(), 2, "the new priority");
    let threads = [30, 10, 25].map(|priority| spawn(note, priority, priority).expect("a thread can start"));
    assert_eq!(NEXT.load(SeqCst), 0, "none has run");
    for thread in &threads {
        thread.join();
    }
    assert_eq!(ORDER.each_ref().map(|priority| priority.load(SeqCst)), [10, 25, 30], "the most urgent first");
    assert_eq!(calls::set_priority(0, NORMAL_PRIORITY), Ok(2), "back again");
}

/// Works a while, so that all three would overlap if priorities counted for nothing.
fn note(priority: u64) {
    assert_eq!(calls::priority(), priority, "a thread's priority");
    let end = nanoseconds() + 30 * MILLISECOND;
    while nanoseconds() < end {
        system::yield_now();
    }
    ORDER[NEXT.fetch_add(1, SeqCst)].store(priority, SeqCst);
}

fn refused() {
    assert_eq!(calls::set_priority(0, abi::native::PRIORITIES), Err(Errno::EINVAL), "no such priority");
    assert_eq!(calls::set_priority(999_999, 1), Err(Errno::ESRCH), "no such thread");
    assert_eq!(spawn(note, 1, 1000).err(), Some(Errno::EINVAL), "no such priority for a thread");
}
