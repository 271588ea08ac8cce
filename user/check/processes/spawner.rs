//! Starts and ends many processes, and checks that all they held is free again.
//!
//! Run by: `tests/tests/boot/bochs.rs`, `tests/tests/boot/programs.rs`, `tests/tests/boot/statistics.rs`,
//! `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use native::calls::{self, Errno, NORMAL_PRIORITY};
use native::time::cycles;
use native::{FOREVER, Status, println};

native::entry!(main);

/// Argument of the processes started here.
const SHORT: u64 = u64::MAX;

/// Processes when the argument names no number.
const MANY: u64 = 1000;

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
    if argument == SHORT {
        return 42;
    }
    let many = if argument == 0 { MANY } else { argument };
    // The first rounds fill the kernel's caches, and so does the first look.
    run(32);
    for name in KEPT {
        calls::statistic(name);
    }
    let before = KEPT.map(calls::statistic);
    let made = calls::statistic("containers_made");
    let start = cycles();
    run(many);
    let each = (cycles() - start) / many;
    let after = KEPT.map(calls::statistic);
    for ((name, before), after) in KEPT.into_iter().zip(before).zip(after) {
        println!("{name:28} before {before:8} after {after:8}");
    }
    assert_eq!(before, after, "what is the same before and after");
    assert_eq!(calls::statistic("containers_made") - made, many, "containers made");
    assert_eq!(
        calls::start("no-such-package", 0, NORMAL_PRIORITY, 0),
        Err(Errno::ENOENT),
        "a package that is not there"
    );
    println!("ok spawner: {many} processes made and ended, {each} cycles each");
    0
}

fn run(count: u64) {
    for _ in 0..count {
        let pid = calls::start("spawner", SHORT, NORMAL_PRIORITY, 0).expect("a process can start");
        assert_eq!(calls::wait(pid, FOREVER), Ok(Status::Exited(42)), "how it ended");
    }
}
