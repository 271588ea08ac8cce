//! What native operations cost, in ticks of the time-stamp counter: on Bochs, in instructions.
//!
//! It prints lines as the program `bench` does: `figure NAME MEDIAN LEAST MOST`, in hundredths of a tick.
//!
//! Run by: `xtask/src/bench/micro.rs`.
#![no_std]
#![no_main]

use native::calls::{self, FOREVER, NORMAL_PRIORITY, Status};
use native::time::cycles;
use native::{println, system};

native::entry!(main);

/// Rounds of which the median is taken.
const ROUNDS: usize = 5;

/// Operations in a round.
const COUNT: u64 = 100;

/// What a process started here does: its argument's upper half. The lower one is the starter.
mod role {
    /// Ends at once.
    pub(super) const END: u64 = 1;
    /// Answers messages until an empty one comes.
    pub(super) const ANSWER: u64 = 2;
    /// Gives the CPU up until the starter says that it is enough, by a message.
    pub(super) const YIELD: u64 = 3;
}

fn main(argument: u64) -> i32 {
    let starter = argument as u32 as i32;
    match argument >> 32 {
        role::END => {}
        role::ANSWER => answer(starter),
        role::YIELD => give_way(),
        _ => measure(),
    }
    0
}

fn measure() {
    // A process that is started here runs here.
    system::set_affinity(0, 1 << system::cpu()).expect("the CPU it is on");
    figure("start", || {
        for _ in 0..COUNT {
            wait(start(role::END));
        }
    });
    let peer = start(role::ANSWER);
    figure("message", || {
        let mut buffer = [0; 8];
        for _ in 0..COUNT {
            calls::send(peer, &[1; 8]).expect("the peer has room");
            calls::receive(&mut buffer, FOREVER).expect("an answer");
        }
    });
    calls::send(peer, &[]).expect("the peer has room");
    wait(peer);
    let alone = median(|| yields(COUNT));
    let peer = start(role::YIELD);
    let together = median(|| yields(COUNT));
    calls::send(peer, &[]).expect("the peer has room");
    wait(peer);
    // Each turn of ours is one of the other's as well: two switches.
    tell("switch", together.map(|ticks| ticks / 2));
    tell("yield", alone);
}

fn start(role: u64) -> i32 {
    calls::start("bench-native", role << 32 | system::pid() as u64, NORMAL_PRIORITY, 0).expect("it can start itself")
}

fn wait(pid: i32) {
    assert_eq!(calls::wait(pid, FOREVER), Ok(Status::Exited(0)), "how a process ended");
}

fn answer(to: i32) {
    let mut buffer = [0; 8];
    while let Ok((_, [_, ..])) = calls::receive(&mut buffer, FOREVER) {
        calls::send(to, &[2; 8]).expect("the starter has room");
    }
}

fn give_way() {
    let mut buffer = [0; 8];
    loop {
        // As many as fit a round: the question whether it is enough is then a small part of what is measured.
        yields(10 * COUNT);
        if calls::receive(&mut buffer, calls::POLL).is_ok() {
            break;
        }
    }
}

fn yields(count: u64) {
    (0..count).for_each(|_| system::yield_now());
}

/// Measures [`COUNT`] operations, `ROUNDS` times, and tells the ticks of one.
fn figure(name: &str, work: impl Fn()) {
    tell(name, median(work));
}

/// Median, least and most ticks of one operation in hundredths.
fn median(work: impl Fn()) -> [u64; 3] {
    work();
    let mut each = [0; ROUNDS].map(|_: u64| {
        let before = cycles();
        work();
        (cycles() - before) * 100 / COUNT
    });
    each.sort_unstable();
    [each[ROUNDS / 2], each[0], each[ROUNDS - 1]]
}

fn tell(name: &str, [median, least, most]: [u64; 3]) {
    println!("figure {name} {median} {least} {most}");
}
