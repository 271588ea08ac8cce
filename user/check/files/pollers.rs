//! No event is lost, whichever call waits for it: `pollers [MESSAGES]`. It passes on Linux as well.
//!
//! Writers send messages through many pipes and counters at once. Each reader has some of them and waits in its own
//! way: `epoll` for levels, for edges, or once at a time, `poll`, `select`. Further threads come and go, and wait
//! with time-outs for events that never happen. If an event were lost, the program would not end.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

use libc::*;
use programs::sys;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

/// Files that each thread reads.
const FILES: usize = 6;

/// How threads wait: for some of these descriptors, until something may be there.
const WAYS: [fn(&Files); 5] = [levels, edges, once, poll, select];

/// What one thread reads, and how it is written: pipes, the last one a counter.
struct Files {
    outputs: Vec<u64>,
    inputs: Vec<u64>,
    messages: u64,
}

impl Files {
    fn new(messages: u64) -> Self {
        let (mut outputs, mut inputs) = (Vec::new(), Vec::new());
        for _ in 1..FILES {
            let mut fds = [0_i32; 2];
            sys!(SYS_pipe2, &mut fds, 0).expect("a pipe");
            sys!(SYS_fcntl, fds[0], F_SETFL, O_NONBLOCK).expect("an end that does not wait");
            outputs.push(fds[0] as u64);
            inputs.push(fds[1] as u64);
        }
        let counter = sys!(SYS_eventfd2, 0, EFD_NONBLOCK).expect("a counter");
        outputs.push(counter);
        inputs.push(counter);
        Self { outputs, inputs, messages }
    }

    fn all(&self) -> u64 {
        self.messages * FILES as u64
    }

    /// Reads what is there of one of them: messages.
    fn read(&self, fd: u64) -> u64 {
        if Some(&fd) == self.outputs.last() {
            let mut count = 0_u64;
            return sys!(SYS_read, fd, &mut count, 8).map_or(0, |_| count);
        }
        sys!(SYS_read, fd, &mut [0_u8; 3], 3).unwrap_or(0)
    }

    /// Reads until nothing is there.
    fn drain(&self, fd: u64) -> u64 {
        std::iter::from_fn(|| Some(self.read(fd)).filter(|read| *read > 0)).sum()
    }

    /// An `epoll` for all of them.
    fn epoll(&self, events: c_int) -> u64 {
        let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll");
        self.outputs.iter().for_each(|fd| control(epoll, EPOLL_CTL_ADD, *fd, events));
        epoll
    }

    /// Takes messages as `epoll_wait` tells of them, with `take`, until all are there.
    fn by_epoll(&self, epoll: u64, take: impl Fn(u64) -> u64) {
        let mut left = self.all();
        while left > 0 {
            let mut events = [epoll_event { events: 0, u64: 0 }; 2];
            let told = sys!(SYS_epoll_wait, epoll, &mut events, 2, -1).expect("events");
            left -= events[..told as usize].iter().map(|event| take(event.u64)).sum::<u64>();
        }
    }
}

fn control(epoll: u64, operation: c_int, fd: u64, events: c_int) {
    sys!(SYS_epoll_ctl, epoll, operation, fd, &epoll_event { events: events as u32, u64: fd }).expect("a wish");
}

fn levels(files: &Files) {
    files.by_epoll(files.epoll(EPOLLIN), |fd| files.read(fd));
}

fn edges(files: &Files) {
    files.by_epoll(files.epoll(EPOLLIN | EPOLLET), |fd| files.drain(fd));
}

fn once(files: &Files) {
    let epoll = files.epoll(EPOLLIN | EPOLLONESHOT);
    files.by_epoll(epoll, |fd| {
        let read = files.read(fd);
        control(epoll, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT);
        read
    });
}

fn poll(files: &Files) {
    let mut left = files.all();
    let mut polled: Vec<_> =
        files.outputs.iter().map(|fd| pollfd { fd: *fd as i32, events: POLLIN, revents: 0 }).collect();
    while left > 0 {
        sys!(SYS_poll, polled.as_mut_ptr() as usize, polled.len(), -1).expect("events");
        let ready = polled.iter().filter(|polled| polled.revents != 0);
        left -= ready.map(|polled| files.read(polled.fd as u64)).sum::<u64>();
    }
}

fn select(files: &Files) {
    let mut left = files.all();
    while left > 0 {
        let mut set = [0_u64; 16];
        files.outputs.iter().for_each(|fd| set[*fd as usize / 64] |= 1 << (fd % 64));
        sys!(SYS_select, 1024, &mut set, 0, 0, 0).expect("events");
        let ready = files.outputs.iter().filter(|fd| set[**fd as usize / 64] >> (*fd % 64) & 1 != 0);
        left -= ready.map(|fd| files.read(*fd)).sum::<u64>();
    }
}

/// Sends its share of all messages, through one file after the other.
fn send(all: &[Files], share: usize) {
    for round in 0..all[0].messages {
        for (number, files) in all.iter().enumerate() {
            let at = (share + number + round as usize) % FILES;
            let sent = match at + 1 {
                FILES => sys!(SYS_write, files.inputs[at], &1_u64, 8),
                _ => sys!(SYS_write, files.inputs[at], &0_u8, 1),
            };
            sent.expect("a message is sent");
        }
        if round % 7 == share as u64 {
            thread::yield_now();
        }
    }
}

/// Waits for the same files, not for what comes there, until it is told to stop.
fn bystand(files: &Files, stop: &AtomicBool) {
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll");
    while !stop.load(SeqCst) {
        for fd in &files.outputs {
            control(epoll, EPOLL_CTL_ADD, *fd, EPOLLPRI);
        }
        let mut polled = files.outputs.iter().map(|fd| pollfd { fd: *fd as i32, events: POLLPRI, revents: 0 });
        let mut polled: [pollfd; FILES] = std::array::from_fn(|_| polled.next().expect("a file"));
        sys!(SYS_poll, &mut polled, FILES, 1).expect("a time-out");
        let mut events = [epoll_event { events: 0, u64: 0 }; 2];
        sys!(SYS_epoll_wait, epoll, &mut events, 2, 1).expect("a time-out");
        for fd in &files.outputs {
            control(epoll, EPOLL_CTL_DEL, *fd, 0);
        }
    }
}

fn main() {
    let messages = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(300);
    let all: Vec<Files> = WAYS.iter().map(|_| Files::new(messages)).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (all, stop) = (&all, &stop);
        let readers: Vec<_> = all.iter().zip(WAYS).map(|(files, way)| scope.spawn(move || way(files))).collect();
        all.iter().take(2).for_each(|files| drop(scope.spawn(move || bystand(files, stop))));
        (0..FILES).for_each(|share| drop(scope.spawn(move || send(all, share))));
        readers.into_iter().for_each(|reader| reader.join().expect("it has read all"));
        stop.store(true, SeqCst);
    });
    println!("ok pollers");
}
