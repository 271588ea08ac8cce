//! Which thread an `epoll` tells of which of its files: in turn, alone, through another `epoll`, and until when.

use super::{close, control, counter, pipe, read, wait, write};
use libc::*;
use programs::children::{End, child, end_of};
use programs::sys;
use std::{fs, thread};

/// What is told as a level goes to the end: each has its turn.
pub(crate) fn turns() {
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll");
    let events: Vec<u64> = (0..4).map(|_| counter(1, 0)).collect();
    events.iter().for_each(|event| assert_eq!(control(epoll, EPOLL_CTL_ADD, *event, EPOLLIN), Ok(0)));
    let told: Vec<u64> = (0..12).flat_map(|_| wait(epoll, 1, -1)).map(|(_, fd)| fd).collect();
    assert_eq!(told, events.repeat(3), "one at a time");
    let told: Vec<u64> = (0..4).flat_map(|_| wait(epoll, 3, -1)).map(|(_, fd)| fd).collect();
    assert_eq!(told, events.repeat(3), "three at a time");
    // One that has nothing to tell any more loses its turn; one that is asked for otherwise has one.
    assert_eq!(read(events[0]), Ok(1));
    assert_eq!(wait(epoll, 1, -1), [(EPOLLIN, events[1])]);
    assert_eq!(control(epoll, EPOLL_CTL_DEL, events[2], 0), Ok(0));
    assert_eq!(control(epoll, EPOLL_CTL_MOD, events[3], EPOLLOUT), Ok(0));
    assert_eq!(wait(epoll, 1, -1), [(EPOLLOUT, events[3])]);
    assert_eq!(wait(epoll, 8, -1), [(EPOLLIN, events[1]), (EPOLLOUT, events[3])]);
    events.into_iter().chain([epoll]).for_each(close);
}

/// Whether a process sleeps.
fn sleeps(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a child's state");
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
}

/// Of four that wait for a pipe in `epoll`s of their own, exclusively, each write wakes one.
pub(crate) fn alone() {
    let ([output, input], report) = (pipe(), pipe());
    let waiter = || {
        let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll");
        assert_eq!(control(epoll, EPOLL_CTL_ADD, output, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE), Ok(0));
        let told = wait(epoll, 8, -1);
        assert_eq!((told, sys!(SYS_write, report[1], &0_u8, 1)), (vec![(EPOLLIN, output)], Ok(1)));
        0
    };
    let children: Vec<i32> = (0..4).map(|_| child(waiter)).collect();
    let asleep = || children.iter().filter(|child| sleeps(**child)).count();
    while asleep() < children.len() {
        thread::yield_now();
    }
    for left in (0..children.len()).rev() {
        assert_eq!(sys!(SYS_write, input, &0_u8, 1), Ok(1));
        assert_eq!(asleep(), left, "one is woken");
        let mut poll = pollfd { fd: report[0] as i32, events: POLLIN, revents: 0 };
        assert_eq!(sys!(SYS_poll, &mut poll, 1, -1), Ok(1));
        assert_eq!(sys!(SYS_read, report[0], &mut [0_u8; 8], 8), Ok(1));
    }
    children.into_iter().for_each(|child| assert_eq!(end_of(child), End::Exited(0)));
    // What goes together with it, and what does not.
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll");
    let other = sys!(SYS_epoll_create1, 0).expect("an epoll");
    for refused in [EPOLLONESHOT, EPOLLRDHUP, EPOLLPRI] {
        assert_eq!(control(epoll, EPOLL_CTL_ADD, output, EPOLLIN | EPOLLEXCLUSIVE | refused), Err(EINVAL));
    }
    assert_eq!(control(epoll, EPOLL_CTL_ADD, other, EPOLLIN | EPOLLEXCLUSIVE), Err(EINVAL));
    assert_eq!(control(epoll, EPOLL_CTL_ADD, output, EPOLLIN | EPOLLEXCLUSIVE), Ok(0));
    assert_eq!(control(epoll, EPOLL_CTL_MOD, output, EPOLLIN), Err(EINVAL));
    assert_eq!(control(epoll, EPOLL_CTL_DEL, output, 0), Ok(0));
    [output, input, report[0], report[1], epoll, other].into_iter().for_each(close);
}

/// An `epoll` watches another.
pub(crate) fn chains() {
    let [outer, inner] = [0; 2].map(|_| sys!(SYS_epoll_create1, 0).expect("an epoll"));
    let event = counter(0, EFD_NONBLOCK);
    assert_eq!(control(outer, EPOLL_CTL_ADD, inner, EPOLLIN), Ok(0));
    assert_eq!(control(inner, EPOLL_CTL_ADD, event, EPOLLIN), Ok(0));
    assert_eq!(wait(outer, 8, 0), []);
    for _ in 0..20 {
        let other = thread::spawn(move || wait(outer, 8, -1));
        assert_eq!(write(event, 1), Ok(8));
        assert_eq!(other.join().expect("it ends"), [(EPOLLIN, inner)]);
        assert_eq!((wait(outer, 8, 0), wait(inner, 8, 0)), (vec![(EPOLLIN, inner)], vec![(EPOLLIN, event)]));
        assert_eq!(read(event), Ok(1));
        assert_eq!((wait(outer, 8, 0), wait(inner, 8, 0)), (vec![], vec![]));
    }
    // `poll` sees through both.
    let other = thread::spawn(move || {
        let mut poll = pollfd { fd: outer as i32, events: POLLIN, revents: 0 };
        (sys!(SYS_poll, &mut poll, 1, -1), poll.revents)
    });
    assert_eq!(write(event, 1), Ok(8));
    assert_eq!(other.join().expect("it ends"), (Ok(1), POLLIN));
    // No circles, and five at most.
    assert_eq!(control(inner, EPOLL_CTL_ADD, outer, EPOLLIN), Err(ELOOP));
    let mut chain = vec![outer];
    let linked = loop {
        let next = sys!(SYS_epoll_create1, 0).expect("an epoll");
        let done = control(next, EPOLL_CTL_ADD, chain[chain.len() - 1], EPOLLIN);
        chain.push(next);
        if done.is_err() {
            break done;
        }
    };
    assert_eq!((linked, chain.len()), (Err(ELOOP), 5), "with the one inside and the one that was refused");
    chain.into_iter().chain([inner, event]).for_each(close);
}

/// A file is watched until its last descriptor is closed, in whichever process.
pub(crate) fn lifetimes() {
    let epoll = sys!(SYS_epoll_create1, 0).expect("an epoll");
    let [output, input] = pipe();
    assert_eq!(control(epoll, EPOLL_CTL_ADD, output, EPOLLIN), Ok(0));
    let copy = sys!(SYS_dup, output).expect("a copy");
    assert_eq!(control(epoll, EPOLL_CTL_ADD, copy, EPOLLIN), Ok(0));
    assert_eq!(write(input, 1), Ok(8));
    let mut told = wait(epoll, 8, -1);
    told.sort_unstable();
    assert_eq!(told, [(EPOLLIN, output), (EPOLLIN, copy)], "each by its name");
    close(output);
    assert_eq!(wait(epoll, 8, -1).len(), 2, "the open file is there");
    assert_eq!(control(epoll, EPOLL_CTL_DEL, output, 0), Err(EBADF));
    // A child has it too, and the `epoll`.
    let child = child(|| {
        assert_eq!(control(epoll, EPOLL_CTL_MOD, copy, EPOLLIN | EPOLLET), Ok(0));
        assert_eq!(wait(epoll, 8, -1).len(), 2);
        0
    });
    assert_eq!(end_of(child), End::Exited(0));
    assert_eq!(wait(epoll, 8, -1), [(EPOLLIN, output)], "the child has had the edge");
    close(copy);
    assert_eq!(wait(epoll, 8, 0), []);
    [input, epoll].into_iter().for_each(close);
    // The end of an `epoll` takes its interests along, and that of one inside takes it out of the one outside.
    let [outer, inner] = [0; 2].map(|_| sys!(SYS_epoll_create1, 0).expect("an epoll"));
    let event = counter(1, 0);
    assert_eq!(control(inner, EPOLL_CTL_ADD, event, EPOLLIN), Ok(0));
    assert_eq!(control(outer, EPOLL_CTL_ADD, inner, EPOLLIN), Ok(0));
    assert_eq!(wait(outer, 8, -1), [(EPOLLIN, inner)]);
    close(inner);
    assert_eq!((write(event, 1), wait(outer, 8, 0)), (Ok(8), vec![]));
    [event, outer].into_iter().for_each(close);
}
