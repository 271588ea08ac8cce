//! How the table of system calls is made from its lines, how a call is found in it, and how often each was made.

use super::{Caller, conclude, files, table};
use crate::arch::accounts::count;
use crate::arch::cpulocal::counters;
use crate::arch::frame::{Progress, SystemCall};
use crate::core::kernel::{Kernel, Tasks};
use crate::core::statistics::Statistics;
use ::files::Errno;
use abi::native as own;
use alloc::format;
use containers::Cpu;
use core::cell::Cell;
use core::fmt;
use cpulocal::{InKernel, cpu_local};
use syscalls::Sysno;

/// A function that makes a call.
type Make = fn(&SystemCall, &mut Kernel) -> Progress;

/// A function that makes a call without the kernel's state; `None`: this call needs it after all, and is to be made
/// again with it.
type Lockless = fn(&SystemCall) -> Option<Progress>;

/// One call, as the table has it.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Makes the call.
    pub make: Make,
    /// The call's flags.
    flags: u8,
}

/// The call is made even when the kernel's heap has no reserve: it uses none, or gives memory back, or gives back
/// before it ends the little that it has used. Where it may keep some after all, it asks for the reserve itself.
pub(super) const WITHOUT_RESERVE: u8 = 1 << 0;
/// The call can take long enough for devices to notice, so interrupts are let in.
pub(super) const WITH_INTERRUPTS: u8 = 1 << 1;
/// The call looks at its thread's registers, or sets them, or the thread may be gone afterwards: they are
/// in the control block before it is made.
pub(super) const SAVED_REGISTERS: u8 = 1 << 2;
/// There is no such call.
const ABSENT: u8 = 1 << 3;

impl Entry {
    /// The entry of a number without a call.
    const NONE: Entry = Entry { make: |call, kernel| unknown(kernel, &Caller::of(call)), flags: ABSENT };

    /// Whether a flag is set.
    #[inline(always)]
    pub(super) fn is(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether the call needs no work before it and after it.
    #[inline(always)]
    pub fn is_simple(self) -> bool {
        self.flags == WITHOUT_RESERVE
    }

    /// Whether the registers must be in the control block before the call is made.
    #[inline(always)]
    pub fn wants_registers(self) -> bool {
        self.is(SAVED_REGISTERS)
    }
}

/// All calls. What an entry consists of lies in two arrays, so that a Linux number is their index as it is: that saves
/// two instructions of every system call.
struct Table {
    make: [Make; SLOTS],
    flags: [u8; SLOTS],
}

/// All calls as their lines say, with those that can be made without the kernel's state.
pub(super) struct Lines {
    table: Table,
    lockless: [Option<Lockless>; SLOTS],
}

impl Lines {
    /// The lines of all tables.
    const fn all() -> Lines {
        let table = Table { make: [Entry::NONE.make; SLOTS], flags: [Entry::NONE.flags; SLOTS] };
        let mut lines = Lines { table, lockless: [None; SLOTS] };
        table::linux(&mut lines);
        files::fill(&mut lines);
        table::jotun(&mut lines);
        lines
    }

    /// Puts a call in at its slots, where there was none.
    pub(super) const fn set(&mut self, slots: &[usize], flags: u8, make: Make, lockless: Option<Lockless>) {
        let mut n = 0;
        while n < slots.len() {
            let slot = slots[n];
            assert!(self.table.flags[slot] & ABSENT != 0, "a number with two calls");
            (self.table.make[slot], self.table.flags[slot]) = (make, flags);
            // A call that is long or about registers is one that other CPUs may have to wait for.
            if flags & (WITH_INTERRUPTS | SAVED_REGISTERS) == 0 {
                self.lockless[slot] = lockless;
            }
            n += 1;
        }
    }
}

impl Table {
    /// The entry in a slot.
    #[inline(always)]
    fn get(&self, slot: usize) -> Entry {
        Entry { make: self.make[slot], flags: self.flags[slot] }
    }
}

/// Defines a function that puts calls into the table, `$shift` slots below their numbers. [`super::table`] says what a
/// line is.
macro_rules! calls {
    ($(#[$meta:meta])* $visibility:vis fn $fill:ident($numbers:path, $shift:expr);
     $($($name:ident)|+ ($($argument:ident: $type:ty),*) $(uses $($part:ident),+)? $(: $flags:expr)?
        => $($function:ident)::+ $(($($value:expr),*))? $(or lockless $($lockless:ident)::+)?,)+) => {
        $(#[$meta])*
        $visibility const fn $fill(lines: &mut $crate::calls::entry::Lines) {
            use $numbers as number;
            $(lines.set(
                &[$(number::$name as usize - $shift),+],
                0 $(| $flags)?,
                |call, kernel| {
                    let caller = $crate::calls::Caller::of(call);
                    let [$($argument,)* ..] = call.arguments;
                    $(let $argument = <$type as $crate::calls::argument::Argument>::of($argument);)*
                    let answer = $crate::calls::entry::answer!(
                        {$($function)::+} {&caller, $($($crate::calls::entry::part!(call, kernel, $part),)+)?}
                        {$($argument),*} $({$($value),*})?
                    );
                    $crate::calls::conclude(kernel, caller.space.cpu, answer)
                },
                $crate::calls::entry::lockless!(
                    [$($($part),+)?] {$($function)::+} {$($argument: $type),*} $({$($value),*})? $(or {$($lockless)::+})?
                ),
            );)+
        }
    };
}
pub(super) use calls;

/// How a call is made without the kernel's state, if its line names no part of the kernel, or a function that does it.
macro_rules! lockless {
    ([$($part:ident),*] {$($function:tt)+} $arguments:tt $({$($value:tt)*})? or {$($own:tt)+}) => {
        $crate::calls::entry::lockless!([user] {$($own)+} $arguments)
    };
    ([] $function:tt $arguments:tt $($values:tt)?) => {
        $crate::calls::entry::lockless!(caller, own, {&caller,} $function $arguments $($values)?)
    };
    ([user] $function:tt $arguments:tt $($values:tt)?) => {
        $crate::calls::entry::lockless!(caller, own, {&caller, &mut own,} $function $arguments $($values)?)
    };
    ([$($part:ident),+] $function:tt $arguments:tt $($values:tt)?) => {
        None
    };
    ($caller:ident, $own:ident, $before:tt $function:tt {$($argument:ident: $type:ty),*} $($values:tt)?) => {
        Some(|call| {
            let $caller = $crate::calls::Caller::of(call);
            #[allow(unused_mut, reason = "not all calls access memory")]
            let mut $own = $crate::arch::own::Own::of(&call.cpu);
            let [$($argument,)* ..] = call.arguments;
            $(let $argument = <$type as $crate::calls::argument::Argument>::of($argument);)*
            let answer = $crate::calls::entry::answer!($function $before {$($argument),*} $($values)?);
            $own.is_enough().then(|| $crate::calls::returned(answer)).flatten()
        })
    };
}
pub(super) use lockless;

/// The answer of a call's function, which takes the caller, the parts of the kernel that the call uses, and values:
/// those that the line gives, or else the arguments.
macro_rules! answer {
    ({$($function:tt)+} {$($before:tt)*} {$($argument:tt)*}) => { $($function)+($($before)* $($argument)*) };
    ({$($function:tt)+} {$($before:tt)*} {$($argument:tt)*} {$($value:tt)*}) => { $($function)+($($before)* $($value)*) };
}
pub(super) use answer;

/// A part of the kernel, as a call's function takes it.
macro_rules! part {
    ($call:ident, $kernel:ident, all) => {
        &mut *$kernel
    };
    ($call:ident, $kernel:ident, cpu) => {
        &$call.cpu
    };
    ($call:ident, $kernel:ident, user) => {
        &mut $kernel.memory
    };
    ($call:ident, $kernel:ident, $subsystem:ident) => {
        &mut $kernel.$subsystem
    };
}
pub(super) use part;

/// Linux's calls have numbers below this one; their slots are their numbers.
const LINUX: usize = 512;

/// How many numbers Jotun's own calls have; their slots are behind Linux's.
const OWN: usize = (own::LAST - own::FIRST + 1) as usize;

/// How far below their numbers Jotun's own calls have their slots.
pub(super) const FIRST_OWN: usize = own::FIRST as usize - LINUX;

/// The slot of all other numbers.
const NONE: usize = LINUX + OWN;

/// How many slots there are.
const SLOTS: usize = NONE + 1;

static CALLS: Table = Lines::all().table;

/// The calls that can be made without the kernel's state; no image has it whose strategy makes none so.
static LOCKLESS: [Option<Lockless>; SLOTS] = Lines::all().lockless;

cpu_local! {
    /// How often programs have made the call in each slot on this CPU. The sum is the number of its system-call
    /// entries.
    static MADE: [Cell<u64>; SLOTS] = [const { Cell::new(0) }; SLOTS];
}

/// The slot of a number.
#[inline(always)]
fn slot(number: u64) -> usize {
    if number < LINUX as u64 { number as usize } else { own_slot(number) }
}

#[cold]
fn own_slot(number: u64) -> usize {
    match number.checked_sub(own::FIRST) {
        Some(index) if index < OWN as u64 => LINUX + index as usize,
        _ => NONE,
    }
}

/// The call with a number.
pub fn find(number: u64) -> Entry {
    CALLS.get(slot(number))
}

/// The call with a number, which a program has just made: counts it.
#[inline(always)]
pub fn enter(cpu: &InKernel, number: u64) -> Entry {
    let slot = slot(number);
    count(&MADE.get(cpu)[slot]);
    CALLS.get(slot)
}

/// Makes a call without the kernel's state and counts it; `None` if it needs that state.
#[inline(always)]
pub fn make_lockless(call: &SystemCall) -> Option<Progress> {
    let slot = slot(call.number);
    let progress = LOCKLESS[slot]?(call)?;
    count(&MADE.get(&call.cpu)[slot]);
    Some(progress)
}

/// The system-call entries of a CPU.
pub fn entries(of: Cpu) -> u64 {
    counters(of, &MADE).iter().map(Cell::get).sum()
}

/// Reports each call with a name that programs have made: whether the kernel has it, and how often it was made on the
/// CPUs given.
pub fn each_made(cpus: impl Iterator<Item = Cpu>, mut tell: impl FnMut(&str, bool, u64)) {
    let mut made = [0; SLOTS];
    for cpu in cpus {
        for (sum, count) in made.iter_mut().zip(&counters(cpu, &MADE)) {
            *sum += count.get();
        }
    }
    for (slot, &times) in made.iter().enumerate().filter(|(_, times)| **times > 0) {
        match slot {
            ..LINUX => {
                if let Some(call) = Sysno::new(slot) {
                    tell(call.name(), !CALLS.get(slot).is(ABSENT), times);
                }
            }
            LINUX..NONE => {
                let name = own::name(own::FIRST + (slot - LINUX) as u64).unwrap_or_default();
                tell(&format!("jotun_{name}"), true, times);
            }
            NONE.. => {}
        }
    }
}

/// Answers a call that the kernel does not have: logs it once, by name, or by number if it has no name.
fn unknown(kernel: &mut Kernel, caller: &Caller) -> Progress {
    kernel.statistics.unknown_calls += 1;
    log_once(&mut kernel.statistics, &kernel.tasks, caller, format_args!("is not there: ENOSYS"));
    conclude(kernel, caller.space.cpu, Err(Errno::ENOSYS))
}

/// Logs what a call lacks, once for each call.
pub(super) fn log_once(statistics: &mut Statistics, tasks: &Tasks, caller: &Caller, what: fmt::Arguments<'_>) {
    // Numbers beyond the bits share the last one.
    let bit = caller.number.min(511);
    let logged = &mut statistics.logged_calls[bit as usize / 64];
    if *logged & 1 << (bit % 64) == 0 {
        *logged |= 1 << (bit % 64);
        let program = tasks.process(caller.process).map(|process| process.resources.name).unwrap_or_default();
        let name = Sysno::new(caller.number as usize).map_or("(no name)", |call| call.name());
        log::info!("{program}: system call {} {name} {what}", caller.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_slot() {
        assert_eq!([0, LINUX as u64 - 1].map(slot), [0, LINUX - 1]);
        assert_eq!([own::FIRST, own::LAST].map(slot), [LINUX, NONE - 1]);
        assert_eq!([LINUX as u64, own::FIRST - 1, own::LAST + 1, u64::MAX].map(slot), [NONE; 4]);
        let is_there = |number: u64| !find(number).is(ABSENT);
        assert!((own::FIRST..=own::LAST).all(is_there));
        assert!(is_there(Sysno::read as u64) && !is_there(Sysno::reboot as u64) && !is_there(u64::MAX));
    }
}
