//! Calls that make processes run other programs, and that wait for their end.
//!
//! `execve` puts a process into another container.

use super::files::{AT_FDCWD, Path, find_program};
use super::{Answer, Caller, DONE, Reply, native, time, value};
use crate::arch::{self, accounts};
use crate::core::files::Files;
use crate::core::kernel::{Kernel, Memory, Tasks};
use crate::core::lifecycle::{self, ending};
use crate::core::process::{Invocation, Name};
use crate::core::program::linux::{self, Request};
use crate::core::program::strings::Strings;
use crate::core::schedule;
use crate::core::signals::{self, CLD_CONTINUED, CLD_STOPPED, SIGCHLD, SIGCONT};
use ::files::{Errno, InodeId};
use abi::native::WAIT;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
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
pub fn execve(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel) -> Answer {
    let [path, arguments, environment, ..] = *caller.arguments;
    execveat(&caller.with(&[AT_FDCWD as u64, path, arguments, environment, 0, 0]), kernel, cpu)
}

/// `execveat(directory, path, arguments, environment, flags)`
pub fn execveat(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel) -> Answer {
    let [_, path, arguments, environment, flags, _] = *caller.arguments;
    let memory = &mut kernel.memory;
    let path = Path::read(caller, memory, path)?;
    let (mut inode, mut executable) =
        find_program(caller, &kernel.tasks, &mut kernel.files, caller.int(0), &path, flags)?;
    let name: Box<[u8]> =
        if path.is_empty() { alloc::format!("/dev/fd/{}", caller.int(0)).into_bytes().into() } else { (*path).into() };
    let mut arguments = Strings::at(caller.space, arguments);
    let environment = Strings::at(caller.space, environment);
    if arguments.is_empty(memory)? {
        // Programs rely on having a name.
        arguments = Strings::of(&[b""]);
    }
    for depth in 0.. {
        let (object, _) = linux::executable(&kernel.files, inode)?;
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
        (inode, executable) = find_program(caller, &kernel.tasks, &mut kernel.files, AT_FDCWD, &interpreter[0], 0)?;
        arguments.own.splice(0..0, interpreter);
    }
    let resources = &kernel.tasks.process(caller.process).ok_or(Errno::ESRCH)?.resources;
    let (path, arguments, environment, limits) = (&name[..], &arguments, &environment, resources.limits);
    kernel.files.enter(inode)?;
    let loaded = linux::load(kernel, cpu, &Request { path, inode, arguments, environment, limits })
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
    loaded: linux::Loaded,
    name: &[u8],
    (executable, inode): (Vec<u8>, InodeId),
) {
    let (id, old) = (caller.process, caller.space.container);
    let mut main = Thread::new(loaded.container, arch::extended::fresh(kernel.tasks.spare.take()));
    main.registers = Registers::for_user(loaded.start.0, loaded.start.1);
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

const NO_HANG: u64 = 1;
/// WSTOPPED, which is WUNTRACED.
const STOPPED: u64 = 2;
const EXITED: u64 = 4;
const CONTINUED: u64 = 8;
const NO_WAIT: u64 = 0x100_0000;
/// WNOTHREAD, WALL, WCLONE: every thread waits for all children of its process.
const WHICH: u64 = 0xe000_0000;

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
fn news(caller: &Caller, tasks: &Tasks, wanted: &Wanted, options: u64) -> Result<Option<(ProcessId, News)>, Errno> {
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
        there |= is_wanted && (child.ended.is_none() || options & EXITED != 0);
        let news = match (child.ended, child.control.change) {
            (Some(how), _) => (options & EXITED != 0).then_some(News::Ended(how)),
            (None, Some(change)) => {
                let asked = if change == Change::Continued { CONTINUED } else { STOPPED };
                (options & asked != 0).then_some(News::Changed(change))
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
fn wait(caller: &Caller, tasks: &mut Tasks, options: u64, answer: Option<u64>) -> Answer {
    match answer {
        Some(number) => value(number),
        None if options & NO_HANG != 0 => DONE,
        None => {
            tasks.park(caller.thread, Wait::restart(Channel::Children(caller.process), None));
            Ok(Reply::Parked)
        }
    }
}

/// `wait4(process, status, options, usage)`
pub fn wait4(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    let options = caller.arguments[2];
    if options as u32 & !(NO_HANG | STOPPED | CONTINUED | WHICH) as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    let answer = wait4_now(caller, memory, tasks, files)?;
    wait(caller, tasks, options, answer)
}

fn wait4_now(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Result<Option<u64>, Errno> {
    let [_, status, options, usage, ..] = *caller.arguments;
    let wanted = match caller.int(0) {
        -1 => Wanted::Any,
        0 => Wanted::Group(tasks.process(caller.process).ok_or(Errno::ESRCH)?.group),
        i32::MIN => return Err(Errno::ESRCH),
        group @ ..0 => Wanted::Group(group.unsigned_abs()),
        number => Wanted::Process(number as u32),
    };
    let Some((child, news)) = news(caller, tasks, &wanted, options | EXITED)? else { return Ok(None) };
    if status != 0 {
        caller.write(memory, status, &news.wait_status())?;
    }
    if usage != 0 {
        caller.write(memory, usage, &Usage::new(total_time(tasks, child), 0))?;
    }
    reap(tasks, files, caller.process, child, news);
    Ok(Some(child.number().into()))
}

/// The `siginfo_t` that `waitid` fills with a child's news.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ChildInfo {
    signal: i32,
    error: i32,
    code: i32,
    pad: i32,
    process: u32,
    user: u32,
    status: i32,
    rest: [i32; 25],
}

/// `waitid(kind, number, info, options, usage)`
pub fn waitid(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &mut Files) -> Answer {
    const CHANGES: u64 = STOPPED | EXITED | CONTINUED;
    let [_, _, info, options, ..] = *caller.arguments;
    if options & !(NO_HANG | CHANGES | NO_WAIT | WHICH) != 0 || options & CHANGES == 0 {
        return Err(Errno::EINVAL);
    }
    let answer = waitid_now(caller, memory, tasks, files)?;
    if answer.is_none() && options & NO_HANG != 0 && info != 0 {
        caller.write(memory, info, &[0_u32; 7])?;
    }
    wait(caller, tasks, options, answer)
}

fn waitid_now(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
) -> Result<Option<u64>, Errno> {
    let [kind, number, info, options, usage, _] = *caller.arguments;
    let wanted = match (kind as u32, number as u32) {
        (0, _) => Wanted::Any,
        (1, number) if number as i32 > 0 => Wanted::Process(number),
        (2, 0) => Wanted::Group(tasks.process(caller.process).ok_or(Errno::ESRCH)?.group),
        (2, group) if group as i32 > 0 => Wanted::Group(group),
        _ => return Err(Errno::EINVAL),
    };
    let Some((child, news)) = news(caller, tasks, &wanted, options)? else { return Ok(None) };
    if info != 0 {
        let (code, status) = news.told();
        let (signal, process, status) = (SIGCHLD.into(), child.number(), status.into());
        let told = ChildInfo { signal, error: 0, code, pad: 0, process, user: 0, status, rest: [0; 25] };
        caller.write(memory, info, &told)?;
    }
    if usage != 0 {
        caller.write(memory, usage, &Usage::new(total_time(tasks, child), 0))?;
    }
    if options & NO_WAIT == 0 {
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
        let Registers { code: number, rdi, rsi, rdx, r10, r8, r9, .. } = thread.registers;
        let arguments = [rdi, rsi, rdx, r10, r8, r9];
        let caller = Caller { thread: id, process: parent, space, resumed: true, number, arguments: &arguments };
        let Kernel { memory, tasks, files, .. } = &mut *kernel;
        let answer = match number {
            WAIT => native::wait_now(&caller, memory, tasks, files),
            WAIT4 => wait4_now(&caller, memory, tasks, files),
            WAITID => waitid_now(&caller, memory, tasks, files),
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
struct Usage {
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
pub fn getrusage(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel) -> Answer {
    schedule::charge(kernel, cpu);
    let (memory, tasks) = (&mut kernel.memory, &kernel.tasks);
    let process = tasks.process(caller.process).ok_or(Errno::ESRCH)?;
    let pages = memory.container(process.container).map_or(0, |container| container.usage().pages);
    let usage = match caller.int(0) {
        0 => Usage::new(tasks.run_time(caller.process), u64::from(pages) * 4),
        1 => Usage::new(tasks.thread(caller.thread).ok_or(Errno::ESRCH)?.run_time, u64::from(pages) * 4),
        -1 => Usage::new(process.children_time, 0),
        _ => return Err(Errno::EINVAL),
    };
    caller.write(memory, caller.arguments[1], &usage).and(DONE)
}

/// `times(times)`: returns the ticks since boot.
pub fn times(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel) -> Answer {
    const TICK: u64 = time::SECOND / 100;
    let now = schedule::charge(kernel, cpu);
    if caller.arguments[0] != 0 {
        let own = kernel.tasks.run_time(caller.process);
        let children = kernel.tasks.process(caller.process).ok_or(Errno::ESRCH)?.children_time;
        let times = [own, children].map(|times| accounts::shares(times).map(|time| time / TICK));
        caller.write(&mut kernel.memory, caller.arguments[0], &times)?;
    }
    value(now / TICK)
}
