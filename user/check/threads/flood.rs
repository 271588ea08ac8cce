//! As many threads as the kernel allows, in one process, while another process does its work.
//!
//! These threads have no stacks and wait in a system call, so they need no memory of their own. When the kernel
//! refuses a thread with EAGAIN the process ends with all its threads. The other process must not have been
//! disturbed, and all that was held is free again.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use abi::native as numbers;
use core::arch::naked_asm;
use native::calls::{self, Errno, NORMAL_PRIORITY};
use native::{FOREVER, Status, println, system};

native::entry!(main);

/// What must be the same before and after.
const KEPT: [&str; 5] =
    ["containers_live", "processes_live", "threads_live", "container_directories_live", "directory_copies_live"];

/// Floods, one after the other: the second needs nothing that the first has not given back.
const FLOODS: usize = 2;

/// Argument 0: the head. Otherwise: the head's pid, and with [`FLOOD`] the flood.
const FLOOD: u64 = 1 << 32;

fn main(argument: u64) -> i32 {
    match argument {
        0 => head(),
        _ if argument & FLOOD != 0 => flood(argument as i32),
        _ => steady(argument as i32),
    }
}

fn head() -> i32 {
    let me = system::pid() as u64;
    let other = calls::start("flood", me, NORMAL_PRIORITY, 0).expect("a process can start");
    let mut asked = 0;
    ask(other, &mut asked);
    let before = KEPT.map(calls::statistic);
    let mut counts = [0; FLOODS];
    for count in &mut counts {
        let made = calls::statistic("threads_made");
        let flood = calls::start("flood", me | FLOOD, NORMAL_PRIORITY, 0).expect("a process can start");
        // All the while the other process answers.
        let status = loop {
            ask(other, &mut asked);
            match calls::wait(flood, 1) {
                Err(Errno::ETIMEDOUT) => {}
                status => break status,
            }
        };
        assert_eq!(status, Ok(Status::Exited(42)), "how the flood ended");
        // All but its main thread.
        *count = calls::statistic("threads_made") - made - 1;
        assert!(*count >= 1000, "{count} threads are no flood");
    }
    assert_eq!(KEPT.map(calls::statistic), before, "what is the same before and after");
    assert_eq!(counts[0], counts[1], "as many the second time");
    calls::send(other, &[]).expect("it has room");
    assert_eq!(calls::wait(other, FOREVER), Ok(Status::Exited(7)), "how the other process ended");
    println!("ok flood: {} threads and then EAGAIN, {asked} questions answered meanwhile", counts[0]);
    0
}

/// Asks the other process for a number's successor.
fn ask(other: i32, number: &mut u64) {
    calls::send(other, &number.to_le_bytes()).expect("it has room");
    let mut buffer = [0; 8];
    let answer = calls::receive(&mut buffer, FOREVER);
    assert_eq!(answer, Ok((other, &(*number + 1).to_le_bytes()[..])), "the answer to {number}");
    *number += 1;
}

/// Answers each number with the next one until an empty message comes.
fn steady(head: i32) -> i32 {
    let mut buffer = [0; 8];
    loop {
        let (_, message) = calls::receive(&mut buffer, FOREVER).expect("a message");
        let Ok(number) = message.try_into().map(u64::from_le_bytes) else { return 7 };
        calls::send(head, &(number + 1).to_le_bytes()).expect("the head has room");
    }
}

/// Starts threads until the kernel refuses.
fn flood(_: i32) -> i32 {
    let entry: extern "C" fn() -> ! = wait;
    loop {
        // SAFETY: the thread needs no stack, and it touches no memory.
        let result = unsafe { system::call(numbers::THREAD, [entry as usize as u64, 0, 0, NORMAL_PRIORITY, 0, 0]) };
        match Errno::check(result) {
            Ok(_) => {}
            Err(Errno::EAGAIN) => return 42,
            Err(error) => panic!("{error:?} is not the reason to refuse a thread"),
        }
    }
}

/// Receives for ever; no message is sent.
#[unsafe(naked)]
extern "C" fn wait() -> ! {
    naked_asm!(
        "2:",
        "xor edi, edi",
        "xor esi, esi",
        "xor edx, edx",
        "mov r10, -1",
        "mov eax, {receive}",
        "syscall",
        "jmp 2b",
        receive = const numbers::RECEIVE,
    )
}
