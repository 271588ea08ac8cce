//! The benchmark of papers/001, section 4: two processes, each a loop in user mode with a system call every so often.
//! The argument says what each process does, in the form that `worker` takes; with 0 they show all that there is to
//! see within a second.
//!
//! Run by: `tests/tests/boot/bench.rs`, `tests/tests/boot/profile.rs`, `xtask/src/bench/guide.rs`.
#![no_std]
#![no_main]

use native::calls::{self, FOREVER, NORMAL_PRIORITY, Status};
use native::println;

native::entry!(main);

/// Processes.
const PROCESSES: usize = 2;

/// 2,000 calls of 4,000 instructions, 7,000 rounds of the loop between two.
const ORDER: u64 = 4_000 << 40 | (2_000 / 16) << 24 | (7_000 / 16);

fn main(argument: u64) -> i32 {
    let order = if argument == 0 { ORDER } else { argument };
    let started: [i32; PROCESSES] =
        core::array::from_fn(|_| calls::start("worker", order, NORMAL_PRIORITY, 0).expect("a worker can start"));
    for worker in started {
        assert_eq!(calls::wait(worker, FOREVER), Ok(Status::Exited(0)), "how a worker ended");
    }
    println!("ok two-processes");
    0
}
