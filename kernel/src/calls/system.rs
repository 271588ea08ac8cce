//! Calls on the system as a whole: names, limits, identities, random numbers.

use super::files::BYTES_MAX;
use super::{Answer, Caller, DONE, preempt_at, restart, settle_remains, value};
use crate::core::kernel::{Memory, Tasks};
use crate::core::process::{Limit, Name};
use crate::core::random::{self, Random};
use ::files::Errno;
use containers::{Budget, PAGE_SIZE, Point};
use hardware::clock;
use zerocopy::{Immutable, IntoBytes};

/// `uname(names)`: the release is that of the Linux version whose calls these are.
pub fn uname(caller: &Caller, memory: &mut Memory) -> Answer {
    const FIELDS: [&str; 6] =
        ["Jotun", "jotun", "6.1.0-jotun", concat!("Jotun ", env!("CARGO_PKG_VERSION")), "x86_64", "(none)"];
    let mut names = [[0_u8; 65]; 6];
    for (to, from) in names.iter_mut().zip(FIELDS) {
        to[..from.len()].copy_from_slice(from.as_bytes());
    }
    caller.write(memory, caller.arguments[0], &names).and(DONE)
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Sysinfo {
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
pub fn sysinfo(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    restart(tasks, caller);
    if let Err(answer) = settle_remains(memory, tasks, caller) {
        return answer;
    }
    let now = clock::nanoseconds();
    let info = Sysinfo {
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
    caller.write(memory, caller.arguments[0], &info).and(DONE)
}

/// `getrandom(buffer, length, flags)`
pub fn getrandom(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, random: &mut Random) -> Answer {
    let [address, length, flags, ..] = *caller.arguments;
    if flags & !7 != 0 {
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
        match memory.copy_out(caller.space, address.wrapping_add(done), part) {
            Ok(()) => done += part.len() as u64,
            Err(_) if done > 0 => break,
            Err(fault) => return Err(super::bad_address(fault)),
        }
    }
    value(done)
}

/// How many limits there are, `RLIMIT_CPU` to `RLIMIT_RTTIME`.
const LIMITS: u64 = 16;
const CPU_TIME: u64 = 0;
const FILE_SIZE: u64 = 1;
const DATA: u64 = 2;
const STACK: u64 = 3;
const CORE: u64 = 4;
const PROCESSES: u64 = 6;
const OPEN_FILES: u64 = 7;
const ADDRESS_SPACE: u64 = 9;
const SIGNALS: u64 = 11;

/// `prlimit64(process, resource, new, old)`, for the calling process.
pub fn prlimit(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let [pid, resource, new, old, ..] = *caller.arguments;
    if pid as u32 != 0
        && tasks.by_number(pid as u32).and_then(|id| tasks.thread(id)).map(|t| t.process) != Some(caller.process)
    {
        return Err(Errno::ESRCH);
    }
    limit(caller, memory, tasks, resource, new, old)
}

/// `getrlimit(resource, limit)`
pub fn getrlimit(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let [resource, old, ..] = *caller.arguments;
    if old == 0 {
        return Err(Errno::EFAULT);
    }
    limit(caller, memory, tasks, resource, 0, old)
}

/// `setrlimit(resource, limit)`
pub fn setrlimit(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let [resource, new, ..] = *caller.arguments;
    if new == 0 {
        return Err(Errno::EFAULT);
    }
    limit(caller, memory, tasks, resource, new, 0)
}

fn limit(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, resource: u64, new: u64, old: u64) -> Answer {
    if resource >= LIMITS {
        return Err(Errno::EINVAL);
    }
    let wanted = if new != 0 { Some(caller.read::<Limit>(memory, new)?) } else { None };
    if wanted.is_some_and(|limit| limit.soft > limit.hard) {
        return Err(Errno::EINVAL);
    }
    let resources = &mut tasks.process_mut(caller.process).ok_or(Errno::ESRCH)?.resources;
    let (descriptors, limits) = (&mut resources.descriptors, &mut resources.limits);
    let mut other = match resource {
        OPEN_FILES => Limit { soft: descriptors.limit().into(), hard: limits.descriptors },
        CORE => Limit { soft: 0, ..Limit::NONE },
        _ => Limit::NONE,
    };
    let limit = match resource {
        FILE_SIZE => &mut limits.file_size,
        DATA => &mut limits.data,
        STACK => &mut limits.stack,
        PROCESSES => &mut limits.processes,
        ADDRESS_SPACE => &mut limits.address_space,
        SIGNALS => &mut limits.signals,
        _ => &mut other,
    };
    let before = *limit;
    if let Some(wanted) = wanted {
        if wanted.hard > before.hard {
            return Err(Errno::EPERM);
        }
        if resource == CPU_TIME && wanted.soft != u64::MAX {
            // RLIMIT_CPU is not enforced, and a program that sets it would rely on it.
            return Err(Errno::EINVAL);
        }
        if resource == OPEN_FILES {
            descriptors.set_limit(wanted.soft as u32)?;
            limits.descriptors = wanted.hard;
        }
        *limit = wanted;
        if let Some(container) = memory.container_mut(caller.space.container) {
            match resource {
                STACK => container.growth.region = wanted.soft,
                ADDRESS_SPACE => container.growth.all = wanted.soft,
                _ => {}
            }
        }
    }
    if old != 0 {
        caller.write(memory, old, &before)?;
    }
    DONE
}

/// `getresuid`, `getresgid`: every process is root.
pub fn three_zeroes(caller: &Caller, memory: &mut Memory) -> Answer {
    for address in &caller.arguments[..3] {
        caller.write(memory, *address, &0_u32)?;
    }
    DONE
}

/// `setuid` and its kin, with `count` arguments: only root is allowed, and every process is root already. Other ids are
/// refused, because no check would use them.
pub fn become_root(caller: &Caller, count: usize) -> Answer {
    /// The value that leaves an id as it is, in calls that set several.
    const UNCHANGED: u32 = u32::MAX;
    let is_root = |id: u32| id == 0 || id == UNCHANGED && count > 1;
    match caller.arguments[..count].iter().all(|id| is_root(*id as u32)) {
        true => DONE,
        false if count == 1 && caller.arguments[0] as u32 == UNCHANGED => Err(Errno::EINVAL),
        false => Err(Errno::EPERM),
    }
}

/// `setgroups(count, groups)`: no process has groups, and none can get any.
pub fn set_groups(caller: &Caller) -> Answer {
    match caller.int(0) {
        0 => DONE,
        1..=65_536 => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// `getpriority(which, number)`: nice 0, which is returned as 20.
pub fn get_priority(caller: &Caller, tasks: &Tasks) -> Answer {
    let number = caller.arguments[1] as u32;
    let there = match caller.int(0) {
        0 => number == 0 || tasks.by_number(number).is_some(),
        1 => number == 0 || tasks.members(number).next().is_some(),
        2 => number == 0,
        _ => return Err(Errno::EINVAL),
    };
    if there { value(20_u64) } else { Err(Errno::ESRCH) }
}

/// `sched_get_priority_min`, `sched_get_priority_max`: of a policy, though every thread has the first.
pub fn priority_bound(caller: &Caller, real_time: u64) -> Answer {
    match caller.int(0) {
        // SCHED_OTHER, BATCH, IDLE, DEADLINE
        0 | 3 | 5 | 6 => DONE,
        // SCHED_FIFO, RR
        1 | 2 => value(real_time),
        _ => Err(Errno::EINVAL),
    }
}

/// `prctl(option, …)`: the names of threads; there are no other options.
pub fn prctl(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    const SET_NAME: i32 = 15;
    const GET_NAME: i32 = 16;
    let process = tasks.process_mut(caller.process).ok_or(Errno::ESRCH)?;
    match caller.int(0) {
        SET_NAME => {
            let mut name = [0; crate::core::process::NAME_MAX + 1];
            let end =
                memory.copy_in_string(caller.space, caller.arguments[1], &mut name).map_err(super::bad_address)?;
            process.resources.name = Name::new(&name[..end.unwrap_or(crate::core::process::NAME_MAX)]);
            DONE
        }
        GET_NAME => {
            let name = *process.resources.name.with_nul();
            caller.write(memory, caller.arguments[1], &name).and(DONE)
        }
        _ => Err(Errno::EINVAL),
    }
}
