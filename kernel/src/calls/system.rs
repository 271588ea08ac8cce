//! Calls on the system as a whole: names, limits, identities, random numbers.

use super::argument::Pointer;
use super::files::BYTES_MAX;
use super::{Answer, Caller, DONE, UserMemory, preempt_at, restart, settle_remains, value};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use crate::core::process::{Limit, NAME_MAX, Name};
use crate::core::random::{self, Random};
use ::files::Errno;
use containers::{Budget, PAGE_SIZE, Point};
use hardware::clock;
use linux_raw_sys::prctl as options;
use zerocopy::{Immutable, IntoBytes};

/// `struct new_utsname`
pub type Names = [[u8; 65]; 6];

/// `uname(names)`: the release is that of the Linux version whose calls these are.
pub fn uname(caller: &Caller, user: &mut impl UserMemory, names: Pointer<Names>) -> Answer {
    const FIELDS: [&str; 6] =
        ["Jotun", "jotun", "6.1.0-jotun", concat!("Jotun ", env!("CARGO_PKG_VERSION")), "x86_64", "(none)"];
    let mut filled: Names = [[0; 65]; 6];
    for (to, from) in filled.iter_mut().zip(FIELDS) {
        to[..from.len()].copy_from_slice(from.as_bytes());
    }
    caller.write(user, names, &filled).and(DONE)
}

/// `struct sysinfo`
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub struct Sysinfo {
    uptime: u64,
    loads: [u64; 3],
    total: u64,
    free: u64,
    shared: u64,
    buffers: u64,
    swap: [u64; 2],
    processes: u16,
    pad: [u8; 6],
    high: [u64; 2],
    unit: u32,
    end: [u8; 4],
}

/// `sysinfo(info)`
pub fn sysinfo(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, info: Pointer<Sysinfo>) -> Answer {
    restart(tasks, caller);
    if let Err(answer) = settle_remains(memory, tasks, caller) {
        return answer;
    }
    let now = clock::nanoseconds();
    let filled = Sysinfo {
        uptime: now / super::time::SECOND,
        // In units of 1/65,536.
        loads: tasks.load_at(now).hundredths().map(|average| (average << 16) / 100),
        total: memory.physical.total() as u64,
        free: memory.physical.free() as u64,
        shared: 0,
        buffers: 0,
        swap: [0; 2],
        processes: tasks.threads_live() as u16,
        pad: [0; 6],
        high: [0; 2],
        unit: PAGE_SIZE as u32,
        end: [0; 4],
    };
    caller.write(memory, info, &filled).and(DONE)
}

/// `getrandom(buffer, length, flags)`
pub fn getrandom(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    random: &mut Random,
    buffer: Pointer<u8>,
    length: u64,
    flags: u32,
) -> Answer {
    if flags & !(linux::GRND_NONBLOCK | linux::GRND_RANDOM | linux::GRND_INSECURE) != 0 {
        return Err(Errno::EINVAL);
    }
    let length = length.min(BYTES_MAX);
    let mut done = restart(tasks, caller).map_or(0, |restart| restart.progress);
    let mut budget = Budget::of_a_visit();
    while done < length {
        if budget.is_spent() {
            return preempt_at(tasks, caller, Point { progress: done, place: 0, ends_for_handlers: true });
        }
        let mut bytes = [0; 256];
        let part = &mut bytes[..256.min((length - done) as usize)];
        random.fill(part);
        budget.spend(random::COST * part.len() as u64);
        match memory.copy_out(caller.space, buffer.nth(done).address, part) {
            Ok(()) => done += part.len() as u64,
            Err(_) if done > 0 => break,
            Err(fault) => return Err(super::bad_address(fault)),
        }
    }
    value(done)
}

/// `prlimit64(process, resource, new, old)`, for the calling process.
pub fn prlimit(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    process: u32,
    resource: u32,
    new: Option<Pointer<Limit>>,
    old: Option<Pointer<Limit>>,
) -> Answer {
    let wanted = new.map(|new| caller.read(memory, new)).transpose()?;
    if process != 0
        && tasks.by_number(process).and_then(|id| tasks.thread(id)).map(|t| t.process) != Some(caller.process)
    {
        return Err(Errno::ESRCH);
    }
    let before = exchange_limit(caller, memory, tasks, resource, wanted)?;
    if let Some(old) = old {
        caller.write(memory, old, &before)?;
    }
    DONE
}

/// `getrlimit(resource, limit)`
pub fn getrlimit(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    resource: u32,
    limit: Pointer<Limit>,
) -> Answer {
    let before = exchange_limit(caller, memory, tasks, resource, None)?;
    caller.write(memory, limit, &before).and(DONE)
}

/// `setrlimit(resource, limit)`
pub fn setrlimit(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    resource: u32,
    limit: Pointer<Limit>,
) -> Answer {
    let wanted = caller.read(memory, limit)?;
    exchange_limit(caller, memory, tasks, resource, Some(wanted)).and(DONE)
}

/// A limit of the calling process, to which a new one is given if one is wanted.
fn exchange_limit(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    resource: u32,
    wanted: Option<Limit>,
) -> Result<Limit, Errno> {
    if resource >= linux::RLIM_NLIMITS {
        return Err(Errno::EINVAL);
    }
    if wanted.is_some_and(|limit| limit.soft > limit.hard) {
        return Err(Errno::EINVAL);
    }
    let resources = &mut tasks.process_mut(caller.process).ok_or(Errno::ESRCH)?.resources;
    let (descriptors, limits) = (&mut resources.descriptors, &mut resources.limits);
    let mut other = match resource {
        linux::RLIMIT_NOFILE => Limit { soft: descriptors.limit().into(), hard: limits.descriptors },
        linux::RLIMIT_CORE => Limit { soft: 0, ..Limit::NONE },
        _ => Limit::NONE,
    };
    let limit = match resource {
        linux::RLIMIT_FSIZE => &mut limits.file_size,
        linux::RLIMIT_DATA => &mut limits.data,
        linux::RLIMIT_STACK => &mut limits.stack,
        linux::RLIMIT_NPROC => &mut limits.processes,
        linux::RLIMIT_AS => &mut limits.address_space,
        linux::RLIMIT_SIGPENDING => &mut limits.signals,
        _ => &mut other,
    };
    let before = *limit;
    if let Some(wanted) = wanted {
        if wanted.hard > before.hard {
            return Err(Errno::EPERM);
        }
        if resource == linux::RLIMIT_CPU && wanted.soft != u64::MAX {
            // RLIMIT_CPU is not enforced, and a program that sets it would rely on it.
            return Err(Errno::EINVAL);
        }
        if resource == linux::RLIMIT_NOFILE {
            descriptors.set_limit(wanted.soft as u32)?;
            limits.descriptors = wanted.hard;
        }
        *limit = wanted;
        if let Some(container) = memory.container_mut(caller.space.container) {
            match resource {
                linux::RLIMIT_STACK => container.growth.region = wanted.soft,
                linux::RLIMIT_AS => container.growth.all = wanted.soft,
                _ => {}
            }
        }
    }
    Ok(before)
}

/// `getuid` and its kin: every process is root. `setfsuid` and `setfsgid` change nothing and return the old id.
pub fn root(_: &Caller) -> Answer {
    DONE
}

/// `getresuid(real, effective, saved)`, `getresgid`: every process is root.
pub fn three_zeroes(
    caller: &Caller,
    user: &mut impl UserMemory,
    real: Pointer<u32>,
    effective: Pointer<u32>,
    saved: Pointer<u32>,
) -> Answer {
    for id in [real, effective, saved] {
        caller.write(user, id, &0)?;
    }
    DONE
}

/// `setuid` and its kin, with the ids to be set: only root is allowed, and every process is root already. Other ids are
/// refused, because no check would use them.
pub fn become_root(_: &Caller, ids: &[u32]) -> Answer {
    /// The value that leaves an id as it is, in calls that set several.
    const UNCHANGED: u32 = u32::MAX;
    let is_root = |id: u32| id == 0 || id == UNCHANGED && ids.len() > 1;
    match ids.iter().all(|id| is_root(*id)) {
        true => DONE,
        false if ids == [UNCHANGED] => Err(Errno::EINVAL),
        false => Err(Errno::EPERM),
    }
}

/// `setgroups(count, groups)`: no process has groups, and none can get any.
pub fn set_groups(_: &Caller, count: u32) -> Answer {
    match count {
        0 => DONE,
        1..=linux::NGROUPS_MAX => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// `getpriority(which, number)`: nice 0, which is returned as 20.
pub fn get_priority(_: &Caller, tasks: &Tasks, which: u32, number: u32) -> Answer {
    let there = match which {
        linux::PRIO_PROCESS => number == 0 || tasks.by_number(number).is_some(),
        linux::PRIO_PGRP => number == 0 || tasks.members(number).next().is_some(),
        linux::PRIO_USER => number == 0,
        _ => return Err(Errno::EINVAL),
    };
    if there { value(20_u64) } else { Err(Errno::ESRCH) }
}

/// `sched_get_priority_min`, `sched_get_priority_max`: of a policy, though every thread has the first.
pub fn priority_bound(_: &Caller, policy: u32, real_time: u64) -> Answer {
    match policy {
        linux::SCHED_NORMAL | linux::SCHED_BATCH | linux::SCHED_IDLE | linux::SCHED_DEADLINE => DONE,
        linux::SCHED_FIFO | linux::SCHED_RR => value(real_time),
        _ => Err(Errno::EINVAL),
    }
}

/// `prctl(option, …)`: the names of threads; there are no other options.
pub fn prctl(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    option: u32,
    name: Pointer<[u8; NAME_MAX + 1]>,
) -> Answer {
    let process = tasks.process_mut(caller.process).ok_or(Errno::ESRCH)?;
    match option {
        options::PR_SET_NAME => {
            let mut given = [0; NAME_MAX + 1];
            let end = memory.copy_in_string(caller.space, name.address, &mut given).map_err(super::bad_address)?;
            process.resources.name = Name::new(&given[..end.unwrap_or(NAME_MAX)]);
            DONE
        }
        options::PR_GET_NAME => {
            let given = *process.resources.name.with_nul();
            caller.write(memory, name, &given).and(DONE)
        }
        _ => Err(Errno::EINVAL),
    }
}
