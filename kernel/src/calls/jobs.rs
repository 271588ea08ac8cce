//! Calls on process groups and sessions.

use super::{Answer, Caller, DONE, value};
use crate::kernel::Tasks;
use ::files::Errno;
use containers::{ProcessId, ThreadId};

/// The process that a number names, or that of the thread that it names; 0 is the caller's.
fn named(caller: &Caller, tasks: &Tasks, number: i32) -> Result<ProcessId, Errno> {
    let number = u32::try_from(number).map_err(|_| Errno::ESRCH)?;
    if number == 0 {
        return Ok(caller.process);
    }
    tasks.by_number(number).and_then(|id| tasks.thread(id)).map(|thread| thread.process).ok_or(Errno::ESRCH)
}

/// `getpgid(process)`, and `getpgrp()`
pub fn getpgid(caller: &Caller, tasks: &Tasks) -> Answer {
    value(tasks.process(named(caller, tasks, caller.int(0))?).ok_or(Errno::ESRCH)?.group)
}

/// `getsid(process)`
pub fn getsid(caller: &Caller, tasks: &Tasks) -> Answer {
    value(tasks.process(named(caller, tasks, caller.int(0))?).ok_or(Errno::ESRCH)?.session)
}

/// `setpgid(process, group)`: of itself or of a child that runs the same program still, into a group of the
/// same session or into a new one that the process leads.
pub fn setpgid(caller: &Caller, tasks: &mut Tasks) -> Answer {
    let group = u32::try_from(caller.int(1)).map_err(|_| Errno::EINVAL)?;
    let id = named(caller, tasks, caller.int(0))?;
    if caller.int(0) != 0 && tasks.by_number(caller.int(0) as u32) != Some(ThreadId::Main(id)) {
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
    tasks.process_mut(id).ok_or(Errno::ESRCH)?.group = group;
    DONE
}

/// `setsid()`: a session and a group of its own. Not for who leads a group.
pub fn setsid(caller: &Caller, tasks: &mut Tasks) -> Answer {
    let number = caller.process.number();
    if tasks.members(number).next().is_some() {
        return Err(Errno::EPERM);
    }
    let process = tasks.process_mut(caller.process).ok_or(Errno::ESRCH)?;
    (process.group, process.session) = (number, number);
    value(number)
}
