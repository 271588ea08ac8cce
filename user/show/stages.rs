//! A process that becomes multithreaded step by step, for the tour: each message is a number that says what to do
//! next, and so is its answer.
//!
//! Run by: `user/show/tour/several.rs`.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use native::calls::{self, NORMAL_PRIORITY};
use native::far::FarPage;
use native::thread::{Thread, spawn};
use native::{FOREVER, system};

native::entry!(main);

/// What it is told.
mod order {
    /// To start a second thread on this CPU. Answer: the CPU.
    pub(super) const THREAD: u64 = 1;
    /// To move that thread to another CPU. Answer: that CPU, or this one if there is no other.
    pub(super) const MOVE: u64 = 2;
    /// To touch a new page far away, here and then in the second thread. Answer: its address. Once.
    pub(super) const TOUCH: u64 = 3;
}

/// What the second thread is to do next: counts up.
static STEP: AtomicU32 = AtomicU32::new(0);
/// The last step it has done.
static DONE: AtomicU32 = AtomicU32::new(0);
/// The CPU that it was on then.
static PLACE: AtomicU32 = AtomicU32::new(0);
/// Whether it is to touch the page.
static TOUCH: AtomicBool = AtomicBool::new(false);

/// In a top-level slot where nothing else is.
static PAGE: FarPage = FarPage::at(0x2000_0000_0000);

fn main(starter: u64) -> i32 {
    let starter = starter as i32;
    let all = system::affinity(0).expect("a thread has a mask");
    let here = system::cpu();
    system::set_affinity(0, 1 << here).expect("the CPU it is on");
    let mut second: Option<Thread> = None;
    let mut buffer = [0; 8];
    loop {
        let (_, message) = calls::receive(&mut buffer, FOREVER).expect("a message");
        let Ok(told) = message.try_into().map(u64::from_le_bytes) else { break };
        let answer = match (told, &second) {
            (order::THREAD, None) => {
                second = Some(spawn(follow, 0, NORMAL_PRIORITY).expect("a thread can start"));
                step().into()
            }
            (order::MOVE, Some(thread)) => {
                let others = all & !(1 << here);
                let there = if others == 0 { 1 << here } else { 1 << others.trailing_zeros() };
                system::set_affinity(thread.tid, there).expect("a CPU that is there");
                step().into()
            }
            (order::TOUCH, Some(_)) => {
                PAGE.map().expect("memory can be mapped");
                PAGE.word(0).store(1, SeqCst);
                TOUCH.store(true, SeqCst);
                step();
                assert_eq!(PAGE.word(0).load(SeqCst), 2, "the second thread has touched the page");
                PAGE.address()
            }
            _ => u64::MAX,
        };
        calls::send(starter, &answer.to_le_bytes()).expect("the starter has room");
    }
    0
}

/// Has the second thread do a step; the CPU it did it on.
fn step() -> u32 {
    let step = STEP.fetch_add(1, SeqCst) + 1;
    system::wake(&STEP);
    loop {
        let done = DONE.load(SeqCst);
        if done == step {
            return PLACE.load(SeqCst);
        }
        system::wait(&DONE, done);
    }
}

/// The second thread.
fn follow(_: u64) {
    for step in 1.. {
        while STEP.load(SeqCst) < step {
            system::wait(&STEP, step - 1);
        }
        if TOUCH.swap(false, SeqCst) {
            PAGE.word(0).fetch_add(1, SeqCst);
        }
        PLACE.store(system::cpu(), SeqCst);
        DONE.store(step, SeqCst);
        system::wake(&DONE);
    }
}
