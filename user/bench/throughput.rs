//! How much processes get done that compute and call the kernel, as papers/004 section 5.2 measured it: `throughput
//! TICKS POINT...`, on Jotun alone.
//!
//! A point is `PROCESSES:USER:BURN[:PLACE[:PASSES]]`. PROCESSES processes execute USER instructions in user mode
//! between two calls; each call executes BURN instructions in the kernel besides entering and returning, or with
//! `null` it does nothing. They run for TICKS ticks of the time-stamp counter, and a line `point POINT NAME=VALUE…`
//! tells what the statistics counted meanwhile. PLACE says where they run: `free`, wherever the kernel puts them (the
//! default); `bound`, each bound to a CPU in turn; `moved`, bound, and moved to the next CPU every 10 ms. With PASSES
//! the times in user mode are exponential with the mean USER, each process draws that many of them (`abi::workload`)
//! and ends, and the line covers the time until the last process has ended.
//!
//! Run by: `xtask/src/bench/points.rs`, `xtask/src/bench/locks.rs`.

use programs::native::{self, present};
use programs::{cpus, sys};
use std::arch::x86_64::_rdtsc;
use std::process::exit;
use std::time::Duration;

/// A time slice, in which `moved` processes stay where they are.
const SLICE: Duration = Duration::from_millis(10);

/// What is told of each point, by the statistics' names.
const TOLD: [&str; 7] = [
    "user_cycles",
    "kernel_cycles",
    "spin_cycles",
    "idle_cycles",
    "entries_system_call",
    "lock_contended",
    "migrations",
];

/// As the package `looper` takes it.
const NULL: u64 = 0xffff_ffff;

struct Point {
    processes: usize,
    user: u64,
    burn: u64,
    place: Place,
    /// Passes of exponential times that each process draws; none computes for the same time again and again, without an end.
    passes: Option<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Free,
    Bound,
    Moved,
}

impl Point {
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<_> = text.split(':').collect();
        let place = match fields.get(3) {
            None | Some(&"free") => Place::Free,
            Some(&"bound") => Place::Bound,
            Some(&"moved") => Place::Moved,
            Some(_) => return None,
        };
        let [processes, user, burn] = fields.get(..3)? else { return None };
        let burn = if *burn == "null" { NULL } else { burn.parse().ok().filter(|burn| *burn < NULL)? };
        let passes = match fields.get(4) {
            None => None,
            Some(passes) => Some(passes.parse().ok().filter(|passes| *passes < 1 << 8 && burn < 1 << 24)?),
        };
        Some(Self { processes: processes.parse().ok()?, user: user.parse().ok()?, burn, place, passes })
    }

    /// Starts the processes.
    fn start(&self) -> Vec<i32> {
        let start = |process: usize| match self.passes {
            None => native::start("looper", self.burn << 32 | self.user),
            Some(passes) => {
                native::start("thinker", passes << 56 | self.burn << 32 | (process as u64) << 24 | self.user)
            }
        };
        (0..self.processes).map(|process| start(process).expect("a process can start")).collect()
    }

    /// Puts the processes on CPUs, on others at each turn.
    fn put(&self, started: &[i32], turn: usize) {
        let allowed = cpus::allowed();
        for (index, &pid) in started.iter().enumerate() {
            // One that has ended needs none.
            let _ = cpus::set_affinity(pid, 1 << allowed[(index + turn) % allowed.len()]);
        }
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let ticks: Option<u64> = words.first().and_then(|word| word.parse().ok());
    let points: Option<Vec<_>> = words.iter().skip(1).map(|word| Some((word, Point::parse(word)?))).collect();
    let (Some(ticks), Some(points)) = (ticks, points) else {
        eprintln!("usage: throughput TICKS PROCESSES:USER:BURN[:free|bound|moved[:PASSES]]...");
        exit(2);
    };
    if !present() {
        eprintln!("throughput: only on Jotun");
        exit(1);
    }
    // When its time has come this thread runs, whatever other threads compute.
    sys!(abi::native::PRIORITY, 0, 1).expect("a priority");
    let hz = cpus::statistic("tsc_hz").expect("the counter's frequency");
    let window = Duration::from_nanos((u128::from(ticks) * 1_000_000_000 / u128::from(hz)) as u64);
    for (text, point) in points {
        let (ticks, spent) = if point.passes.is_some() { to_the_end(&point) } else { measure(&point, window) };
        let told: Vec<_> = TOLD.iter().zip(spent).map(|(name, count)| format!("{name}={count}")).collect();
        println!("point {text} ticks={ticks} {}", told.join(" "));
    }
}

/// Ticks of the window, and what was counted in it.
fn measure(point: &Point, window: Duration) -> (u64, [u64; TOLD.len()]) {
    let started = point.start();
    if point.place != Place::Free {
        point.put(&started, 0);
    }
    // Until all are under way.
    std::thread::sleep(SLICE / 2);
    // To ask takes the kernel long, and other kernels longer. What lies between two questions has that in it once,
    // so it is known from two that follow each other, and taken off.
    let (asked, before) = (snapshot(), snapshot());
    // Where the kernel records, it records the window; elsewhere this has no effect.
    let _ = sys!(abi::native::TRACE, abi::native::TRACE_BEGIN, 0);
    match point.place {
        Place::Moved => (1..=window.as_nanos().div_ceil(SLICE.as_nanos()) as usize).for_each(|turn| {
            std::thread::sleep(SLICE);
            point.put(&started, turn);
        }),
        _ => std::thread::sleep(window),
    }
    let _ = sys!(abi::native::TRACE, abi::native::TRACE_END, 0);
    let after = snapshot();
    for pid in started {
        sys!(libc::SYS_kill, pid, libc::SIGKILL).expect("it runs");
        native::wait(pid).expect("it ends");
    }
    between(asked, before, after)
}

/// Ticks until the last of the processes has ended by itself, and what was counted until then.
fn to_the_end(point: &Point) -> (u64, [u64; TOLD.len()]) {
    let (asked, before) = (snapshot(), snapshot());
    let started = point.start();
    if point.place != Place::Free {
        point.put(&started, 0);
    }
    let limit = if point.place == Place::Moved { SLICE.as_nanos() as u64 } else { abi::native::FOREVER };
    let mut turn = 0;
    for &pid in &started {
        let mut status = 0i32;
        while let Err(why) = sys!(abi::native::WAIT, pid, &mut status, limit) {
            assert_eq!(why, libc::ETIMEDOUT, "waiting for a process");
            turn += 1;
            point.put(&started, turn);
        }
        assert_eq!(status, 0, "how a process ended");
    }
    between(asked, before, snapshot())
}

/// Ticks from `before` to `after` and what was counted meanwhile, without what it takes to ask, which is in it once as
/// between `asked` and `before`.
fn between(asked: Snapshot, before: Snapshot, after: Snapshot) -> (u64, [u64; TOLD.len()]) {
    let count = |index: usize| (after[index] - before[index]).saturating_sub(before[index] - asked[index]);
    let [ticks, told @ ..]: Snapshot = std::array::from_fn(count);
    (ticks, told)
}

/// The counter, and the statistics that are told.
type Snapshot = [u64; TOLD.len() + 1];

/// A kernel for one CPU lacks some statistics.
fn snapshot() -> Snapshot {
    // SAFETY: every 64-bit CPU has it, and the kernel lets programs read it.
    let now = unsafe { _rdtsc() };
    let text = native::statistics().expect("statistics");
    let mut all = [now; TOLD.len() + 1];
    all[1..].iter_mut().zip(TOLD).for_each(|(to, name)| *to = abi::native::value(&text, name).unwrap_or(0));
    all
}
