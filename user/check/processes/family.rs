//! Several processes in one container: shared data, and for each process its own pid, queue and stack.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/boot/statistics.rs`, `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use native::calls::{self, Errno, NORMAL_PRIORITY, SAME_CONTAINER};
use native::{FOREVER, Status, println, system};

native::entry!(main);

const MEMBERS: u64 = 3;

/// What the members add up; all of them find the same word here.
static SUM: AtomicU64 = AtomicU64::new(0);

/// The head's pid, for the members.
static HEAD: AtomicU64 = AtomicU64::new(0);

/// Where each member's stack is.
static STACKS: [AtomicU64; MEMBERS as usize + 1] = [const { AtomicU64::new(0) }; MEMBERS as usize + 1];

/// Argument 0: the head of the family; otherwise: which member this is.
fn main(argument: u64) -> i32 {
    STACKS[argument as usize].store((&raw const argument).addr() as u64, SeqCst);
    if argument != 0 {
        return member(argument);
    }
    HEAD.store(system::pid() as u64, SeqCst);
    let before = calls::container(0).expect("a container has a usage");
    assert_eq!((before.processes, before.threads), (1, 1), "processes and threads at the start");

    let pids: [i32; MEMBERS as usize] = core::array::from_fn(|index| {
        calls::start("family", index as u64 + 1, NORMAL_PRIORITY, SAME_CONTAINER).expect("a member can start")
    });
    let me = system::pid();
    let mut buffer = [0; 8];
    for _ in 0..MEMBERS {
        let (sender, _) = calls::receive(&mut buffer, FOREVER).expect("a member reports");
        assert!(pids.contains(&sender) && sender != me, "a member's pid is its own");
    }
    let during = calls::container(0).expect("a container has a usage");
    assert_eq!((during.processes, during.threads), (1 + MEMBERS, 1 + MEMBERS), "processes and threads");
    // And each further CPU that has run it a copy.
    let most = calls::statistic("cpus").min(1 + MEMBERS);
    assert!((1..=most).contains(&during.directories), "directories on {most} CPUs at most: {during:?}");
    for pid in pids {
        // Of which the number of directories may have grown: the head has come to another CPU.
        let usage = calls::container(pid).map(|usage| (usage.processes, usage.threads));
        assert_eq!(usage, Ok((during.processes, during.threads)), "one container");
    }
    // Only now: on another CPU a member ends while this one goes on.
    for pid in pids {
        calls::send(pid, b"end").expect("a member has room");
    }
    for (index, pid) in pids.into_iter().enumerate() {
        assert_eq!(calls::wait(pid, FOREVER), Ok(Status::Exited(index as u8 + 1)), "member {}", index + 1);
    }
    let after = calls::container(0).expect("a container has a usage");
    assert_eq!((after.processes, after.threads), (1, 1), "processes and threads at the end");
    assert_eq!(SUM.load(SeqCst), 1 + 2 + 3, "the shared sum");
    for (index, stack) in STACKS.iter().enumerate() {
        let others = STACKS.iter().enumerate().filter(|(other, _)| *other != index);
        assert!(
            others.into_iter().all(|(_, other)| other.load(SeqCst).abs_diff(stack.load(SeqCst)) > 4096),
            "stacks are apart"
        );
    }
    assert_eq!(
        calls::start("hello", 0, NORMAL_PRIORITY, SAME_CONTAINER),
        Err(Errno::EINVAL),
        "another package's data would lie over ours"
    );
    println!("ok family: {} processes shared a container", 1 + MEMBERS);
    0
}

/// Adds its number, reports to the head and waits for the word to end.
fn member(number: u64) -> i32 {
    SUM.fetch_add(number, SeqCst);
    let head = HEAD.load(SeqCst) as i32;
    calls::send(head, &[number as u8]).expect("the head has room");
    let mut buffer = [0; 8];
    assert_eq!(calls::receive(&mut buffer, FOREVER), Ok((head, &b"end"[..])), "the word to end");
    assert_eq!(calls::set_priority(head, NORMAL_PRIORITY), Err(Errno::ESRCH), "another process's thread");
    number as i32
}
