//! The table of system calls: each line names the subsystems that the call touches.
//!
//! A line is `names: flags => call`, in which `c` is the [`Caller`] and each subsystem has its name in [`Kernel`]. For
//! example, `getrandom: WITH_INTERRUPTS => system::getrandom(c, memory, tasks, random)` lets interrupts in and hands the call
//! three subsystems. A call that needs more takes the whole kernel as `k`, and the proof `cpu` that this CPU is in it.

use super::advice::SyncFlags;
use super::argument::{Fd, Pointer, UserPath};
use super::files::AtFlags;
use super::futex::Operation;
use super::memory::{MapFlags, Mapping, Protection, RemapFlags, Remapping};
use super::native::Room;
use super::processes::{ChildInfo, Program, Usage, Wait4, WaitId, WaitOptions};
use super::system::{Names, Sysinfo};
use super::threads::{Child, CloneFlags};
use super::time::{Interval, Timespec};
use super::{
    Caller, advice, conclude, files, forking, futex, jobs, memory, native, processes, signals, system, threads,
    time as clocks,
};
use crate::arch::accounts::count;
use crate::arch::cpulocal::counters;
use crate::arch::frame::{Progress, SystemCall};
use crate::core::delivery::frame::{Info, StackT};
use crate::core::kernel::Kernel;
use crate::core::process::{Limit, NAME_MAX};
use crate::core::signals::Action;
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

/// The call is made even when the kernel's heap has no reserve: it uses none, or gives memory back, or gives back before
/// it ends the little that it has used. Where it may keep some after all, it asks for the reserve itself.
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
    const NONE: Entry = Entry { make: |call, k| unknown(k, &Caller::of(call)), flags: ABSENT };

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

/// All calls. What an entry consists of lies in two arrays, so that a Linux number is their index as it is: that saves two
/// instructions of every system call.
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

/// Defines a function that puts calls into the table, `$shift` slots below their numbers. A line is as this module's head
/// describes it.
macro_rules! calls {
    ($(#[$meta:meta])* $visibility:vis fn $fill:ident($numbers:path, $shift:expr);
     $($($name:ident)|+ ($($argument:ident: $type:ty),*) $(uses $($part:ident),+)? $(: $flags:expr)?
        => $($function:ident)::+ $(($($value:expr),*))?,)+) => {
        $(#[$meta])*
        $visibility const fn $fill(table: &mut $crate::calls::table::Table) {
            use $numbers as number;
            $(table.set(&[$(number::$name as usize - $shift),+], 0 $(| $flags)?, |call, kernel| {
                let caller = $crate::calls::Caller::of(call);
                let [$($argument,)* ..] = call.arguments;
                $(let $argument = <$type as $crate::calls::argument::Argument>::of($argument);)*
                let answer = $crate::calls::table::answer!(
                    {$($function)::+} {&caller, $($($crate::calls::table::part!(call, kernel, $part),)+)?}
                    {$($argument),*} $({$($value),*})?
                );
                $crate::calls::conclude(kernel, caller.space.cpu, answer)
            });)+
        }
    };
}
pub(super) use calls;

/// The answer of a call's function, which takes the caller, the parts of the kernel that the call uses, and values: those
/// that the line gives, or else the arguments.
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

/// The slot of all other numbers.
const NONE: usize = LINUX + OWN;

/// How many slots there are.
const SLOTS: usize = NONE + 1;

static CALLS: Table = {
    let mut table = Table { make: [Entry::NONE.make; SLOTS], flags: [Entry::NONE.flags; SLOTS] };
    linux(&mut table);
    files::fill(&mut table);
    jotun(&mut table);
    table
};

cpu_local! {
    /// How often programs have made the call in each slot on this CPU. The sum is the number of its system-call entries.
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

calls! {
    /// Puts Linux's calls into the table, but for those on files.
    fn linux(Sysno, 0);

    mmap(address: u64, length: u64, protection: Protection, flags: MapFlags, fd: Fd, offset: u64)
        uses memory, tasks, files: WITH_INTERRUPTS
        => memory::mmap(Mapping { address, length, protection, flags, fd, offset }),
    munmap(address: u64, length: u64) uses memory, tasks: WITHOUT_RESERVE | WITH_INTERRUPTS => memory::munmap,
    mprotect(address: u64, length: u64, protection: Protection) uses memory, tasks: WITH_INTERRUPTS => memory::mprotect,
    mremap(address: u64, old_length: u64, length: u64, flags: RemapFlags, target: u64) uses memory, tasks: WITH_INTERRUPTS
        => memory::mremap(Remapping { address, old_length, length, flags, target }),
    brk(end: u64) uses memory, tasks: WITH_INTERRUPTS => memory::brk,
    madvise(address: u64, length: u64, advice: u32) uses memory, tasks: WITH_INTERRUPTS => advice::madvise,
    msync(address: u64, length: u64, flags: SyncFlags) uses memory, tasks => advice::msync,
    mlock(address: u64, length: u64) uses memory, tasks: WITH_INTERRUPTS => advice::mlock,
    munlock(address: u64, length: u64) uses memory, tasks: WITH_INTERRUPTS => advice::munlock,
    mincore(address: u64, length: u64, residence: Pointer<u8>) uses memory, tasks => advice::mincore,

    clone(flags: CloneFlags, stack: u64, parent_tid: Pointer<u32>, child_tid: Pointer<u32>, tls: u64)
        uses all: WITH_INTERRUPTS | SAVED_REGISTERS
        => threads::clone(Child { flags, stack, parent_tid, child_tid, tls }),
    fork() uses all: WITH_INTERRUPTS | SAVED_REGISTERS => forking::fork,
    vfork() uses all: WITH_INTERRUPTS | SAVED_REGISTERS => forking::vfork,
    execve(path: UserPath, arguments: u64, environment: u64) uses all, cpu: WITH_INTERRUPTS | SAVED_REGISTERS
        => processes::execve,
    execveat(directory: Fd, path: UserPath, arguments: u64, environment: u64, flags: AtFlags)
        uses all, cpu: WITH_INTERRUPTS | SAVED_REGISTERS
        => processes::execveat(Program { directory, path, arguments, environment, flags }),
    wait4(which: i32, status: Option<Pointer<u32>>, options: WaitOptions, usage: Option<Pointer<Usage>>)
        uses memory, tasks, files: WITHOUT_RESERVE => processes::wait4(Wait4 { which, status, options, usage }),
    waitid(kind: u32, number: i32, info: Option<Pointer<ChildInfo>>, options: WaitOptions, usage: Option<Pointer<Usage>>)
        uses memory, tasks, files: WITHOUT_RESERVE => processes::waitid(WaitId { kind, number, info, options, usage }),
    getrusage(who: i32, usage: Pointer<Usage>) uses all, cpu => processes::getrusage,
    times(times: Option<Pointer<[[u64; 2]; 2]>>) uses all, cpu => processes::times,
    exit(status: i32) uses all, cpu: WITHOUT_RESERVE | WITH_INTERRUPTS | SAVED_REGISTERS => threads::exit,
    exit_group(status: i32) uses all, cpu: WITHOUT_RESERVE | WITH_INTERRUPTS | SAVED_REGISTERS => threads::exit_group,
    futex(word: u64, operation: u32, number: u32, fourth: u64, second: u64, third: u32)
        uses memory, tasks: WITHOUT_RESERVE
        => futex::futex(Operation { word, operation, number, fourth, second, third }),
    set_tid_address(word: Pointer<u32>) uses tasks: WITHOUT_RESERVE => threads::set_tid_address,
    set_robust_list(head: Pointer<[u64; 3]>, length: u64) uses tasks: WITHOUT_RESERVE => threads::set_robust_list,
    arch_prctl(code: u32, address: u64) uses memory, tasks => threads::arch_prctl,
    getpid(): WITHOUT_RESERVE => threads::getpid,
    getpgid(process: i32) uses tasks: WITHOUT_RESERVE => jobs::getpgid,
    getpgrp() uses tasks: WITHOUT_RESERVE => jobs::getpgid(0),
    getsid(process: i32) uses tasks: WITHOUT_RESERVE => jobs::getsid,
    setpgid(process: i32, group: i32) uses tasks: WITHOUT_RESERVE => jobs::setpgid,
    setsid() uses tasks: WITHOUT_RESERVE => jobs::setsid,
    getppid() uses tasks: WITHOUT_RESERVE => threads::getppid,
    gettid() uses tasks: WITHOUT_RESERVE => threads::gettid,
    sched_yield() uses tasks: SAVED_REGISTERS => threads::sched_yield,
    sched_getaffinity(thread: i32, size: u32, mask: Pointer<u64>) uses memory, tasks => threads::sched_getaffinity,
    sched_setaffinity(thread: i32, size: u32, mask: Pointer<u64>) uses memory, tasks => threads::sched_setaffinity,
    sched_getscheduler(thread: i32) uses tasks: WITHOUT_RESERVE => threads::sched_getscheduler,
    sched_getparam(thread: i32, parameters: Pointer<u32>) uses memory, tasks => threads::sched_getparam,
    sched_get_priority_min(policy: u32): WITHOUT_RESERVE => system::priority_bound(policy, 1),
    sched_get_priority_max(policy: u32): WITHOUT_RESERVE => system::priority_bound(policy, 99),
    getcpu(cpu: Option<Pointer<u32>>, node: Option<Pointer<u32>>) uses memory => threads::getcpu,

    clock_gettime(clock: i32, time: Pointer<Timespec>) uses all, cpu => clocks::clock_gettime,
    clock_getres(clock: i32, resolution: Option<Pointer<Timespec>>) uses memory, tasks => clocks::clock_getres,
    gettimeofday(time: Option<Pointer<[u64; 2]>>, zone: Option<Pointer<[u32; 2]>>) uses memory => clocks::gettimeofday,
    time(result: Option<Pointer<u64>>) uses memory => clocks::time,
    nanosleep(time: Pointer<Timespec>) uses memory, tasks => clocks::nanosleep,
    clock_nanosleep(clock: i32, flags: u32, time: Pointer<Timespec>) uses all, cpu => clocks::clock_nanosleep,

    rt_sigaction(signal: u32, new: Option<Pointer<Action>>, old: Option<Pointer<Action>>, size: u64)
        uses memory, tasks => signals::action,
    rt_sigprocmask(how: u32, new: Option<Pointer<u64>>, old: Option<Pointer<u64>>, size: u64)
        uses memory, tasks => signals::mask,
    rt_sigpending(set: Pointer<u64>, size: u64) uses memory, tasks => signals::pending,
    rt_sigreturn() uses all, cpu: WITHOUT_RESERVE | SAVED_REGISTERS => signals::handler_done,
    sigaltstack(new: Option<Pointer<StackT>>, old: Option<Pointer<StackT>>) uses memory, tasks: SAVED_REGISTERS
        => signals::stack,
    rt_sigsuspend(mask: Pointer<u64>, size: u64) uses memory, tasks => signals::suspend,
    rt_sigtimedwait(set: Pointer<u64>, info: Option<Pointer<Info>>, timeout: Option<Pointer<Timespec>>, size: u64)
        uses memory, tasks => signals::timed_wait,
    pause() uses tasks => signals::pause,
    kill(process: i32, signal: u32) uses tasks, first: WITHOUT_RESERVE => signals::kill,
    tkill(thread: i32, signal: u32) uses tasks => signals::kill_thread(None, thread, signal),
    tgkill(process: i32, thread: i32, signal: u32) uses tasks => signals::kill_thread(Some(process), thread, signal),
    rt_sigqueueinfo(process: i32, signal: u32, info: Pointer<Info>) uses memory, tasks => signals::queue,
    rt_tgsigqueueinfo(process: i32, thread: i32, signal: u32, info: Pointer<Info>)
        uses memory, tasks => signals::queue_thread,
    setitimer(which: u32, new: Option<Pointer<Interval>>, old: Option<Pointer<Interval>>)
        uses memory, tasks => clocks::setitimer,
    getitimer(which: u32, interval: Pointer<Interval>) uses memory, tasks => clocks::getitimer,
    alarm(seconds: u32) uses tasks: WITHOUT_RESERVE => clocks::alarm,

    uname(names: Pointer<Names>) uses memory => system::uname,
    sysinfo(info: Pointer<Sysinfo>) uses memory, tasks => system::sysinfo,
    getrandom(buffer: Pointer<u8>, length: u64, flags: u32) uses memory, tasks, random: WITH_INTERRUPTS
        => system::getrandom,
    prlimit64(process: u32, resource: u32, new: Option<Pointer<Limit>>, old: Option<Pointer<Limit>>)
        uses memory, tasks => system::prlimit,
    getrlimit(resource: u32, limit: Pointer<Limit>) uses memory, tasks => system::getrlimit,
    setrlimit(resource: u32, limit: Pointer<Limit>) uses memory, tasks => system::setrlimit,
    getuid | geteuid | getgid | getegid | getgroups | setfsuid | setfsgid(): WITHOUT_RESERVE => system::root,
    getresuid | getresgid(real: Pointer<u32>, effective: Pointer<u32>, saved: Pointer<u32>) uses memory
        => system::three_zeroes,
    setuid | setgid(id: u32): WITHOUT_RESERVE => system::become_root(&[id]),
    setreuid | setregid(real: u32, effective: u32): WITHOUT_RESERVE => system::become_root(&[real, effective]),
    setresuid | setresgid(real: u32, effective: u32, saved: u32): WITHOUT_RESERVE
        => system::become_root(&[real, effective, saved]),
    setgroups(count: u32): WITHOUT_RESERVE => system::set_groups,
    prctl(option: u32, name: Pointer<[u8; NAME_MAX + 1]>) uses memory, tasks => system::prctl,
    getpriority(which: u32, number: u32) uses tasks: WITHOUT_RESERVE => system::get_priority,
}

calls! {
    /// Puts Jotun's own calls into the table.
    fn jotun(own, own::FIRST as usize - LINUX);

    START(name: Pointer<u8>, length: u64, argument: u64, priority: u64, flags: u64) uses all, cpu: WITH_INTERRUPTS
        => native::start(native::Program { name, length, argument, priority, flags }),
    SEND(process: u64, content: Pointer<u8>, length: u64) uses memory, tasks, messages => native::send,
    RECEIVE(buffer: Pointer<u8>, capacity: u64, sender: Option<Pointer<u32>>, timeout: u64)
        uses memory, tasks, messages => native::receive(Room { buffer, capacity, sender }, timeout),
    WAIT(process: u64, status: Option<Pointer<u32>>, timeout: u64) uses memory, tasks, files => native::wait,
    STATISTICS(buffer: Pointer<u8>, capacity: u64, prefix: Pointer<u8>, length: u64) uses all: WITH_INTERRUPTS
        => native::statistics,
    BURN(instructions: u64): WITH_INTERRUPTS => native::burn,
    THREAD(entry: u64, stack: u64, argument: u64, priority: u64) uses memory, tasks => native::thread,
    CONTAINER(process: u64, buffer: Pointer<u8>, capacity: u64) uses memory, tasks => native::container,
    PRIORITY(thread: u64, priority: u64) uses tasks => native::priority,
    TRACE(action: u64, value: u64) uses cpu => native::trace,
}

/// Answers a call that the kernel does not have: logs it once, by name, or by number if it has no name.
fn unknown(k: &mut Kernel, caller: &Caller) -> Progress {
    k.statistics.unknown_calls += 1;
    log_once(k, caller, format_args!("is not there: ENOSYS"));
    conclude(k, caller.space.cpu, Err(Errno::ENOSYS))
}

/// Logs what a call lacks, once for each call.
pub(super) fn log_once(k: &mut Kernel, caller: &Caller, what: fmt::Arguments<'_>) {
    // Numbers beyond the bits share the last one.
    let bit = caller.number.min(511);
    let logged = &mut k.statistics.logged_calls[bit as usize / 64];
    if *logged & 1 << (bit % 64) == 0 {
        *logged |= 1 << (bit % 64);
        let program = k.tasks.process(caller.process).map(|process| process.resources.name).unwrap_or_default();
        let name = Sysno::new(caller.number as usize).map_or("(no name)", |call| call.name());
        log::info!("{program}: system call {} {name} {what}", caller.number);
    }
}
