//! Calls on threads and processes: making and ending them, futexes, scheduling, identity.

use super::{Answer, Caller, DONE, Reply, bad_address, forking, point, preempt_at, value};
use crate::arch::extended;
use crate::core::kernel::{Kernel, Memory, Tasks};
use crate::core::lifecycle::joining::shared_futex;
use crate::core::lifecycle::{self, ending};
use crate::core::process::check_room;
use crate::core::schedule;
use ::files::Errno;
use containers::directory::USER_END;
use containers::tasks::{MAX_PROCESSES, MAX_THREADS};
use containers::{Backing, Channel, CpuSet, Ending, Point, Region, Resume, Rights, Space, ThreadId, Wait};
use cpulocal::InKernel;
use hardware::clock;

pub(super) const CLONE_VM: u64 = 0x100;
pub(super) const CLONE_SETTLS: u64 = 0x8_0000;
pub(super) const CLONE_PARENT_SETTID: u64 = 0x10_0000;
pub(super) const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
pub(super) const CLONE_CHILD_SETTID: u64 = 0x100_0000;
const CLONE_THREAD: u64 = 0x1_0000;
/// VM, FS, FILES, SIGHAND, THREAD: the flags that make a thread and not a process.
const THREAD: u64 = CLONE_VM | 0x200 | 0x400 | 0x800 | CLONE_THREAD;
/// SYSVSEM, DETACHED and IO have no effect here.
pub(super) const IGNORED: u64 = 0x4_0000 | 0x40_0000 | 0x8000_0000;

/// `clone(flags, stack, parent tid, child tid, tls)` for a thread of the calling process, or for another process.
pub fn clone(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel) -> Answer {
    let [flags, stack, parent_tid, child_tid, tls, _] = *caller.arguments;
    let options = CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID;
    if flags & CLONE_THREAD == 0 {
        return forking::clone(caller, kernel, cpu);
    }
    if flags & THREAD != THREAD || flags & !(THREAD | IGNORED | options) != 0 {
        return Err(Errno::ENOSYS);
    }
    if flags & CLONE_SETTLS != 0 && tls >= USER_END {
        return Err(Errno::EPERM);
    }
    check_room(&kernel.tasks, caller.process)?;
    schedule::save_extended(kernel, cpu);
    kernel.memory.leave_window(caller.space.container, caller.space.cpu).map_err(|_| Errno::ENOMEM)?;
    let spare = kernel.tasks.spare.take();
    let parent = kernel.tasks.thread(caller.thread).ok_or(Errno::ESRCH)?;
    let (mut registers, extended) = (parent.registers, extended::copy(&parent.extended, spare));
    let (mut fs_base, gs_base) = (parent.fs_base, parent.gs_base);
    let (mask, priority, affinity) = (parent.signal_mask, parent.priority, parent.affinity);
    registers.rax = 0;
    if stack != 0 {
        registers.rsp = stack;
    }
    if flags & CLONE_SETTLS != 0 {
        fs_base = tls;
    }
    let id = kernel.tasks.make_thread(caller.process, extended).map_err(|_| Errno::EAGAIN)?;
    let thread = kernel.tasks.thread_mut(id).ok_or(Errno::EAGAIN)?;
    let number = thread.number;
    thread.registers = registers;
    (thread.fs_base, thread.gs_base) = (fs_base, gs_base);
    (thread.signal_mask, thread.priority, thread.affinity) = (mask, priority, affinity);
    if flags & CLONE_CHILD_CLEARTID != 0 {
        thread.clear_child_tid = child_tid;
    }
    // As on Linux, an address that cannot be written is not an error here.
    if flags & CLONE_PARENT_SETTID != 0 {
        let _ = caller.write(&mut kernel.memory, parent_tid, &number);
    }
    if flags & CLONE_CHILD_SETTID != 0 {
        let _ = caller.write(&mut kernel.memory, child_tid, &number);
    }
    kernel.tasks.make_ready(id);
    value(number)
}

/// `exit(status)` of the calling thread.
pub fn exit(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel) -> Answer {
    lifecycle::end_thread(kernel, cpu, caller.thread, Ending::Exited(caller.arguments[0] as u8));
    Ok(Reply::Gone)
}

/// `exit_group(status)` of the calling process.
pub fn exit_group(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel) -> Answer {
    ending::end_process(kernel, cpu, caller.process, caller.thread, Ending::Exited(caller.arguments[0] as u8));
    Ok(Reply::Gone)
}

/// The channel of a futex. Unless the program says that the futex is private, there must be memory at its address:
/// `EFAULT`
fn futex_at(memory: &Memory, space: Space, address: u64, private: bool) -> Result<Channel, Errno> {
    if private {
        return Ok(Channel::Futex(space.container, address));
    }
    let region = memory.container(space.container).and_then(|container| container.regions.at(address));
    // As on Linux, memory that no process can write holds no futex.
    let holds = |region: &Region| match region.backing {
        Backing::Object { .. } => region.rights.contains(Rights::READ),
        _ => region.rights.contains(Rights::WRITE),
    };
    if region.is_some_and(holds) { Ok(shared_futex(memory, space, address)) } else { Err(Errno::EFAULT) }
}

const FUTEX_PRIVATE: i32 = 128;
const FUTEX_CLOCK_REALTIME: i32 = 256;

/// `futex(word, operation, value, time-out or second value, second word, third value)`
pub fn futex(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let [word, _, number, fourth, _, third] = *caller.arguments;
    let operation = caller.int(1);
    let realtime = operation & FUTEX_CLOCK_REALTIME != 0;
    let private = operation & FUTEX_PRIVATE != 0;
    let channel = |memory: &Memory, address| futex_at(memory, caller.space, address, private);
    let command = operation & !(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME);
    if !matches!(command, 0 | 1 | 3..=5 | 9 | 10) || realtime && command != 9 {
        return Err(Errno::ENOSYS);
    }
    if !word.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    if word >= USER_END {
        return Err(Errno::EFAULT);
    }
    let count = |number: u64| (number as i32).max(0) as usize;
    match command {
        wait @ (0 | 9) => {
            let (deadline, bits) = match wait {
                0 => (super::time::relative(caller, memory, tasks, fourth)?, u32::MAX),
                _ => {
                    super::restart(tasks, caller);
                    (absolute(caller, memory, fourth, realtime)?, third as u32)
                }
            };
            if bits == 0 {
                return Err(Errno::EINVAL);
            }
            if memory.word(caller.space, word).map_err(bad_address)? != number as u32 {
                return Err(Errno::EAGAIN);
            }
            let wait = Wait {
                channel: channel(memory, word)?,
                deadline,
                woken: Resume::Return(0),
                expired: Resume::Return(-i64::from(Errno::ETIMEDOUT.into_raw())),
                bits,
                progress: 0,
            };
            tasks.park(caller.thread, wait);
            Ok(Reply::Parked)
        }
        10 if third as u32 == 0 => Err(Errno::EINVAL),
        wake @ (1 | 10) => {
            let (channel, bits) = (channel(memory, word)?, if wake == 1 { u32::MAX } else { third as u32 });
            match count(number).max(1) {
                few @ ..=AT_ONCE if !caller.resumed => value(tasks.wake(channel, few, bits)),
                most => {
                    let begun = point(tasks, caller);
                    in_pieces(caller, tasks, begun, [most, 0], |tasks, _, most| tasks.wake(channel, most, bits))
                }
            }
        }
        _ => futex_of_two(caller, memory, tasks, command, private),
    }
}

/// The operations of `futex` on two words.
fn futex_of_two(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, command: i32, private: bool) -> Answer {
    let [word, _, number, fourth, second, third] = *caller.arguments;
    let channel = |memory: &Memory, address| futex_at(memory, caller.space, address, private);
    if !second.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let begun = point(tasks, caller);
    let is_first = begun.progress == 0;
    let most = [number, fourth].map(|number| (number as i32).max(0) as usize);
    if command == 5 {
        let from = channel(memory, word)?;
        let also = match is_first {
            true => operate(caller, memory, second, third as u32)?,
            false => begun.place & FIRST_ALONE == 0,
        };
        let to = if also { Some(channel(memory, second)?) } else { None };
        let most = [most[0], if also { most[1] } else { 0 }];
        return in_pieces(caller, tasks, begun, most, |tasks, step, most| match step {
            0 => tasks.wake(from, most, u32::MAX),
            _ => to.map_or(0, |to| tasks.wake(to, most, u32::MAX)),
        });
    }
    if (number as i32) < 0 || (fourth as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    if second >= USER_END {
        return Err(Errno::EFAULT);
    }
    if command == 4 && is_first && memory.word(caller.space, word).map_err(bad_address)? != third as u32 {
        return Err(Errno::EAGAIN);
    }
    let (from, to) = (channel(memory, word)?, channel(memory, second)?);
    in_pieces(caller, tasks, begun, most, |tasks, step, most| match step {
        0 => tasks.wake(from, most, u32::MAX),
        _ => tasks.requeue(from, to, most),
    })
}

/// The most waiters that one visit wakes or moves.
const AT_ONCE: usize = 200;

/// A bit of a preemption point's place: the second step does nothing.
const FIRST_ALONE: u64 = 1 << 32;

/// Wakes or moves waiters in two steps, each with a most: `act` handles as many waiters of a step as it is told, and
/// returns how many there were. Later visits go on with the steps of the first, whatever has become of the words. A
/// thread that begins to wait in between may be woken too, but in all no more are woken than there can be threads.
fn in_pieces(
    caller: &Caller,
    tasks: &mut Tasks,
    begun: Point,
    most: [usize; 2],
    mut act: impl FnMut(&mut Tasks, usize, usize) -> usize,
) -> Answer {
    const ALL: u64 = MAX_THREADS as u64 + MAX_PROCESSES as u64;
    let first = begun.place & (FIRST_ALONE - 1);
    let mut done = [first, begun.progress - first].map(|done| done as usize);
    let mut left = AT_ONCE;
    for (step, done) in done.iter_mut().enumerate() {
        let now = act(tasks, step, (most[step] - *done).min(left));
        (*done, left) = (*done + now, left - now);
    }
    let progress = (done[0] + done[1]) as u64;
    if left > 0 || progress >= ALL {
        return value(progress);
    }
    let place = done[0] as u64 | if most[1] == 0 { FIRST_ALONE } else { 0 };
    preempt_at(tasks, caller, Point { progress, place, ends_for_handlers: false })
}

/// The operation of `FUTEX_WAKE_OP`: changes the second word as `code` says, and returns whether the comparison in
/// `code` held for the old value.
fn operate(caller: &Caller, memory: &mut Memory, address: u64, code: u32) -> Result<bool, Errno> {
    let signed = |field: u32| (field << 20) as i32 >> 20;
    let (mut operand, against) = (signed(code >> 12 & 0xfff) as u32, signed(code & 0xfff));
    if code >> 28 & 8 != 0 {
        operand = 1_u32.wrapping_shl(operand);
    }
    let change: fn(u32, u32) -> u32 = match code >> 28 & 7 {
        0 => |_, operand| operand,
        1 => u32::wrapping_add,
        2 => |old, operand| old | operand,
        3 => |old, operand| old & !operand,
        4 => |old, operand| old ^ operand,
        _ => return Err(Errno::ENOSYS),
    };
    // The change is atomic: user threads may be changing the word on other CPUs.
    let old = memory.change_word(caller.space, address, |old| change(old, operand)).map_err(bad_address)? as i32;
    match code >> 24 & 0xf {
        0 => Ok(old == against),
        1 => Ok(old != against),
        2 => Ok(old < against),
        3 => Ok(old <= against),
        4 => Ok(old > against),
        5 => Ok(old >= against),
        _ => Err(Errno::ENOSYS),
    }
}

/// The deadline for an absolute time, by the wall clock or since boot.
fn absolute(caller: &Caller, memory: &mut Memory, address: u64, realtime: bool) -> Result<Option<u64>, Errno> {
    if address == 0 {
        return Ok(None);
    }
    let time = caller.read::<super::time::Timespec>(memory, address)?.total()?;
    if !realtime {
        return Ok(Some(time));
    }
    Ok(Some(clock::nanoseconds().saturating_add(time.saturating_sub(clock::wall_clock()))))
}

/// `set_tid_address(word)`
pub fn set_tid_address(caller: &Caller, tasks: &mut Tasks) -> Answer {
    let thread = tasks.thread_mut(caller.thread).ok_or(Errno::ESRCH)?;
    thread.clear_child_tid = caller.arguments[0];
    value(thread.number)
}

/// `set_robust_list(head, length)`
pub fn set_robust_list(caller: &Caller, tasks: &mut Tasks) -> Answer {
    if caller.arguments[1] != 24 {
        return Err(Errno::EINVAL);
    }
    tasks.thread_mut(caller.thread).ok_or(Errno::ESRCH)?.robust_list = caller.arguments[0];
    DONE
}

/// `arch_prctl(code, address)`: FS and GS bases.
pub fn arch_prctl(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    const SET_GS: u64 = 0x1001;
    const SET_FS: u64 = 0x1002;
    const GET_FS: u64 = 0x1003;
    const GET_GS: u64 = 0x1004;
    let [code, address, ..] = *caller.arguments;
    let thread = tasks.thread_mut(caller.thread).ok_or(Errno::ESRCH)?;
    match code {
        SET_FS | SET_GS if address >= USER_END => return Err(Errno::EPERM),
        SET_FS => thread.fs_base = address,
        SET_GS => thread.gs_base = address,
        GET_FS => return caller.write(memory, address, &thread.fs_base).and(DONE),
        GET_GS => return caller.write(memory, address, &thread.gs_base).and(DONE),
        _ => return Err(Errno::EINVAL),
    }
    hardware::cpu::set_user_bases(thread.fs_base, thread.gs_base);
    DONE
}

/// `getpid()`
pub fn getpid(caller: &Caller) -> Answer {
    value(caller.process.number())
}

/// `getppid()`
pub fn getppid(caller: &Caller, tasks: &Tasks) -> Answer {
    value(tasks.process(caller.process).map_or(0, |process| process.parent_number))
}

/// `gettid()`
pub fn gettid(caller: &Caller, tasks: &Tasks) -> Answer {
    value(tasks.thread(caller.thread).map_or(0, |thread| thread.number))
}

/// `sched_yield()`: puts the caller at the end of the run queue of its priority.
pub fn sched_yield(caller: &Caller, tasks: &mut Tasks) -> Answer {
    let priority = tasks.thread(caller.thread).map(|thread| thread.priority);
    let best = tasks.best_ready(caller.space.cpu);
    if best <= priority
        && best.is_some()
        && let Some(thread) = tasks.thread_mut(caller.thread)
    {
        thread.registers.rax = 0;
        tasks.make_ready(caller.thread);
        return Ok(Reply::Parked);
    }
    DONE
}

/// The thread that a scheduling call names; 0 is the caller.
fn named(caller: &Caller, tasks: &Tasks) -> Result<ThreadId, Errno> {
    match caller.int(0) {
        0 => Ok(caller.thread),
        number if number < 0 => Err(Errno::EINVAL),
        _ => by_number(caller, tasks),
    }
}

/// The thread that an affinity call names: as on Linux, a negative number is an unknown thread here.
fn by_number(caller: &Caller, tasks: &Tasks) -> Result<ThreadId, Errno> {
    match caller.int(0) {
        0 => Ok(caller.thread),
        number => u32::try_from(number).ok().and_then(|number| tasks.by_number(number)).ok_or(Errno::ESRCH),
    }
}

/// Bytes of the kernel's own mask of CPUs, a bit for each.
const MASK_BYTES: usize = size_of::<CpuSet>();

/// `sched_getaffinity(thread, size, mask)`: returns how many bytes the mask has.
pub fn sched_getaffinity(caller: &Caller, memory: &mut Memory, tasks: &Tasks) -> Answer {
    let size = caller.arguments[1];
    if size < MASK_BYTES as u64 || !size.is_multiple_of(MASK_BYTES as u64) {
        return Err(Errno::EINVAL);
    }
    let thread = tasks.thread(by_number(caller, tasks)?).ok_or(Errno::ESRCH)?;
    let mask = thread.affinity.intersection(CpuSet::first(memory.cpu_count()));
    caller.write(memory, caller.arguments[2], &mask.0)?;
    value(MASK_BYTES)
}

/// `sched_setaffinity(thread, size, mask)`: missing bits are 0, and bits beyond the kernel's mask are ignored. A thread
/// that moves itself is on its new CPU when the call returns; another running thread moves when its CPU, which is
/// called into the kernel, leaves it next.
pub fn sched_setaffinity(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let mut bytes = [0; MASK_BYTES];
    let length = caller.arguments[1].min(MASK_BYTES as u64) as usize;
    memory.copy_in(caller.space, caller.arguments[2], &mut bytes[..length]).map_err(bad_address)?;
    let thread = by_number(caller, tasks)?;
    let mask = CpuSet(u64::from_le_bytes(bytes)).intersection(CpuSet::first(memory.cpu_count()));
    if mask == CpuSet::NONE {
        return Err(Errno::EINVAL);
    }
    tasks.set_affinity(thread, mask);
    DONE
}

/// `sched_getscheduler(thread)`: `SCHED_OTHER`.
pub fn sched_getscheduler(caller: &Caller, tasks: &Tasks) -> Answer {
    named(caller, tasks).and(DONE)
}

/// `sched_getparam(thread, parameters)`
pub fn sched_getparam(caller: &Caller, memory: &mut Memory, tasks: &Tasks) -> Answer {
    named(caller, tasks)?;
    caller.write(memory, caller.arguments[1], &0_u32).and(DONE)
}

/// `getcpu(cpu, node)`
pub fn getcpu(caller: &Caller, memory: &mut Memory) -> Answer {
    if caller.arguments[0] != 0 {
        caller.write(memory, caller.arguments[0], &u32::from(caller.space.cpu.0))?;
    }
    if caller.arguments[1] != 0 {
        caller.write(memory, caller.arguments[1], &0_u32)?;
    }
    DONE
}
