//! The table of system calls: each line names the subsystems that the call touches.
//!
//! A line is `names: flags => call`, in which `c` is the [`Caller`] and each subsystem has its name in [`Kernel`]. For
//! example, `getrandom: LONG => system::getrandom(c, memory, tasks, random)` lets interrupts in and hands the call
//! three subsystems. A call that needs more takes the whole kernel as `k`, and the proof `cpu` that this CPU is in it.

use super::{
    Answer, Caller, DONE, advice, conclude, files, forking, jobs, memory, native, processes, signals, system, threads,
    time as clocks,
};
use crate::arch::frame::{Progress, SystemCall};
use crate::core::kernel::Kernel;
use ::files::Errno;
use abi::native as own;
use alloc::format;
use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use syscalls::Sysno;

/// A function that makes a call.
type Make = fn(&SystemCall, &mut Kernel) -> Progress;

/// An entry of the table: one call.
pub struct Entry {
    /// Makes the call.
    pub make: Make,
    /// The call's flags. Only a CPU in the kernel reads or writes them, so plain loads and stores suffice.
    flags: AtomicU8,
}

/// The call is made even when the kernel's heap has no reserve: it uses none, or gives memory back, or gives back before
/// it ends the little that it has used. Where it may keep some after all, it asks for the reserve itself.
pub(super) const ALWAYS: u8 = 1 << 0;
/// The call can take long enough for devices to notice, so interrupts are let in.
pub(super) const LONG: u8 = 1 << 1;
/// The call looks at its thread's registers, or sets them, or the thread may be gone afterwards: they are
/// in the control block before it is made.
pub(super) const REGISTERS: u8 = 1 << 2;
/// There is no such call.
const ABSENT: u8 = 1 << 3;
/// No program has made the call yet. So no call is [simple](Entry::is_simple) the first time, and the kernel knows
/// which calls have been made without spending an instruction on simple ones.
const NEW: u8 = 1 << 7;

impl Entry {
    /// The entry of a number without a call.
    pub(super) const fn none() -> Entry {
        Entry { make: |call, k| unknown(k, &Caller::of(call)), flags: AtomicU8::new(ABSENT | NEW) }
    }

    /// Puts a call into the table at its numbers, where there was none.
    pub(super) const fn set(table: &mut [Entry], numbers: &[usize], flags: u8, make: Make) {
        let mut n = 0;
        while n < numbers.len() {
            let entry = Entry { make, flags: AtomicU8::new(flags | NEW) };
            let before = core::mem::replace(&mut table[numbers[n]], entry);
            assert!(before.flags.into_inner() & ABSENT != 0, "a number with two calls");
            n += 1;
        }
    }

    /// Whether a flag is set.
    #[inline(always)]
    pub(super) fn is(&self, flag: u8) -> bool {
        self.flags.load(Relaxed) & flag != 0
    }

    /// Notes that a program has made the call.
    #[inline(always)]
    pub fn note(&self) {
        self.flags.store(self.flags.load(Relaxed) & !NEW, Relaxed);
    }

    /// Whether the call needs no work before it and after it.
    #[inline(always)]
    pub fn is_simple(&self) -> bool {
        self.flags.load(Relaxed) == ALWAYS
    }

    /// Whether the registers must be in the control block before the call is made.
    #[inline(always)]
    pub fn wants_registers(&self) -> bool {
        self.is(REGISTERS)
    }
}

/// Defines a function that puts calls into a table, whose first number is `$first`.
macro_rules! calls {
    ($(#[$meta:meta])* $visibility:vis fn $fill:ident($numbers:path, $first:expr, $k:ident, $cpu:ident, $c:ident, $subsystems:tt);
     $($($name:ident)|+ $(: $flags:expr)? => $call:expr,)+) => {
        $(#[$meta])*
        $visibility const fn $fill(table: &mut [$crate::calls::Entry]) {
            use $numbers as number;
            $($crate::calls::Entry::set(table, &[$(number::$name as usize - $first as usize),+], 0 $(| $flags)?, |call, $k| {
                #[allow(unused_variables, reason = "not every call needs all of it")]
                let ($c, $cpu) = (&$crate::calls::Caller::of(call), &call.cpu);
                #[allow(unused_variables, reason = "not every call needs all of it")]
                let Kernel $subsystems = &mut *$k;
                let answer: Answer = $call;
                $crate::calls::conclude($k, $c.space.cpu, answer)
            });)+
        }
    };
}
pub(super) use calls;

/// Linux's calls have numbers below this one.
const LINUX: usize = 512;

static LINUX_CALLS: [Entry; LINUX] = {
    let mut table = [const { Entry::none() }; LINUX];
    linux(&mut table);
    files::fill(&mut table);
    table
};

static OWN_CALLS: [Entry; (own::LAST - own::FIRST + 1) as usize] = {
    let mut table = [const { Entry::none() }; (own::LAST - own::FIRST + 1) as usize];
    jotun(&mut table);
    table
};

/// The call with a number.
#[inline(always)]
pub fn find(number: u64) -> &'static Entry {
    match LINUX_CALLS.get(number as usize) {
        Some(entry) => entry,
        None => find_own(number),
    }
}

#[cold]
fn find_own(number: u64) -> &'static Entry {
    static NONE: Entry = Entry::none();
    number.checked_sub(own::FIRST).and_then(|index| OWN_CALLS.get(index as usize)).unwrap_or(&NONE)
}

/// Reports each call with a name that programs have made, and whether the kernel has it.
pub fn each_made(mut tell: impl FnMut(&str, bool)) {
    for (number, entry) in LINUX_CALLS.iter().enumerate().filter(|(_, entry)| !entry.is(NEW)) {
        if let Some(call) = Sysno::new(number) {
            tell(call.name(), !entry.is(ABSENT));
        }
    }
    for (number, _) in (own::FIRST..).zip(&OWN_CALLS).filter(|(_, entry)| !entry.is(NEW)) {
        tell(&format!("jotun_{}", own::name(number).unwrap_or_default()), true);
    }
}

calls! {
    /// Puts Linux's calls into the table, but for those on files.
    fn linux(Sysno, 0, k, cpu, c, { memory, tasks, files, random, first, .. });

    mmap: LONG => memory::change(c, memory, tasks, |memory, tasks, point| memory::mmap(c, memory, tasks, files, point)),
    munmap: ALWAYS | LONG => memory::change(c, memory, tasks, |memory, tasks, _| memory::munmap(c, memory, tasks)),
    mprotect: LONG => memory::change(c, memory, tasks, |memory, tasks, at| memory::mprotect(c, memory, tasks, at.place)),
    mremap: LONG => memory::change(c, memory, tasks, |memory, tasks, _| memory::mremap(c, memory, tasks)),
    brk: LONG => memory::change(c, memory, tasks, |memory, tasks, _| memory::brk(c, memory, tasks)),
    madvise: LONG => memory::change(c, memory, tasks, |memory, tasks, at| advice::madvise(c, memory, tasks, at.place)),
    msync => advice::msync(c, memory, tasks),
    mlock: LONG => memory::change(c, memory, tasks, |memory, tasks, at| advice::mlock(c, memory, tasks, at.place)),
    munlock: LONG => memory::change(c, memory, tasks, |memory, tasks, at| advice::munlock(c, memory, tasks, at.place)),
    mincore => advice::mincore(c, memory, tasks),

    clone: LONG | REGISTERS => threads::clone(c, k, cpu),
    fork: LONG | REGISTERS => forking::fork(c, k, cpu),
    vfork: LONG | REGISTERS => forking::vfork(c, k, cpu),
    execve: LONG | REGISTERS => processes::execve(c, k, cpu),
    execveat: LONG | REGISTERS => processes::execveat(c, k, cpu),
    wait4: ALWAYS => processes::wait4(c, memory, tasks, files),
    waitid: ALWAYS => processes::waitid(c, memory, tasks, files),
    getrusage => processes::getrusage(c, k, cpu),
    times => processes::times(c, k, cpu),
    exit: ALWAYS | LONG | REGISTERS => threads::exit(c, k, cpu),
    exit_group: ALWAYS | LONG | REGISTERS => threads::exit_group(c, k, cpu),
    futex: ALWAYS => threads::futex(c, memory, tasks),
    set_tid_address: ALWAYS => threads::set_tid_address(c, tasks),
    set_robust_list: ALWAYS => threads::set_robust_list(c, tasks),
    arch_prctl => threads::arch_prctl(c, memory, tasks),
    getpid: ALWAYS => threads::getpid(c),
    getpgid: ALWAYS => jobs::getpgid(c, tasks),
    getpgrp: ALWAYS => jobs::getpgid(&c.with(&[0; 6]), tasks),
    getsid: ALWAYS => jobs::getsid(c, tasks),
    setpgid: ALWAYS => jobs::setpgid(c, tasks),
    setsid: ALWAYS => jobs::setsid(c, tasks),
    getppid: ALWAYS => threads::getppid(c, tasks),
    gettid: ALWAYS => threads::gettid(c, tasks),
    sched_yield: REGISTERS => threads::sched_yield(c, tasks),
    sched_getaffinity => threads::sched_getaffinity(c, memory, tasks),
    sched_setaffinity => threads::sched_setaffinity(c, memory, tasks),
    sched_getscheduler: ALWAYS => threads::sched_getscheduler(c, tasks),
    sched_getparam => threads::sched_getparam(c, memory, tasks),
    sched_get_priority_min: ALWAYS => system::priority_bound(c, 1),
    sched_get_priority_max: ALWAYS => system::priority_bound(c, 99),
    getcpu => threads::getcpu(c, memory),

    clock_gettime => {
        clocks::charge(c, k, cpu);
        clocks::clock_gettime(c, &mut k.memory, &k.tasks)
    },
    clock_getres => clocks::clock_getres(c, memory, tasks),
    gettimeofday => clocks::gettimeofday(c, memory),
    time => clocks::time(c, memory),
    nanosleep => clocks::nanosleep(c, memory, tasks),
    clock_nanosleep => {
        clocks::charge(c, k, cpu);
        clocks::clock_nanosleep(c, &mut k.memory, &mut k.tasks)
    },

    rt_sigaction => signals::action(c, memory, tasks),
    rt_sigprocmask => signals::mask(c, memory, tasks),
    rt_sigpending => signals::pending(c, memory, tasks),
    rt_sigreturn: ALWAYS | REGISTERS => signals::handler_done(c, k, cpu),
    sigaltstack: REGISTERS => signals::stack(c, memory, tasks),
    rt_sigsuspend => signals::suspend(c, memory, tasks),
    rt_sigtimedwait => signals::timed_wait(c, memory, tasks),
    pause => signals::pause(c, tasks),
    kill: ALWAYS => signals::kill(c, tasks, *first),
    tkill => signals::kill_thread(c, tasks, None, c.int(0), c.arguments[1]),
    tgkill => signals::kill_thread(c, tasks, Some(c.int(0)), c.int(1), c.arguments[2]),
    rt_sigqueueinfo => signals::queue(c, memory, tasks),
    rt_tgsigqueueinfo => signals::queue_thread(c, memory, tasks),
    setitimer => clocks::setitimer(c, memory, tasks),
    getitimer => clocks::getitimer(c, memory, tasks),
    alarm: ALWAYS => clocks::alarm(c, tasks),

    uname => system::uname(c, memory),
    sysinfo => system::sysinfo(c, memory, tasks),
    getrandom: LONG => system::getrandom(c, memory, tasks, random),
    prlimit64 => system::prlimit(c, memory, tasks),
    getrlimit => system::getrlimit(c, memory, tasks),
    setrlimit => system::setrlimit(c, memory, tasks),
    getuid | geteuid | getgid | getegid | getgroups: ALWAYS => DONE,
    getresuid | getresgid => system::three_zeroes(c, memory),
    setuid | setgid: ALWAYS => system::become_root(c, 1),
    setreuid | setregid: ALWAYS => system::become_root(c, 2),
    setresuid | setresgid: ALWAYS => system::become_root(c, 3),
    setgroups: ALWAYS => system::set_groups(c),
    // These return the old id, which is always 0, and change nothing.
    setfsuid | setfsgid: ALWAYS => DONE,
    prctl => system::prctl(c, memory, tasks),
    getpriority: ALWAYS => system::get_priority(c, tasks),
}

calls! {
    /// Puts Jotun's own calls into their table.
    fn jotun(own, own::FIRST, k, cpu, c, { memory, tasks, files, messages, .. });

    START: LONG => native::start(c, k, cpu),
    SEND => native::send(c, memory, tasks, messages),
    RECEIVE => native::receive(c, memory, tasks, messages),
    WAIT => native::wait(c, memory, tasks, files),
    STATISTICS: LONG => native::statistics(c, k),
    BURN: LONG => native::burn(c),
    THREAD => native::thread(c, k),
    CONTAINER => native::container(c, memory, tasks),
    PRIORITY => native::priority(c, tasks),
    TRACE => native::trace(c, cpu),
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
