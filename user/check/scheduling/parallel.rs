//! Threads of one process on several CPUs. `threads` is its counterpart for one CPU.
//!
//! A busy thread has a CPU of its own as long as there are idle ones, and a thread runs beside one of higher
//! priority. Time slices and priorities decide only where no CPU is idle, and among threads that may run on one CPU
//! only.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use native::calls::{self, NORMAL_PRIORITY};
use native::thread::{Thread, spawn};
use native::time::MILLISECOND;
use native::{println, system};

native::entry!(main);

/// Most CPUs that this is made for.
const MOST: usize = 64;

fn main(_: u64) -> i32 {
    let mask = system::affinity(0).expect("a thread has a mask");
    let cpus = mask.count_ones() as usize;
    let directories = calls::statistic("directory_copies_made");
    if cpus > 1 {
        together(mask, cpus);
        let made = calls::statistic("directory_copies_made") - directories;
        assert_eq!(made, cpus as u64 - 1, "a page directory for each CPU but the owner");
        beside_a_more_urgent();
    }
    crowd(cpus);
    one_cpu(mask);
    // A joined thread has done its work, and may still be on its way out: no thread may be taken out of user mode.
    while calls::container(0).expect("a container has a usage").threads > 1 {
        let _ = calls::receive(&mut [0; 8], MILLISECOND);
    }
    let usage = calls::container(0).expect("a container has a usage");
    println!("ok parallel: {cpus} CPUs, {} pages, {} page directories", usage.pages, usage.directories);
    0
}

/// Threads that wait for each other without giving up their CPUs.
static ARRIVED: AtomicUsize = AtomicUsize::new(0);
static PLACES: [AtomicU32; MOST] = [const { AtomicU32::new(0) }; MOST];
static STOP: AtomicBool = AtomicBool::new(false);

/// As many threads as CPUs, this one included, all at the same time, each on a CPU of its own.
fn together(mask: u64, cpus: usize) {
    let arrive = |index: u64| {
        PLACES[index as usize].store(system::cpu(), SeqCst);
        ARRIVED.fetch_add(1, SeqCst);
        while !STOP.load(SeqCst) {
            core::hint::spin_loop();
        }
        assert_eq!(PLACES[index as usize].load(SeqCst), system::cpu(), "a thread stays where it is");
    };
    let others: [Option<Thread>; MOST] = core::array::from_fn(|index| {
        let thread = (1..cpus).contains(&index).then(|| spawn(arrive, index as u64, NORMAL_PRIORITY))?;
        // It is on a CPU before the next one looks for an idle one; this one never leaves its own.
        while ARRIVED.load(SeqCst) < index {
            core::hint::spin_loop();
        }
        Some(thread.expect("a thread can start"))
    });
    PLACES[0].store(system::cpu(), SeqCst);
    STOP.store(true, SeqCst);
    others.iter().flatten().for_each(Thread::join);
    let used = PLACES[..cpus].iter().fold(0u64, |used, cpu| used | 1 << cpu.load(SeqCst));
    assert_eq!(used, mask, "every CPU had one of the threads");
}

/// While this thread, the most urgent, never lets go of its CPU, the least urgent one does its work.
fn beside_a_more_urgent() {
    static DONE: AtomicU64 = AtomicU64::new(0);
    calls::set_priority(0, 1).expect("a priority");
    let other = spawn(|_| (0..1000).for_each(|_| _ = DONE.fetch_add(1, SeqCst)), 0, 39).expect("a thread can start");
    while DONE.load(SeqCst) < 1000 {
        core::hint::spin_loop();
    }
    other.join();
    calls::set_priority(0, NORMAL_PRIORITY).expect("a priority");
}

/// Rounds that each busy thread has made.
static ROUNDS: [AtomicU64; 2 * MOST] = [const { AtomicU64::new(0) }; 2 * MOST];
static ENOUGH: AtomicBool = AtomicBool::new(false);

/// Twice as many busy threads as CPUs, 32 at most: each gets its turns, wherever it is.
fn crowd(cpus: usize) {
    let busy = 2 * cpus.min(16);
    let count = |index: u64| {
        while !ENOUGH.load(SeqCst) {
            ROUNDS[index as usize].fetch_add(1, SeqCst);
        }
    };
    let threads: [Option<Thread>; 2 * MOST] = core::array::from_fn(|index| {
        (index < busy).then(|| spawn(count, index as u64, NORMAL_PRIORITY).expect("a thread can start"))
    });
    // It hangs if a thread never has a turn.
    while ROUNDS[..busy].iter().any(|rounds| rounds.load(SeqCst) < 1000) {
        let _ = calls::receive(&mut [0; 8], 5 * MILLISECOND);
    }
    ENOUGH.store(true, SeqCst);
    threads.iter().flatten().for_each(Thread::join);
}

/// Priorities in the order in which their threads ran.
static ORDER: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// On one CPU, which all the threads are bound to, priorities are strict although others are idle.
fn one_cpu(mask: u64) {
    let last = 63 - mask.leading_zeros();
    system::set_affinity(0, 1 << last).expect("a CPU that is there");
    assert_eq!(system::cpu(), last, "this thread has moved");
    calls::set_priority(0, 2).expect("a priority");
    let note = |priority| {
        assert_eq!(system::cpu(), 63 - system::affinity(0).unwrap_or(0).leading_zeros(), "bound to one CPU");
        ORDER[NEXT.fetch_add(1, SeqCst)].store(priority, SeqCst);
    };
    let threads = [30, 10, 25].map(|priority| spawn(note, priority, priority).expect("a thread can start"));
    assert_eq!(NEXT.load(SeqCst), 0, "none has run");
    threads.iter().for_each(Thread::join);
    assert_eq!(ORDER.each_ref().map(|priority| priority.load(SeqCst)), [10, 25, 30], "the most urgent first");
    calls::set_priority(0, NORMAL_PRIORITY).expect("a priority");
    system::set_affinity(0, mask).expect("all CPUs again");
}
