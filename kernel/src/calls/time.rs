//! Calls on time.

use super::{Answer, Caller, DONE, Reply, deadline, restart, value};
use crate::arch::accounts;
use crate::core::kernel::{Kernel, Memory, Tasks};
use crate::core::schedule;
use ::files::Errno;
use containers::{Channel, ProcessId, Registers, Resume, Space, ThreadId, Timer, Times, Wait};
use cpulocal::InKernel;
use hardware::clock;
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
    /// The time of a number of nanoseconds.
    pub fn new(nanoseconds: u64) -> Timespec {
        Timespec { seconds: (nanoseconds / SECOND) as i64, nanoseconds: (nanoseconds % SECOND) as i64 }
    }

    /// This time in nanoseconds, saturating; `EINVAL` if it is not a valid time.
    pub fn total(self) -> Result<u64, Errno> {
        if self.seconds < 0 || !(0..SECOND as i64).contains(&self.nanoseconds) {
            return Err(Errno::EINVAL);
        }
        Ok((self.seconds as u64).saturating_mul(SECOND).saturating_add(self.nanoseconds as u64))
    }
}

const REALTIME: i32 = 0;
const MONOTONIC: i32 = 1;
const PROCESS_CPU: i32 = 2;
const THREAD_CPU: i32 = 3;
const BOOT_TIME: i32 = 7;
const TAI: i32 = 11;

/// A clock.
#[derive(Clone, Copy)]
enum Clock {
    /// The time of day.
    Wall,
    /// The time since boot.
    Boot,
    /// The CPU time of a process, or only its time in user mode.
    Process(ProcessId, Part),
    /// The CPU time of a thread, or only its time in user mode.
    Thread(ThreadId, Part),
}

/// Which part of a CPU time is meant.
#[derive(Clone, Copy)]
enum Part {
    All,
    User,
}

/// The clock with an id. A negative id names a process or thread, whose number's complement lies above three bits: they
/// say which of the two it is, and what is counted (`clock_getcpuclockid`, `pthread_getcpuclockid`).
fn find_clock(caller: &Caller, tasks: &Tasks, id: i32) -> Result<Clock, Errno> {
    const OF_THREAD: i32 = 4;
    match id {
        REALTIME | 5 | TAI | 8 => return Ok(Clock::Wall),
        // CLOCK_MONOTONIC, _RAW, _COARSE, CLOCK_BOOTTIME and its alarm.
        MONOTONIC | 4 | 6 | BOOT_TIME | 9 => return Ok(Clock::Boot),
        PROCESS_CPU => return Ok(Clock::Process(caller.process, Part::All)),
        THREAD_CPU => return Ok(Clock::Thread(caller.thread, Part::All)),
        0.. => return Err(Errno::EINVAL),
        _ => {}
    }
    let part = match id & 3 {
        // Profiling, and scheduling.
        0 | 2 => Part::All,
        1 => Part::User,
        _ => return Err(Errno::EINVAL),
    };
    let thread = match !(id >> 3) as u32 {
        0 => caller.thread,
        number => tasks.by_number(number).ok_or(Errno::EINVAL)?,
    };
    let process = tasks.thread(thread).ok_or(Errno::EINVAL)?.process;
    match id & OF_THREAD != 0 {
        true if process == caller.process => Ok(Clock::Thread(thread, part)),
        false if thread == ThreadId::main(process) || thread == caller.thread => Ok(Clock::Process(process, part)),
        _ => Err(Errno::EINVAL),
    }
}

impl Clock {
    /// The clock's reading in nanoseconds.
    fn read(self, tasks: &Tasks) -> u64 {
        let (times, part) = match self {
            Clock::Wall => return clock::wall_clock(),
            Clock::Boot => return clock::nanoseconds(),
            Clock::Process(process, part) => (tasks.run_time(process), part),
            Clock::Thread(thread, part) => {
                (tasks.thread(thread).map_or(Times::default(), |thread| thread.run_time), part)
            }
        };
        match part {
            Part::All => times.total,
            Part::User => accounts::shares(times)[0],
        }
    }
}

/// Brings the CPU-time clock in argument 0 up to date: charges the calling thread for its time. Other CPUs that run
/// threads of the process asked about are called into the kernel, where they charge theirs: they may have been in user
/// mode for long.
pub fn charge(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel) {
    if !matches!(caller.int(0), PROCESS_CPU | THREAD_CPU | ..0) {
        return;
    }
    schedule::charge(kernel, cpu);
    let process = match find_clock(caller, &kernel.tasks, caller.int(0)) {
        Ok(Clock::Process(process, _)) => process,
        Ok(Clock::Thread(thread, _)) if thread != caller.thread => caller.process,
        _ => return,
    };
    let elsewhere = kernel.tasks.running_on(process).without(caller.space.cpu);
    kernel.tasks.needs_reschedule = kernel.tasks.needs_reschedule.union(elsewhere);
}

/// `clock_gettime(clock, time)`
pub fn clock_gettime(caller: &Caller, memory: &mut Memory, tasks: &Tasks) -> Answer {
    let now = find_clock(caller, tasks, caller.int(0))?.read(tasks);
    caller.write(memory, caller.arguments[1], &Timespec::new(now)).and(DONE)
}

/// `clock_getres(clock, resolution)`: a nanosecond.
pub fn clock_getres(caller: &Caller, memory: &mut Memory, tasks: &Tasks) -> Answer {
    find_clock(caller, tasks, caller.int(0))?;
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
    let clock = find_clock(caller, tasks, id)?;
    match clock {
        Clock::Thread(..) if id == THREAD_CPU => return Err(Errno::EOPNOTSUPP),
        // The sleep would never end.
        Clock::Thread(thread, _) if thread == caller.thread => return Err(Errno::EINVAL),
        Clock::Wall | Clock::Boot if !matches!(id, REALTIME | MONOTONIC | BOOT_TIME | TAI) => {
            return Err(Errno::EOPNOTSUPP);
        }
        _ => {}
    }
    let time = caller.read::<Timespec>(memory, caller.arguments[2])?.total()?;
    let absolute = caller.arguments[1] & ABSOLUTE != 0;
    let reading = clock.read(tasks);
    match clock {
        Clock::Wall | Clock::Boot => sleep(caller, tasks, if absolute { time.saturating_sub(reading) } else { time }),
        _ => {
            let until = if absolute { time } else { reading.saturating_add(time) };
            sleep_while_others_work(caller, memory, tasks, reading, until)
        }
    }
}

/// Sleeps until a clock of CPU time, which is at `reading` now, shows `until`. The kernel does not watch such a clock:
/// the call looks again at the earliest time at which the clock can have come so far.
fn sleep_while_others_work(caller: &Caller, memory: &Memory, tasks: &mut Tasks, reading: u64, until: u64) -> Answer {
    const SOON: u64 = SECOND / 1000;
    let until = restart(tasks, caller).map_or(until, |first| first.progress);
    if until <= reading {
        return DONE;
    }
    let rest = ((until - reading) / memory.cpu_count() as u64).max(SOON);
    let deadline = Some(clock::nanoseconds().saturating_add(rest));
    tasks.park(caller.thread, Wait { progress: until, ..Wait::restart(Channel::Time, deadline) });
    Ok(Reply::Parked)
}

fn sleep(caller: &Caller, tasks: &mut Tasks, time: u64) -> Answer {
    let deadline = deadline(tasks, caller, Some(time));
    tasks.park(caller.thread, Wait { expired: Resume::Return(0), ..Wait::restart(Channel::Time, deadline) });
    Ok(Reply::Parked)
}

/// Writes how much time was left of a sleep with this deadline, which a signal has ended, if its caller has given an
/// address that can be written.
pub fn tell_rest(memory: &mut Memory, space: Space, call: &Registers, deadline: u64) {
    let address = match Sysno::new(call.rax as usize) {
        Some(Sysno::nanosleep) => call.rsi,
        Some(Sysno::clock_nanosleep) if call.rsi & ABSOLUTE == 0 && is_watched(call.rdi as i32) => call.r10,
        _ => return,
    };
    if address != 0 {
        let rest = Timespec::new(deadline.saturating_sub(clock::nanoseconds()));
        let _ = memory.copy_out(space, address, rest.as_bytes());
    }
}

/// Whether sleeps by a clock have a deadline that the kernel watches.
fn is_watched(id: i32) -> bool {
    !matches!(id, PROCESS_CPU | ..0)
}

/// `struct itimerval`: interval and time, in seconds and microseconds.
type Interval = [u64; 4];

/// `ITIMER_REAL`, the only one that can be set.
const ITIMER_REAL: i32 = 0;
const ITIMER_VIRTUAL: i32 = 1;
const ITIMER_PROF: i32 = 2;

const MICROSECOND: u64 = 1000;

/// A timer as a program sees it. A running timer has at least a microsecond left.
fn interval_of(timer: Option<Timer>) -> Interval {
    let Some(Timer { at, interval }) = timer else { return [0; 4] };
    let left = at.saturating_sub(clock::nanoseconds()).max(MICROSECOND);
    let halves = |time: u64| [time / SECOND, time % SECOND / MICROSECOND];
    let ([a, b], [c, d]) = (halves(interval), halves(left));
    [a, b, c, d]
}

/// `getitimer(which, value)`
pub fn getitimer(caller: &Caller, memory: &mut Memory, tasks: &Tasks) -> Answer {
    let timer = match caller.int(0) {
        ITIMER_REAL => tasks.timer(caller.process),
        ITIMER_VIRTUAL | ITIMER_PROF => None,
        _ => return Err(Errno::EINVAL),
    };
    caller.write(memory, caller.arguments[1], &interval_of(timer)).and(DONE)
}

/// `setitimer(which, new, old)`
pub fn setitimer(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let [_, new, old, ..] = *caller.arguments;
    let wanted = if new == 0 { [0; 4] } else { caller.read::<Interval>(memory, new)? };
    let time = |seconds: u64, microseconds: u64| {
        let valid = seconds <= i64::MAX as u64 && microseconds < SECOND / MICROSECOND;
        let time = || seconds.saturating_mul(SECOND).saturating_add(microseconds * MICROSECOND);
        valid.then(time).ok_or(Errno::EINVAL)
    };
    let (interval, first) = (time(wanted[0], wanted[1])?, time(wanted[2], wanted[3])?);
    let before = match caller.int(0) {
        ITIMER_REAL => set_timer(caller, tasks, first, interval),
        ITIMER_VIRTUAL | ITIMER_PROF if first == 0 => None,
        _ => return Err(Errno::EINVAL),
    };
    if old != 0 {
        caller.write(memory, old, &interval_of(before))?;
    }
    DONE
}

/// `alarm(seconds)`: returns the seconds that were left, rounded, but not to 0.
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

/// The deadline for an optional relative `timespec` at `address`.
#[inline]
pub fn relative(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, address: u64) -> Result<Option<u64>, Errno> {
    if address == 0 {
        // There was no deadline when the call was made before, either.
        restart(tasks, caller);
        return Ok(None);
    }
    from_now(caller, memory, tasks, address)
}

/// The deadline for the relative `timespec` at `address`.
fn from_now(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, address: u64) -> Result<Option<u64>, Errno> {
    let timeout = caller.read::<Timespec>(memory, address)?.total()?;
    Ok(deadline(tasks, caller, Some(timeout)))
}
