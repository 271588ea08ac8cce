//! Waiting for files and futexes while others wait for theirs.

use super::{Figure, errno, for_each, strangers, times};
use libc::*;
use programs::sys;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::thread;

/// A pipe: its end to be read, its end to be written.
fn pipe() -> Result<[u64; 2], String> {
    let mut fds = [0_i32; 2];
    sys!(SYS_pipe2, &mut fds, 0).map_err(errno)?;
    Ok(fds.map(|fd| fd as u64))
}

/// An `epoll` that watches this number of descriptors of an empty pipe.
fn watching(count: usize) -> Result<u64, String> {
    let epoll = sys!(SYS_epoll_create1, 0).map_err(errno)?;
    let [output, _] = pipe()?;
    for _ in 0..count {
        let fd = sys!(SYS_dup, output).map_err(errno)?;
        watch(epoll, fd)?;
    }
    Ok(epoll)
}

fn watch(epoll: u64, fd: u64) -> Result<(), String> {
    let event = epoll_event { events: EPOLLIN as u32, u64: fd };
    sys!(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, fd, &event).map(drop).map_err(errno)
}

/// The number of events that `epoll_wait` reports at once.
fn expect(epoll: u64, count: u64) -> Result<(), i32> {
    let mut events = [epoll_event { events: 0, u64: 0 }; 8];
    let told = sys!(SYS_epoll_wait, epoll, &mut events, 8, 0)?;
    if told == count { Ok(()) } else { Err(EPROTO) }
}

/// `epoll_wait` while no descriptor is ready.
pub(crate) fn epoll_idle(count: usize) -> Figure {
    let epoll = watching(count)?;
    times(100, || expect(epoll, 0))
}

/// A byte written, told of by `epoll_wait`, and read.
pub(crate) fn epoll_one(count: usize) -> Figure {
    let epoll = watching(count)?;
    let [output, input] = pipe()?;
    watch(epoll, output)?;
    times(100, || {
        let mut byte = 0_u8;
        sys!(SYS_write, input, &byte, 1)?;
        expect(epoll, 1)?;
        sys!(SYS_read, output, &mut byte, 1).map(drop)
    })
}

/// A descriptor given to an `epoll` and taken from it.
pub(crate) fn epoll_ctl(count: usize) -> Figure {
    let epoll = watching(count)?;
    let [output, _] = pipe()?;
    let event = epoll_event { events: EPOLLIN as u32, u64: output };
    times(100, || {
        sys!(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, output, &event)?;
        sys!(SYS_epoll_ctl, epoll, EPOLL_CTL_DEL, output, 0).map(drop)
    })
}

/// A byte, of which one of so many threads that wait in the same `epoll` is told, and one back.
pub(crate) fn epoll_shared(count: usize) -> Figure {
    static WAITING: AtomicUsize = AtomicUsize::new(0);
    let [there, back] = [pipe()?, pipe()?];
    let epoll = sys!(SYS_epoll_create1, 0).map_err(errno)?;
    let event = epoll_event { events: (EPOLLIN | EPOLLET) as u32, u64: 0 };
    sys!(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, there[0], &event).map_err(errno)?;
    let serve = move || {
        WAITING.fetch_add(1, SeqCst);
        let mut event = epoll_event { events: 0, u64: 0 };
        while sys!(SYS_epoll_wait, epoll, &mut event, 1, -1).is_ok() && pass_on(there[0], back[1]).is_ok() {}
    };
    for _ in 0..count {
        thread::Builder::new().stack_size(16 << 10).spawn(serve).map_err(|error| error.to_string())?;
    }
    while WAITING.load(SeqCst) < count {
        thread::yield_now();
    }
    times(100, || {
        let mut byte = 0_u8;
        sys!(SYS_write, there[1], &byte, 1)?;
        sys!(SYS_read, back[0], &mut byte, 1).map(drop)
    })
}

/// `poll` of descriptors of which none is ready, for each of them.
pub(crate) fn poll(count: usize) -> Figure {
    let [output, _] = pipe()?;
    let mut polled = Vec::new();
    for _ in 0..count {
        let fd = sys!(SYS_dup, output).map_err(errno)? as i32;
        polled.push(pollfd { fd, events: POLLIN, revents: 0 });
    }
    for_each(count, times(20, || sys!(SYS_poll, polled.as_mut_ptr() as usize, count, 0).map(drop)))
}

/// A byte to another process and one back, for which this one polls, while other processes poll pipes of their own.
pub(crate) fn herd(count: usize) -> Figure {
    let [there, back] = [pipe()?, pipe()?];
    // They tell when they are about to wait.
    let ready = pipe()?;
    strangers(count, || {
        let own = pipe().map_or(-1, |[output, _]| output as i32);
        let _ = sys!(SYS_write, ready[1], &0_u8, 1);
        let _ = sys!(SYS_poll, &mut pollfd { fd: own, events: POLLIN, revents: 0 }, 1, -1);
    })?;
    for _ in 0..count {
        sys!(SYS_read, ready[0], &mut 0_u8, 1).map_err(errno)?;
    }
    strangers(1, || while pass_on(there[0], back[1]).is_ok() {})?;
    times(100, || {
        let mut byte = 0_u8;
        sys!(SYS_write, there[1], &byte, 1)?;
        sys!(SYS_poll, &mut pollfd { fd: back[0] as i32, events: POLLIN, revents: 0 }, 1, -1)?;
        sys!(SYS_read, back[0], &mut byte, 1).map(drop)
    })
}

fn pass_on(from: u64, to: u64) -> Result<(), i32> {
    let mut byte = 0_u8;
    sys!(SYS_read, from, &mut byte, 1)?;
    sys!(SYS_write, to, &byte, 1).map(drop)
}

/// `FUTEX_WAKE` of a word for which no thread waits, while other threads wait for theirs.
pub(crate) fn futex_wake(count: usize) -> Figure {
    static WAITING: AtomicUsize = AtomicUsize::new(0);
    let words: &[AtomicU32] = (0..=count).map(|_| AtomicU32::new(0)).collect::<Vec<_>>().leak();
    for word in &words[1..] {
        let wait = || {
            WAITING.fetch_add(1, SeqCst);
            let _ = sys!(SYS_futex, word.as_ptr(), FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, 0);
        };
        thread::Builder::new().stack_size(16 << 10).spawn(wait).map_err(|error| error.to_string())?;
    }
    while WAITING.load(SeqCst) < count {
        thread::yield_now();
    }
    times(100, || sys!(SYS_futex, words[0].as_ptr(), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1).map(drop))
}
