//! Interval timers.

use crate::*;
use programs::cpus;

/// Interval and time of a timer, in seconds and microseconds.
type Times = [u64; 4];

fn set(times: Times) -> Result<Times, i32> {
    let mut old = [9; 4];
    sys!(SYS_setitimer, ITIMER_REAL, &times, &mut old).map(|_| old)
}

fn get() -> Times {
    let mut times = [9; 4];
    assert_eq!(sys!(SYS_getitimer, ITIMER_REAL, &mut times), Ok(0));
    times
}

pub(crate) fn alarm() {
    assert_eq!(sys!(SYS_alarm, 100), Ok(0), "there was none");
    assert!(matches!(sys!(SYS_alarm, 50), Ok(99 | 100)));
    let left = get();
    assert_eq!(left[..2], [0, 0]);
    assert!(left[2] == 49 && left[3] < 1_000_000 || left[2..] == [50, 0], "{left:?}");
    assert!(matches!(sys!(SYS_alarm, 0), Ok(49 | 50)));
    assert_eq!(get(), [0; 4]);
    assert_eq!(sys!(SYS_alarm, 0), Ok(0));
    assert_eq!(numbers(), [0; 0]);
}

pub(crate) fn interval() {
    assert_eq!(set([0, 0, 0, 1_000_000]), Err(EINVAL), "that is a second");
    assert_eq!(set([0, 0, u64::MAX, 0]), Err(EINVAL));
    assert_eq!(sys!(SYS_setitimer, 9, &[0u64; 4], 0), Err(EINVAL));
    assert_eq!(sys!(SYS_setitimer, ITIMER_REAL, 8, 0), Err(EFAULT));
    // Once: it tells what a signal of the kernel's own does.
    assert_eq!(set([0, 0, 0, 2000]), Ok([0; 4]));
    cpus::spin_until(|| COUNT.load(SeqCst) == 1);
    let told: Vec<_> = seen().iter().map(|seen| (seen.signal, seen.code, seen.sender)).collect();
    assert_eq!(told, [(SIGALRM, SI_KERNEL, 0)]);
    assert_eq!(get(), [0; 4], "it does not run any more");
    // Again and again, while this thread makes no calls, and when it waits.
    assert_eq!(set([0, 5000, 0, 1000]), Ok([0; 4]));
    cpus::spin_until(|| COUNT.load(SeqCst) >= 5);
    assert_eq!(sys!(SYS_pause), Err(EINTR));
    assert_eq!(get()[..2], [0, 5000]);
    let before = set([0; 4]).expect("off");
    assert_eq!(before[..2], [0, 5000]);
    assert!(before[2] == 0 && (1..=5000).contains(&before[3]), "{before:?}");
    seen();
    // Off is off.
    assert_eq!(sys!(SYS_nanosleep, &[0u64, 5_000_000], 0), Ok(0));
    assert_eq!(numbers(), [0; 0]);
}
