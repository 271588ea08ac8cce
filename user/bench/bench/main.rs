//! What single operations cost: `bench [--rounds N] NAME...`, the same program on Jotun and on Linux.
//!
//! The program makes each operation many times between two readings of the time-stamp counter, in several rounds. A
//! line `figure NAME MEDIAN LEAST MOST` tells the ticks of one operation, in hundredths. If an operation fails, a
//! line `failed NAME: WHY` says so, and the program goes on with the next. On Bochs a tick is an instruction.
//! `compute-N` is the whole work of N threads at once.
//!
//! `bench --stop NAME` makes one operation after a few others and stops Bochs' machine before and after it, so that
//! every instruction between can be listed.
//!
//! Run by: `tests/tests/boot/bench.rs`, `xtask/src/bench/micro.rs`.

mod calls;
mod memory;
mod processes;
mod threads;

use std::arch::{asm, x86_64::_rdtsc};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What one operation came to: ticks for this number of them, or why it cannot be done.
type Ticks = Result<u64, String>;

/// An operation: its name, how many are made in a round, and what makes them.
type Operation = (&'static str, u64, fn(u64) -> Ticks);

const OPERATIONS: [Operation; 17] = [
    ("null", 2000, calls::null),
    ("getppid", 2000, calls::getppid),
    ("open", 200, calls::open),
    ("magic", 200, calls::magic),
    ("read", 200, calls::read),
    ("write", 200, calls::write),
    ("signal", 200, calls::signal),
    ("map", 200, memory::map),
    ("clear", 20, memory::clear),
    ("futex", 200, threads::futex),
    ("pipe", 200, threads::pipe),
    ("pipe-2", 200, threads::pipe_on_two),
    ("thread", 20, threads::create_and_join),
    ("fork", 20, processes::fork),
    ("vfork", 20, processes::vfork),
    ("exec", 10, processes::exec),
    ("pipe-fork", 100, processes::pipe),
];

/// Rounds unless the program is told otherwise.
const ROUNDS: u64 = 5;

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    // What `exec` makes of its child: as little as a program can be.
    if words.first().is_some_and(|word| word == processes::END) {
        return;
    }
    if let [option, name] = &words[..]
        && option == "--stop"
    {
        let operation = OPERATIONS.iter().find(|(known, ..)| known == name);
        let done = operation.ok_or("no such operation".to_owned()).and_then(|(_, count, run)| {
            run(*count)?;
            STOPS.store(true, Relaxed);
            run(1)
        });
        done.map(drop).unwrap_or_else(|why| println!("failed {name}: {why}"));
        return;
    }
    let mut rounds = ROUNDS;
    if words.first().is_some_and(|word| word == "--rounds") && words.len() > 1 {
        rounds = words[1].parse().ok().filter(|rounds| *rounds > 0).unwrap_or(ROUNDS);
        words.drain(..2);
    }
    for name in &words {
        let operation = OPERATIONS.iter().find(|(known, ..)| known == name);
        let figure = match (operation, name.strip_prefix("compute-").and_then(|threads| threads.parse().ok())) {
            (Some((_, count, run)), _) => measure(rounds, *count, *run),
            (None, Some(threads)) => measure(1, 1, |_| threads::compute(threads)),
            (None, None) => Err("no such operation".to_owned()),
        };
        match figure {
            Ok([median, least, most]) => println!("figure {name} {median} {least} {most}"),
            Err(why) => println!("failed {name}: {why}"),
        }
    }
}

/// Median, least and most ticks of one operation, in hundredths.
fn measure(rounds: u64, count: u64, run: impl Fn(u64) -> Ticks) -> Result<[u64; 3], String> {
    // What happens at first only.
    run(count.div_ceil(10))?;
    let mut each = Vec::new();
    for _ in 0..rounds {
        each.push(run(count)? * 100 / count);
    }
    each.sort_unstable();
    Ok([each[each.len() / 2], each[0], each[each.len() - 1]])
}

/// The time-stamp counter.
fn now() -> u64 {
    // SAFETY: every 64-bit CPU has it, and the kernel lets programs read it.
    unsafe { _rdtsc() }
}

/// Whether Bochs' machine is to stop before and after what is timed.
static STOPS: AtomicBool = AtomicBool::new(false);

/// Stops the machine, if it takes notice.
fn stop() {
    // SAFETY: the instruction exchanges a register with itself.
    unsafe { asm!("xchg bx, bx", options(nostack, nomem, preserves_flags)) };
}

/// Ticks that something takes that may fail.
fn timed(work: impl FnOnce() -> Result<(), i32>) -> Ticks {
    let stops = STOPS.load(Relaxed);
    if stops {
        stop();
    }
    let before = now();
    let done = work();
    let ticks = now() - before;
    if stops {
        stop();
    }
    done.map(|()| ticks).map_err(errno)
}

/// An error number in words.
fn errno(number: i32) -> String {
    std::io::Error::from_raw_os_error(number).to_string()
}
