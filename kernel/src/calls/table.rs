//! The table of system calls.
//!
//! A line is `names(arguments) uses parts: flags => function(values)`:
//! - **names** of the calls, with `|` between them, if several do one thing;
//! - **arguments** in the order of their registers, each with its [type](super::argument), which decodes the register;
//! - **parts** of the kernel that the call uses, as fields of [`Kernel`](crate::core::kernel::Kernel): `all` is the
//!   whole kernel, `cpu` the proof that this code runs in the kernel on this CPU, `user` the caller's own memory;
//! - **flags** say how the call is made: see [`super::entry`];
//! - the **function** makes the call. It takes the caller, the parts and the arguments, or instead of these the values
//!   that the line gives.
//!
//! A call that uses no part, or `user` alone, needs nothing of the kernel's state: a strategy may have it made while another
//! CPU is in the kernel. `or lockless` names a function that makes some cases of a call so.
//!
//! For example:
//!
//! ```text
//! getrandom(buffer: Pointer<u8>, length: u64, flags: u32) uses memory, tasks, random: WITH_INTERRUPTS => system::getrandom,
//! getpgrp() uses tasks: WITHOUT_RESERVE => jobs::getpgid(0),
//! ```
//!
//! The first line lets interrupts in and calls `system::getrandom` with the caller, `memory`, `tasks`, `random`, `buffer`,
//! `length` and `flags`. The second is `getpgid` of process 0, which is the caller's.
//!
//! No other code decodes the registers of a call that is being made. Where a thread completes another thread's call, it
//! reads that thread's registers by these types: `children::child_ended`, `pipes::hand_over`, `native::hand_over`,
//! `time::tell_rest`.

use super::advice::SyncFlags;
use super::argument::{Fd, Pointer, UserPath};
use super::children::{ChildInfo, Wait4, WaitId, WaitOptions};
use super::entry::{FIRST_OWN, SAVED_REGISTERS, WITH_INTERRUPTS, WITHOUT_RESERVE, calls};
use super::files::AtFlags;
use super::futex::Operation;
use super::mapping::{MapFlags, Mapping, RemapFlags, Remapping};
use super::memory::Protection;
use super::native::Room;
use super::processes::{Program, Usage};
use super::system::{Names, Sysinfo};
use super::threads::{Child, CloneFlags};
use super::time::{Interval, Timespec};
use super::{
    advice, children, extensions, forking, futex, jobs, mapping, memory, native, processes, signals, system, threads,
    time as clocks,
};
use crate::core::delivery::frame::{Info, StackT};
use crate::core::process::{Limit, NAME_MAX};
use crate::core::signals::Action;
use abi::native as own;
use syscalls::Sysno;

calls! {
    /// Puts Linux's calls into the table, but for those on files.
    pub(super) fn linux(Sysno, 0);

    mmap(address: u64, length: u64, protection: Protection, flags: MapFlags, fd: Fd, offset: u64)
        uses memory, tasks, files: WITH_INTERRUPTS
        => mapping::mmap(Mapping { address, length, protection, flags, fd, offset }),
    munmap(address: u64, length: u64) uses memory, tasks: WITHOUT_RESERVE | WITH_INTERRUPTS => memory::munmap,
    mprotect(address: u64, length: u64, protection: Protection) uses memory, tasks: WITH_INTERRUPTS => memory::mprotect,
    mremap(address: u64, old_length: u64, length: u64, flags: RemapFlags, target: u64)
        uses memory, tasks: WITH_INTERRUPTS
        => mapping::mremap(Remapping { address, old_length, length, flags, target }),
    brk(end: u64) uses memory, tasks: WITH_INTERRUPTS => memory::brk,
    madvise(address: u64, length: u64, advice: u32) uses memory, tasks: WITH_INTERRUPTS => advice::madvise,
    msync(address: u64, length: u64, flags: SyncFlags) uses memory, tasks => advice::msync,
    mlock(address: u64, length: u64) uses memory, tasks: WITH_INTERRUPTS => advice::mlock,
    munlock(address: u64, length: u64) uses memory, tasks: WITH_INTERRUPTS => advice::munlock,
    mincore(address: u64, length: u64, residence: Pointer<u8>) uses memory, tasks => advice::mincore,

    clone(flags: CloneFlags, stack: u64, parent_tid: Pointer<u32>, child_tid: Pointer<u32>, tls: u64)
        uses memory, tasks, files, statistics: WITH_INTERRUPTS | SAVED_REGISTERS
        => threads::clone(Child { flags, stack, parent_tid, child_tid, tls }),
    fork() uses memory, tasks, files, statistics: WITH_INTERRUPTS | SAVED_REGISTERS => forking::fork,
    vfork() uses memory, tasks, files, statistics: WITH_INTERRUPTS | SAVED_REGISTERS => forking::vfork,
    execve(path: UserPath, arguments: Pointer<u64>, environment: Pointer<u64>)
        uses all, cpu: WITH_INTERRUPTS | SAVED_REGISTERS => processes::execve,
    execveat(directory: Fd, path: UserPath, arguments: Pointer<u64>, environment: Pointer<u64>, flags: AtFlags)
        uses all, cpu: WITH_INTERRUPTS | SAVED_REGISTERS
        => processes::execveat(Program { directory, path, arguments, environment, flags }),
    wait4(which: i32, status: Option<Pointer<u32>>, options: WaitOptions, usage: Option<Pointer<Usage>>)
        uses memory, tasks, files: WITHOUT_RESERVE => children::wait4(Wait4 { which, status, options, usage }),
    waitid(
        kind: u32, number: i32, info: Option<Pointer<ChildInfo>>, options: WaitOptions, usage: Option<Pointer<Usage>>
    )
        uses memory, tasks, files: WITHOUT_RESERVE => children::waitid(WaitId { kind, number, info, options, usage }),
    getrusage(who: i32, usage: Pointer<Usage>) uses memory, tasks, cpu => processes::getrusage,
    times(times: Option<Pointer<[[u64; 2]; 2]>>) uses memory, tasks, cpu => processes::times,
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
    sched_yield() uses tasks: WITHOUT_RESERVE => threads::sched_yield,
    sched_getaffinity(thread: i32, size: u32, mask: Pointer<u64>) uses memory, tasks => threads::sched_getaffinity,
    sched_setaffinity(thread: i32, size: u32, mask: Pointer<u64>) uses memory, tasks => threads::sched_setaffinity,
    sched_getscheduler(thread: i32) uses tasks: WITHOUT_RESERVE => threads::sched_getscheduler,
    sched_getparam(thread: i32, parameters: Pointer<u32>) uses memory, tasks => threads::sched_getparam,
    sched_get_priority_min(policy: u32): WITHOUT_RESERVE => system::priority_bound(policy, 1),
    sched_get_priority_max(policy: u32): WITHOUT_RESERVE => system::priority_bound(policy, 99),
    getcpu(cpu: Option<Pointer<u32>>, node: Option<Pointer<u32>>) uses user => threads::getcpu,

    clock_gettime(clock: i32, time: Pointer<Timespec>) uses memory, tasks, cpu => clocks::clock_gettime or lockless clocks::common_gettime,
    clock_getres(clock: i32, resolution: Option<Pointer<Timespec>>) uses memory, tasks => clocks::clock_getres,
    gettimeofday(time: Option<Pointer<[u64; 2]>>, zone: Option<Pointer<[u32; 2]>>) uses user => clocks::gettimeofday,
    time(result: Option<Pointer<u64>>) uses user => clocks::time,
    nanosleep(time: Pointer<Timespec>) uses memory, tasks => clocks::nanosleep,
    clock_nanosleep(clock: i32, flags: u32, time: Pointer<Timespec>) uses memory, tasks, cpu => clocks::clock_nanosleep,

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

    init_module(image: u64, length: u64, parameters: UserPath) uses memory, files: WITH_INTERRUPTS
        => extensions::init_module,
    finit_module(fd: Fd, parameters: UserPath, flags: u32) uses memory, tasks, files: WITH_INTERRUPTS
        => extensions::finit_module,
    delete_module(name: UserPath) uses memory, files: WITH_INTERRUPTS => extensions::delete_module,

    uname(names: Pointer<Names>) uses user => system::uname,
    sysinfo(info: Pointer<Sysinfo>) uses memory, tasks => system::sysinfo,
    getrandom(buffer: Pointer<u8>, length: u64, flags: u32) uses memory, tasks, random: WITH_INTERRUPTS
        => system::getrandom,
    prlimit64(process: u32, resource: u32, new: Option<Pointer<Limit>>, old: Option<Pointer<Limit>>)
        uses memory, tasks => system::prlimit,
    getrlimit(resource: u32, limit: Pointer<Limit>) uses memory, tasks => system::getrlimit,
    setrlimit(resource: u32, limit: Pointer<Limit>) uses memory, tasks => system::setrlimit,
    getuid | geteuid | getgid | getegid | getgroups | setfsuid | setfsgid(): WITHOUT_RESERVE => system::root,
    getresuid | getresgid(real: Pointer<u32>, effective: Pointer<u32>, saved: Pointer<u32>) uses user
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
    pub(super) fn jotun(own, FIRST_OWN);

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
