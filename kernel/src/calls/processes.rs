//! Calls that make processes run other programs, and that wait for their end.
//!
//! `execve` puts a process into another container.

use super::argument::{self, Argument, Fd, Pointer, UserPath};
use super::files::{AtFlags, Path, find_program};
use super::{Answer, Caller, DONE, Reply, native, time, value};
use crate::arch::{self, accounts};
use crate::core::files::Files;
use crate::core::kernel::{Kernel, Memory, Tasks};
use crate::core::lifecycle::{self, ending};
use crate::core::linux;
use crate::core::process::{Invocation, Name};
use crate::core::program::linux::{self as loader, Request};
use crate::core::program::strings::Strings;
use crate::core::schedule;
use crate::core::signals::{self, CLD_CONTINUED, CLD_STOPPED, SIGCHLD, SIGCONT};
use ::files::{Errno, InodeId};
use abi::native::WAIT;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use bitflags::bitflags;
use containers::{Change, Channel, Ending, ProcessId, Registers, Resume, Space, Thread, ThreadId, Times, Wait};
use cpulocal::InKernel;
use syscalls::Sysno;
use zerocopy::{Immutable, IntoBytes};

/// The calls that wait for a child beside [`WAIT`].
const WAIT4: u64 = Sysno::wait4 as u64;
const WAITID: u64 = Sysno::waitid as u64;

/// Bytes of a script's first line that are looked at, as on Linux.
const SCRIPT_LINE: usize = 256;
/// Scripts whose interpreter is a script, at most.
const SCRIPTS: usize = 4;

/// `execve(path, arguments, environment)`
pub fn execve(
    caller: &Caller,
    kernel: &mut Kernel,
    cpu: &InKernel,
    path: UserPath,
    arguments: u64,
    environment: u64,
) -> Answer {
    execveat(
        caller,
        kernel,
        cpu,
        Program { directory: Fd::HERE, path, arguments, environment, flags: AtFlags::empty() },
    )
}

/// What `execveat` is to run.
pub struct Program {
    /// Where a relative path begins.
    pub directory: Fd,
    /// The path of the executable file.
    pub path: UserPath,
    /// The address of the program's arguments.
    pub arguments: u64,
    /// The address of its environment.
    pub environment: u64,
    /// How to find the file.
    pub flags: AtFlags,
}

/// `execveat(directory, path, arguments, environment, flags)`
pub fn execveat(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel, program: Program) -> Answer {
    let Program { directory, path, arguments, environment, flags } = program;
    let memory = &mut kernel.memory;
    let path = Path::read(caller, memory, path)?;
    let (mut inode, mut executable) = find_program(caller, &kernel.tasks, &mut kernel.files, directory, &path, flags)?;
    let name: Box<[u8]> =
        if path.is_empty() { alloc::format!("/dev/fd/{directory}").into_bytes().into() } else { (*path).into() };
    let mut arguments = Strings::at(caller.space, arguments);
    let environment = Strings::at(caller.space, environment);
    if arguments.is_empty(memory)? {
        // Programs rely on having a name.
        arguments = Strings::of(&[b""]);
    }
    for depth in 0.. {
        let (object, _) = loader::executable(&kernel.files, inode)?;
        if kernel.files.tree.get(inode)?.writers > 0 || memory.is_written(object) {
            return Err(Errno::ETXTBSY);
        }
        let mut line = [0; SCRIPT_LINE];
        let length = memory.read_object(object, 0, &mut line);
        let Some(line) = line[..length].strip_prefix(b"#!") else { break };
        if depth == SCRIPTS {
            return Err(Errno::ELOOP);
        }
        let interpreter = interpreter(line)?;
        if depth == 0 {
            arguments.drop_first(memory)?;
            arguments.own = [name.clone()].into();
        }
        (inode, executable) =
            find_program(caller, &kernel.tasks, &mut kernel.files, Fd::HERE, &interpreter[0], AtFlags::empty())?;
        arguments.own.splice(0..0, interpreter);
    }
    let resources = &kernel.tasks.process(caller.process).ok_or(Errno::ESRCH)?.resources;
    let (path, arguments, environment, limits) = (&name[..], &arguments, &environment, resources.limits);
    kernel.files.enter(inode)?;
    let loaded = loader::load(kernel, cpu, &Request { path, inode, arguments, environment, limits })
        .inspect_err(|_| kernel.files.leave(&mut kernel.memory, Some(inode)))?;
    become_program(caller, kernel, cpu, loaded, &name, (executable, inode));
    Ok(Reply::Gone)
}

/// The interpreter, and perhaps one argument, that a script's first line, less `#!`, names. `ENOEXEC`
fn interpreter<'a>(line: &'a [u8]) -> Result<Vec<Box<[u8]>>, Errno> {
    let end = line.iter().position(|byte| matches!(byte, b'\n' | 0));
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let trim = |text: &'a [u8]| {
        let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
        let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
        &text[start..end]
    };
    let text = trim(&line[..end.unwrap_or(line.len())]);
    let (path, rest) = text.split_at(text.iter().position(blank).unwrap_or(text.len()));
    // A path that is cut off would name another program.
    if path.is_empty() || end.is_none() && rest.is_empty() && line.len() == SCRIPT_LINE - 2 {
        return Err(Errno::ENOEXEC);
    }
    Ok([path, trim(rest)].into_iter().filter(|word| !word.is_empty()).map(Box::from).collect())
}

/// The point of no return of `execve`: turns the process into a new program at its start. Nothing here can fail.
fn become_program(
    caller: &Caller,
    kernel: &mut Kernel,
    cpu: &InKernel,
    loaded: loader::Loaded,
    name: &[u8],
    (executable, inode): (Vec<u8>, InodeId),
) {
    let (id, old) = (caller.process, caller.space.container);
    let mut main = Thread::new(loaded.container, arch::extended::fresh(kernel.tasks.spare.take()));
    main.context.registers = Registers::for_user(loaded.start.0, loaded.start.1);
    if let Some(thread) = kernel.tasks.thread(caller.thread) {
        main.succeed(thread);
    }
    lifecycle::end_threads(kernel, cpu, id);
    kernel.tasks.renew(id, main);
    if let Some(container) = kernel.memory.container_mut(loaded.container) {
        container.processes = 1;
    }
    if let Some(process) = kernel.tasks.process_mut(id) {
        process.executed = true;
        let resources = &mut process.resources;
        resources.handlers.forget_functions();
        resources.name = Name::of_path(name);
        let invocation = Invocation { executable: executable.into(), inode, command_line: loaded.command_line };
        let before = resources.invocation.replace(Rc::new(invocation)).and_then(Rc::into_inner);
        kernel.files.leave(&mut kernel.memory, before.map(|invocation| invocation.inode));
    }
    kernel.files.conceal(id.number());
    lifecycle::leave_container(kernel, cpu, id, old);
    ending::shed(kernel, cpu, id);
    kernel.tasks.make_ready(ThreadId::main(id));
}

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
        caller.write(memory, info.address, &[0_u32; 7])?;
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

/// `struct rusage`
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub struct Usage {
    user: [u64; 2],
    system: [u64; 2],
    resident: u64,
    rest: [u64; 13],
}

impl Usage {
    fn new(times: Times, resident: u64) -> Usage {
        let [user, system] = accounts::shares(times).map(|time| [time / time::SECOND, time % time::SECOND / 1000]);
        Usage { user, system, resident, rest: [0; 13] }
    }
}

/// `getrusage(who, usage)`
pub fn getrusage(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel, who: i32, usage: Pointer<Usage>) -> Answer {
    schedule::charge(kernel, cpu);
    let (memory, tasks) = (&mut kernel.memory, &kernel.tasks);
    let process = tasks.process(caller.process).ok_or(Errno::ESRCH)?;
    let pages = memory.container(process.container).map_or(0, |container| container.usage().pages);
    let times = match u32::try_from(who) {
        Ok(linux::RUSAGE_SELF) => tasks.run_time(caller.process),
        Ok(linux::RUSAGE_THREAD) => tasks.thread(caller.thread).ok_or(Errno::ESRCH)?.run_time,
        Err(_) if who == linux::RUSAGE_CHILDREN => process.children_time,
        _ => return Err(Errno::EINVAL),
    };
    let resident = if who == linux::RUSAGE_CHILDREN { 0 } else { u64::from(pages) * 4 };
    caller.write(memory, usage, &Usage::new(times, resident)).and(DONE)
}

/// `times(times)`: returns the ticks since boot.
pub fn times(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel, times: Option<Pointer<[[u64; 2]; 2]>>) -> Answer {
    const TICK: u64 = time::SECOND / 100;
    let now = schedule::charge(kernel, cpu);
    if let Some(times) = times {
        let own = kernel.tasks.run_time(caller.process);
        let children = kernel.tasks.process(caller.process).ok_or(Errno::ESRCH)?.children_time;
        let used = [own, children].map(|times| accounts::shares(times).map(|time| time / TICK));
        caller.write(&mut kernel.memory, times, &used)?;
    }
    value(now / TICK)
}
