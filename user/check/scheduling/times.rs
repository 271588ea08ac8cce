//! Clocks and sleeping: clocks never go backwards and agree with each other, and no sleep is too short. What a program
//! computes is its time in user mode.
//!
//! Run by: `tests/tests/boot/application.rs`, `tests/tests/boot/checked.rs`, `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

use libc::*;
use programs::children::{End, child, end_of};
use programs::sys;
use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

fn main() {
    monotonic();
    clocks();
    sleeps();
    cpu_clocks();
    user_time();
    state_of_one_that_computes();
    refused();
    println!("ok times");
}

/// A clock by number.
fn clock(id: i32) -> Duration {
    let mut time = timespec { tv_sec: 0, tv_nsec: -1 };
    assert_eq!(sys!(SYS_clock_gettime, id, &mut time), Ok(0), "clock {id}");
    assert!((0..1_000_000_000).contains(&time.tv_nsec), "nanoseconds of clock {id}: {}", time.tv_nsec);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn monotonic() {
    let mut last = clock(CLOCK_MONOTONIC);
    let first = last;
    for _ in 0..10_000 {
        let now = clock(CLOCK_MONOTONIC);
        assert!(now >= last, "the monotonic clock went back from {last:?} to {now:?}");
        last = now;
    }
    assert!(last > first, "the monotonic clock goes on");
}

/// The clocks that count the same thing agree.
fn clocks() {
    let second = Duration::from_secs(1);
    let between = |id, other| clock(other).abs_diff(clock(id));
    assert!(between(CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW) < second);
    assert!(between(CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE) < second);
    assert!(between(CLOCK_REALTIME, CLOCK_REALTIME_COARSE) < second);
    assert!(clock(CLOCK_BOOTTIME) + second > clock(CLOCK_MONOTONIC));

    let mut time = timeval { tv_sec: 0, tv_usec: -1 };
    assert_eq!(sys!(SYS_gettimeofday, &mut time, 0), Ok(0), "gettimeofday");
    let now = clock(CLOCK_REALTIME);
    let then = Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    assert!(now >= then && now - then < second, "gettimeofday says {then:?}, the clock {now:?}");
    let seconds = sys!(SYS_time, 0).expect("time");
    assert!(now.as_secs().abs_diff(seconds) <= 1, "time says {seconds}, the clock {now:?}");
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    assert!(since.as_secs() > 1_700_000_000, "the year is past 2023: {since:?}");

    for id in [CLOCK_REALTIME, CLOCK_MONOTONIC] {
        let mut resolution = timespec { tv_sec: 9, tv_nsec: 0 };
        assert_eq!(sys!(SYS_clock_getres, id, &mut resolution), Ok(0), "resolution of clock {id}");
        assert_eq!((resolution.tv_sec, resolution.tv_nsec), (0, 1), "a nanosecond");
    }

    // CPU time passes with work and not with sleep.
    let cpu = clock(CLOCK_PROCESS_CPUTIME_ID);
    std::thread::sleep(Duration::from_millis(50));
    let asleep = clock(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    assert!(asleep < Duration::from_millis(40), "CPU time of 50 ms asleep: {asleep:?}");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(50) {
        compute(100_000);
    }
    let busy = clock(CLOCK_PROCESS_CPUTIME_ID) - cpu - asleep;
    assert!(busy > Duration::from_millis(5), "CPU time of 50 ms busy: {busy:?}");
    assert!(clock(CLOCK_THREAD_CPUTIME_ID) <= clock(CLOCK_PROCESS_CPUTIME_ID));
}

/// The clock of a process's CPU time, or of a thread's (`clock_getcpuclockid`, `pthread_getcpuclockid`).
fn cpu_clock(number: i32, of_thread: bool) -> i32 {
    const COUNTED_BY_SCHEDULER: i32 = 2;
    !number << 3 | i32::from(of_thread) << 2 | COUNTED_BY_SCHEDULER
}

fn cpu_clocks() {
    let me = std::process::id() as i32;
    let near = Duration::from_secs(1);
    for (id, plain) in [
        (cpu_clock(0, false), CLOCK_PROCESS_CPUTIME_ID),
        (cpu_clock(me, false), CLOCK_PROCESS_CPUTIME_ID),
        (cpu_clock(0, true), CLOCK_THREAD_CPUTIME_ID),
        (cpu_clock(me, true), CLOCK_THREAD_CPUTIME_ID),
    ] {
        assert!(clock(plain) <= clock(id) && clock(id) <= clock(plain) + near, "clock {id:#x}");
        assert_eq!(sys!(SYS_clock_getres, id, 0), Ok(0));
    }
    for id in [cpu_clock(999_999, false), cpu_clock(999_999, true), cpu_clock(me, false) | 3] {
        assert_eq!(sys!(SYS_clock_getres, id, 0), Err(EINVAL), "clock {id:#x}");
    }
    // Another process's, which is in user mode all the time.
    let child = child(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    let wanted = Duration::from_millis(30);
    let length = timespec { tv_sec: 0, tv_nsec: wanted.as_nanos() as i64 };
    let clock_of_child = cpu_clock(child, false);
    assert_eq!(sys!(SYS_clock_gettime, cpu_clock(child, true), &length), Err(EINVAL), "no thread of this process");
    let before = clock(clock_of_child);
    assert_eq!(sys!(SYS_clock_nanosleep, clock_of_child, 0, &length, 0), Ok(0));
    assert!(clock(clock_of_child) >= before + wanted, "the child has worked for that long");
    assert_eq!(sys!(SYS_kill, child, SIGKILL), Ok(0));
    assert_eq!(end_of(child), End::Killed(SIGKILL));
    let nothing = timespec { tv_sec: 0, tv_nsec: 1 };
    for (id, error) in [
        (CLOCK_THREAD_CPUTIME_ID, EOPNOTSUPP),
        (CLOCK_MONOTONIC_RAW, EOPNOTSUPP),
        (CLOCK_REALTIME_COARSE, EOPNOTSUPP),
        (cpu_clock(0, true), EINVAL),
    ] {
        assert_eq!(sys!(SYS_clock_nanosleep, id, 0, &nothing, 0), Err(error), "clock {id:#x}");
    }
}

/// Computes for so many rounds, without a call.
fn compute(rounds: u64) {
    (0..rounds).for_each(|round| _ = black_box(round));
}

/// The user time that `getrusage` tells.
fn user(who: i32) -> Duration {
    // SAFETY: zeros are a value of it.
    let mut usage: rusage = unsafe { std::mem::zeroed() };
    assert_eq!(sys!(SYS_getrusage, who, &mut usage), Ok(0));
    Duration::new(usage.ru_utime.tv_sec as u64, usage.ru_utime.tv_usec as u32 * 1000)
}

/// What a thread computes without a call is its time in user mode, and its process's.
fn user_time() {
    const ROUNDS: u64 = 1 << 18;
    let time = |rounds| {
        let start = Instant::now();
        compute(rounds);
        start.elapsed()
    };
    // Nothing has disturbed the shortest of many. A machine may be at a third of its speed later.
    let least = (0..20).map(|_| time(ROUNDS)).min().expect("times") / 4;
    let before = [RUSAGE_SELF, RUSAGE_THREAD].map(user);
    let took = time(100 * ROUNDS);
    for (who, before) in [RUSAGE_SELF, RUSAGE_THREAD].into_iter().zip(before) {
        let used = user(who) - before;
        assert!(used >= 100 * least, "{used:?} in user mode, and {least:?} at least for a hundredth");
        assert!(used < took + Duration::from_millis(20), "{used:?} in user mode of {took:?}");
    }
}

/// A field of `/proc/PID/stat`, proc_pid_stat(5), counted from 1. No name here has a space in it.
fn stat(process: i32, field: usize) -> String {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process's file");
    text.split_whitespace().nth(field - 1).expect("a field").to_owned()
}

/// A process that computes runs, on a CPU that is there, and its user time passes; its parent gets the time at its end.
fn state_of_one_that_computes() {
    const STATE: usize = 3;
    const USER: usize = 14;
    const CPU: usize = 39;
    let user_time = |process| {
        // The clock makes the CPU that runs the process enter the kernel, which may charge it no earlier.
        clock(cpu_clock(process, false));
        stat(process, USER).parse::<u64>().expect("ticks")
    };
    let before = user(RUSAGE_CHILDREN);
    let child = child(|| {
        loop {
            compute(1000);
        }
    });
    while user_time(child) < 5 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(stat(child, STATE), "R");
    assert!(stat(child, CPU).parse::<usize>().is_ok_and(|cpu| cpu < 64));
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).expect("a process's file");
    assert!(status.contains("\nState:\tR (running)\n"), "{status}");
    let first = user_time(child);
    while user_time(child) < first + 5 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let last = user_time(child);
    assert_eq!(sys!(SYS_kill, child, SIGKILL), Ok(0));
    assert_eq!(end_of(child), End::Killed(SIGKILL));
    let all = (user(RUSAGE_CHILDREN) - before).as_millis() as u64 / 10;
    assert!(all >= last, "{all} ticks in the end, {last} before");
}

fn sleeps() {
    for milliseconds in [0, 1, 10, 100] {
        let wanted = Duration::from_millis(milliseconds);
        let start = Instant::now();
        std::thread::sleep(wanted);
        let slept = start.elapsed();
        assert!(slept >= wanted, "slept {slept:?} of {wanted:?}");
        assert!(slept < wanted + Duration::from_secs(2), "slept {slept:?} instead of {wanted:?}");
    }
    let start = Instant::now();
    let length = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    assert_eq!(sys!(SYS_nanosleep, &length, 0), Ok(0), "nanosleep");
    assert!(start.elapsed() >= Duration::from_millis(20), "nanosleep");

    // Until a point in time, and until one that has passed.
    let until = clock(CLOCK_MONOTONIC) + Duration::from_millis(20);
    let at = timespec { tv_sec: until.as_secs() as i64, tv_nsec: until.subsec_nanos().into() };
    assert_eq!(sys!(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &at, 0), Ok(0));
    assert!(clock(CLOCK_MONOTONIC) >= until, "woke early");
    assert_eq!(sys!(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &at, 0), Ok(0), "at once");
}

fn refused() {
    let sleep = |tv_sec, tv_nsec| sys!(SYS_nanosleep, &timespec { tv_sec, tv_nsec }, 0);
    assert_eq!(sleep(0, 1_000_000_000), Err(EINVAL), "too many nanoseconds");
    assert_eq!(sleep(0, -1), Err(EINVAL), "negative nanoseconds");
    assert_eq!(sleep(-1, 0), Err(EINVAL), "negative seconds");
    assert_eq!(sys!(SYS_nanosleep, 8, 0), Err(EFAULT));
    assert_eq!(sys!(SYS_clock_gettime, 77, 0), Err(EINVAL), "no such clock");
    assert_eq!(sys!(SYS_clock_gettime, CLOCK_MONOTONIC, 8), Err(EFAULT));
    assert_eq!(sys!(SYS_clock_getres, 77, 0), Err(EINVAL), "no such clock");
    assert_eq!(sys!(SYS_clock_getres, CLOCK_MONOTONIC, 0), Ok(0), "nowhere to write");
    // More microseconds than there are nanoseconds; then the longest time there is.
    let timer = |seconds: i64, microseconds: i64| {
        let value = [seconds, microseconds, seconds, microseconds];
        sys!(SYS_setitimer, ITIMER_REAL, &value, 0)
    };
    assert_eq!(timer(0, i64::MAX), Err(EINVAL), "too many microseconds");
    assert_eq!((timer(i64::MAX, 999_999), timer(0, 0)), (Ok(0), Ok(0)), "the longest time, and none");
    assert_eq!(sys!(SYS_clock_nanosleep, 77, 0, &timespec { tv_sec: 0, tv_nsec: 1 }, 0), Err(EINVAL));
}
