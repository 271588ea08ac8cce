//! Messages between many processes, with receive time-outs that race with the messages.
//!
//! Every process sends each other process the same number of messages, numbered, and takes those that come. If a
//! receiver's queue is full, the sender empties its own before it tries again, so that no two wait for room in each
//! other's queue. A process that has sent all its messages waits for the rest without a time-out, so that a lost
//! wake-up hangs it.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.
#![no_std]
#![no_main]

use abi::native::MESSAGE_MAX;
use native::calls::{self, Errno, NORMAL_PRIORITY};
use native::random::Random;
use native::time::nanoseconds;
use native::{FOREVER, POLL, Status, println, system};

native::entry!(main);

/// Most processes: their pids fit a message.
const MOST: usize = MESSAGE_MAX / size_of::<i32>();

/// Messages from each process to each other.
const EACH: u64 = 60;

/// Argument 0: one process more than there are CPUs, at least 4. Up to [`MOST`]: so many. More: the
/// head's pid and, in the upper half, which process this is.
fn main(argument: u64) -> i32 {
    if argument >> 32 != 0 {
        return take_part((argument >> 32) as usize - 1, argument as i32);
    }
    let cpus = system::affinity(0).map_or(1, u64::count_ones) as usize;
    let count = if argument == 0 { cpus + 1 } else { argument as usize };
    let count = count.clamp(4, MOST);
    let me = system::pid() as u64;
    let mut pids = [0; MOST];
    for (index, pid) in pids[..count].iter_mut().enumerate() {
        let argument = (index as u64 + 1) << 32 | me;
        *pid = calls::start("traffic", argument, NORMAL_PRIORITY, 0).expect("a process can start");
    }
    let mut table = [0; MESSAGE_MAX];
    for (bytes, pid) in table.chunks_mut(size_of::<i32>()).zip(pids) {
        bytes.copy_from_slice(&pid.to_le_bytes());
    }
    for pid in &pids[..count] {
        // Those that have got it fill the others' queues already.
        while let Err(error) = calls::send(*pid, &table[..count * size_of::<i32>()]) {
            assert_eq!(error, Errno::EAGAIN, "a full queue is the only hindrance");
            system::yield_now();
        }
    }
    for pid in &pids[..count] {
        assert_eq!(calls::wait(*pid, FOREVER), Ok(Status::Exited(42)), "how a process ended");
    }
    println!("ok traffic: {count} processes, {} messages", count as u64 * (count as u64 - 1) * EACH);
    0
}

/// What one process knows.
struct Part {
    head: i32,
    /// All processes, this one too, in their order; none before the head's message has come.
    pids: [i32; MOST],
    count: usize,
    /// The next number from each process.
    next: [u64; MOST],
    received: u64,
    random: Random,
}

fn take_part(me: usize, head: i32) -> i32 {
    let random = Random::new(me as u64);
    let mut part = Part { head, pids: [0; MOST], count: 0, next: [0; MOST], received: 0, random };
    while part.count == 0 {
        part.receive(FOREVER);
    }
    assert_eq!(part.pids[me], system::pid(), "the head's table");
    let others = part.count as u64 - 1;
    for number in 0..EACH {
        for step in 1..part.count {
            let to = (me + step) % part.count;
            let mut message = [0; 16];
            message[..8].copy_from_slice(&number.to_le_bytes());
            message[8] = me as u8;
            while let Err(error) = calls::send(part.pids[to], &message) {
                assert_eq!(error, Errno::EAGAIN, "a full queue is the only hindrance");
                part.receive_briefly();
            }
        }
        part.receive_briefly();
    }
    while part.received < others * EACH {
        // Both ways to wait, since a time-out would hide a lost wake-up.
        match part.random.below(2) {
            0 => part.receive(FOREVER),
            _ => part.receive_briefly(),
        }
    }
    assert_eq!(calls::receive(&mut [0; 8], POLL), Err(Errno::EAGAIN), "nothing more than was sent");
    42
}

impl Part {
    /// Takes a message if one comes within a short time, which may be none at all.
    fn receive_briefly(&mut self) {
        let patience = self.random.below(4) * self.random.below(200_000);
        self.receive(patience);
    }

    fn receive(&mut self, patience: u64) {
        let start = nanoseconds();
        let mut buffer = [0; MESSAGE_MAX];
        match calls::receive(&mut buffer, patience) {
            Ok((sender, pids)) if sender == self.head => {
                self.count = pids.len() / size_of::<i32>();
                for (pid, bytes) in self.pids.iter_mut().zip(pids.chunks(size_of::<i32>())) {
                    *pid = i32::from_le_bytes(bytes.try_into().expect("four bytes"));
                }
            }
            Ok((sender, message)) => {
                let from = usize::from(message[8]);
                let number = u64::from_le_bytes(message[..8].try_into().expect("eight bytes"));
                assert_eq!(number, self.next[from], "messages of one sender come in order");
                assert!(self.count == 0 || self.pids[from] == sender, "the sender is who it says");
                self.next[from] += 1;
                self.received += 1;
            }
            Err(Errno::ETIMEDOUT) => assert!(nanoseconds() - start >= patience, "too early"),
            Err(error) => assert!((patience, error) == (POLL, Errno::EAGAIN), "{error:?} after {patience} ns"),
        }
    }
}
