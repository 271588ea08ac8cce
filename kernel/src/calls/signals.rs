//! Calls on signals.

use super::argument::Pointer;
use super::time::Timespec;
use super::{Answer, Caller, DONE, Reply, bad_address, is_over, place, preempt, restart, time, value};
use crate::core::delivery::frame::{self, Info, StackT};
use crate::core::delivery::{self, Signal};
use crate::core::kernel::{Kernel, Memory, Tasks};
use crate::core::linux;
use crate::core::signals::{self, Action, SI_TKILL, SI_USER, SIGNALS, UNSTOPPABLE, bit};
use ::files::Errno;
use containers::{Budget, Channel, ProcessId, SignalInfo, ThreadId, Wait};
use cpulocal::InKernel;

/// Bytes of a signal set.
const SET: u64 = 8;

fn signal(number: u32) -> Result<u8, Errno> {
    u8::try_from(number).ok().filter(|number| (1..=SIGNALS).contains(number)).ok_or(Errno::EINVAL)
}

/// `rt_sigaction(signal, new, old, set size)`
pub fn action(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    number: u32,
    new: Option<Pointer<Action>>,
    old: Option<Pointer<Action>>,
    size: u64,
) -> Answer {
    let number = signal(number)?;
    if size != SET || (new.is_some() && bit(number) & UNSTOPPABLE != 0) {
        return Err(Errno::EINVAL);
    }
    let wanted = new.map(|new| caller.read(memory, new)).transpose()?;
    let handlers = &mut tasks.process_mut(caller.process).ok_or(Errno::ESRCH)?.resources.handlers;
    let before = handlers.get(number);
    if let Some(mut wanted) = wanted {
        wanted.mask &= !UNSTOPPABLE;
        handlers.set(number, wanted);
        signals::forget_ignored(tasks, caller.process, number);
    }
    if let Some(old) = old {
        caller.write(memory, old, &before)?;
    }
    DONE
}

/// `rt_sigprocmask(how, new, old, set size)`
pub fn mask(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    how: u32,
    new: Option<Pointer<u64>>,
    old: Option<Pointer<u64>>,
    size: u64,
) -> Answer {
    if size != SET {
        return Err(Errno::EINVAL);
    }
    let wanted = new.map(|new| caller.read(memory, new)).transpose()?;
    let before = tasks.thread(caller.thread).ok_or(Errno::ESRCH)?.signal_mask;
    if let Some(set) = wanted {
        let mask = match how {
            linux::SIG_BLOCK => before | set,
            linux::SIG_UNBLOCK => before & !set,
            linux::SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL),
        };
        signals::set_mask(tasks, caller.thread, mask);
    }
    if let Some(old) = old {
        caller.write(memory, old, &before)?;
    }
    DONE
}

/// `rt_sigpending(set, set size)`
pub fn pending(caller: &Caller, memory: &mut Memory, tasks: &Tasks, set: Pointer<u64>, size: u64) -> Answer {
    if size > SET {
        return Err(Errno::EINVAL);
    }
    let thread = tasks.thread(caller.thread).ok_or(Errno::ESRCH)?;
    let pending = (tasks.pending(thread) & thread.signal_mask).to_le_bytes();
    memory.copy_out(caller.space, set.address, &pending[..size as usize]).map_err(bad_address)?;
    DONE
}

/// `sigaltstack(new, old)`
pub fn stack(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    new: Option<Pointer<StackT>>,
    old: Option<Pointer<StackT>>,
) -> Answer {
    let wanted = new.map(|new| caller.read(memory, new)).transpose()?;
    let thread = tasks.thread_mut(caller.thread).ok_or(Errno::ESRCH)?;
    let rsp = thread.context.registers.rsp;
    let before = frame::describe(thread.signal_stack, rsp);
    if let Some(wanted) = wanted {
        frame::set_stack(thread, &wanted)?;
    }
    if let Some(old) = old {
        caller.write(memory, old, &before)?;
    }
    DONE
}

/// `rt_sigreturn()`: returns to the code that the signal interrupted. A bad frame is a fault.
pub fn handler_done(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel) -> Answer {
    match frame::pop(kernel, cpu, caller.thread) {
        // All registers get their old values, rax too.
        Ok(rax) => value(rax),
        Err(_) => {
            delivery::force(kernel, cpu, caller.thread, Signal::fault(signals::SIGSEGV, signals::SI_KERNEL, 0));
            Ok(Reply::Gone)
        }
    }
}

/// `rt_sigsuspend(mask, set size)`: waits until a signal's handler has run.
pub fn suspend(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, mask: Pointer<u64>, size: u64) -> Answer {
    if size != SET {
        return Err(Errno::EINVAL);
    }
    let mask = caller.read(memory, mask)?;
    restart(tasks, caller);
    if !signals::mask_for_wait(tasks, caller.thread, mask) {
        return Err(Errno::EINTR);
    }
    pause(caller, tasks)
}

/// `pause()`
pub fn pause(caller: &Caller, tasks: &mut Tasks) -> Answer {
    restart(tasks, caller);
    tasks.park(caller.thread, Wait::restart(Channel::Signal(0), None));
    Ok(Reply::Parked)
}

/// `rt_sigtimedwait(set, info, time-out, set size)`: takes a pending signal without its handler.
pub fn timed_wait(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    set: Pointer<u64>,
    info: Option<Pointer<Info>>,
    timeout: Option<Pointer<Timespec>>,
    size: u64,
) -> Answer {
    let answer = if size == SET { take_or_wait(caller, memory, tasks, set, info, timeout) } else { Err(Errno::EINVAL) };
    if answer != Ok(Reply::Parked) {
        signals::put_mask_back(tasks, caller.thread);
    }
    answer
}

fn take_or_wait(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    set: Pointer<u64>,
    info: Option<Pointer<Info>>,
    timeout: Option<Pointer<Timespec>>,
) -> Answer {
    let set = caller.read(memory, set)? & !UNSTOPPABLE;
    let deadline = time::relative(caller, memory, tasks, timeout)?;
    let Some(signal) = tasks.take_signal(caller.thread, set) else {
        if is_over(deadline) {
            return Err(Errno::EAGAIN);
        }
        if !signals::await_signals(tasks, caller.thread, set) {
            return Err(Errno::EINTR);
        }
        tasks.park(caller.thread, Wait::restart(Channel::Signal(set), deadline));
        return Ok(Reply::Parked);
    };
    if let Some(info) = info {
        caller.write(memory, info, &Info::from(signal))?;
    }
    value(signal.number)
}

/// `kill(process, signal)`: a process, a group (negative; 0: the caller's), or all (−1) but the caller and the
/// run's first.
pub fn kill(caller: &Caller, tasks: &mut Tasks, first: &Option<ProcessId>, pid: i32, number: u32) -> Answer {
    let first = *first;
    if pid > 0 {
        let target = process(caller, tasks, pid)?;
        if let Some(info) = sent(caller, number, SI_USER)? {
            signals::send_to_process(tasks, target, info);
        }
        return DONE;
    }
    let from = place(tasks, caller);
    let group = match pid {
        -1 => None,
        0 => Some(tasks.process(caller.process).ok_or(Errno::ESRCH)?.group),
        _ => Some(pid.unsigned_abs()),
    };
    let anybody = match group {
        None => tasks.processes().any(|id| id != caller.process && Some(id) != first),
        Some(group) => tasks.members(group).next().is_some(),
    };
    if !anybody && from == 0 {
        return Err(Errno::ESRCH);
    }
    let Some(info) = sent(caller, number, SI_USER)? else { return DONE };
    match group {
        Some(group) if from == 0 && tasks.members(group).nth(FEW).is_none() => {
            signals::send_to_group(tasks, group, info);
            DONE
        }
        _ => send_to_many(caller, tasks, (group, first), info, from),
    }
}

/// To how many members of a group a signal is sent in one visit, and how many instructions sending one takes, roughly.
const FEW: usize = 16;
const COST: u64 = 3_000;

/// Sends a signal to all processes of a group, or to all processes but the caller's and the `first`, from a place in
/// the list of processes on. The caller's process comes last, because the signal may end it.
fn send_to_many(
    caller: &Caller,
    tasks: &mut Tasks,
    (group, first): (Option<u32>, Option<ProcessId>),
    info: SignalInfo,
    from: u64,
) -> Answer {
    let is_meant = |tasks: &Tasks, id: ProcessId| match group {
        Some(group) => tasks.process(id).is_some_and(|process| process.group == group),
        None => Some(id) != first,
    };
    let mut budget = Budget::of_a_visit();
    let rest = tasks.each_process(from as u32, |tasks, id| {
        if id != caller.process && is_meant(tasks, id) {
            budget.spend(COST);
            signals::send_to_process(tasks, id, info);
        }
        !budget.is_spent()
    });
    if let Some(next) = rest {
        return preempt(tasks, caller, next.into());
    }
    if group.is_some() && is_meant(tasks, caller.process) {
        signals::send_to_process(tasks, caller.process, info);
    }
    DONE
}

/// The process that a positive number names, directly or by one of its threads.
fn process(caller: &Caller, tasks: &Tasks, number: i32) -> Result<ProcessId, Errno> {
    if number as u32 == caller.process.number() {
        return Ok(caller.process);
    }
    let thread = u32::try_from(number).ok().and_then(|number| tasks.by_number(number));
    thread.and_then(|id| tasks.thread(id)).map(|thread| thread.process).ok_or(Errno::ESRCH)
}

/// The contents of a signal that the caller sends; `None` for number 0, with which nothing is sent.
fn sent(caller: &Caller, number: u32, code: i32) -> Result<Option<SignalInfo>, Errno> {
    if number == 0 {
        return Ok(None);
    }
    Ok(Some(signals::from_process(signal(number)?, code, caller.process)))
}

/// `tgkill(process, thread, signal)`, and `tkill` with `process` left out.
pub fn kill_thread(caller: &Caller, tasks: &mut Tasks, process: Option<i32>, thread: i32, number: u32) -> Answer {
    if thread <= 0 || process.is_some_and(|process| process <= 0) {
        return Err(Errno::EINVAL);
    }
    let id = thread_of(tasks, process, thread)?;
    let info = sent(caller, number, SI_TKILL)?;
    taken(info.is_none_or(|info| signals::send_to_thread(tasks, id, info)))
}

/// The answer to a sender, whose signal has been taken or refused.
fn taken(taken: bool) -> Answer {
    if taken { DONE } else { Err(Errno::EAGAIN) }
}

/// The thread with a number, if it belongs to the process.
fn thread_of(tasks: &Tasks, process: Option<i32>, thread: i32) -> Result<ThreadId, Errno> {
    let id = tasks.by_number(thread as u32).ok_or(Errno::ESRCH)?;
    let owner = tasks.thread(id).ok_or(Errno::ESRCH)?.process;
    if process.is_some_and(|process| process as u32 != owner.number()) {
        return Err(Errno::ESRCH);
    }
    Ok(id)
}

/// The contents that a caller of `rt_sigqueueinfo` gives to its signal. To another process it cannot pretend to be the
/// kernel, or `kill`.
fn told(
    caller: &Caller,
    memory: &mut Memory,
    own: bool,
    number: u32,
    info: Pointer<Info>,
) -> Result<Option<SignalInfo>, Errno> {
    let info = caller.read(memory, info)?;
    if number == 0 {
        return Ok(None);
    }
    let info = info.of(signal(number)?);
    if !own && (info.code >= 0 || info.code == SI_TKILL) { Err(Errno::EPERM) } else { Ok(Some(info)) }
}

/// `rt_sigqueueinfo(process, signal, info)`
pub fn queue(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    target: i32,
    number: u32,
    info: Pointer<Info>,
) -> Answer {
    let target = process(caller, tasks, target);
    let own = target == Ok(caller.process);
    let info = told(caller, memory, own, number, info)?;
    let target = target?;
    taken(info.is_none_or(|info| signals::send_to_process(tasks, target, info)))
}

/// `rt_tgsigqueueinfo(process, thread, signal, info)`
pub fn queue_thread(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    process: i32,
    thread: i32,
    number: u32,
    info: Pointer<Info>,
) -> Answer {
    if process <= 0 || thread <= 0 {
        return Err(Errno::EINVAL);
    }
    let own = process as u32 == caller.process.number();
    let info = told(caller, memory, own, number, info)?;
    let target = thread_of(tasks, Some(process), thread)?;
    taken(info.is_none_or(|info| signals::send_to_thread(tasks, target, info)))
}
