//! `/proc/apkern`: the processors, the queue, the threads, and what has been forwarded.
//!
//! ```text
//! ready 0
//! messages 1
//! cpu 1 thread 4
//! cpu 2 idle
//! thread 4 process 7 tid 7 running 1
//! thread 5 process 8 tid 8 blocked
//! call read 12
//! exception 14 311
//! ```
//!
//! The text is written in portions, so that they may be of different moments. A position counts lines that there could
//! be: one for each processor, one for the queues, one for each thread and each counter.

use super::cpu;
use super::thread::{self, Block, MOST, SCHEDULER};
use abi::extension::LAST;
use application::counts::{self, SLOTS, What};
use application::scheduler::{Number, Place};
use core::sync::atomic::Ordering::Relaxed;
use cpulocal::MAX_CPUS;
use extension::Portion;
use syscalls::Sysno;

/// The positions at which threads and counters begin, and the end.
const THREADS: u64 = MAX_CPUS as u64;
const COUNTS: u64 = THREADS + MOST as u64;
const END: u64 = COUNTS + SLOTS as u64;

/// Writes a portion from a position on; the position of the next one.
pub fn write(mut position: u64, portion: &mut Portion) -> u64 {
    let running = if position < THREADS { running() } else { [None; MAX_CPUS] };
    while position < END {
        let fits = match position {
            // The boot CPU's place is the queues'.
            0 => portion.add(format_args!("ready {}\nmessages {}\n", SCHEDULER.ready(), messages())),
            1..THREADS => processor(position as u8, running[position as usize], portion),
            THREADS..COUNTS => thread::find((position - THREADS) as Number).is_none_or(|block| line(block, portion)),
            _ => counter((position - COUNTS) as usize, portion),
        };
        if !fits {
            return position;
        }
        position += 1;
    }
    LAST
}

/// How many messages have not been answered.
fn messages() -> usize {
    (0..MOST as Number).filter_map(thread::find).filter(|block| block.has_message.load(Relaxed)).count()
}

/// The thread that each processor runs.
fn running() -> [Option<Number>; MAX_CPUS] {
    let mut running = [None; MAX_CPUS];
    for block in (0..MOST as Number).filter_map(thread::find) {
        if let Place::Running(cpu) = SCHEDULER.place(block.number) {
            running[usize::from(cpu)] = Some(block.number);
        }
    }
    running
}

fn processor(number: u8, runs: Option<Number>, portion: &mut Portion) -> bool {
    match (cpu::find(number), runs) {
        (None, _) => true,
        (_, Some(thread)) => portion.add(format_args!("cpu {number} thread {thread}\n")),
        (_, None) => portion.add(format_args!("cpu {number} idle\n")),
    }
}

fn line(block: &Block, portion: &mut Portion) -> bool {
    let Block { number, process, thread, .. } = block;
    let mut add = |place| portion.add(format_args!("thread {number} process {process} tid {thread} {place}\n"));
    match SCHEDULER.place(*number) {
        Place::Running(cpu) => add(format_args!("running {cpu}")),
        Place::Ready => add(format_args!("ready")),
        Place::Blocked | Place::Free if block.away.get().is_some() => add(format_args!("away")),
        Place::Blocked | Place::Free => add(format_args!("blocked")),
    }
}

fn counter(slot: usize, portion: &mut Portion) -> bool {
    let count: u64 = cpu::all().map(|cpu| cpu.counts.get(slot)).sum();
    match counts::what(slot) {
        _ if count == 0 => true,
        What::Exception(vector) => portion.add(format_args!("exception {vector} {count}\n")),
        What::OtherCalls => portion.add(format_args!("call other {count}\n")),
        What::Call(number) => match Sysno::new(number as usize) {
            Some(call) => portion.add(format_args!("call {} {count}\n", call.name())),
            None => portion.add(format_args!("call {number} {count}\n")),
        },
    }
}
