//! `eventfd` and `epoll`. It passes on Linux as well.
//!
//! Run by: `tests/tests/boot/checked.rs`, `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

mod watching;

use libc::*;
use programs::sys;
use std::thread;

fn counter(count: u32, flags: c_int) -> u64 {
    sys!(SYS_eventfd2, count, flags).expect("a counter")
}

fn read(fd: u64) -> Result<u64, i32> {
    let mut count = 0_u64;
    sys!(SYS_read, fd, &mut count, 8).map(|_| count)
}

fn write(fd: u64, more: u64) -> Result<u64, i32> {
    sys!(SYS_write, fd, &more, 8)
}

fn close(fd: u64) {
    assert_eq!(sys!(SYS_close, fd), Ok(0));
}

/// A pipe: its end to be read, its end to be written.
fn pipe() -> [u64; 2] {
    let mut fds = [0_i32; 2];
    assert_eq!(sys!(SYS_pipe2, &mut fds, O_NONBLOCK), Ok(0));
    fds.map(|fd| fd as u64)
}

fn control(epoll: u64, operation: c_int, fd: u64, events: c_int) -> Result<u64, i32> {
    sys!(SYS_epoll_ctl, epoll, operation, fd, &epoll_event { events: events as u32, u64: 0xabcd_0000_0000 | fd })
}

/// What `epoll_wait` tells within a time: events and descriptors.
fn wait(epoll: u64, most: usize, milliseconds: i32) -> Vec<(c_int, u64)> {
    let mut events = [epoll_event { events: 0, u64: 0 }; 8];
    let told = sys!(SYS_epoll_wait, epoll, &mut events, most, milliseconds).expect("an answer");
    let told = events.iter().take(told as usize);
    told.map(|event| {
        let data = event.u64;
        assert_eq!(data >> 32, 0xabcd, "the program's own word comes back");
        (event.events as c_int, data & 0xffff_ffff)
    })
    .collect()
}

fn main() {
    counters();
    levels();
    edges();
    once();
    refused();
    waiting();
    watching::turns();
    watching::alone();
    watching::chains();
    watching::lifetimes();
    println!("ok events");
}

fn counters() {
    let fd = counter(3, EFD_NONBLOCK);
    assert_eq!((read(fd), read(fd)), (Ok(3), Err(EAGAIN)));
    assert_eq!((write(fd, 5), write(fd, 6), read(fd)), (Ok(8), Ok(8), Ok(11)));
    assert_eq!((write(fd, u64::MAX), write(fd, u64::MAX - 1), write(fd, 1)), (Err(EINVAL), Ok(8), Err(EAGAIN)));
    assert_eq!(sys!(SYS_read, fd, &mut 0_u32, 4), Err(EINVAL));
    close(fd);
    let fd = counter(2, EFD_NONBLOCK | EFD_SEMAPHORE);
    assert_eq!((read(fd), read(fd), read(fd)), (Ok(1), Ok(1), Err(EAGAIN)));
    close(fd);
    // One thread waits for another, both ways.
    let (there, back) = (counter(0, 0), sys!(SYS_eventfd, 0).expect("a counter"));
    let other =
        thread::spawn(move || (1..=100).for_each(|n| assert_eq!((read(there), write(back, n)), (Ok(n), Ok(8)))));
    (1..=100).for_each(|n| assert_eq!((write(there, n), read(back)), (Ok(8), Ok(n))));
    other.join().expect("it ends");
    assert_eq!(write(there, u64::MAX - 1), Ok(8));
    let other = thread::spawn(move || assert_eq!(write(there, 7), Ok(8), "it has waited for room"));
    assert_eq!(read(there), Ok(u64::MAX - 1));
    other.join().expect("it ends");
    assert_eq!(read(there), Ok(7));
    [there, back].into_iter().for_each(close);
    assert_eq!(sys!(SYS_eventfd2, 0, 2), Err(EINVAL));
}

fn levels() {
    let epoll = sys!(SYS_epoll_create, 1).expect("an epoll");
    let ([output, input], event) = (pipe(), counter(0, 0));
    assert_eq!(control(epoll, EPOLL_CTL_ADD, output, EPOLLIN), Ok(0));
    assert_eq!(control(epoll, EPOLL_CTL_ADD, event, EPOLLIN), Ok(0));
    assert_eq!(wait(epoll, 8, 0), []);
    assert_eq!(wait(epoll, 8, 10), []);
    assert_eq!(write(input, 1), Ok(8));
    assert_eq!(wait(epoll, 8, -1), [(EPOLLIN, output)]);
    assert_eq!(wait(epoll, 8, -1), [(EPOLLIN, output)], "a level is told again");
    assert_eq!(write(event, 1), Ok(8));
    assert_eq!(wait(epoll, 1, -1).len(), 1);
    let mut both = wait(epoll, 8, -1);
    both.sort();
    assert_eq!(both, [(EPOLLIN, output), (EPOLLIN, event)]);
    assert_eq!(control(epoll, EPOLL_CTL_MOD, event, EPOLLIN | EPOLLOUT), Ok(0));
    assert_eq!(control(epoll, EPOLL_CTL_DEL, output, 0), Ok(0));
    assert_eq!(wait(epoll, 8, -1), [(EPOLLIN | EPOLLOUT, event)]);
    // It can be polled itself.
    let mut poll = pollfd { fd: epoll as i32, events: POLLIN, revents: 0 };
    assert_eq!((sys!(SYS_poll, &mut poll, 1, -1), poll.revents), (Ok(1), POLLIN));
    // What is closed is watched no more; the last writer's end is told unasked.
    close(event);
    assert_eq!(wait(epoll, 8, 0), []);
    assert_eq!(control(epoll, EPOLL_CTL_ADD, output, 0), Ok(0));
    assert_eq!(wait(epoll, 8, 0), []);
    assert_eq!(read(output), Ok(1));
    close(input);
    assert_eq!(wait(epoll, 8, -1), [(EPOLLHUP, output)]);
    [output, epoll].into_iter().for_each(close);
}

fn edges() {
    let epoll = sys!(SYS_epoll_create1, EPOLL_CLOEXEC).expect("an epoll");
    let [output, input] = pipe();
    assert_eq!(control(epoll, EPOLL_CTL_ADD, output, EPOLLIN | EPOLLET), Ok(0));
    assert_eq!(write(input, 1), Ok(8));
    assert_eq!(wait(epoll, 8, -1), [(EPOLLIN, output)]);
    assert_eq!(wait(epoll, 8, 0), [], "an edge is told once");
    assert_eq!(write(input, 2), Ok(8));
    assert_eq!(wait(epoll, 8, -1), [(EPOLLIN, output)], "each write is one");
    assert_eq!((read(output), read(output), read(output)), (Ok(1), Ok(2), Err(EAGAIN)));
    assert_eq!(wait(epoll, 8, 0), []);
    // Emptied and filled again between two waits.
    assert_eq!((write(input, 3), read(output), write(input, 4)), (Ok(8), Ok(3), Ok(8)));
    assert_eq!(wait(epoll, 8, -1), [(EPOLLIN, output)]);
    [output, input, epoll].into_iter().for_each(close);
}

fn once() {
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll");
    let event = counter(1, 0);
    assert_eq!(control(epoll, EPOLL_CTL_ADD, event, EPOLLIN | EPOLLONESHOT), Ok(0));
    assert_eq!((wait(epoll, 8, -1), wait(epoll, 8, 0)), (vec![(EPOLLIN, event)], vec![]));
    assert_eq!(control(epoll, EPOLL_CTL_MOD, event, EPOLLIN | EPOLLONESHOT), Ok(0));
    assert_eq!(wait(epoll, 8, -1), [(EPOLLIN, event)]);
    [event, epoll].into_iter().for_each(close);
}

fn refused() {
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll");
    let event = counter(0, 0);
    assert_eq!(control(epoll, EPOLL_CTL_MOD, event, EPOLLIN), Err(ENOENT));
    assert_eq!(control(epoll, EPOLL_CTL_DEL, event, EPOLLIN), Err(ENOENT));
    assert_eq!(control(epoll, EPOLL_CTL_ADD, event, EPOLLIN), Ok(0));
    assert_eq!(control(epoll, EPOLL_CTL_ADD, event, EPOLLIN), Err(EEXIST));
    assert_eq!(control(epoll, 4, event, EPOLLIN), Err(EINVAL));
    assert_eq!(control(epoll, EPOLL_CTL_ADD, epoll, EPOLLIN), Err(EINVAL));
    assert_eq!(control(epoll, EPOLL_CTL_ADD, 999, EPOLLIN), Err(EBADF));
    assert_eq!(control(event, EPOLL_CTL_ADD, event, EPOLLIN), Err(EINVAL));
    let file = sys!(SYS_open, c"/etc/passwd", O_RDONLY).expect("a file");
    assert_eq!(control(epoll, EPOLL_CTL_ADD, file, EPOLLIN), Err(EPERM));
    assert_eq!(sys!(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, event, 0x1000), Err(EFAULT));
    let mut events = [epoll_event { events: 0, u64: 0 }; 1];
    assert_eq!(sys!(SYS_epoll_wait, epoll, &mut events, 0, 0), Err(EINVAL));
    assert_eq!(sys!(SYS_epoll_wait, file, &mut events, 1, 0), Err(EINVAL));
    assert_eq!(sys!(SYS_epoll_create, 0), Err(EINVAL));
    assert_eq!(sys!(SYS_epoll_create1, 1), Err(EINVAL));
    assert_eq!(sys!(SYS_read, epoll, &mut events, 8), Err(EINVAL));
    [file, event, epoll].into_iter().for_each(close);
}

/// A thread that waits is woken by an event, however it waits.
fn waiting() {
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll");
    let event = counter(0, 0);
    assert_eq!(control(epoll, EPOLL_CTL_ADD, event, EPOLLIN | EPOLLET), Ok(0));
    for n in 1..=50_u64 {
        let other = thread::spawn(move || assert_eq!(write(event, n), Ok(8)));
        let mut events = [epoll_event { events: 0, u64: 0 }; 8];
        let told = match n % 3 {
            0 => sys!(SYS_epoll_wait, epoll, &mut events, 8, -1),
            1 => sys!(SYS_epoll_pwait, epoll, &mut events, 8, -1, &0_u64, 8),
            _ => sys!(SYS_epoll_pwait2, epoll, &mut events, 8, &[1000_i64, 0], 0, 8),
        };
        assert_eq!(told, Ok(1));
        assert_eq!(read(event), Ok(n));
        other.join().expect("it ends");
    }
    // One that watches nothing yet is given something while a thread waits.
    let empty = sys!(SYS_epoll_create1, 0).expect("an epoll");
    let other = thread::spawn(move || wait(empty, 8, -1));
    assert_eq!((write(event, 1), control(empty, EPOLL_CTL_ADD, event, EPOLLIN)), (Ok(8), Ok(0)));
    assert_eq!(other.join().expect("it ends"), [(EPOLLIN, event)]);
    [event, epoll, empty].into_iter().for_each(close);
}
