//! Processes that end while their other threads run on other CPUs, hundreds of times in a row.
//!
//! The other threads are in user mode, in system calls, waiting to enter the kernel, in page faults, starting further
//! threads or blocked when one of them ends the process or another process kills it. Afterwards all that the process
//! had is free again.
//!
//! Run by: `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use core::hint;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use native::calls::{self, Errno, NORMAL_PRIORITY};
use native::random::Random;
use native::thread::spawn;
use native::{FOREVER, Status, println, system};

native::entry!(main);

/// Processes when the argument names no number.
const MANY: u64 = 300;

/// Set in the argument of the processes started here; the rest is which one.
const CHILD: u64 = 1 << 32;

const SIGKILL: u8 = 9;

/// The status of one that ends itself.
const STATUS: u8 = 42;

/// What must be the same before and after.
const KEPT: [&str; 6] = [
    "frames_free",
    "containers_live",
    "processes_live",
    "threads_live",
    "container_directories_live",
    "directory_copies_live",
];

fn main(argument: u64) -> i32 {
    if argument & CHILD != 0 {
        return child(argument & !CHILD);
    }
    let many = if argument == 0 { MANY } else { argument };
    // The first rounds fill the kernel's caches, two of each kind; so does the first look.
    (0..2 * DEEDS.len() as u64).for_each(run);
    let before = counts();
    (0..many).for_each(run);
    let after = counts();
    for ((name, before), after) in KEPT.into_iter().zip(before).zip(after) {
        println!("{name:28} before {before:8} after {after:8}");
    }
    assert_eq!(before, after, "what is the same before and after");
    println!("ok abrupt: {many} processes ended while their threads ran");
    0
}

/// What is kept, with the pages of the kernel's heap among the free frames, at a time when asking did not make the heap
/// grow.
fn counts() -> [u64; KEPT.len()] {
    let heap = || calls::statistic("heap_pages") + calls::statistic("heap_idle_pages");
    loop {
        let before = heap();
        let mut kept = KEPT.map(calls::statistic);
        if heap() == before {
            kept[0] += before;
            return kept;
        }
    }
}

/// Starts a process and sees to its end.
fn run(number: u64) {
    let pid = calls::start("abrupt", CHILD | number, NORMAL_PRIORITY, 0).expect("a process can start");
    if ends_itself(number) {
        assert_eq!(calls::wait(pid, FOREVER), Ok(Status::Exited(STATUS)), "how process {number} ended");
    } else {
        // It says when its threads are under way.
        let (sender, _) = calls::receive(&mut [0; 8], FOREVER).expect("the process reports");
        assert_eq!(sender, pid, "who reports");
        pause(&mut Random::new(number));
        system::kill(pid, SIGKILL).expect("it is there until somebody has waited for it");
        assert_eq!(calls::wait(pid, FOREVER), Ok(Status::Killed(SIGKILL)), "how process {number} ended");
    }
}

fn ends_itself(number: u64) -> bool {
    !number.is_multiple_of(3)
}

/// A short time of work, of unpredictable length.
fn pause(random: &mut Random) {
    (0..random.below(20_000)).for_each(|_| hint::spin_loop());
}

/// What threads do until their process ends.
const DEEDS: [fn(&mut Random); 6] = [compute, call, burn, fault, wait, start];

/// Threads that have begun.
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// What the computing threads change.
static WORK: AtomicU64 = AtomicU64::new(0);

fn child(number: u64) -> i32 {
    let cpus = system::affinity(0).map_or(1, u64::count_ones);
    let threads = (u64::from(cpus) + 1).clamp(3, 8);
    for index in 0..threads {
        spawn(|number| work(number), number + index, NORMAL_PRIORITY).expect("a thread can start");
    }
    // Some of the times, as soon as all are under way; otherwise at once.
    if number.is_multiple_of(2) {
        while BEGUN.load(SeqCst) < threads as u32 {
            system::yield_now();
        }
    }
    pause(&mut Random::new(number));
    match (ends_itself(number), number % 3) {
        // By a further thread, while the main one goes on.
        (true, 2) => drop(spawn(end, 0, NORMAL_PRIORITY)),
        (true, _) => end(0),
        (false, _) => calls::send(system::parent(), &[]).expect("the parent has room"),
    }
    work(number)
}

fn end(_: u64) {
    system::exit(STATUS.into())
}

fn work(number: u64) -> ! {
    let mut random = Random::new(number);
    BEGUN.fetch_add(1, SeqCst);
    let deed = DEEDS[(number % DEEDS.len() as u64) as usize];
    loop {
        deed(&mut random);
    }
}

fn compute(_: &mut Random) {
    WORK.fetch_add(1, SeqCst);
    // A CPU that is not one of the host's gives others a turn.
    hint::spin_loop();
}

fn call(_: &mut Random) {
    assert_ne!(system::pid(), 0, "a call");
}

fn burn(random: &mut Random) {
    calls::burn(random.below(20_000)).expect("the kernel burns");
}

/// New pages, outside the window, touched and given back.
fn fault(random: &mut Random) {
    const PAGE: usize = 4096;
    let Ok(pages) = system::pages((1 + random.below(16) as usize) * PAGE) else { return };
    pages.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    system::give_back(pages).expect("what was mapped");
}

fn wait(random: &mut Random) {
    assert_eq!(calls::receive(&mut [0; 8], random.below(100_000) + 1).err(), Some(Errno::ETIMEDOUT), "nobody sends");
}

/// A thread that ends at once; there is room on the heap for some of them.
fn start(random: &mut Random) {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    if STARTED.fetch_add(1, SeqCst) < 20 {
        let _ = spawn(|_| (), 0, NORMAL_PRIORITY);
    } else {
        wait(random);
    }
}
