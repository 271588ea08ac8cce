//! Calls that make processes run other programs, and that say what they have used.
//!
//! `execve` puts a process into another container.

use super::argument::{Fd, Pointer, UserPath};
use super::files::{AtFlags, Path, find_program};
use super::{Answer, Caller, DONE, Reply, time, value};
use crate::arch::{self, accounts};
use crate::core::kernel::{Kernel, Memory, Tasks};
use crate::core::lifecycle::{self, ending};
use crate::core::linux;
use crate::core::process::{Invocation, Name};
use crate::core::program::linux::{self as loader, Request};
use crate::core::program::strings::Strings;
use crate::core::schedule;
use ::files::{Errno, InodeId};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use containers::{Registers, Thread, ThreadId, Times};
use cpulocal::InKernel;
use zerocopy::{Immutable, IntoBytes};

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
    arguments: Pointer<u64>,
    environment: Pointer<u64>,
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
    /// The first of the pointers to the program's arguments.
    pub arguments: Pointer<u64>,
    /// The first of the pointers to its environment.
    pub environment: Pointer<u64>,
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
    let mut arguments = Strings::at(caller.space, arguments.address);
    let environment = Strings::at(caller.space, environment.address);
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
    /// The use of the CPU, and of memory in KiB.
    pub fn new(times: Times, resident: u64) -> Usage {
        let [user, system] = accounts::shares(times).map(|time| [time / time::SECOND, time % time::SECOND / 1000]);
        Usage { user, system, resident, rest: [0; 13] }
    }
}

/// `getrusage(who, usage)`
pub fn getrusage(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    cpu: &InKernel,
    who: i32,
    usage: Pointer<Usage>,
) -> Answer {
    schedule::charge(tasks, cpu);
    let accompanied = &memory.physical.accompanied;
    let process = tasks.process(caller.process).ok_or(Errno::ESRCH)?;
    let pages = memory.container(process.container).map_or(0, |container| container.usage().pages);
    let times = match u32::try_from(who) {
        Ok(linux::RUSAGE_SELF) => accompanied.process_time(tasks, caller.process),
        Ok(linux::RUSAGE_THREAD) => accompanied.thread_time(tasks, caller.thread),
        Err(_) if who == linux::RUSAGE_CHILDREN => process.children_time,
        _ => return Err(Errno::EINVAL),
    };
    let resident = if who == linux::RUSAGE_CHILDREN { 0 } else { u64::from(pages) * 4 };
    caller.write(memory, usage, &Usage::new(times, resident)).and(DONE)
}

/// `times(times)`: returns the ticks since boot.
pub fn times(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    cpu: &InKernel,
    times: Option<Pointer<[[u64; 2]; 2]>>,
) -> Answer {
    const TICK: u64 = time::SECOND / linux::USER_HZ;
    let now = schedule::charge(tasks, cpu);
    if let Some(times) = times {
        let own = memory.physical.accompanied.process_time(tasks, caller.process);
        let children = tasks.process(caller.process).ok_or(Errno::ESRCH)?.children_time;
        let used = [own, children].map(|times| accounts::shares(times).map(|time| time / TICK));
        caller.write(memory, times, &used)?;
    }
    value(now / TICK)
}
