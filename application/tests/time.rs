//! The time for which a thread has been on CPUs.
#![cfg(not(loom))]

use application::time::Time;
use std::cell::Cell;

#[test]
fn it_passes_while_the_thread_runs() {
    let time = Time::new();
    assert_eq!(time.until(|| panic!("the clock does not matter")), 0);
    for round in 0..3 {
        let start = 1_000 + round * 10_000;
        time.begin(start);
        assert_eq!([0, 1, 250].map(|later| time.until(|| start + later)), [0, 1, 250].map(|later| round * 300 + later));
        time.end(start + 300);
        assert_eq!(time.until(|| u64::MAX), (round + 1) * 300);
    }
}

/// The reader does not count what comes after the thread's end on the CPU.
#[test]
fn a_thread_leaves_between_the_looks_at_word_and_clock() {
    let time = Time::new();
    time.begin(100);
    let looks = Cell::new(0);
    let clock = || {
        looks.set(looks.get() + 1);
        time.end(150);
        1_000
    };
    assert_eq!((time.until(clock), looks.get()), (50, 1));
}
