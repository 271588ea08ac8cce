//! Programs of several threads or processes, after papers/000 table I: `teams [bound] [NAME[=SIZE]]...`, the same
//! program on Jotun and on Linux.
//!
//! `radix`, `fft` and `lu` are written anew after the descriptions of SPLASH-2's (S. C. Woo and others, ISCA 1995):
//! each has eight threads and barriers between its steps, and checks what it has computed. SIZE is the number of
//! keys, points or rows. The kernel places the threads; with `bound` each is bound to a CPU in turn, which threads
//! need that stay on the CPU they started on. `mix` is several programs at once, `alone` the same programs one after
//! the other, `single` programs of one thread in the
//! same way, one of which is this one with `compile SOURCE CODE`. `barrier`, `gathered`, `pool`, `jobs` and `sleepers` are SIZE threads or processes that wait before
//! they work; a line `cpus NAME N` tells on how many CPUs they worked.
//!
//! A line `figure NAME TICKS TICKS TICKS` tells in hundredths of a tick how long a program took, including the making
//! of its data, and `figure NAME-threads …` the part of it in which the threads work; `failed NAME: WHY` that it did
//! not work or computed something wrong.
//!
//! Run by: `tests/tests/boot/application.rs`, `tests/tests/smp.rs`, `xtask/src/bench/teams.rs`,
//! `xtask/src/bench/application/single.rs`.

mod compiler;
mod fft;
mod lu;
mod mix;
mod pools;
mod radix;
mod shared;
mod single;

use programs::cpus;
use std::arch::x86_64::_rdtsc;
use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

/// Threads of each program, as in the paper.
const THREADS: usize = 8;

/// How long a program took.
struct Ticks {
    /// All of it, but for the check of what it has computed.
    whole: u64,
    /// From the moment when the threads are there to the end of the last.
    threads: u64,
}

/// A program: its name, its size unless told otherwise, and what runs it.
type Program = (&'static str, usize, fn(usize) -> Result<Ticks, String>);

const PROGRAMS: [Program; 3] = [("radix", 1 << 19, radix::run), ("fft", 1 << 16, fft::run), ("lu", 384, lu::run)];

/// Whether each thread of a team is bound to a CPU.
static BOUND: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [compile, source, to] = &words[..]
        && compile == single::COMPILE
    {
        return compiler::compile(source, to).map_or_else(
            |why| {
                eprintln!("teams: {why}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    let mut code = ExitCode::SUCCESS;
    for word in words {
        if word == "bound" {
            BOUND.store(true, Relaxed);
            continue;
        }
        let (name, size) = word.split_once('=').map_or((&*word, None), |(name, size)| (name, Some(size)));
        if let Err(why) = one(name, size) {
            println!("failed {name}: {why}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn one(name: &str, size: Option<&str>) -> Result<(), String> {
    let size = size.map(|size| size.parse().map_err(|_| format!("`{size}` is no size"))).transpose()?;
    if let Some((_, usual, run)) = PROGRAMS.iter().find(|(known, ..)| *known == name) {
        let ticks = run(size.unwrap_or(*usual))?;
        tell(name, ticks.whole);
        tell(&format!("{name}-threads"), ticks.threads);
        return Ok(());
    }
    match name {
        "mix" => mix::at_once(size.unwrap_or(mix::SIZE)),
        "alone" => mix::alone(size.unwrap_or(mix::SIZE)),
        "single" => single::run(size.unwrap_or(mix::SIZE)),
        _ => pools::run(name, size.unwrap_or(THREADS)),
    }
}

/// Tells a figure.
fn tell(name: &str, ticks: u64) {
    let hundredths = ticks * 100;
    println!("figure {name} {hundredths} {hundredths} {hundredths}");
}

/// The time-stamp counter.
fn now() -> u64 {
    // SAFETY: every 64-bit CPU has it, and the kernel lets programs read it.
    unsafe { _rdtsc() }
}

/// Runs `work` on all threads at once, each with its number and the barrier at which they meet; ticks from the moment
/// when all are there to the end of the last.
fn team(work: impl Fn(usize, &Barrier) + Sync) -> u64 {
    let (barrier, allowed) = (Barrier::new(THREADS), cpus::allowed());
    let member = |number: usize| {
        if BOUND.load(Relaxed) {
            cpus::stay_on(allowed[number % allowed.len()]);
        }
        barrier.wait();
        let begin = now();
        work(number, &barrier);
        (begin, now())
    };
    let times: Vec<(u64, u64)> = thread::scope(|scope| {
        let members: Vec<_> = (0..THREADS)
            .map(|number| {
                let member = &member;
                scope.spawn(move || member(number))
            })
            .collect();
        members.into_iter().map(|member| member.join().expect("a thread ends")).collect()
    });
    let begin = times.iter().map(|(begin, _)| *begin).min().unwrap_or(0);
    times.iter().map(|(_, end)| *end).max().unwrap_or(0) - begin
}

/// The part of `all` things that the thread of this number works on.
fn part(all: usize, number: usize) -> std::ops::Range<usize> {
    all * number / THREADS..all * (number + 1) / THREADS
}

/// Whether a number is as near to another as the bound says; what is no number is near to none.
fn near(number: f64, other: f64, bound: f64) -> bool {
    (number - other).abs() <= bound
}
