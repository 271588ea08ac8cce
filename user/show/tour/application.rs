//! The scene about the application kernel, and the programs that it starts: this one, told by an argument what to be.
//!
//! The tour itself stays on the boot CPU, so that the other scenes show the kernel for one CPU at work, as it is below
//! the application kernel too.

use super::report::{number, row, say, table, time};
use super::several::SHOWN;
use programs::apkern::{ON_BOOT_CPU, STATE};
use programs::gain::{Gain, PAIRS};
use programs::sys;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, stdin};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// What this program is if its first argument says so; the second is a number.
const SPIN: &str = "spin";
const COMPUTE: &str = "compute";
const CALL: &str = "call";

/// Rounds of a loop that each thread computes, and calls that the one that calls makes.
const ROUNDS: u64 = 8_000_000;
const CALLS: u64 = 1_000;

/// What is at work, by the text of [`STATE`].
struct State(String);

impl State {
    /// Now; `None` on a kernel that has no application kernel.
    fn now() -> Option<State> {
        fs::read_to_string(STATE).ok().map(State)
    }

    /// How many CPUs run application threads.
    fn processors(&self) -> usize {
        self.0.lines().filter(|line| line.starts_with("cpu ")).count()
    }

    /// How many messages there have been of this name.
    fn forwarded(&self, name: &str) -> u64 {
        let count = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        self.0.lines().find_map(count).unwrap_or(0)
    }

    /// Whether of the threads of a process so many run, one is blocked by the only message, and the lines agree: what is
    /// read while a thread gets or leaves a CPU is of two moments.
    fn shows(&self, process: u32, threads: usize) -> bool {
        let has = |wanted: &str| self.0.lines().any(|line| line == wanted);
        let of_it = format!(" process {process} ");
        let (mut running, mut blocked) = (0, 0);
        for (thread, place) in self.0.lines().filter_map(|line| line.strip_prefix("thread ")?.split_once(&of_it)) {
            match place.split_once(" running ") {
                Some((_, cpu)) if has(&format!("cpu {cpu} thread {thread}")) => running += 1,
                _ => blocked += usize::from(place.ends_with(" blocked")),
            }
        }
        (running, blocked) == (threads, 1) && has("ready 0") && has("messages 1")
    }

    /// The lines about what there is, without what has been counted.
    fn present(&self) -> impl Iterator<Item = &str> {
        self.0.lines().filter(|line| !line.starts_with("call ") && !line.starts_with("exception "))
    }
}

/// How many CPUs run application threads; `None` on a kernel that has no application kernel.
pub(super) fn processors() -> Option<usize> {
    State::now().map(|state| state.processors())
}

/// If this is one of the programs that the scene starts, does its work.
pub(super) fn is_a_part(words: &[String]) -> Result<bool, String> {
    let [name, number] = words else { return Ok(false) };
    let number = number.parse().map_err(|_| format!("`{number}` is not a number"))?;
    match name.as_str() {
        SPIN => spin(number),
        COMPUTE => println!("{}", compute(number).as_nanos()),
        CALL => println!("{}", call(number as u64)?.as_nanos()),
        _ => return Err(format!("there is no part `{name}`")),
    }
    Ok(true)
}

/// Threads that compute until the input ends; says when all have begun.
fn spin(threads: usize) {
    let (begun, stop) = (Barrier::new(threads + 1), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                begun.wait();
                while !stop.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        begun.wait();
        println!();
        let _ = stdin().read(&mut [0]);
        stop.store(true, Relaxed);
    });
}

/// How long these threads compute, each the same: from the beginning of the first, when all are there, to the end of the
/// last.
fn compute(threads: usize) -> Duration {
    let begun = Barrier::new(threads);
    let work = || {
        begun.wait();
        let start = Instant::now();
        (0..ROUNDS).for_each(|round| _ = black_box(round));
        [start, Instant::now()]
    };
    let times: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let first = times.iter().map(|[start, _]| *start).min();
    let last = times.iter().map(|[_, end]| *end).max();
    first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first)
}

/// How long these calls take.
fn call(calls: u64) -> Result<Duration, String> {
    let start = Instant::now();
    for _ in 0..calls {
        sys!(libc::SYS_getppid).map_err(|error| format!("getppid failed: errno {error}"))?;
    }
    Ok(start.elapsed())
}

/// This program as one of its parts, on the boot CPU or not.
fn part(name: &str, number: u64, on_boot_cpu: bool) -> Result<Child, String> {
    let mut command = Command::new("/proc/self/exe");
    command.args([name, &number.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    if !on_boot_cpu {
        command.env_remove(ON_BOOT_CPU);
    }
    command.spawn().map_err(|error| format!("cannot start a part of the tour: {error}"))
}

/// How long the part took, by its own clock.
fn timed(name: &str, number: u64, on_boot_cpu: bool) -> Result<Duration, String> {
    let output = part(name, number, on_boot_cpu)?.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let took = text.trim().parse().map_err(|_| format!("the part {name} of the tour failed: {}", output.status))?;
    Ok(Duration::from_nanos(took))
}

/// The times of a part on the boot CPU and on the application processors, in turn.
fn pairs(name: &str, number: u64) -> Result<[[Duration; 2]; PAIRS], String> {
    let mut pairs = [[Duration::ZERO; 2]; PAIRS];
    for pair in &mut pairs {
        *pair = [timed(name, number, true)?, timed(name, number, false)?];
    }
    Ok(pairs)
}

/// What there is to see while threads compute on each of these processors.
fn at_work(threads: usize) -> Result<State, String> {
    let mut program = part(SPIN, threads as u64, false)?;
    // The line says that all threads run; after the end of its input the program ends.
    let output = program.stdout.take().map(|output| BufReader::new(output).read_line(&mut String::new()));
    // Until then its first thread is on its way to wait for its input.
    let settled = |state: &State| state.shows(program.id(), threads);
    let state = output.filter(|read| matches!(read, Ok(1))).and_then(|_| {
        loop {
            match State::now() {
                Some(state) if !settled(&state) => thread::yield_now(),
                state => break state,
            }
        }
    });
    drop(program.stdin.take());
    let status = program.wait().map_err(|error| error.to_string())?;
    state.filter(|_| status.success()).ok_or_else(|| format!("the part {SPIN} of the tour failed: {status}"))
}

/// A factor as the table shows it.
fn shown(factor: Option<f64>) -> String {
    match factor {
        Some(factor) if factor < 1.0 => format!("{:.2} times as long", 1.0 / factor),
        Some(factor) => format!("{factor:.2} times as fast"),
        None => "?".to_owned(),
    }
}

/// How the CPUs are named that run application threads.
pub(super) fn named(processors: usize) -> String {
    if processors == 1 { "CPU 1".to_owned() } else { format!("CPUs 1 to {processors}") }
}

/// The scene.
pub(super) fn scene() -> Result<(), String> {
    let Some(before) = State::now() else {
        say(
            "There is another way to take the uniprocessor kernel to several CPUs: it runs on one of them, unchanged, and \
             each other CPU runs a small kernel of its own for programs alone. `cargo xtask run --strategy application \
             --smp 4` gives this tour on it, with a chapter here that shows it at work.",
        );
        return Ok(());
    };
    let processors = before.processors();
    let threads = processors.min(SHOWN as usize);
    let more = if threads == 1 { "one".to_owned() } else { threads.to_string() };
    say(&format!(
        "The kernel that the tour has shown runs on CPU 0 alone. An extension of it, the application kernel, runs programs, \
         and nothing else, on {}. A program that calls the kernel there leaves a message, and a thread on CPU 0, its \
         bootstrap thread, makes the call for it. What is at work is in `{STATE}`, for example while a program computes \
         with {more} more than its first thread:",
        named(processors),
    ));
    println!();
    at_work(threads)?.present().for_each(|line| println!("    {line}"));
    println!();
    say("Its first thread is blocked: it waits for input, and that is the message which has no answer yet. The tour \
         itself is not there. It stays on CPU 0, because it was started with `NOAPPKERN=1`; so does a program that you \
         start so in a shell.");
    println!();
    let computing = pairs(COMPUTE, threads as u64)?;
    let between = State::now().unwrap_or(before);
    let calling = pairs(CALL, CALLS)?;
    let after = State::now().ok_or("the application kernel has gone")?;
    let (computing, calling) = (Gain::of(threads, 1, computing), Gain::of(1, 1, calling));
    let [alone, spread] = computing.least;
    let [direct, forwarded] = calling.least.map(|all| all / CALLS as u32);
    say("Two programs, each with `NOAPPKERN=1` and without:");
    table(&[
        row(&[&"what the program does", &"CPU 0", &named(processors), &"beside CPU 0"]),
        row(&[&format!("computes, threads: {threads}"), &time(alone), &time(spread), &shown(computing.factor)]),
        row(&[&"calls `getppid`, each time", &time(direct), &time(forwarded), &shown(calling.factor)]),
    ]);
    if computing.factor.is_none() || calling.factor.is_none() {
        say(&format!(
            "The question mark is a factor that cannot be said on this machine: {PAIRS} pairs of runs do not agree, as is \
             usual where instructions are translated."
        ));
    }
    say(&format!(
        "Threads that compute have a CPU each and do not come to CPU 0. A call has to, there and back, so a program that \
         only calls is better off on CPU 0. `{STATE}` counts what is forwarded: in {PAIRS} runs without `NOAPPKERN=1` it \
         was {} times getppid.",
        number(after.forwarded("call getppid") - between.forwarded("call getppid")),
    ));
    Ok(())
}
