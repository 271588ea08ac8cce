//! Calls on time.

use super::argument::Pointer;
use super::{Answer, Caller, DONE, Reply, UserMemory, deadline, restart, value};
use crate::arch::accounts;
use crate::arch::own::Own;
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use crate::core::schedule;
use ::files::Errno;
use containers::{Channel, ProcessId, Registers, Resume, Space, ThreadId, Timer, Wait};
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

/// A clock.
#[derive(Clone, Copy)]
enum Clock {
    /// One that shows every thread the same.
    Common(Common),
    /// The CPU time of a process, or only its time in user mode.
    Process(ProcessId, Part),
    /// The CPU time of a thread, or only its time in user mode.
    Thread(ThreadId, Part),
}

/// A clock that shows every thread the same.
#[derive(Clone, Copy)]
enum Common {
    /// The time of day.
    Wall,
    /// The time since boot.
    Boot,
}

/// Which part of a CPU time is meant.
#[derive(Clone, Copy)]
enum Part {
    All,
    User,
}

impl Common {
    /// The clock with an id, if it is one of these.
    fn find(id: i32) -> Option<Common> {
        match id as u32 {
            linux::CLOCK_REALTIME | linux::CLOCK_REALTIME_COARSE | linux::CLOCK_REALTIME_ALARM | linux::CLOCK_TAI => {
                Some(Common::Wall)
            }
            linux::CLOCK_MONOTONIC
            | linux::CLOCK_MONOTONIC_RAW
            | linux::CLOCK_MONOTONIC_COARSE
            | linux::CLOCK_BOOTTIME
            | linux::CLOCK_BOOTTIME_ALARM => Some(Common::Boot),
            _ => None,
        }
    }

    /// The clock's reading in nanoseconds.
    fn read(self) -> u64 {
        match self {
            Common::Wall => clock::wall_clock(),
            Common::Boot => clock::nanoseconds(),
        }
    }
}

/// The clock with an id. A negative id names a process or thread, whose number's complement lies above three bits: they
/// say which of the two it is, and what is counted (`clock_getcpuclockid`, `pthread_getcpuclockid`).
fn find_clock(caller: &Caller, tasks: &Tasks, id: i32) -> Result<Clock, Errno> {
    if let Some(clock) = Common::find(id) {
        return Ok(Clock::Common(clock));
    }
    match u32::try_from(id) {
        Ok(linux::CLOCK_PROCESS_CPUTIME_ID) => Ok(Clock::Process(caller.process, Part::All)),
        Ok(linux::CLOCK_THREAD_CPUTIME_ID) => Ok(Clock::Thread(caller.thread, Part::All)),
        Ok(_) => Err(Errno::EINVAL),
        Err(_) => find_cpu_clock(caller, tasks, id),
    }
}

/// The clock with a negative id.
fn find_cpu_clock(caller: &Caller, tasks: &Tasks, id: i32) -> Result<Clock, Errno> {
    const OF_THREAD: i32 = 4;
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
    fn read(self, memory: &Memory, tasks: &Tasks) -> u64 {
        let accompanied = &memory.physical.accompanied;
        let (times, part) = match self {
            Clock::Common(clock) => return clock.read(),
            Clock::Process(process, part) => (accompanied.process_time(tasks, process), part),
            Clock::Thread(thread, part) => (accompanied.thread_time(tasks, thread), part),
        };
        match part {
            Part::All => times.total,
            Part::User => accounts::shares(times)[0],
        }
    }
}

/// Brings a CPU-time clock up to date: charges the calling thread for its time. Other CPUs that run
/// threads of the process asked about are called into the kernel, where they charge theirs: they may have been in user
/// mode for long.
fn charge(caller: &Caller, tasks: &mut Tasks, cpu: &InKernel, id: i32) {
    if let Ok(id) = u32::try_from(id)
        && !matches!(id, linux::CLOCK_PROCESS_CPUTIME_ID | linux::CLOCK_THREAD_CPUTIME_ID)
    {
        return;
    }
    schedule::charge(tasks, cpu);
    let process = match find_clock(caller, tasks, id) {
        Ok(Clock::Process(process, _)) => process,
        Ok(Clock::Thread(thread, _)) if thread != caller.thread => caller.process,
        _ => return,
    };
    let elsewhere = tasks.running_on(process).without(caller.space.cpu);
    tasks.needs_reschedule = tasks.needs_reschedule.union(elsewhere);
}

/// `clock_gettime(clock, time)`
pub fn clock_gettime(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    cpu: &InKernel,
    clock: i32,
    time: Pointer<Timespec>,
) -> Answer {
    charge(caller, tasks, cpu, clock);
    let now = find_clock(caller, tasks, clock)?.read(memory, tasks);
    caller.write(memory, time, &Timespec::new(now)).and(DONE)
}

/// `clock_gettime(clock, time)` without the kernel's state, for clocks that show every thread the same.
pub fn common_gettime(caller: &Caller, own: &mut Own<'_>, clock: i32, time: Pointer<Timespec>) -> Answer {
    match Common::find(clock) {
        Some(clock) => caller.write(own, time, &Timespec::new(clock.read())).and(DONE),
        None => {
            own.is_too_little();
            DONE
        }
    }
}

/// `clock_getres(clock, resolution)`: a nanosecond.
pub fn clock_getres(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    clock: i32,
    resolution: Option<Pointer<Timespec>>,
) -> Answer {
    find_clock(caller, tasks, clock)?;
    if let Some(resolution) = resolution {
        caller.write(memory, resolution, &Timespec::new(1))?;
    }
    DONE
}

/// `gettimeofday(time, zone)`
pub fn gettimeofday(
    caller: &Caller,
    user: &mut impl UserMemory,
    time: Option<Pointer<[u64; 2]>>,
    zone: Option<Pointer<[u32; 2]>>,
) -> Answer {
    let now = clock::wall_clock();
    if let Some(time) = time {
        caller.write(user, time, &[now / SECOND, now % SECOND / 1000])?;
    }
    if let Some(zone) = zone {
        caller.write(user, zone, &[0; 2])?;
    }
    DONE
}

/// `time(result)`
pub fn time(caller: &Caller, user: &mut impl UserMemory, result: Option<Pointer<u64>>) -> Answer {
    let seconds = clock::wall_clock() / SECOND;
    if let Some(result) = result {
        caller.write(user, result, &seconds)?;
    }
    value(seconds)
}

/// `nanosleep(time, rest)`: [`tell_rest`] writes the rest.
pub fn nanosleep(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, time: Pointer<Timespec>) -> Answer {
    let time = caller.read(memory, time)?.total()?;
    sleep(caller, tasks, time)
}

/// `clock_nanosleep(clock, flags, time, rest)`: [`tell_rest`] writes the rest.
pub fn clock_nanosleep(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    cpu: &InKernel,
    id: i32,
    flags: u32,
    time: Pointer<Timespec>,
) -> Answer {
    charge(caller, tasks, cpu, id);
    let clock = find_clock(caller, tasks, id)?;
    let can_sleep = match u32::try_from(id) {
        Ok(
            linux::CLOCK_REALTIME
            | linux::CLOCK_MONOTONIC
            | linux::CLOCK_BOOTTIME
            | linux::CLOCK_TAI
            | linux::CLOCK_PROCESS_CPUTIME_ID,
        )
        | Err(_) => true,
        Ok(_) => false,
    };
    if !can_sleep {
        return Err(Errno::EOPNOTSUPP);
    }
    // The sleep would never end.
    if matches!(clock, Clock::Thread(thread, _) if thread == caller.thread) {
        return Err(Errno::EINVAL);
    }
    let time = caller.read(memory, time)?.total()?;
    let absolute = flags & linux::TIMER_ABSTIME != 0;
    let reading = clock.read(memory, tasks);
    match clock {
        Clock::Common(_) => sleep(caller, tasks, if absolute { time.saturating_sub(reading) } else { time }),
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
        Some(Sysno::clock_nanosleep) if call.rsi as u32 & linux::TIMER_ABSTIME == 0 && is_watched(call.rdi as i32) => {
            call.r10
        }
        _ => return,
    };
    if address != 0 {
        let rest = Timespec::new(deadline.saturating_sub(clock::nanoseconds()));
        let _ = memory.copy_out(space, address, rest.as_bytes());
    }
}

/// Whether sleeps by a clock have a deadline that the kernel watches.
fn is_watched(id: i32) -> bool {
    u32::try_from(id).is_ok_and(|id| id != linux::CLOCK_PROCESS_CPUTIME_ID)
}

/// `struct itimerval`: interval and time, in seconds and microseconds.
pub type Interval = [u64; 4];

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
pub fn getitimer(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    which: u32,
    interval: Pointer<Interval>,
) -> Answer {
    let timer = match which {
        linux::ITIMER_REAL => tasks.timer(caller.process),
        linux::ITIMER_VIRTUAL | linux::ITIMER_PROF => None,
        _ => return Err(Errno::EINVAL),
    };
    caller.write(memory, interval, &interval_of(timer)).and(DONE)
}

/// `setitimer(which, new, old)`: only `ITIMER_REAL` can be set.
pub fn setitimer(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    which: u32,
    new: Option<Pointer<Interval>>,
    old: Option<Pointer<Interval>>,
) -> Answer {
    let wanted = new.map_or(Ok([0; 4]), |new| caller.read(memory, new))?;
    let time = |seconds: u64, microseconds: u64| {
        let valid = seconds <= i64::MAX as u64 && microseconds < SECOND / MICROSECOND;
        let time = || seconds.saturating_mul(SECOND).saturating_add(microseconds * MICROSECOND);
        valid.then(time).ok_or(Errno::EINVAL)
    };
    let (interval, first) = (time(wanted[0], wanted[1])?, time(wanted[2], wanted[3])?);
    let before = match which {
        linux::ITIMER_REAL => set_timer(caller, tasks, first, interval),
        linux::ITIMER_VIRTUAL | linux::ITIMER_PROF if first == 0 => None,
        _ => return Err(Errno::EINVAL),
    };
    if let Some(old) = old {
        caller.write(memory, old, &interval_of(before))?;
    }
    DONE
}

/// `alarm(seconds)`: returns the seconds that were left, rounded, but not to 0.
pub fn alarm(caller: &Caller, tasks: &mut Tasks, seconds: u32) -> Answer {
    let before = set_timer(caller, tasks, u64::from(seconds) * SECOND, 0);
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

/// The deadline for an optional time from now.
#[inline]
pub fn relative(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    time: Option<Pointer<Timespec>>,
) -> Result<Option<u64>, Errno> {
    match time {
        Some(time) => from_now(caller, memory, tasks, time),
        None => {
            // There was no deadline when the call was made before, either.
            restart(tasks, caller);
            Ok(None)
        }
    }
}

/// The deadline for a time from now.
fn from_now(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    time: Pointer<Timespec>,
) -> Result<Option<u64>, Errno> {
    let timeout = caller.read(memory, time)?.total()?;
    Ok(deadline(tasks, caller, Some(timeout)))
}
