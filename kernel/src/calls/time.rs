//! Calls on time.

use super::{Answer, Caller, DONE, Reply, deadline};
use crate::arch::clock;
use crate::kernel::{Memory, Tasks};
use ::files::Errno;
use containers::{Channel, Resume, Wait};
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
        PROCESS_CPU => Ok(tasks.run_time(caller.process)),
        THREAD_CPU => Ok(tasks.thread(caller.thread).map_or(0, |thread| thread.run_time)),
        _ => Err(Errno::EINVAL),
    }
}

/// `clock_gettime(clock, time)`
pub fn clock_gettime(caller: &Caller, memory: &mut Memory, tasks: &Tasks) -> Answer {
    let now = read_clock(caller, tasks, caller.int(0))?;
    caller.write(memory, caller.arguments[1], &Timespec::new(now))?;
    DONE
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
    super::value(seconds)
}

/// `nanosleep(time, rest)`
pub fn nanosleep(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let time = caller.read::<Timespec>(memory, caller.arguments[0])?.total()?;
    sleep_until(caller, tasks, clock::nanoseconds().saturating_add(time))
}

/// `clock_nanosleep(clock, flags, time, rest)`
pub fn clock_nanosleep(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    const ABSOLUTE: u64 = 1;
    let id = caller.int(0);
    if id == THREAD_CPU {
        return Err(Errno::EINVAL);
    }
    let reading = read_clock(caller, tasks, id)?;
    let time = caller.read::<Timespec>(memory, caller.arguments[2])?.total()?;
    let rest = if caller.arguments[1] & ABSOLUTE != 0 { time.saturating_sub(reading) } else { time };
    sleep_until(caller, tasks, clock::nanoseconds().saturating_add(rest))
}

fn sleep_until(caller: &Caller, tasks: &mut Tasks, deadline: u64) -> Answer {
    let wait = Wait {
        channel: Channel::Time,
        deadline: Some(deadline),
        woken: Resume::Return(0),
        expired: Resume::Return(0),
        bits: 0,
        progress: 0,
    };
    tasks.park(caller.thread, wait);
    Ok(Reply::Parked)
}

/// The deadline that an optional relative `timespec` at `address` asks for.
pub fn relative(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, address: u64) -> Result<Option<u64>, Errno> {
    let timeout = match address {
        0 => None,
        _ => Some(caller.read::<Timespec>(memory, address)?.total()?),
    };
    Ok(deadline(tasks, caller, timeout))
}
