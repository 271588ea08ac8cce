//! Calls that a signal interrupts: which return EINTR, and which are made again (signal(7)).

use crate::waiting::told_until_done;
use crate::*;
use programs::cpus;
use std::thread;

/// Makes a call on a thread that is told of SIGUSR1 five times with SA_RESTART; then `end` lets the call return.
fn made_again<T: Send>(call: impl FnOnce() -> T + Send, end: impl FnOnce()) -> T {
    install(SIGUSR1, SA_RESTART, 0);
    let number = AtomicI32::new(0);
    seen();
    let result = thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            number.store(cpus::thread_number(), SeqCst);
            call()
        });
        cpus::spin_until(|| number.load(SeqCst) != 0);
        for round in 1..=5 {
            assert_eq!(sys!(SYS_tgkill, pid(), number.load(SeqCst), SIGUSR1), Ok(0));
            cpus::spin_until(|| COUNT.load(SeqCst) == round);
        }
        end();
        waiter.join().expect("the waiter ends")
    });
    install(SIGUSR1, 0, 0);
    result
}

fn pipe() -> [i32; 2] {
    let mut ends = [0; 2];
    assert_eq!(sys!(SYS_pipe2, &mut ends, 0), Ok(0));
    ends
}

fn close(ends: [i32; 2]) {
    ends.into_iter().for_each(|end| assert_eq!(sys!(SYS_close, end), Ok(0)));
}

pub(crate) fn read() {
    let ends = pipe();
    let mut byte = [0u8; 8];
    assert_eq!(told_until_done(SIGUSR1, || sys!(SYS_read, ends[0], &mut byte, 8)), Err(EINTR));
    let result =
        made_again(|| sys!(SYS_read, ends[0], &mut byte, 8), || assert_eq!(sys!(SYS_write, ends[1], c"ab", 2), Ok(2)));
    assert_eq!((result, byte[0], byte[1]), (Ok(2), b'a', b'b'));
    // A handler that makes the pipe readable itself, by the way: the call goes on with that.
    TELL.store(ends[1], SeqCst);
    install(SIGUSR1, SA_RESTART, 0);
    assert_eq!(told_until_done(SIGUSR1, || sys!(SYS_read, ends[0], &mut byte, 1)), Ok(1));
    assert_eq!(byte[0], b'!');
    TELL.store(-1, SeqCst);
    install(SIGUSR1, 0, 0);
    close(ends);
    // A write that has begun returns what it has written.
    let ends = pipe();
    let much = vec![0u8; 200_000];
    let written = told_until_done(SIGUSR1, || sys!(SYS_write, ends[1], much.as_ptr(), much.len()));
    assert!(written == Err(EINTR) || matches!(written, Ok(1..=65_536)), "{written:?}");
    close(ends);
}

pub(crate) fn futex() {
    let word = AtomicI32::new(0);
    let wait = |time: Option<&[u64; 2]>| {
        let time = time.map_or(0, |time| (&raw const *time).expose_provenance());
        sys!(SYS_futex, word.as_ptr(), FUTEX_WAIT, 0, time)
    };
    assert_eq!(told_until_done(SIGUSR1, || wait(None)), Err(EINTR));
    let wake = || {
        word.store(1, SeqCst);
        let _ = sys!(SYS_futex, word.as_ptr(), FUTEX_WAKE, 1);
    };
    // Woken, or made again after the word has changed.
    assert!(matches!(made_again(|| wait(None), wake), Ok(0) | Err(EAGAIN)));
    word.store(0, SeqCst);
    // With a time-out it is not made again.
    install(SIGUSR1, SA_RESTART, 0);
    assert_eq!(told_until_done(SIGUSR1, || wait(Some(&[1000, 0]))), Err(EINTR));
    install(SIGUSR1, 0, 0);
}

pub(crate) fn poll() {
    let ends = pipe();
    let mut entry = [ends[0] as u64 | 1 << 32];
    install(SIGUSR1, SA_RESTART, 0);
    assert_eq!(told_until_done(SIGUSR1, || sys!(SYS_poll, &mut entry, 1, -1)), Err(EINTR), "never made again");
    assert_eq!(told_until_done(SIGUSR1, || sys!(SYS_poll, &mut entry, 1, 1_000_000)), Err(EINTR));
    let mut set = [0u64; 16];
    set[ends[0] as usize / 64] |= 1 << (ends[0] % 64);
    assert_eq!(told_until_done(SIGUSR1, || sys!(SYS_select, ends[0] + 1, &mut set, 0, 0, 0)), Err(EINTR));
    install(SIGUSR1, 0, 0);
    close(ends);
}

/// A sleep is never made again, and says how much of it was left.
pub(crate) fn sleep() {
    install(SIGUSR1, SA_RESTART, 0);
    let mut rest = [0u64; 2];
    assert_eq!(told_until_done(SIGUSR1, || sys!(SYS_nanosleep, &[1000u64, 0], &mut rest)), Err(EINTR));
    assert!((1..=1000).contains(&rest[0]), "{rest:?} of a thousand seconds");
    let mut rest = [0u64; 2];
    let relative = told_until_done(SIGUSR1, || sys!(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &[1000u64, 0], &mut rest));
    assert_eq!(relative, Err(EINTR));
    assert!((1..=1000).contains(&rest[0]), "{rest:?} of a thousand seconds");
    let mut rest = [7u64; 2];
    let until = [u64::from(u32::MAX), 0];
    let absolute =
        told_until_done(SIGUSR1, || sys!(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &until, &mut rest));
    assert_eq!((absolute, rest), (Err(EINTR), [7; 2]), "an absolute one has no rest");
    install(SIGUSR1, 0, 0);
}
