//! Job control: calls on process groups and sessions, and access to the terminal.

use super::argument::Pointer;
use super::{Answer, Caller, DONE, Reply, value};
use crate::core::console::{Console, TerminalControl};
use crate::core::kernel::{Memory, Tasks};
use crate::core::signals::{self, SIGTTIN, SIGTTOU, from_kernel};
use ::files::Errno;
use containers::{Channel, ProcessId, ThreadId, Wait};

/// The process that a number names, or that of the thread that it names; 0 is the caller's.
fn named(caller: &Caller, tasks: &Tasks, number: i32) -> Result<ProcessId, Errno> {
    let number = u32::try_from(number).map_err(|_| Errno::ESRCH)?;
    if number == 0 {
        return Ok(caller.process);
    }
    tasks.by_number(number).and_then(|id| tasks.thread(id)).map(|thread| thread.process).ok_or(Errno::ESRCH)
}

/// `getpgid(process)`, and `getpgrp()`
pub fn getpgid(caller: &Caller, tasks: &Tasks, process: i32) -> Answer {
    value(tasks.process(named(caller, tasks, process)?).ok_or(Errno::ESRCH)?.group)
}

/// `getsid(process)`
pub fn getsid(caller: &Caller, tasks: &Tasks, process: i32) -> Answer {
    value(tasks.process(named(caller, tasks, process)?).ok_or(Errno::ESRCH)?.session)
}

/// `setpgid(process, group)`: moves the caller, or a child that has not called `execve` yet, into a group of its
/// session or into a new group that the process leads.
pub fn setpgid(caller: &Caller, tasks: &mut Tasks, number: i32, group: i32) -> Answer {
    let group = if group == 0 { number } else { group };
    let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
    let id = named(caller, tasks, number)?;
    if number != 0 && tasks.by_number(number as u32) != Some(ThreadId::main(id)) {
        return Err(Errno::EINVAL);
    }
    let session = tasks.process(caller.process).ok_or(Errno::ESRCH)?.session;
    let process = tasks.process(id).ok_or(Errno::ESRCH)?;
    let is_child = process.parent == Some(caller.process);
    if !is_child && id != caller.process {
        return Err(Errno::ESRCH);
    }
    if process.session != session {
        return Err(Errno::EPERM);
    }
    if is_child && process.executed {
        return Err(Errno::EACCES);
    }
    let group = if group == 0 { id.number() } else { group };
    let is_there = |group| tasks.members(group).any(|id| tasks.process(id).is_some_and(|p| p.session == session));
    if session == id.number() || group != id.number() && !is_there(group) {
        return Err(Errno::EPERM);
    }
    tasks.set_group(id, group);
    DONE
}

/// `setsid()`: gives the caller a session and a group of its own. `EPERM` for the leader of a group.
pub fn setsid(caller: &Caller, tasks: &mut Tasks) -> Answer {
    let number = caller.process.number();
    if tasks.members(number).next().is_some() {
        return Err(Errno::EPERM);
    }
    tasks.process_mut(caller.process).ok_or(Errno::ESRCH)?.session = number;
    tasks.set_group(caller.process, number);
    value(number)
}

/// The session and group that control the terminal, if the session is the caller's.
fn control(caller: &Caller, tasks: &Tasks, console: &Console) -> Option<TerminalControl> {
    let session = tasks.process(caller.process)?.session;
    console.control.filter(|control| control.session == session)
}

/// Checks whether the caller may read from the terminal (`SIGTTIN`), or change it (`SIGTTOU`). In the background it may
/// not: its group is sent the signal, and the call is made again when the process continues. If the signal would have
/// no effect, the error is `EIO`; but a process that ignores `SIGTTOU` may change it.
pub fn ask(caller: &Caller, tasks: &mut Tasks, console: &Console, signal: u8) -> Result<Option<Reply>, Errno> {
    let group = tasks.process(caller.process).ok_or(Errno::ESRCH)?.group;
    if control(caller, tasks, console).is_none_or(|control| control.foreground == group) {
        return Ok(None);
    }
    match signals::is_ignored(tasks, caller.thread, signal) {
        true if signal == SIGTTIN => return Err(Errno::EIO),
        true => return Ok(None),
        false if tasks.is_orphaned(group) => return Err(Errno::EIO),
        false => {}
    }
    signals::send_to_group(tasks, group, from_kernel(signal));
    tasks.park(caller.thread, Wait::restart(Channel::Again, None));
    Ok(Some(Reply::Parked))
}

/// `ioctl(fd, TIOCGPGRP or TIOCGSID, number)`
pub fn terminal_owner(caller: &Caller, tasks: &Tasks, console: &Console) -> Result<TerminalControl, Errno> {
    control(caller, tasks, console).ok_or(Errno::ENOTTY)
}

/// `ioctl(fd, TIOCSPGRP, group)`: puts a group of the caller's session into the foreground.
pub fn set_foreground(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    console: &mut Console,
    group: Pointer<i32>,
) -> Answer {
    let owner = terminal_owner(caller, tasks, console)?;
    if let Some(reply) = ask(caller, tasks, console, SIGTTOU)? {
        return Ok(reply);
    }
    let group = u32::try_from(caller.read(memory, group)?).map_err(|_| Errno::EINVAL)?;
    let of_session = |id| tasks.process(id).is_some_and(|process| process.session == owner.session);
    let member = tasks.members(group).next().ok_or(Errno::ESRCH)?;
    if !of_session(member) {
        return Err(Errno::EPERM);
    }
    console.control = Some(TerminalControl { foreground: group, ..owner });
    DONE
}

/// `ioctl(fd, TIOCSCTTY, steal)`: makes the terminal that of the caller's session, which the caller leads. With `steal`
/// 1, root takes it from another session.
pub fn take_terminal(caller: &Caller, tasks: &Tasks, console: &mut Console, steal: u64) -> Answer {
    let process = tasks.process(caller.process).ok_or(Errno::ESRCH)?;
    match console.control {
        _ if process.session != caller.process.number() => Err(Errno::EPERM),
        Some(control) if control.session == process.session => DONE,
        Some(_) if steal != 1 => Err(Errno::EPERM),
        _ => {
            console.control = Some(TerminalControl { session: process.session, foreground: process.group });
            DONE
        }
    }
}

/// `ioctl(fd, TIOCNOTTY)`: the session gives its terminal up. Only its leader may do that: the terminal belongs to the
/// session here, so no other process can give it up for itself alone.
pub fn give_terminal_up(caller: &Caller, tasks: &mut Tasks, console: &mut Console) -> Answer {
    let owner = terminal_owner(caller, tasks, console)?;
    if owner.session != caller.process.number() {
        return Err(Errno::EPERM);
    }
    console.hang_up(tasks, caller.process);
    DONE
}
