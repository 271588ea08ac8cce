//! Jotun's own calls; the crate `abi` describes what each does and its answers.

use super::argument::Pointer;
use super::{Answer, Caller, DONE, Reply, bad_address, deadline, is_over, restart, settle_remains, value};
use crate::arch;
use crate::core::files::Files;
use crate::core::kernel::{Kernel, Memory, Tasks};
use crate::core::lifecycle;
use crate::core::messages::{Message, Messages};
use crate::core::packages::DIRECTORY;
use crate::core::process::check_room;
use crate::core::program::native::{self, Request};
use ::files::Errno;
use ::trace::Event;
use abi::native::{
    BURN_MAX, FOREVER, KEEP_PRIORITY, MESSAGE_MAX, NAME_MAX, POLL, SAME_CONTAINER, TRACE_BEGIN, TRACE_END, TRACE_MARK,
};
use alloc::string::String;
use containers::directory::USER_END;
use containers::thread::PRIORITIES;
use containers::{Channel, ProcessId, Registers, Resume, ThreadId, Wait};
use core::fmt::Write;
use cpulocal::InKernel;

/// Parks the caller until there is an event on a channel; the call is made again then, and once more when its deadline
/// passes.
fn wait_for(caller: &Caller, tasks: &mut Tasks, channel: Channel, timeout: u64, until: Option<u64>) -> Answer {
    if timeout == POLL {
        return Err(Errno::EAGAIN);
    }
    if is_over(until) {
        return Err(Errno::ETIMEDOUT);
    }
    tasks.park(caller.thread, Wait::restart(channel, until));
    Ok(Reply::Parked)
}

/// What `start` is to start.
pub struct Program {
    /// The package's name.
    pub name: Pointer<u8>,
    /// The bytes of the name.
    pub length: u64,
    /// What the program finds in its first register.
    pub argument: u64,
    /// The priority, or [`KEEP_PRIORITY`].
    pub priority: u64,
    /// [`SAME_CONTAINER`]
    pub flags: u64,
}

/// `start(name, name length, argument, priority, flags)`
pub fn start(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel, wanted: Program) -> Answer {
    let Program { argument, flags, .. } = wanted;
    if flags & !SAME_CONTAINER != 0 || wanted.length > NAME_MAX as u64 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; NAME_MAX];
    let bytes = &mut bytes[..wanted.length as usize];
    kernel.memory.copy_in(caller.space, wanted.name.address, bytes).map_err(bad_address)?;
    let in_same = flags & SAME_CONTAINER != 0;
    let program = || kernel.tasks.process(caller.process).map(|process| process.resources.executable());
    // In the caller's container the package finds the caller's data, so it must be the caller's package.
    if in_same && program().and_then(|path| path.strip_prefix(DIRECTORY)) != Some(bytes) {
        return Err(Errno::EINVAL);
    }
    let request = Request {
        name: bytes,
        argument,
        priority: priority_or_keep(wanted.priority)?,
        affinity: kernel.tasks.thread(caller.thread).ok_or(Errno::ESRCH)?.affinity,
        container: in_same.then_some(caller.space.container),
        parent: Some(caller.process),
    };
    let process = native::start(kernel, cpu, &request)?;
    value(process.number())
}

fn priority_or_keep(priority: u64) -> Result<Option<u8>, Errno> {
    match priority {
        KEEP_PRIORITY => Ok(None),
        _ if priority < u64::from(PRIORITIES) => Ok(Some(priority as u8)),
        _ => Err(Errno::EINVAL),
    }
}

/// The process with a number, if it has not ended.
fn process(tasks: &Tasks, number: u64) -> Result<ProcessId, Errno> {
    let thread = u32::try_from(number).ok().and_then(|number| tasks.by_number(number));
    thread.and_then(ThreadId::process).ok_or(Errno::ESRCH)
}

/// `send(process, message, length)`
pub fn send(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    messages: &mut Messages,
    to: u64,
    content: Pointer<u8>,
    length: u64,
) -> Answer {
    if length > MESSAGE_MAX as u64 {
        return Err(Errno::EMSGSIZE);
    }
    let receiver = process(tasks, to);
    if let Ok(to) = receiver
        && hand_over(caller, memory, tasks, messages, to, (content, length))
    {
        return DONE;
    }
    let mut message = Message::new(caller.process.number(), length as usize);
    memory.copy_in(caller.space, content.address, message.content_mut()).map_err(bad_address)?;
    let to = receiver?;
    if tasks.process(to).is_none_or(|process| process.ended.is_some()) {
        return Err(Errno::ESRCH);
    }
    messages.send(to, message).map_err(|_| Errno::EAGAIN)?;
    tasks.wake(Channel::Messages(to), 1, u32::MAX);
    DONE
}

/// Gives a message to the first thread that waits for one, if its call can be completed, between pages that are
/// present. Otherwise the thread makes its call again when the message is in the queue.
fn hand_over(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    messages: &mut Messages,
    to: ProcessId,
    (content, length): (Pointer<u8>, u64),
) -> bool {
    let mut handed_over = false;
    tasks.wake_with(Channel::Messages(to), 1, u32::MAX, |receiver, wait| {
        let Registers { rdi: buffer, rsi: capacity, rdx: sender, .. } = receiver.context.registers;
        let (from, to) = (caller.space.container, receiver.container);
        let taken = length.min(capacity);
        handed_over = memory.copy_across((from, content.address), (to, buffer), taken as usize)
            && (sender == 0 || memory.write_across((to, sender), &caller.process.number().to_le_bytes()));
        if handed_over { Resume::Return(taken as i64) } else { wait.woken }
    });
    messages.sent += u64::from(handed_over);
    handed_over
}

/// Where `receive` puts a message.
pub struct Room {
    /// The buffer for the content.
    pub buffer: Pointer<u8>,
    /// The bytes of the buffer.
    pub capacity: u64,
    /// Where the sender's number goes.
    pub sender: Option<Pointer<u32>>,
}

/// `receive(buffer, capacity, sender, time-out)`
pub fn receive(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    messages: &mut Messages,
    room: Room,
    timeout: u64,
) -> Answer {
    let until = deadline(tasks, caller, (timeout != FOREVER).then_some(timeout));
    let Some(message) = messages.receive(caller.process) else {
        return wait_for(caller, tasks, Channel::Messages(caller.process), timeout, until);
    };
    let from = message.sender.to_le_bytes();
    let content = &message.content()[..message.content().len().min(room.capacity as usize)];
    let written = memory
        .copy_out(caller.space, room.buffer.address, content)
        .and_then(|()| room.sender.map_or(Ok(()), |sender| memory.copy_out(caller.space, sender.address, &from)));
    if written.is_err() {
        messages.put_back(caller.process, message);
        return Err(Errno::EFAULT);
    }
    value(content.len())
}

/// `wait(process, status, time-out)`
pub fn wait(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    child: u64,
    status: Option<Pointer<u32>>,
    timeout: u64,
) -> Answer {
    let until = deadline(tasks, caller, (timeout != FOREVER).then_some(timeout));
    match wait_now(caller, memory, tasks, files, child, status)? {
        Some(answer) => value(answer),
        None => wait_for(caller, tasks, Channel::Children(caller.process), timeout, until),
    }
}

/// The answer of `wait`, as far as it is known now: `None` while the child has not ended.
pub fn wait_now(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    child: u64,
    status: Option<Pointer<u32>>,
) -> Result<Option<u64>, Errno> {
    let child = process(tasks, child).map_err(|_| Errno::ECHILD)?;
    let state = tasks.process(child).filter(|process| process.parent == Some(caller.process));
    let Some(ended) = state.ok_or(Errno::ECHILD)?.ended else { return Ok(None) };
    if let Some(status) = status {
        caller.write(memory, status, &ended.wait_status())?;
    }
    lifecycle::forget(tasks, files, child);
    Ok(Some(0))
}

/// Writes text to the caller's buffer, whole or not at all.
fn give(caller: &Caller, memory: &mut Memory, buffer: Pointer<u8>, capacity: u64, text: &str) -> Answer {
    if text.len() as u64 > capacity {
        return Err(Errno::EMSGSIZE);
    }
    memory.copy_out(caller.space, buffer.address, text.as_bytes()).map_err(bad_address)?;
    value(text.len())
}

/// `statistics(buffer, capacity, prefix, prefix length)`
pub fn statistics(
    caller: &Caller,
    kernel: &mut Kernel,
    buffer: Pointer<u8>,
    capacity: u64,
    prefix: Pointer<u8>,
    length: u64,
) -> Answer {
    restart(&mut kernel.tasks, caller);
    if let Err(answer) = settle_remains(&mut kernel.memory, &mut kernel.tasks, caller) {
        return answer;
    }
    if length > NAME_MAX as u64 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; NAME_MAX];
    let bytes = &mut bytes[..length as usize];
    kernel.memory.copy_in(caller.space, prefix.address, bytes).map_err(bad_address)?;
    let mut text = String::with_capacity(2048);
    (kernel.upcalls.statistics)(kernel, &mut |name, value| {
        if name.as_bytes().starts_with(bytes) {
            let _ = writeln!(text, "{name} {value}");
        }
    });
    give(caller, &mut kernel.memory, buffer, capacity, &text)
}

/// `burn(instructions)`: a loop of two instructions, half as often.
pub fn burn(_: &Caller, instructions: u64) -> Answer {
    if instructions > BURN_MAX {
        return Err(Errno::EINVAL);
    }
    hardware::cpu::burn(instructions);
    DONE
}

/// `thread(entry, stack top, argument, priority)`
pub fn thread(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    entry: u64,
    stack: u64,
    argument: u64,
    priority: u64,
) -> Answer {
    let priority = priority_or_keep(priority)?;
    if entry >= USER_END {
        return Err(Errno::EFAULT);
    }
    check_room(tasks, caller.process)?;
    memory.leave_window(caller.space.container, caller.space.cpu).map_err(|_| Errno::ENOMEM)?;
    let affinity = tasks.thread(caller.thread).ok_or(Errno::ESRCH)?.affinity;
    let extended = arch::extended::fresh(tasks.spare.take());
    let id = tasks.make_thread(caller.process, extended).map_err(|_| Errno::EAGAIN)?;
    let thread = tasks.thread_mut(id).ok_or(Errno::EAGAIN)?;
    let number = thread.number;
    thread.affinity = affinity;
    thread.context.registers = Registers { rdi: argument, ..Registers::for_user(entry, stack) };
    thread.priority = priority.unwrap_or(thread.priority);
    tasks.make_ready(id);
    value(number)
}

/// `container(process, buffer, capacity)`
pub fn container(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    number: u64,
    buffer: Pointer<u8>,
    capacity: u64,
) -> Answer {
    let id = if number == 0 { caller.process } else { process(tasks, number)? };
    let container = tasks.process(id).ok_or(Errno::ESRCH)?.container;
    let usage = memory.container(container).ok_or(Errno::ESRCH)?.usage();
    let threads: u32 = tasks
        .processes()
        .filter_map(|id| tasks.process(id))
        .filter(|p| p.container == container)
        .map(|p| p.threads)
        .sum();
    let mut text = alloc::format!(
        "pages {}\ntables {}\ndirectories {}\nprocesses {}\nthreads {threads}\n",
        usage.pages,
        usage.tables,
        usage.directories,
        usage.processes
    );
    if let Some(owner) = usage.owner {
        let _ = writeln!(text, "owner {}", owner.0);
    }
    give(caller, memory, buffer, capacity, &text)
}

/// `priority(thread, priority)`: returns the old priority.
pub fn priority(caller: &Caller, tasks: &mut Tasks, number: u64, priority: u64) -> Answer {
    let wanted = priority_or_keep(priority)?;
    let id = match number {
        0 => caller.thread,
        _ => u32::try_from(number).ok().and_then(|number| tasks.by_number(number)).ok_or(Errno::ESRCH)?,
    };
    let thread = tasks.thread(id).filter(|thread| thread.process == caller.process);
    let old = thread.ok_or(Errno::ESRCH)?.priority;
    if let Some(wanted) = wanted {
        tasks.set_priority(id, wanted);
    }
    value(old)
}

/// `trace(action, value)`
pub fn trace(_: &Caller, cpu: &InKernel, action: u64, value: u64) -> Answer {
    let event = match action {
        TRACE_BEGIN => Event::Begin,
        TRACE_END => Event::End,
        TRACE_MARK => Event::Mark { value: value as u32 },
        _ => return Err(Errno::EINVAL),
    };
    if arch::trace::control(cpu, event, abi::native::TRACE) { DONE } else { Err(Errno::ENOSYS) }
}

const _: () = {
    assert!(PRIORITIES as u64 == abi::native::PRIORITIES);
    assert!(containers::thread::DEFAULT_PRIORITY as u64 == abi::native::NORMAL_PRIORITY);
};
