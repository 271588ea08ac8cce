//! What several CPUs gain: `speed [million rounds] [threads]`.
//!
//! First, threads that only compute: 1, 2, … of them, each with the same work. Then the benchmark of papers/001,
//! section 4: two processes that compute and make a system call every so often, so that the kernel's share, in which
//! only one CPU can be at a time, sets the limit. The speed-up is the time of the same work done one after the other,
//! divided by its time done at once; `?` if several measurements do not agree on it.
//!
//! Run by: `tests/tests/smp.rs`.

use programs::cpus;
use programs::gain::{Gain, PAIRS};
use programs::native::{self, Status};
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let cpus = cpus::allowed().len();
    let rounds = cpus::argument(1, 20) as u64 * 1_000_000 / PAIRS as u64;
    let most = cpus::argument(2, cpus).max(1);
    computing(cpus, rounds, most);
    if native::present() {
        two_processes(cpus, rounds);
    } else {
        println!("two processes: only on Jotun");
    }
    println!("ok speed: {cpus} CPUs");
}

/// The work of a benchmark in user mode.
fn compute(rounds: u64) {
    (0..rounds).for_each(|round| _ = black_box(round));
}

/// How long `work` takes on `threads` threads, from the start of the first to the end of the last.
fn timed(threads: usize, work: impl Fn() + Sync) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(&work)));
    start.elapsed()
}

fn computing(cpus: usize, rounds: u64, most: usize) {
    println!("threads that only compute:");
    println!("{:>8} {:>8} {:>9}", "threads", "ms", "speed-up");
    let counts = (0..).map(|power| 1 << power).take_while(|count| *count < most).chain([most]);
    for threads in counts {
        let gain = Gain::measure(cpus, threads, || [1, threads].map(|threads| timed(threads, || compute(rounds))));
        println!("{threads:>8} {:>8} {:>9}", gain.least[1].as_millis(), gain.shown());
    }
}

/// Rounds between two calls, from much work in user mode to nearly none.
const INTERVALS: [u64; 6] = [100_000, 10_000, 3_000, 1_000, 300, 100];

/// Instructions that each call executes in the kernel.
const BURN: u64 = 1_000;

/// Starts `count` workers at once and waits for all of them.
fn workers(count: usize, order: u64) -> Duration {
    let start = Instant::now();
    let started: Vec<_> = (0..count).map(|_| native::start("worker", order).expect("a worker can start")).collect();
    for worker in started {
        assert_eq!(native::wait(worker), Ok(Status::Exited(0)), "how a worker ended");
    }
    start.elapsed()
}

/// Cycles of all CPUs so far: user, kernel, spinning, idle.
fn cycles() -> [u64; 4] {
    let text = native::statistics().expect("statistics");
    let value = |name: &str| abi::native::value(&text, name);
    let cpus = value("cpus").unwrap_or(1);
    ["user", "kernel", "spin", "idle"].map(|state| {
        let each = (0..cpus).filter_map(|cpu| value(&format!("cpu{cpu}_{state}_cycles")));
        // A kernel for one CPU has one count of each.
        each.reduce(|sum, cycles| sum + cycles).or_else(|| value(&format!("{state}_cycles"))).unwrap_or(0)
    })
}

fn two_processes(cpus: usize, rounds: u64) {
    println!("two processes that make a call of {BURN} instructions every so many rounds:");
    println!(
        "{:>8} {:>8} {:>8} {:>9}   {:>6} {:>6} {:>6} {:>6}",
        "rounds", "one, ms", "two, ms", "speed-up", "user", "kernel", "spin", "idle"
    );
    for interval in INTERVALS {
        // As long as the least work takes, whatever it consists of.
        let calls = rounds / (interval + BURN / 2);
        let order = native::worker(interval, calls, BURN);
        let mut spent = [0; 4];
        let gain = Gain::measure(cpus, 2, || {
            let one = workers(1, order);
            let before = cycles();
            let two = workers(2, order);
            let after = cycles();
            (0..spent.len()).for_each(|state| spent[state] += after[state] - before[state]);
            [one, two]
        });
        let all = spent.iter().sum::<u64>().max(1);
        let shares: Vec<_> =
            spent.iter().map(|cycles| format!("{:5.1}%", *cycles as f64 * 100.0 / all as f64)).collect();
        let [one, two] = gain.least.map(|time| time.as_millis());
        println!("{interval:>8} {one:>8} {two:>8} {:>9}   {}", gain.shown(), shares.join(" "));
    }
}
