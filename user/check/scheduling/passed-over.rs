//! Two threads compute on one CPU, one of them with the highest priority: the other one gets a share of the CPU all
//! the same.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

use abi::native::{NORMAL_PRIORITY, PRIORITY};
use libc::{CLOCK_THREAD_CPUTIME_ID, SYS_clock_gettime, timespec};
use programs::{cpus, sys};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// The time that the other thread is to have, in nanoseconds: some slices.
const WANTED: u64 = 50_000_000;

fn main() {
    let own = AtomicU64::new(0);
    let cpu = cpus::allowed()[0];
    cpus::stay_on(cpu);
    thread::scope(|scope| {
        // It is new, and waits for this CPU: the other thread goes on.
        scope.spawn(|| {
            while own.load(Relaxed) < WANTED {
                own.store(time(), Relaxed);
            }
        });
        assert_eq!(sys!(PRIORITY, 0, 0), Ok(NORMAL_PRIORITY), "the best priority");
        let begin = time();
        while own.load(Relaxed) < WANTED {
            std::hint::spin_loop();
        }
        let best = time() - begin;
        // A share is no more than that: the first slice comes after many of the more urgent thread's.
        assert!(best > WANTED, "{best} ns for the more urgent thread, {WANTED} for the other");
        println!("ok passed-over");
    });
}

/// How long this thread has had a CPU, in nanoseconds.
fn time() -> u64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(sys!(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &mut time), Ok(0));
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
