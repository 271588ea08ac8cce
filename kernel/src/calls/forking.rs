//! Calls that make processes: `fork`, `vfork`, `clone`.
//!
//! A child of `fork` is a process in a container of its own, which shares its pages with the parent's until
//! one of them writes. A child of `vfork` is a second process in the parent's container, and leaves it when
//! it calls `execve` or ends.
//!
//! A large container is copied in several visits. In between, no other thread of it runs in user mode or makes a call
//! that changes its address space: such threads wait on `Channel::Forking` and `Channel::Container`.

use super::argument::Pointer;
use super::memory::change_with;
use super::{Answer, Caller, Reply, no_memory, place, preempt, settle_remains, threads, value};
use crate::arch::extended;
use crate::core::files::Files;
use crate::core::kernel::{Memory, Tasks};
use crate::core::process::check_room;
use crate::core::schedule;
use crate::core::signals::SIGCHLD;
use crate::core::statistics::Statistics;
use ::files::Errno;
use containers::directory::USER_END;
use containers::{Budget, Channel, ContainerId, ProcessId, Registers, Resume, Space, Thread, ThreadId, Wait};
use threads::{Child, CloneFlags};

/// How many frames for each process must stay free when one is made, beside those that files leave, but no more than a
/// part of all. Existing processes will write to pages that they share now, and if a copy cannot be made, a process is
/// killed.
const FREE_EACH: usize = 16;
const FREE_ANYWAY: usize = 256;
const FREE_SHARE: usize = 32;

/// Ensures that there are frames for one process more: `ENOMEM`. If the memory that ended processes have left may be enough, the
/// call is to be made again.
fn find_frames(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Result<(), Answer> {
    let wanted = FREE_ANYWAY + FREE_EACH * tasks.processes_live() as usize;
    if memory.physical.free() >= wanted.min(memory.physical.total() / FREE_SHARE) {
        return Ok(());
    }
    settle_remains(memory, tasks, caller)?;
    Err(Err(Errno::ENOMEM))
}

/// `fork()`
pub fn fork(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    statistics: &mut Statistics,
) -> Answer {
    clone(caller, memory, tasks, files, statistics, child(CloneFlags::empty()))
}

/// `vfork()`
pub fn vfork(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    statistics: &mut Statistics,
) -> Answer {
    clone(caller, memory, tasks, files, statistics, child(CloneFlags::VM | CloneFlags::VFORK))
}

/// A child that goes on with the caller's stack, and whose end is told by `SIGCHLD`.
fn child(flags: CloneFlags) -> Child {
    let flags = flags | CloneFlags::from_bits_retain(SIGCHLD.into());
    Child { flags, stack: 0, parent_tid: Pointer::to(0), child_tid: Pointer::to(0), tls: 0 }
}

/// `clone(flags, stack, parent tid, child tid, tls)` for a process.
pub fn clone(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    statistics: &mut Statistics,
    child: Child,
) -> Answer {
    let Child { flags, stack, parent_tid, child_tid, tls } = child;
    let shared = CloneFlags::VM | CloneFlags::VFORK;
    let signal = (flags & CloneFlags::SIGNAL).bits() as u8;
    if !(CloneFlags::SIGNAL | shared | CloneFlags::OPTIONS | CloneFlags::IGNORED).contains(flags)
        || !matches!(signal, 0 | SIGCHLD)
    {
        super::entry::log_once(
            statistics,
            tasks,
            caller,
            format_args!("with flags {:#x} is not there: EINVAL", flags.bits()),
        );
        return Err(Errno::EINVAL);
    }
    if flags.contains(CloneFlags::SETTLS) && tls >= USER_END {
        return Err(Errno::EPERM);
    }
    let own = !flags.contains(CloneFlags::VM);
    let container = match own {
        true => change_with(caller, memory, tasks, |memory, tasks, _| copy_container(caller, memory, tasks)),
        false => lend_container(caller, memory, tasks),
    };
    let container = match container {
        Ok(container) => container,
        Err(answer) => return answer,
    };
    let here = caller.space.cpu;
    let made = make_child(caller, tasks, files, container, flags);
    let id = made.inspect_err(|_| {
        if own {
            memory.destroy_container(container, here);
        }
    })?;
    if let Some(container) = memory.container_mut(container) {
        container.processes += 1;
    }
    if let Some(process) = tasks.process_mut(id) {
        process.exit_signal = signal;
        let main = &mut process.main;
        main.context.registers.rsp = if stack != 0 { stack } else { main.context.registers.rsp };
        main.context.fs_base = if flags.contains(CloneFlags::SETTLS) { tls } else { main.context.fs_base };
        main.clear_child_tid = if flags.contains(CloneFlags::CHILD_CLEARTID) { child_tid.address } else { 0 };
    }
    // As on Linux, an address that cannot be written is not an error here.
    if flags.contains(CloneFlags::PARENT_SETTID) {
        let _ = caller.write(memory, parent_tid, &id.number());
    }
    if flags.contains(CloneFlags::CHILD_SETTID) {
        let child = Caller { space: Space { container, cpu: here }, ..*caller };
        let _ = child.write(memory, child_tid, &id.number());
    }
    tasks.make_ready(ThreadId::main(id));
    if !flags.contains(CloneFlags::VFORK) {
        return value(id.number());
    }
    let end = Resume::Return(id.number().into());
    tasks.park(caller.thread, Wait { woken: end, ..Wait::restart(Channel::Leaving(id), None) });
    Ok(Reply::Parked)
}

/// A copy of the caller's container. If one visit is not enough, the call is made again and continues here.
fn copy_container(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Result<ContainerId, Answer> {
    let Space { container, cpu } = caller.space;
    let had_begun = memory.is_forking(container);
    if !had_begun {
        check_room(tasks, caller.process).map_err(Err)?;
        find_frames(caller, memory, tasks)?;
    }
    let copied = memory.fork(container, cpu, &mut Budget::of_a_visit());
    match (had_begun, memory.is_forking(container)) {
        (false, true) => tasks.fork_begins(),
        (true, false) => tasks.fork_ends(container),
        _ => {}
    }
    match copied {
        Ok(Some(child)) => Ok(child),
        Ok(None) => Err(preempt(tasks, caller, 0)),
        Err(error) => Err(Err(no_memory(error))),
    }
}

/// The caller's own container, for a child that is to be in it too.
fn lend_container(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Result<ContainerId, Answer> {
    let Space { container, cpu } = caller.space;
    place(tasks, caller);
    check_room(tasks, caller.process).map_err(Err)?;
    find_frames(caller, memory, tasks)?;
    memory.leave_window(container, cpu).map_err(|_| Err(Errno::ENOMEM))?;
    Ok(container)
}

/// Makes a child of the caller in a container: it inherits the caller's resources, and its main thread goes on where
/// the calling thread is, with 0 as the call's result.
fn make_child(
    caller: &Caller,
    tasks: &mut Tasks,
    files: &mut Files,
    container: ContainerId,
    flags: CloneFlags,
) -> Result<ProcessId, Errno> {
    let spare = tasks.spare.take();
    let thread = tasks.thread_mut(caller.thread).ok_or(Errno::ESRCH)?;
    schedule::store(thread, caller.space.cpu);
    let mut main = Thread::new(container, extended::copy(&thread.context.extended, spare));
    main.context.registers = Registers { rax: 0, ..thread.context.registers };
    (main.context.fs_base, main.context.gs_base) = (thread.context.fs_base, thread.context.gs_base);
    (main.signal_mask, main.priority, main.affinity) = (thread.signal_mask, thread.priority, thread.affinity);
    if flags & (CloneFlags::VM | CloneFlags::VFORK) != CloneFlags::VM {
        main.signal_stack = thread.signal_stack;
    }
    let parent = tasks.process(caller.process).ok_or(Errno::ESRCH)?;
    files.enter(parent.resources.directory)?;
    let resources = parent.resources.inherit();
    // There is room: that was checked first.
    tasks.make_process(main, Some(caller.process), resources).map_err(|_| Errno::EAGAIN)
}
