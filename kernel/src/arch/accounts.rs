//! Where each CPU's time has gone: entries and cycles by what brought the CPU into the kernel.
//!
//! The boundary writes these counters at each entry and exit, a strategy while it makes a CPU wait; statistics and `/proc`
//! read them. [`USER_TIME`] and [`IDLE_TIME`] are written by assembly as well.

use super::clock;
use super::cpulocal::{Counters, counters};
use super::frame::{IDLE_TIME, USER_TIME};
use containers::Cpu;
use core::cell::Cell;
use cpulocal::{InKernel, cpu_local};

/// What brought a CPU into the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The `syscall` instruction.
    SystemCall,
    /// A fault of the running program's.
    Exception,
    /// A device or the timer.
    Interrupt,
}

/// Entries to levels 1 and 2 by cause.
pub struct Counts {
    /// Entries to level 1, by [`Cause`].
    pub level1: [Cell<u64>; 3],
    /// Interrupts taken at level 1, which made it level 2.
    pub level2: Cell<u64>,
    /// Entries from the idle loop; they are in `level1` too.
    pub from_idle: Cell<u64>,
    /// Cycles of exceptions and of interrupts, their waits included. Those of system calls are what is left of
    /// the kernel's time, so that the way in and out of a call need not count them.
    trapped: [Cell<u64>; 2],
    /// When this CPU's time began: the boot CPU's when the boot was over, a further one's when it came up.
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
    /// In the kernel, by [`Cause`]. With a lock: holding it, but for requests that an interrupt answers without.
    pub by_cause: [u64; 3],
    /// Waiting to be let into the kernel, by [`Cause`].
    pub waits: [u64; 3],
    /// Halted.
    pub idle: u64,
}

/// This CPU's waits to be let into the kernel, by [`Cause`]. Whoever need not wait pays nothing for them.
#[cfg(feature = "smp")]
pub struct Waits {
    /// How many.
    pub count: [Cell<u64>; 3],
    /// Their cycles; while one goes on, less the time of its beginning.
    pub cycles: [Cell<u64>; 3],
}

#[cfg(feature = "smp")]
// SAFETY: cells of words, and nothing else.
unsafe impl Counters for Waits {}

cpu_local! {
    /// This CPU's counts.
    pub static COUNTS: Counts = Counts {
        level1: [const { Cell::new(0) }; 3],
        level2: Cell::new(0),
        from_idle: Cell::new(0),
        trapped: [const { Cell::new(0) }; 2],
        since: Cell::new(0),
    };
}

#[cfg(feature = "smp")]
cpu_local! {
    /// What this CPU's waits come to.
    pub static WAITS: Waits = Waits {
        count: [const { Cell::new(0) }; 3],
        cycles: [const { Cell::new(0) }; 3],
    };
}

/// How a CPU's cycles since the boot divide. What is neither user mode nor idle nor waiting is the kernel's.
pub fn cycles(of: Cpu) -> Cycles {
    let now = clock::rdtsc();
    // What has begun and not ended yet has had the time of its beginning subtracted, which is more than it
    // can ever add up to: it is negative until then.
    let up_to_now = |time: u64| if (time as i64) < 0 { time.wrapping_add(now) } else { time };
    let user = up_to_now(user_time(of));
    let since = |cpu: Cpu| counters(cpu, &COUNTS).since.get();
    let start = since(Cpu(0));
    // A further CPU has been idle since it came up; the boot was not over then.
    let idle = up_to_now(counters(of, &IDLE_TIME).get()).saturating_sub(start.saturating_sub(since(of)));
    let waits = waited(of).map(up_to_now);
    let counts = counters(of, &COUNTS);
    let kernel = now.wrapping_sub(start).saturating_sub(user + waits.iter().sum::<u64>() + idle);
    let trap = |cause: Cause| up_to_now(counts.trapped[cause as usize - 1].get()).saturating_sub(waits[cause as usize]);
    let (exceptions, interrupts) = (trap(Cause::Exception), trap(Cause::Interrupt));
    let by_cause = [kernel.saturating_sub(exceptions + interrupts), exceptions, interrupts];
    Cycles { user, kernel, by_cause, waits, idle }
}

impl Cycles {
    /// Waiting to be let into the kernel, whatever for.
    pub fn waiting(&self) -> u64 {
        self.waits.iter().sum()
    }
}

/// What a CPU has in [`USER_TIME`]. The entry code adds the two halves of its counter one after the other, with
/// interrupts off, and another CPU may look between the two: what counts is what stays for longer than that.
/// It does soon, since who asks is in the kernel: the other one waits for the strategy if it comes in.
///
/// Should a hypervisor stop it just there and for so long, this once 2³² cycles are missing or too many.
fn user_time(of: Cpu) -> u64 {
    /// Far longer than two instructions take, in cycles.
    const LONG: u64 = 1000;
    let read = || counters(of, &USER_TIME).get();
    let mut time = read();
    while cfg!(feature = "smp") {
        let since = clock::rdtsc();
        while clock::rdtsc() - since < LONG {
            core::hint::spin_loop();
        }
        let again = read();
        if core::mem::replace(&mut time, again) == again {
            break;
        }
    }
    time
}

#[inline(always)]
pub fn count(counter: &Cell<u64>) {
    counter.set(counter.get().wrapping_add(1));
}

/// User mode, idleness or a wait begins now.
#[inline(always)]
pub fn begin(time: &Cell<u64>) -> u64 {
    let now = clock::rdtsc();
    time.set(time.get().wrapping_sub(now));
    now
}

/// User mode, idleness or a wait ends now.
#[inline(always)]
pub fn end(time: &Cell<u64>) -> u64 {
    let now = clock::rdtsc();
    time.set(time.get().wrapping_add(now));
    now
}

/// An exception or interrupt has begun.
pub fn trap_began(cpu: &InKernel, cause: Cause, when: u64) {
    let time = &COUNTS.get(cpu).trapped[cause as usize - 1];
    time.set(time.get().wrapping_sub(when));
}

/// And ends. A system call is left out: see [`Counts`].
pub fn trap_ended(cpu: &InKernel, cause: Cause, when: u64) {
    if cause != Cause::SystemCall {
        let time = &COUNTS.get(cpu).trapped[cause as usize - 1];
        time.set(time.get().wrapping_add(when));
    }
}

/// Cycles that a CPU has waited to be let into the kernel, by cause; while a wait goes on, less the time of its beginning.
#[cfg(feature = "smp")]
pub fn waited(cpu: Cpu) -> [u64; 3] {
    counters(cpu, &WAITS).cycles.map(Cell::into_inner)
}

/// The only CPU never waits.
#[cfg(not(feature = "smp"))]
fn waited(_: Cpu) -> [u64; 3] {
    [0; 3]
}
