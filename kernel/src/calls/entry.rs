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
pub(super) struct Table {
    make: [Make; SLOTS],
    flags: [u8; SLOTS],
}

impl Table {
    /// Puts a call into the table at its slots, where there was none.
    pub(super) const fn set(&mut self, slots: &[usize], flags: u8, make: Make) {
        let mut n = 0;
        while n < slots.len() {
            assert!(self.flags[slots[n]] & ABSENT != 0, "a number with two calls");
            (self.make[slots[n]], self.flags[slots[n]]) = (make, flags);
            n += 1;
        }
    }

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
        => $($function:ident)::+ $(($($value:expr),*))?,)+) => {
        $(#[$meta])*
        $visibility const fn $fill(table: &mut $crate::calls::entry::Table) {
            use $numbers as number;
            $(table.set(&[$(number::$name as usize - $shift),+], 0 $(| $flags)?, |call, kernel| {
                let caller = $crate::calls::Caller::of(call);
                let [$($argument,)* ..] = call.arguments;
                $(let $argument = <$type as $crate::calls::argument::Argument>::of($argument);)*
                let answer = $crate::calls::entry::answer!(
                    {$($function)::+} {&caller, $($($crate::calls::entry::part!(call, kernel, $part),)+)?}
                    {$($argument),*} $({$($value),*})?
                );
                $crate::calls::conclude(kernel, caller.space.cpu, answer)
            });)+
        }
    };
}
pub(super) use calls;

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

static CALLS: Table = {
    let mut table = Table { make: [Entry::NONE.make; SLOTS], flags: [Entry::NONE.flags; SLOTS] };
    table::linux(&mut table);
    files::fill(&mut table);
    table::jotun(&mut table);
    table
};

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
