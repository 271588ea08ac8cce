//! The futex call: wait, wake, time-outs, bit sets, requeue, and its errors.
//!
//! Run by: `tests/tests/boot/application.rs`, `tests/tests/boot/checked.rs`, `tests/tests/boot/programs.rs`,
//! `tests/tests/smp.rs`.

use libc::*;
use programs::sys;
use programs::system::{PAGE, pages};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Private variants, as every C library uses them.
const WAIT: i32 = FUTEX_WAIT | FUTEX_PRIVATE_FLAG;
const WAKE: i32 = FUTEX_WAKE | FUTEX_PRIVATE_FLAG;
const WAIT_BITSET: i32 = FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG;
const WAKE_BITSET: i32 = FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG;
const REQUEUE: i32 = FUTEX_REQUEUE | FUTEX_PRIVATE_FLAG;
const CMP_REQUEUE: i32 = FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG;

static HERE: AtomicU32 = AtomicU32::new(0);
static THERE: AtomicU32 = AtomicU32::new(0);

fn main() {
    plain();
    wake_counts();
    bit_sets();
    requeue();
    time_outs();
    refused();
    crowd();
    println!("ok futexes");
}

/// A thread that waits at [`HERE`] with the bits `mask`, and is surely waiting when this returns.
fn waiter(mask: u32) -> JoinHandle<()> {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(()).expect("the starter listens");
        assert_eq!(sys!(SYS_futex, HERE.as_ptr(), WAIT_BITSET, 0, 0, 0, mask), Ok(0), "woken, not for another cause");
    });
    told.recv().expect("the thread runs");
    // There is no call that tells whether a thread waits; half a dozen slices are enough for it.
    thread::sleep(Duration::from_millis(60));
    thread
}

fn wake(most: i32) -> u64 {
    sys!(SYS_futex, HERE.as_ptr(), WAKE, most).expect("wake")
}

fn plain() {
    assert_eq!(sys!(SYS_futex, HERE.as_ptr(), WAIT, 1, 0), Err(EAGAIN), "another value");
    assert_eq!(wake(1), 0, "nobody there");
    let thread = waiter(u32::MAX);
    assert_eq!(wake(1), 1, "the waiter");
    thread.join().expect("the waiter ends");
}

fn wake_counts() {
    let threads: Vec<_> = (0..3).map(|_| waiter(u32::MAX)).collect();
    assert_eq!(wake(2), 2, "no more than asked for");
    assert_eq!(wake(i32::MAX), 1, "the last");
    assert_eq!(wake(i32::MAX), 0, "none left");
    threads.into_iter().for_each(|thread| thread.join().expect("the waiter ends"));
}

fn bit_sets() {
    let wake = |mask: u32| sys!(SYS_futex, HERE.as_ptr(), WAKE_BITSET, i32::MAX, 0, 0, mask);
    let (first, second) = (waiter(0b01), waiter(0b10));
    assert_eq!(wake(0b100), Ok(0), "bits of nobody");
    assert_eq!(wake(0b110), Ok(1), "the second's bit");
    second.join().expect("the second ends");
    assert_eq!(wake(u32::MAX), Ok(1), "the first");
    first.join().expect("the first ends");
    assert_eq!(wake(0), Err(EINVAL), "no bits");
    assert_eq!(sys!(SYS_futex, HERE.as_ptr(), WAIT_BITSET, 0, 0, 0, 0), Err(EINVAL), "no bits");
}

fn requeue() {
    let threads: Vec<_> = (0..4).map(|_| waiter(u32::MAX)).collect();
    let there = THERE.as_ptr();
    assert_eq!(sys!(SYS_futex, HERE.as_ptr(), CMP_REQUEUE, 1, 1, there, 5), Err(EAGAIN), "another value");
    // One is woken, two move; their sum is the result, and so it is of REQUEUE.
    assert_eq!(sys!(SYS_futex, HERE.as_ptr(), CMP_REQUEUE, 1, 2, there, 0), Ok(3));
    assert_eq!(sys!(SYS_futex, there, WAKE, 1), Ok(1), "one of the moved");
    assert_eq!(wake(0), 1, "Linux takes 0 for 1");
    assert_eq!(sys!(SYS_futex, there, REQUEUE, 0, i32::MAX, HERE.as_ptr()), Ok(1), "the last moves back");
    assert_eq!(sys!(SYS_futex, there, WAKE, i32::MAX), Ok(0), "nobody there");
    assert_eq!(wake(i32::MAX), 1, "here it is");
    threads.into_iter().for_each(|thread| thread.join().expect("the waiter ends"));
    assert_eq!(sys!(SYS_futex, HERE.as_ptr(), REQUEUE, -1, 1, there), Err(EINVAL), "a negative count");
}

fn time_outs() {
    let short = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let start = Instant::now();
    assert_eq!(sys!(SYS_futex, HERE.as_ptr(), WAIT, 0, &short), Err(ETIMEDOUT));
    assert!(start.elapsed() >= Duration::from_millis(20), "it waited {:?} of 20 ms", start.elapsed());

    // The bit-set variant waits until a point in time, by either clock.
    for (clock, flag) in [(CLOCK_MONOTONIC, 0), (CLOCK_REALTIME, FUTEX_CLOCK_REALTIME)] {
        let mut until = timespec { tv_sec: 0, tv_nsec: 0 };
        let now = |time: &mut timespec| assert_eq!(sys!(SYS_clock_gettime, clock, time), Ok(0));
        now(&mut until);
        until.tv_nsec += 20_000_000;
        until.tv_sec += until.tv_nsec / 1_000_000_000;
        until.tv_nsec %= 1_000_000_000;
        let wait = |at: &timespec| sys!(SYS_futex, HERE.as_ptr(), WAIT_BITSET | flag, 0, at, 0, u32::MAX);
        assert_eq!(wait(&until), Err(ETIMEDOUT));
        let mut end = timespec { tv_sec: 0, tv_nsec: 0 };
        now(&mut end);
        assert!((end.tv_sec, end.tv_nsec) >= (until.tv_sec, until.tv_nsec), "woke early");
        assert_eq!(wait(&timespec { tv_sec: 0, tv_nsec: 1 }), Err(ETIMEDOUT), "long past");
    }
    for wrong in [(0, -1), (0, 1_000_000_000), (-1, 0)] {
        let wrong = timespec { tv_sec: wrong.0, tv_nsec: wrong.1 };
        assert_eq!(sys!(SYS_futex, HERE.as_ptr(), WAIT, 0, &wrong), Err(EINVAL), "no time");
    }
}

fn refused() {
    let here = HERE.as_ptr() as u64;
    assert_eq!(sys!(SYS_futex, here + 1, WAIT, 0, 0), Err(EINVAL), "unaligned");
    assert_eq!(sys!(SYS_futex, here + 2, WAKE, 1), Err(EINVAL), "unaligned");
    assert_eq!(sys!(SYS_futex, 0, WAIT, 0, 0), Err(EFAULT), "null");
    assert_eq!(sys!(SYS_futex, 0xffff_ffff_8000_0000u64, WAIT, 0, 0), Err(EFAULT), "the kernel's");
    assert_eq!(sys!(SYS_futex, 0xffff_ffff_8000_0000u64, WAKE, 1), Err(EFAULT), "the kernel's");
    assert_eq!(sys!(SYS_futex, here, WAIT, 0, 16), Err(EFAULT), "time-out nowhere");
    assert_eq!(sys!(SYS_futex, here, 99, 0, 0), Err(ENOSYS), "no such operation");
    assert_eq!(sys!(SYS_futex, here + 1, 99, 0, 0), Err(ENOSYS), "that comes first");
    let nothing = timespec { tv_sec: 0, tv_nsec: 0 };
    let by_the_wall_clock = |operation| sys!(SYS_futex, here, operation | FUTEX_CLOCK_REALTIME, 0, &nothing);
    assert_eq!([WAIT, WAKE, REQUEUE].map(by_the_wall_clock), [Err(ENOSYS); 3]);
    let gone = pages(1) as u64;
    assert_eq!(sys!(SYS_futex, gone, WAKE, 1), Ok(0), "a page not touched yet");
    assert_eq!(sys!(SYS_futex, gone, FUTEX_WAKE, 1), Ok(0), "nor one that others could share");
    assert_eq!(sys!(SYS_mprotect, gone, PAGE, PROT_NONE), Ok(0));
    assert_eq!(sys!(SYS_futex, gone, FUTEX_WAKE, 1), Err(EFAULT), "nobody can have it");
    assert_eq!(sys!(SYS_munmap, gone, PAGE), Ok(0));
    assert_eq!(sys!(SYS_futex, gone, WAIT, 0, 0), Err(EFAULT), "a page no longer there");
    assert_eq!(sys!(SYS_futex, gone, WAKE, 1), Ok(0), "only a name, among threads");
    for operation in [FUTEX_WAKE, FUTEX_WAKE_BITSET, FUTEX_REQUEUE, FUTEX_WAKE_OP] {
        assert_eq!(sys!(SYS_futex, gone, operation, 1, 1, here, 1), Err(EFAULT), "operation {operation}");
    }
    assert_eq!(sys!(SYS_futex, here, FUTEX_REQUEUE, 1, 1, gone), Err(EFAULT), "the other word");
}

/// Threads that pass a token around, and others that hammer the same word.
fn crowd() {
    const THREADS: u32 = 8;
    const ROUNDS: u32 = 200;
    static TURN: AtomicU32 = AtomicU32::new(0);
    thread::scope(|scope| {
        for own in 0..THREADS {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    loop {
                        let turn = TURN.load(SeqCst);
                        if turn % THREADS == own {
                            break;
                        }
                        match sys!(SYS_futex, TURN.as_ptr(), WAIT, turn, 0) {
                            Ok(0) | Err(EAGAIN) => {}
                            other => panic!("wait: {other:?}"),
                        }
                    }
                    TURN.fetch_add(1, SeqCst);
                    sys!(SYS_futex, TURN.as_ptr(), WAKE, i32::MAX).expect("wake");
                }
            });
        }
    });
    assert_eq!(TURN.load(SeqCst), THREADS * ROUNDS, "turns taken");
}
