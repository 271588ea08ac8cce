//! Calls that wait for a child: `wait4` and `waitid`.
//!
//! A thread that waits is not woken to look for itself: whatever changes a child completes the calls of the threads
//! that wait for that. For example, a shell waits in `wait4(-1, …)` and its child exits: [`child_ended`] writes the
//! status to the shell's memory, removes the child and makes the shell runnable with the child's number as the result.

use super::argument::{self, Argument, Pointer};
use super::processes::Usage;
use super::{Answer, Caller, DONE, Reply, native, restart, value};
use crate::core::files::Files;
use crate::core::kernel::{Kernel, Memory, Tasks};
use crate::core::lifecycle;
use crate::core::linux;
use crate::core::schedule;
use crate::core::signals::{self, CLD_CONTINUED, CLD_STOPPED, SIGCHLD, SIGCONT};
use ::files::Errno;
use abi::native::WAIT;
use bitflags::bitflags;
use containers::{Change, Channel, Ending, ProcessId, Registers, Resume, Space, ThreadId, Times, Wait};
use cpulocal::InKernel;
use syscalls::Sysno;
use zerocopy::{Immutable, IntoBytes};

/// The calls that wait for a child beside [`WAIT`].
const WAIT4: u64 = Sysno::wait4 as u64;
const WAITID: u64 = Sysno::waitid as u64;

bitflags! {
    /// The options of calls that wait for a child.
    #[derive(Clone, Copy)]
    pub struct WaitOptions: u32 {
        /// The call does not wait.
        const NO_HANG = linux::WNOHANG;
        /// Children that have been stopped; `wait4` calls this `WUNTRACED`.
        const STOPPED = linux::WSTOPPED;
        /// Children that have ended.
        const EXITED = linux::WEXITED;
        /// Children that have been continued.
        const CONTINUED = linux::WCONTINUED;
        /// The child's news stay.
        const NO_WAIT = linux::WNOWAIT;
        /// Without an effect: every thread waits for all children of its process.
        const WHICH = linux::__WNOTHREAD | linux::__WALL | linux::__WCLONE;
    }
}
argument::flags!(WaitOptions);

/// The children that a call waits for.
enum Wanted {
    Any,
    Process(u32),
    Group(u32),
}

/// A change of a child that its parent can wait for.
#[derive(Clone, Copy)]
enum News {
    Ended(Ending),
    Changed(Change),
}

impl News {
    /// The status word of `wait4`.
    fn wait_status(self) -> u32 {
        match self {
            News::Ended(how) => how.wait_status(),
            News::Changed(Change::Stopped(signal)) => u32::from(signal) << 8 | 0x7f,
            News::Changed(Change::Continued) => 0xffff,
        }
    }

    /// The fields `si_code` and `si_status` of `siginfo_t`.
    fn told(self) -> (i32, u8) {
        match self {
            News::Ended(how) => signals::told(how),
            News::Changed(Change::Stopped(signal)) => (CLD_STOPPED, signal),
            News::Changed(Change::Continued) => (CLD_CONTINUED, SIGCONT),
        }
    }
}

/// A wanted child with news that the options ask for: `ECHILD` if there is no child that could have any.
fn news(
    caller: &Caller,
    tasks: &Tasks,
    wanted: &Wanted,
    options: WaitOptions,
) -> Result<Option<(ProcessId, News)>, Errno> {
    let mut there = false;
    let one = match *wanted {
        Wanted::Process(number) => Some(tasks.by_number(number).and_then(ThreadId::process).ok_or(Errno::ECHILD)?),
        Wanted::Any | Wanted::Group(_) => None,
    };
    let all = one.is_none().then(|| tasks.children(caller.process)).into_iter().flatten();
    for id in one.into_iter().chain(all) {
        let Some(child) = tasks.process(id) else { continue };
        let is_wanted = match *wanted {
            Wanted::Any => true,
            Wanted::Process(_) => child.parent == Some(caller.process),
            Wanted::Group(group) => group == child.group,
        };
        there |= is_wanted && (child.ended.is_none() || options.contains(WaitOptions::EXITED));
        let news = match (child.ended, child.control.change) {
            (Some(how), _) => options.contains(WaitOptions::EXITED).then_some(News::Ended(how)),
            (None, Some(change)) => {
                let asked = if change == Change::Continued { WaitOptions::CONTINUED } else { WaitOptions::STOPPED };
                options.contains(asked).then_some(News::Changed(change))
            }
            (None, None) => None,
        };
        if let Some(news) = news.filter(|_| is_wanted) {
            return Ok(Some((id, news)));
        }
    }
    if there { Ok(None) } else { Err(Errno::ECHILD) }
}

/// Removes a child's news once they have been reported. A child that has ended is removed with them, and its times are
/// added to its parent's.
fn reap(tasks: &mut Tasks, files: &mut Files, parent: ProcessId, child: ProcessId, news: News) {
    if let News::Changed(_) = news {
        tasks.process_mut(child).into_iter().for_each(|child| child.control.change = None);
        return;
    }
    let time = total_time(tasks, child);
    if let Some(parent) = tasks.process_mut(parent) {
        parent.children_time = parent.children_time + time;
    }
    lifecycle::forget(tasks, files, child);
}

fn total_time(tasks: &Tasks, id: ProcessId) -> Times {
    tasks.run_time(id) + tasks.process(id).map_or(Times::default(), |process| process.children_time)
}

/// Parks the caller until there are news of a child, unless the options say not to wait.
fn wait(caller: &Caller, tasks: &mut Tasks, options: WaitOptions, answer: Option<u64>) -> Answer {
    restart(tasks, caller);
    match answer {
        Some(number) => value(number),
        None if options.contains(WaitOptions::NO_HANG) => DONE,
        None => {
            tasks.park(caller.thread, Wait::restart(Channel::Children(caller.process), None));
            Ok(Reply::Parked)
        }
    }
}

/// The arguments of `wait4`.
pub struct Wait4 {
    /// The number of a child, the complement of a group's, or any (−1); 0: the caller's group.
    pub which: i32,
    /// Where the status word goes.
    pub status: Option<Pointer<u32>>,
    /// What to wait for.
    pub options: WaitOptions,
    /// Where the child's use of the CPU goes.
    pub usage: Option<Pointer<Usage>>,
}

impl Wait4 {
    /// The arguments of a thread that waits in the call.
    fn of(&Registers { rdi, rsi, rdx, r10, .. }: &Registers) -> Wait4 {
        Wait4 {
            which: Argument::of(rdi),
            status: Argument::of(rsi),
            options: Argument::of(rdx),
            usage: Argument::of(r10),
        }
    }
}

/// `wait4(process, status, options, usage)`
pub fn wait4(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files, wanted: Wait4) -> Answer {
    if !(WaitOptions::NO_HANG | WaitOptions::STOPPED | WaitOptions::CONTINUED | WaitOptions::WHICH)
        .contains(wanted.options)
    {
        return Err(Errno::EINVAL);
    }
    let answer = wait4_now(caller, memory, tasks, files, &wanted)?;
    wait(caller, tasks, wanted.options, answer)
}

fn wait4_now(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    wanted: &Wait4,
) -> Result<Option<u64>, Errno> {
    let Wait4 { which, status, options, usage } = *wanted;
    let wanted = match which {
        -1 => Wanted::Any,
        0 => Wanted::Group(tasks.process(caller.process).ok_or(Errno::ESRCH)?.group),
        i32::MIN => return Err(Errno::ESRCH),
        group @ ..0 => Wanted::Group(group.unsigned_abs()),
        number => Wanted::Process(number as u32),
    };
    let Some((child, news)) = news(caller, tasks, &wanted, options | WaitOptions::EXITED)? else { return Ok(None) };
    if let Some(status) = status {
        caller.write(memory, status, &news.wait_status())?;
    }
    if let Some(usage) = usage {
        caller.write(memory, usage, &Usage::new(total_time(tasks, child), 0))?;
    }
    reap(tasks, files, caller.process, child, news);
    Ok(Some(child.number().into()))
}

/// The `siginfo_t` that `waitid` fills with a child's news.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub struct ChildInfo {
    signal: i32,
    error: i32,
    code: i32,
    pad: i32,
    process: u32,
    user: u32,
    status: i32,
    rest: [i32; 25],
}

/// The arguments of `waitid`.
pub struct WaitId {
    /// What the number names: a process, a group, or nothing.
    pub kind: u32,
    /// The number.
    pub number: i32,
    /// Where the news go.
    pub info: Option<Pointer<ChildInfo>>,
    /// What to wait for.
    pub options: WaitOptions,
    /// Where the child's use of the CPU goes.
    pub usage: Option<Pointer<Usage>>,
}

impl WaitId {
    /// The arguments of a thread that waits in the call.
    fn of(&Registers { rdi, rsi, rdx, r10, r8, .. }: &Registers) -> WaitId {
        WaitId {
            kind: Argument::of(rdi),
            number: Argument::of(rsi),
            info: Argument::of(rdx),
            options: Argument::of(r10),
            usage: Argument::of(r8),
        }
    }
}

/// `waitid(kind, number, info, options, usage)`
pub fn waitid(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files, wanted: WaitId) -> Answer {
    let options = wanted.options;
    let changes = WaitOptions::STOPPED | WaitOptions::EXITED | WaitOptions::CONTINUED;
    if !WaitOptions::all().contains(options) || !options.intersects(changes) {
        return Err(Errno::EINVAL);
    }
    let answer = waitid_now(caller, memory, tasks, files, &wanted)?;
    if answer.is_none()
        && options.contains(WaitOptions::NO_HANG)
        && let Some(info) = wanted.info
    {
        caller.write(memory, Pointer::to(info.address), &[0_u32; 7])?;
    }
    wait(caller, tasks, options, answer)
}

fn waitid_now(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    wanted: &WaitId,
) -> Result<Option<u64>, Errno> {
    let WaitId { kind, number, info, options, usage } = *wanted;
    let wanted = match (kind, number) {
        (linux::P_ALL, _) => Wanted::Any,
        (linux::P_PID, 1..) => Wanted::Process(number as u32),
        (linux::P_PGID, 0) => Wanted::Group(tasks.process(caller.process).ok_or(Errno::ESRCH)?.group),
        (linux::P_PGID, 1..) => Wanted::Group(number as u32),
        _ => return Err(Errno::EINVAL),
    };
    let Some((child, news)) = news(caller, tasks, &wanted, options)? else { return Ok(None) };
    if let Some(info) = info {
        let (code, status) = news.told();
        let (signal, process, status) = (SIGCHLD.into(), child.number(), status.into());
        let told = ChildInfo { signal, error: 0, code, pad: 0, process, user: 0, status, rest: [0; 25] };
        caller.write(memory, info, &told)?;
    }
    if let Some(usage) = usage {
        caller.write(memory, usage, &Usage::new(total_time(tasks, child), 0))?;
    }
    if !options.contains(WaitOptions::NO_WAIT) {
        reap(tasks, files, caller.process, child, news);
    }
    Ok(Some(0))
}

/// Completes the calls that have waited for a child of `parent`, one of which has ended. So a waiting thread is not
/// woken only to find that a handler of `SIGCHLD` has been quicker.
pub fn child_ended(kernel: &mut Kernel, cpu: &InKernel, parent: ProcessId) {
    let channel = Channel::Children(parent);
    let mut next = kernel.tasks.first_waiting(channel);
    while let Some((id, thread)) = next.and_then(|id| Some((id, kernel.tasks.thread(id)?))) {
        next = thread.behind();
        if thread.wait.as_ref().is_none_or(|wait| wait.channel != channel) {
            continue;
        }
        let space = Space { container: thread.container, cpu: schedule::this_cpu(cpu) };
        let registers = thread.context.registers;
        let number = registers.code;
        let caller = Caller { thread: id, process: parent, space, resumed: true, number };
        let Kernel { memory, tasks, files, .. } = &mut *kernel;
        let answer = match number {
            WAIT => native::wait_now(&caller, memory, tasks, files, registers.rdi, Argument::of(registers.rsi)),
            WAIT4 => wait4_now(&caller, memory, tasks, files, &Wait4::of(&registers)),
            WAITID => waitid_now(&caller, memory, tasks, files, &WaitId::of(&registers)),
            _ => {
                tasks.resume(id, Resume::Restart);
                continue;
            }
        };
        match answer {
            Ok(Some(value)) => tasks.resume(id, Resume::Return(value as i64)),
            Ok(None) => {}
            Err(errno) => tasks.resume(id, Resume::Return(-i64::from(errno.into_raw()))),
        }
    }
}
