//! Messages between processes: order, the full queue, time-outs, wrong receivers, and a thousand there and back.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/boot/statistics.rs`, `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use abi::native::{MESSAGE_MAX, QUEUE_MAX};
use native::calls::{self, Errno, NORMAL_PRIORITY};
use native::time::{MILLISECOND, cycles, nanoseconds};
use native::{FOREVER, POLL, Status, println, system};

native::entry!(main);

const ROUNDS: u64 = 1000;

/// Argument 0: the checks; otherwise: the pid of the process whose numbers to answer.
fn main(argument: u64) -> i32 {
    if argument != 0 {
        return answer(argument as i32);
    }
    empty_queue();
    own_queue();
    wrong_messages();
    ping_pong();
    println!("ok messages: bounded queues, time-outs, {ROUNDS} rounds of ping-pong");
    0
}

fn empty_queue() {
    let mut buffer = [0; 8];
    assert_eq!(calls::receive(&mut buffer, POLL), Err(Errno::EAGAIN), "nothing there");
    let before = nanoseconds();
    assert_eq!(calls::receive(&mut buffer, 20 * MILLISECOND), Err(Errno::ETIMEDOUT), "nothing comes");
    let waited = nanoseconds() - before;
    assert!(waited >= 20 * MILLISECOND, "it waited {waited} ns of 20 ms");
}

/// A process may send to itself, which shows the bound without a race.
fn own_queue() {
    let me = system::pid();
    for number in 0..QUEUE_MAX as u8 {
        assert_eq!(calls::send(me, &[number]), Ok(()), "message {number}");
    }
    assert_eq!(calls::send(me, &[99]), Err(Errno::EAGAIN), "the queue is full");
    let mut buffer = [0; 8];
    for number in 0..QUEUE_MAX as u8 {
        assert_eq!(calls::receive(&mut buffer, POLL), Ok((me, &[number][..])), "in order");
    }
    assert_eq!(calls::receive(&mut buffer, POLL), Err(Errno::EAGAIN), "the refused message is nowhere");
}

fn wrong_messages() {
    let me = system::pid();
    let long = [7; MESSAGE_MAX + 1];
    assert_eq!(calls::send(me, &long), Err(Errno::EMSGSIZE), "one byte too many");
    assert_eq!(calls::send(me, &long[..MESSAGE_MAX]), Ok(()), "the longest message");
    let mut buffer = [0; 8];
    assert_eq!(calls::receive(&mut buffer, POLL), Ok((me, &[7; 8][..])), "cut short");
    assert_eq!(calls::send(me, &[]), Ok(()), "the shortest message");
    assert_eq!(calls::receive(&mut buffer, POLL), Ok((me, &[][..])), "no bytes");
    assert_eq!(calls::send(999_999, &[1]), Err(Errno::ESRCH), "no such process");
}

fn ping_pong() {
    let me = system::pid();
    let peer = calls::start("messages", me as u64, NORMAL_PRIORITY, 0).expect("a package can start itself");
    let before = cycles();
    let mut buffer = [0; 8];
    for number in 0..ROUNDS {
        calls::send(peer, &number.to_le_bytes()).expect("the peer has room");
        let (sender, reply) = calls::receive(&mut buffer, FOREVER).expect("an answer");
        assert_eq!((sender, reply), (peer, &(number + 1).to_le_bytes()[..]), "answer to {number}");
    }
    println!("a round takes {} cycles", (cycles() - before) / ROUNDS);
    calls::send(peer, &[]).expect("the peer has room");
    assert_eq!(calls::wait(peer, FOREVER), Ok(Status::Exited(7)), "how the peer ended");
    assert_eq!(calls::wait(peer, POLL), Err(Errno::ECHILD), "it is forgotten");
    assert_eq!(calls::send(peer, &[1]), Err(Errno::ESRCH), "its number is nobody's");
}

/// Answers each number with the next one until an empty message comes.
fn answer(to: i32) -> i32 {
    let mut buffer = [0; 8];
    loop {
        let (sender, message) = calls::receive(&mut buffer, FOREVER).expect("a message");
        assert_eq!(sender, to, "the sender");
        let Ok(number) = message.try_into().map(u64::from_le_bytes) else { return 7 };
        calls::send(to, &(number + 1).to_le_bytes()).expect("the starter has room");
    }
}
