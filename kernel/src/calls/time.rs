//! Calls on time.

use super::{Answer, Caller, DONE, Reply, deadline, restart, value};
use crate::arch::clock;
use crate::kernel::{Memory, Tasks};
use ::files::Errno;
use containers::{Channel, Registers, Resume, Space, Timer, Wait};
use syscalls::Sysno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// `struct timespec`
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

impl Timespec {
    /// Of a number of nanoseconds.
    pub fn new(nanoseconds: u64) -> Timespec {
        Timespec { seconds: (nanoseconds / SECOND) as i64, nanoseconds: (nanoseconds % SECOND) as i64 }
    }

    /// In nanoseconds, saturating; `EINVAL` if it is not a time.
    pub fn total(self) -> Result<u64, Errno> {
        if self.seconds < 0 || !(0..SECOND as i64).contains(&self.nanoseconds) {
            return Err(Errno::EINVAL);
        }
        Ok((self.seconds as u64).saturating_mul(SECOND).saturating_add(self.nanoseconds as u64))
    }
}

const REALTIME: i32 = 0;
/// The clock of the process's CPU time.
pub const PROCESS_CPU: i32 = 2;
/// The clock of the thread's CPU time.
pub const THREAD_CPU: i32 = 3;
const TAI: i32 = 11;

/// A clock's reading in nanoseconds.
fn read_clock(caller: &Caller, tasks: &Tasks, id: i32) -> Result<u64, Errno> {
    match id {
        REALTIME | 5 | TAI | 8 => Ok(clock::wall_clock()),
        // CLOCK_MONOTONIC, _RAW, _COARSE, CLOCK_BOOTTIME and its alarm.
        1 | 4 | 6 | 7 | 9 => Ok(clock::nanoseconds()),
        PROCESS_CPU => Ok(tasks.run_time(caller.process).total),
        THREAD_CPU => Ok(tasks.thread(caller.thread).map_or(0, |thread| thread.run_time.total)),
        _ => Err(Errno::EINVAL),
    }
}

/// `clock_gettime(clock, time)`
pub fn clock_gettime(caller: &Caller, memory: &mut Memory, tasks: &Tasks) -> Answer {
    let now = read_clock(caller, tasks, caller.int(0))?;
    caller.write(memory, caller.arguments[1], &Timespec::new(now)).and(DONE)
}

/// `clock_getres(clock, resolution)`: a nanosecond.
pub fn clock_getres(caller: &Caller, memory: &mut Memory, tasks: &Tasks) -> Answer {
    read_clock(caller, tasks, caller.int(0))?;
    if caller.arguments[1] != 0 {
        caller.write(memory, caller.arguments[1], &Timespec::new(1))?;
    }
    DONE
}

/// `gettimeofday(time, zone)`
pub fn gettimeofday(caller: &Caller, memory: &mut Memory) -> Answer {
    let now = clock::wall_clock();
    if caller.arguments[0] != 0 {
        caller.write(memory, caller.arguments[0], &[now / SECOND, now % SECOND / 1000])?;
    }
    if caller.arguments[1] != 0 {
        caller.write(memory, caller.arguments[1], &[0_u32; 2])?;
    }
    DONE
}

/// `time(result)`
pub fn time(caller: &Caller, memory: &mut Memory) -> Answer {
    let seconds = clock::wall_clock() / SECOND;
    if caller.arguments[0] != 0 {
        caller.write(memory, caller.arguments[0], &seconds)?;
    }
    value(seconds)
}

/// `nanosleep(time, rest)`
pub fn nanosleep(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let time = caller.read::<Timespec>(memory, caller.arguments[0])?.total()?;
    sleep(caller, tasks, time)
}

/// `TIMER_ABSTIME`
const ABSOLUTE: u64 = 1;

/// `clock_nanosleep(clock, flags, time, rest)`
pub fn clock_nanosleep(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let id = caller.int(0);
    if id == THREAD_CPU {
        return Err(Errno::EINVAL);
    }
    let reading = read_clock(caller, tasks, id)?;
    let time = caller.read::<Timespec>(memory, caller.arguments[2])?.total()?;
    let rest = if caller.arguments[1] & ABSOLUTE != 0 { time.saturating_sub(reading) } else { time };
    sleep(caller, tasks, rest)
}

fn sleep(caller: &Caller, tasks: &mut Tasks, time: u64) -> Answer {
    let deadline = deadline(tasks, caller, Some(time));
    tasks.park(caller.thread, Wait { expired: Resume::Return(0), ..Wait::restart(Channel::Time, deadline) });
    Ok(Reply::Parked)
}

/// A signal has ended a call whose deadline was this one: a sleep says how much of it was left, if its caller
/// wants to know and can be told.
pub fn tell_rest(memory: &mut Memory, space: Space, call: &Registers, deadline: u64) {
    let address = match Sysno::new(call.rax as usize) {
        Some(Sysno::nanosleep) => call.rsi,
        Some(Sysno::clock_nanosleep) if call.rsi & ABSOLUTE == 0 => call.r10,
        _ => return,
    };
    if address != 0 {
        let rest = Timespec::new(deadline.saturating_sub(clock::nanoseconds()));
        let _ = memory.copy_out(space, address, rest.as_bytes());
    }
}

/// `struct itimerval`: interval and time, in seconds and microseconds.
type Interval = [u64; 4];

/// `ITIMER_REAL`, the only one there is.
const ITIMER_REAL: i32 = 0;

const MICROSECOND: u64 = 1000;

/// A timer as a program sees it. One that runs has a microsecond left at least.
fn interval_of(timer: Option<Timer>) -> Interval {
    let Some(Timer { at, interval }) = timer else { return [0; 4] };
    let left = at.saturating_sub(clock::nanoseconds()).max(MICROSECOND);
    let halves = |time: u64| [time / SECOND, time % SECOND / MICROSECOND];
    let ([a, b], [c, d]) = (halves(interval), halves(left));
    [a, b, c, d]
}

/// `getitimer(which, value)`
pub fn getitimer(caller: &Caller, memory: &mut Memory, tasks: &Tasks) -> Answer {
    if caller.int(0) != ITIMER_REAL {
        return Err(Errno::EINVAL);
    }
    let timer = tasks.process(caller.process).ok_or(Errno::ESRCH)?.control.timer;
    caller.write(memory, caller.arguments[1], &interval_of(timer)).and(DONE)
}

/// `setitimer(which, new, old)`
pub fn setitimer(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let [_, new, old, ..] = *caller.arguments;
    let wanted = if new == 0 { [0; 4] } else { caller.read::<Interval>(memory, new)? };
    let time = |seconds: u64, microseconds: u64| {
        let valid = seconds <= i64::MAX as u64 && microseconds < SECOND / MICROSECOND;
        let time = seconds.saturating_mul(SECOND).saturating_add(microseconds * MICROSECOND);
        if valid { Ok(time) } else { Err(Errno::EINVAL) }
    };
    let (interval, first) = (time(wanted[0], wanted[1])?, time(wanted[2], wanted[3])?);
    if caller.int(0) != ITIMER_REAL {
        return Err(Errno::EINVAL);
    }
    let before = set_timer(caller, tasks, first, interval);
    if old != 0 {
        caller.write(memory, old, &interval_of(before))?;
    }
    DONE
}

/// `alarm(seconds)`: the seconds that were left, rounded, but not to nothing.
pub fn alarm(caller: &Caller, tasks: &mut Tasks) -> Answer {
    let before = set_timer(caller, tasks, u64::from(caller.arguments[0] as u32) * SECOND, 0);
    let [.., seconds, microseconds] = interval_of(before);
    let up = microseconds >= SECOND / MICROSECOND / 2 || seconds == 0 && microseconds > 0;
    value(seconds + u64::from(up))
}

fn set_timer(caller: &Caller, tasks: &mut Tasks, first: u64, interval: u64) -> Option<Timer> {
    let timer = (first > 0).then(|| Timer { at: clock::nanoseconds().saturating_add(first), interval });
    // This CPU asks for the next deadline before it leaves the kernel.
    tasks.alert(caller.thread);
    tasks.set_timer(caller.process, timer)
}

/// The deadline that an optional relative `timespec` at `address` asks for.
#[inline]
pub fn relative(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, address: u64) -> Result<Option<u64>, Errno> {
    if address == 0 {
        // Nor was there a deadline when the call was made before.
        restart(tasks, caller);
        return Ok(None);
    }
    from_now(caller, memory, tasks, address)
}

/// The deadline that the relative `timespec` at `address` asks for.
fn from_now(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, address: u64) -> Result<Option<u64>, Errno> {
    let timeout = caller.read::<Timespec>(memory, address)?.total()?;
    Ok(deadline(tasks, caller, Some(timeout)))
}
