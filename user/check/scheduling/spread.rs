//! Where threads run: `spread [threads]`.
//!
//! On Jotun a new thread goes to an idle CPU if there is one. With strict affinity it stays on the CPU on which it
//! started until `sched_setaffinity` moves it; with soft affinity it stays there as long as there is a CPU for each
//! thread. The rules for affinity masks are those of Linux, and the program checks them there too.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

use libc::*;
use programs::cpus::{self, Mask};
use programs::{native, sys};
use std::hint;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread;

/// Reports of every busy thread before it may end: several time slices' worth.
const REPORTS: u64 = 200;

/// Rounds of computing between two reports: each is a system call, and there are other things to do than
/// waiting for the kernel.
const ROUNDS: u32 = 20_000;

/// A thread that never waits, and what it tells of itself.
#[derive(Default)]
struct Busy {
    number: AtomicI32,
    /// The CPU of its last report.
    cpu: AtomicU32,
    reports: AtomicU64,
    /// All CPUs it has reported since this was last cleared.
    seen: AtomicU64,
}

impl Busy {
    fn run(&self, stop: &AtomicBool) {
        self.number.store(cpus::thread_number(), SeqCst);
        while !stop.load(SeqCst) {
            let cpu = cpus::current();
            self.cpu.store(cpu, SeqCst);
            self.seen.fetch_or(1 << cpu, SeqCst);
            self.reports.fetch_add(1, SeqCst);
            (0..ROUNDS).for_each(|round| _ = hint::black_box(round));
        }
    }

    /// Waits for `count` reports that begin after this call.
    fn wait_for_reports(&self, count: u64) {
        // The report under way may have begun before.
        let until = self.reports.load(SeqCst) + 1 + count;
        cpus::spin_until(|| self.reports.load(SeqCst) >= until);
    }
}

fn main() {
    assert_eq!(cpus::set_affinity(0, Mask::MAX), Ok(0), "all CPUs that there are");
    let allowed = cpus::allowed();
    let threads = cpus::argument(1, allowed.len()).max(1);
    println!("CPUs: {allowed:?}, available_parallelism: {:?}", thread::available_parallelism());
    assert_eq!(thread::available_parallelism().map_or(0, |count| count.get()), allowed.len(), "what std says");
    masks(&allowed);
    myself(&allowed);
    placed(&allowed, threads);
    moved(&allowed);
    inherited(&allowed);
    println!("ok spread: {threads} threads on {} CPUs", allowed.len());
}

/// What the two calls must take and refuse.
fn masks(allowed: &[u32]) {
    let all = cpus::affinity(0).expect("a mask");
    assert_eq!(cpus::set_affinity(0, 0), Err(EINVAL), "no CPU");
    let absent = !all;
    if absent != 0 {
        assert_eq!(cpus::set_affinity(0, absent), Err(EINVAL), "no CPU that is there");
    }
    assert_eq!(cpus::affinity(0), Ok(all), "a refused mask changes nothing");
    assert_eq!(cpus::set_affinity(0, Mask::MAX), Ok(0), "CPUs that are not there do no harm");
    assert_eq!(cpus::affinity(0), Ok(all), "and are not in the mask");

    let first = 1 << allowed[0];
    assert_eq!(cpus::set_affinity(0, first), Ok(0));
    assert_eq!(cpus::affinity(0), Ok(first), "what was set");
    assert_eq!(cpus::affinity(cpus::thread_number()), Ok(first), "under its number as well");
    assert_eq!(cpus::set_affinity(cpus::thread_number(), all), Ok(0), "back");

    let long = [[all, 0], [u64::MAX; 2]];
    for mask in &long {
        assert_eq!(sys!(SYS_sched_setaffinity, 0, size_of_val(mask), mask), Ok(0), "a longer mask");
        assert_eq!(cpus::affinity(0), Ok(all));
    }
    if allowed[0] < 8 {
        let byte = 1u8 << allowed[0];
        assert_eq!(sys!(SYS_sched_setaffinity, 0, 1, &byte), Ok(0), "a mask of one byte");
        assert_eq!(cpus::affinity(0), Ok(first));
        assert_eq!(cpus::set_affinity(0, all), Ok(0));
    }
    assert_eq!(sys!(SYS_sched_setaffinity, 0, 0, &all), Err(EINVAL), "no bytes are no CPUs");
    assert_eq!(sys!(SYS_sched_setaffinity, 0, 8, 8), Err(EFAULT), "no memory there");
    assert_eq!(sys!(SYS_sched_getaffinity, 0, 128, 8), Err(EFAULT), "no memory there");
    let mut mask = [0u64; 16];
    assert_eq!(sys!(SYS_sched_getaffinity, 0, 0, &mut mask), Err(EINVAL), "no room");
    assert_eq!(sys!(SYS_sched_getaffinity, 0, 12, &mut mask), Err(EINVAL), "half a word");
    let written = sys!(SYS_sched_getaffinity, 0, 128, &mut mask).expect("room for 1024 CPUs");
    assert!(written >= 8 && written.is_multiple_of(8) && written <= 128, "{written} bytes");
    for call in [SYS_sched_getaffinity, SYS_sched_setaffinity] {
        assert_eq!(sys!(call, 0x3fff_ffff, 128, &mut mask), Err(ESRCH), "no such thread");
        assert_eq!(sys!(call, -1, 128, &mut mask), Err(ESRCH), "a number that none can have");
    }
    assert_eq!(cpus::affinity(0), Ok(all), "as before");
}

/// A thread that asks to be elsewhere is there when the call returns.
fn myself(allowed: &[u32]) {
    let all = cpus::affinity(0).expect("a mask");
    for &cpu in allowed.iter().chain(allowed.iter().rev()) {
        cpus::stay_on(cpu);
        thread::yield_now();
        assert_eq!(cpus::current(), cpu, "and stays there");
    }
    assert_eq!(cpus::set_affinity(0, all), Ok(0));
    // The CPU it is on is among those it may run on: no reason to move.
    if native::present() {
        assert_eq!(Some(&cpus::current()), allowed.first(), "it stays where it is");
    }
}

/// Threads go to idle CPUs, and stay there as long as none has to wait.
fn placed(allowed: &[u32], threads: usize) {
    let stop = AtomicBool::new(false);
    // This thread is one of them.
    let busy: Vec<_> = (1..threads).map(|_| Busy::default()).collect();
    let mine = cpus::current();
    thread::scope(|scope| {
        for one in &busy {
            scope.spawn(|| one.run(&stop));
            // Not before it runs is its CPU busy for the kernel's eyes too.
            cpus::spin_until(|| one.reports.load(SeqCst) > 0);
        }
        busy.iter().for_each(|one| one.wait_for_reports(REPORTS));
        stop.store(true, SeqCst);
    });
    let stay = cpus::statistic("affinity_strict") != Some(0) || threads <= allowed.len();
    let mut used = vec![mine];
    for (index, one) in busy.iter().enumerate() {
        let (seen, cpu) = (one.seen.load(SeqCst), one.cpu.load(SeqCst));
        println!("thread {:3}: CPU {cpu:2}, {} reports", index + 1, one.reports.load(SeqCst));
        if native::present() && stay {
            assert_eq!(seen, 1 << cpu, "thread {} stayed on the CPU it started on", index + 1);
            assert!(used.len() >= allowed.len() || !used.contains(&cpu), "CPU {cpu} was busy and others were idle");
        }
        if !used.contains(&cpu) {
            used.push(cpu);
        }
    }
    if native::present() && stay {
        assert_eq!(cpus::current(), mine, "nor has this thread moved");
        assert_eq!(used.len(), threads.min(allowed.len()), "CPUs in use");
        let cpus = || busy.iter().map(|one| one.cpu.load(SeqCst)).chain([mine]);
        let each: Vec<_> = allowed.iter().map(|cpu| cpus().filter(|used| used == cpu).count()).collect();
        let (least, most) = (each.iter().min(), each.iter().max());
        assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "threads of each CPU: {each:?}");
    }
    println!("{} CPUs in use", used.len());
}

/// Another thread is moved while it runs, and stays where it was sent.
fn moved(allowed: &[u32]) {
    let (busy, stop) = (Busy::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| busy.run(&stop));
        busy.wait_for_reports(1);
        let number = busy.number.load(SeqCst);
        for &cpu in allowed.iter().rev().chain(allowed) {
            assert_eq!(cpus::set_affinity(number, 1 << cpu), Ok(0));
            assert_eq!(cpus::affinity(number), Ok(1 << cpu), "what was set");
            // Its CPU is called to the kernel; it may come there by one more call of its own.
            busy.wait_for_reports(2);
            assert_eq!(busy.cpu.load(SeqCst), cpu, "it is where it was sent");
            busy.seen.store(0, SeqCst);
            // The report under way may have been of either time, but not of another CPU.
            busy.wait_for_reports(20);
            assert_eq!(busy.seen.load(SeqCst), 1 << cpu, "and stays there");
        }
        stop.store(true, SeqCst);
    });
    // A thread that waits is moved as well: it wakes there.
    let go = AtomicU32::new(0);
    let asleep = AtomicI32::new(0);
    for &cpu in allowed {
        go.store(0, SeqCst);
        asleep.store(0, SeqCst);
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                asleep.store(cpus::thread_number(), SeqCst);
                while go.load(SeqCst) == 0 {
                    let _ = sys!(SYS_futex, go.as_ptr(), FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, 0);
                }
                cpus::current()
            });
            cpus::spin_until(|| asleep.load(SeqCst) != 0);
            assert_eq!(cpus::set_affinity(asleep.load(SeqCst), 1 << cpu), Ok(0));
            go.store(1, SeqCst);
            sys!(SYS_futex, go.as_ptr(), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1).expect("wake");
            assert_eq!(sleeper.join().expect("it wakes"), cpu, "it woke where it was sent");
        });
    }
}

/// A new thread has its maker's mask.
fn inherited(allowed: &[u32]) {
    let all = cpus::affinity(0).expect("a mask");
    for &cpu in allowed {
        let mask = 1 << cpu | 1 << allowed[0];
        assert_eq!(cpus::set_affinity(0, mask), Ok(0));
        let child = thread::spawn(|| (cpus::affinity(0), cpus::current()));
        let (inherited, at) = child.join().expect("it ends");
        assert_eq!(inherited, Ok(mask), "a child's mask");
        assert!(mask >> at & 1 != 0, "a child on CPU {at} with the mask {mask:#x}");
    }
    assert_eq!(cpus::set_affinity(0, all), Ok(0));
}
