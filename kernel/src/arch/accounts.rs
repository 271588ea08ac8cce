//! Where each CPU's time has gone: entries to the kernel and cycles, by cause. For example, `by_cause` says how many
//! cycles of the kernel's time went to page faults and other exceptions.
//!
//! The boundary writes these counters at each entry and exit, and a strategy while it makes a CPU wait; statistics and
//! `/proc` read them. The entry code writes [`USER_TIME`] as well.

use super::cpulocal::{Counters, counters};
use super::frame::{IDLE_TIME, USER_TIME};
use ::trace::Class;
use containers::{Cpu, Times};
use core::cell::Cell;
use cpulocal::{InKernel, cpu_local};
use hardware::clock;

/// Entries to levels 1 and 2 by cause.
pub struct Counts {
    /// Entries to level 1 by exceptions and by interrupts. System calls are counted by number in `calls`.
    pub traps: [Cell<u64>; 2],
    /// Interrupts at level 1, each of which raised the level to 2.
    pub level2: Cell<u64>,
    /// Entries from the idle loop; they are in `traps` too.
    pub from_idle: Cell<u64>,
    /// Cycles of exceptions and of interrupts, their waits included. The cycles of system calls are the rest of the
    /// kernel's time, so that the path in and out of a call need not count them.
    trapped: [Cell<u64>; 2],
    /// The time-stamp at which this CPU's accounts begin: for the boot CPU the end of the boot, for a further CPU the
    /// moment when it came up.
    pub since: Cell<u64>,
}

// SAFETY: cells of words, and nothing else.
unsafe impl Counters for Counts {}

/// How a CPU's cycles divide.
pub struct Cycles {
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub kernel: u64,
    /// In the kernel, by [`Class`]. With a lock this is the time that the CPU holds it, and the time of requests that
    /// an interrupt answers without it.
    pub by_cause: [u64; 3],
    /// Waiting to be let into the kernel, by [`Class`].
    pub waits: [u64; 3],
    /// Halted.
    pub idle: u64,
}

/// This CPU's waits to be let into the kernel, by [`Class`]. A CPU that need not wait pays nothing for them.
#[cfg(feature = "smp")]
pub struct Waits {
    /// How many waits.
    pub count: [Cell<u64>; 3],
    /// The cycles of the waits; while a wait goes on, less the time-stamp of its start.
    pub cycles: [Cell<u64>; 3],
}

#[cfg(feature = "smp")]
// SAFETY: cells of words, and nothing else.
unsafe impl Counters for Waits {}

cpu_local! {
    /// This CPU's counts.
    pub static COUNTS: Counts = Counts {
        traps: [const { Cell::new(0) }; 2],
        level2: Cell::new(0),
        from_idle: Cell::new(0),
        trapped: [const { Cell::new(0) }; 2],
        since: Cell::new(0),
    };
}

#[cfg(feature = "smp")]
cpu_local! {
    /// This CPU's waits.
    pub static WAITS: Waits = Waits {
        count: [const { Cell::new(0) }; 3],
        cycles: [const { Cell::new(0) }; 3],
    };
}

/// How a CPU's cycles since the boot divide. Time that is neither user mode nor idle nor waiting is the kernel's.
pub fn cycles(of: Cpu) -> Cycles {
    let now = clock::rdtsc();
    // From a time that is still running its start has been subtracted, which is more than it can ever add up to: its
    // value is negative until it ends.
    let up_to_now = |time: u64| if (time as i64) < 0 { time.wrapping_add(now) } else { time };
    let user = up_to_now(counters(of, &USER_TIME).get());
    let since = |cpu: Cpu| counters(cpu, &COUNTS).since.get();
    let start = since(Cpu(0));
    // A further CPU has been idle since it came up; the boot was not over then.
    let idle = up_to_now(counters(of, &IDLE_TIME).get()).saturating_sub(start.saturating_sub(since(of)));
    let waits = waited(of).map(up_to_now);
    let counts = counters(of, &COUNTS);
    let kernel = now.wrapping_sub(start).saturating_sub(user + waits.iter().sum::<u64>() + idle);
    let trap = |class: Class| up_to_now(counts.trapped[class as usize - 1].get()).saturating_sub(waits[class as usize]);
    let (exceptions, interrupts) = (trap(Class::Exception), trap(Class::Interrupt));
    let by_cause = [kernel.saturating_sub(exceptions + interrupts), exceptions, interrupts];
    Cycles { user, kernel, by_cause, waits, idle }
}

impl Cycles {
    /// Cycles of waiting to be let into the kernel, for all causes together.
    pub fn waiting(&self) -> u64 {
        self.waits.iter().sum()
    }
}

#[inline(always)]
pub fn count(counter: &Cell<u64>) {
    counter.set(counter.get().wrapping_add(1));
}

/// Notes that a time in user mode, idle or waiting begins now; returns the time-stamp.
#[inline(always)]
pub fn begin(time: &Cell<u64>) -> u64 {
    let now = clock::rdtsc();
    time.set(time.get().wrapping_sub(now));
    now
}

/// Notes that a time in user mode, idle or waiting ends now; returns the time-stamp.
#[inline(always)]
pub fn end(time: &Cell<u64>) -> u64 {
    let now = clock::rdtsc();
    time.set(time.get().wrapping_add(now));
    now
}

/// Notes that an exception or interrupt has begun.
pub fn trap_began(cpu: &InKernel, class: Class, when: u64) {
    let time = &COUNTS.get(cpu).trapped[class as usize - 1];
    time.set(time.get().wrapping_sub(when));
}

/// Notes that an exception or interrupt has ended. The time of a system call is not counted: see [`Counts`].
pub fn trap_ended(cpu: &InKernel, class: Class, when: u64) {
    if class != Class::SystemCall {
        let time = &COUNTS.get(cpu).trapped[class as usize - 1];
        time.set(time.get().wrapping_add(when));
    }
}

/// Cycles that a CPU has waited to be let into the kernel, by cause; while a wait goes on, less the time of its beginning.
#[cfg(feature = "smp")]
pub fn waited(cpu: Cpu) -> [u64; 3] {
    counters(cpu, &WAITS).cycles.map(Cell::into_inner)
}

/// No cycles: the only CPU never waits.
#[cfg(not(feature = "smp"))]
fn waited(_: Cpu) -> [u64; 3] {
    [0; 3]
}

/// Divides a CPU time into the time in user mode and the time in the kernel, waits to be let in included; in
/// nanoseconds.
pub fn shares(times: Times) -> [u64; 2] {
    let user = clock::duration(times.user_ticks).min(times.total);
    [user, times.total - user]
}
