//! Threads, and what they wait for.

use super::{Ticks, errno, now, timed};
use libc::{FUTEX_PRIVATE_FLAG, FUTEX_WAIT, FUTEX_WAKE, SYS_futex, SYS_pipe2, SYS_read, SYS_write};
use programs::{cpus, sys};
use std::fs::File;
use std::hint::black_box;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;

/// A thread made, run, ended and waited for.
pub(crate) fn create_and_join(count: u64) -> Ticks {
    timed(|| (0..count).try_for_each(|_| thread::spawn(|| ()).join().map_err(|_| libc::ECHILD)))
}

/// Runs `other` on a CPU of the given numbers and this thread on another, or both on one; ticks that `count` rounds of
/// `mine` took, between a first one, for which the other thread begins, and a last one, after which it ends.
fn beside(
    on: [u32; 2],
    count: u64,
    other: impl FnOnce() + Send,
    mut mine: impl FnMut(u64) -> Result<(), i32>,
) -> Ticks {
    let before = cpus::affinity(0).map_err(errno)?;
    let allowed = cpus::allowed();
    let place = |index: u32| allowed.get(index as usize).copied().ok_or("there are too few CPUs".to_owned());
    let [here, there] = [place(on[0])?, place(on[1])?];
    cpus::stay_on(here);
    let ticks = thread::scope(|scope| {
        scope.spawn(move || {
            cpus::stay_on(there);
            other();
        });
        mine(1).map_err(errno)?;
        let ticks = timed(|| mine(count));
        mine(1).map_err(errno)?;
        ticks
    });
    cpus::set_affinity(0, before).map_err(errno)?;
    ticks
}

fn wait(word: &AtomicU32, seen: u32) {
    let _ = sys!(SYS_futex, word.as_ptr(), FUTEX_WAIT | FUTEX_PRIVATE_FLAG, seen, 0);
}

fn wake(word: &AtomicU32) {
    let _ = sys!(SYS_futex, word.as_ptr(), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}

/// Two threads on one CPU wake each other in turn by a futex.
///
/// There is no such operation between two CPUs: each sees the other's store before it would sleep, on a machine whose CPUs
/// run in lock step nearly always, so that a spin would be measured and called a sleep.
pub(crate) fn futex(count: u64) -> Ticks {
    // Even numbers are this thread's turns, odd ones the other's.
    let turns = AtomicU32::new(0);
    let wait_for = |turn: u32| {
        loop {
            match turns.load(SeqCst) {
                seen if seen == turn => break,
                seen => wait(&turns, seen),
            }
        }
    };
    let play = |turn: u32| {
        wait_for(turn);
        turns.store(turn + 1, SeqCst);
        wake(&turns);
    };
    let mut next = 0;
    beside(
        [0, 0],
        count,
        || (0..count as u32 + 2).for_each(|round| play(2 * round + 1)),
        |rounds| {
            for _ in 0..rounds {
                play(next);
                next += 2;
            }
            wait_for(next);
            Ok(())
        },
    )
}

/// The two ends of a pipe: to read from, to write to.
pub(crate) fn ends() -> Result<[File; 2], String> {
    let mut ends = [0i32; 2];
    sys!(SYS_pipe2, &mut ends, libc::O_CLOEXEC).map_err(errno)?;
    // SAFETY: they are new, and no other code has them.
    Ok(ends.map(|end| unsafe { File::from_raw_fd(end) }))
}

/// Passes a byte on, `count` times; with `first` it begins.
pub(crate) fn pass_on(from: &File, to: &File, count: u64, first: bool) -> Result<(), i32> {
    let mut byte = [0u8];
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    for _ in 0..count {
        if first {
            sys!(SYS_write, to, &byte, 1)?;
        }
        sys!(SYS_read, from, &mut byte, 1)?;
        if !first {
            sys!(SYS_write, to, &byte, 1)?;
        }
    }
    Ok(())
}

/// A byte through a pipe and one back through another, between two threads.
fn pipe_round_trips(on: [u32; 2], count: u64) -> Ticks {
    let ([there, to_there], [back, to_back]) = (ends()?, ends()?);
    let other = || _ = pass_on(&there, &to_back, count + 2, false);
    beside(on, count, other, |rounds| pass_on(&back, &to_there, rounds, true))
}

/// There and back, both threads on one CPU.
pub(crate) fn pipe(count: u64) -> Ticks {
    pipe_round_trips([0, 0], count)
}

/// There and back, between two CPUs.
pub(crate) fn pipe_on_two(count: u64) -> Ticks {
    pipe_round_trips([0, 1], count)
}

/// Rounds of a loop that each thread of [`compute`] makes.
const ROUNDS: u64 = 5_000_000;

/// This number of threads compute, all at the same time: from the moment when all are there to the end of the last. Each has
/// a CPU of its own: where they come to be otherwise is another question than what they lose there.
pub(crate) fn compute(threads: usize) -> Ticks {
    let (arrived, last) = (AtomicUsize::new(0), AtomicU64::new(0));
    let (begin, allowed) = (AtomicU64::new(0), cpus::allowed());
    thread::scope(|scope| {
        for number in 0..threads {
            let cpu = allowed[number % allowed.len()];
            let (arrived, begin, last) = (&arrived, &begin, &last);
            scope.spawn(move || {
                cpus::stay_on(cpu);
                if arrived.fetch_add(1, SeqCst) + 1 == threads {
                    begin.store(now(), SeqCst);
                }
                cpus::spin_until(|| begin.load(SeqCst) != 0);
                (0..ROUNDS).for_each(|round| _ = black_box(round));
                last.fetch_max(now(), SeqCst);
            });
        }
    });
    Ok(last.into_inner() - begin.into_inner())
}
