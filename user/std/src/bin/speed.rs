//! What several CPUs gain: `speed [million rounds] [threads]`.
//!
//! First, threads that only compute: 1, 2, … of them, each with the same work. Then the benchmark of
//! papers/001, section 4: two processes which compute and every so often make a system call, so that
//! the share of the kernel, where only one CPU can be at a time, sets the limit. The speed-up is what
//! the same work takes one after the other, in terms of what it takes at once.

use programs::cpus;
use programs::native::{self, Status};
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let cpus = cpus::allowed().len();
    let rounds = cpus::argument(1, 20) as u64 * 1_000_000;
    let most = cpus::argument(2, cpus).max(1);
    computing(rounds, most);
    if native::present() {
        two_processes(rounds);
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

fn computing(rounds: u64, most: usize) {
    println!("threads that only compute:");
    println!("{:>8} {:>8} {:>9}", "threads", "ms", "speed-up");
    let one = timed(1, || compute(rounds));
    let counts = (0..).map(|power| 1 << power).take_while(|count| *count < most).chain([most]);
    for threads in counts {
        let took = if threads == 1 { one } else { timed(threads, || compute(rounds)) };
        let gain = threads as f64 * one.as_secs_f64() / took.as_secs_f64();
        println!("{threads:>8} {:>8} {gain:>8.2}x", took.as_millis());
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

fn two_processes(rounds: u64) {
    println!("two processes that make a call of {BURN} instructions every so many rounds:");
    println!(
        "{:>8} {:>8} {:>8} {:>9}   {:>6} {:>6} {:>6} {:>6}",
        "rounds", "one, ms", "two, ms", "speed-up", "user", "kernel", "spin", "idle"
    );
    for interval in INTERVALS {
        // As long as the least work takes, whatever it consists of.
        let calls = rounds / (interval + BURN / 2);
        let order = native::worker(interval, calls, BURN);
        let one = workers(1, order);
        let before = cycles();
        let two = workers(2, order);
        let after = cycles();
        let spent: Vec<_> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        let all = spent.iter().sum::<u64>().max(1);
        let shares: Vec<_> =
            spent.iter().map(|cycles| format!("{:5.1}%", *cycles as f64 * 100.0 / all as f64)).collect();
        let gain = 2.0 * one.as_secs_f64() / two.as_secs_f64();
        let (one, two) = (one.as_millis(), two.as_millis());
        println!("{interval:>8} {one:>8} {two:>8} {gain:>8.2}x   {}", shares.join(" "));
    }
}
