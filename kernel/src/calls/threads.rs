//! Calls on threads and processes: making and ending them, futexes, scheduling, identity.

use super::argument::{self, Pointer};
use super::{Answer, Caller, DONE, Reply, UserMemory, bad_address, forking, value};
use crate::arch::extended;
use crate::core::files::Files;
use crate::core::kernel::{Kernel, Memory, Tasks};
use crate::core::lifecycle::{self, ending};
use crate::core::linux;
use crate::core::process::check_room;
use crate::core::schedule;
use crate::core::statistics::Statistics;
use ::files::Errno;
use bitflags::bitflags;
use containers::directory::USER_END;
use containers::{CpuSet, Ending, ThreadId};
use cpulocal::InKernel;

bitflags! {
    /// The flags of `clone`; the lowest byte is the signal at a child's end.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct CloneFlags: u32 {
        /// The signal.
        const SIGNAL = linux::CSIGNAL;
        /// The child lives in the caller's container.
        const VM = linux::CLONE_VM;
        /// The caller waits until the child leaves the container.
        const VFORK = linux::CLONE_VFORK;
        /// The child has an FS base of its own.
        const SETTLS = linux::CLONE_SETTLS;
        /// The caller's memory is told the child's number.
        const PARENT_SETTID = linux::CLONE_PARENT_SETTID;
        /// The child's memory is told its end.
        const CHILD_CLEARTID = linux::CLONE_CHILD_CLEARTID;
        /// The child's memory is told its number.
        const CHILD_SETTID = linux::CLONE_CHILD_SETTID;
        /// The child is a thread.
        const IS_THREAD = linux::CLONE_THREAD;
        /// The flags that make a thread and not a process.
        const THREAD = linux::CLONE_VM | linux::CLONE_FS | linux::CLONE_FILES | linux::CLONE_SIGHAND | linux::CLONE_THREAD;
        /// The flags that any child can have.
        const OPTIONS = linux::CLONE_SETTLS
            | linux::CLONE_PARENT_SETTID
            | linux::CLONE_CHILD_CLEARTID
            | linux::CLONE_CHILD_SETTID;
        /// The flags without an effect here.
        const IGNORED = linux::CLONE_SYSVSEM | linux::CLONE_DETACHED | linux::CLONE_IO;
    }
}
argument::flags!(CloneFlags);

/// The thread or process that `clone` is to make.
pub struct Child {
    /// The parts of the caller that it shares, and the processes that are told of it.
    pub flags: CloneFlags,
    /// The top of its stack; 0: the caller's.
    pub stack: u64,
    /// Where the caller is told its number.
    pub parent_tid: Pointer<u32>,
    /// Where it is told its own number, and where its end is told.
    pub child_tid: Pointer<u32>,
    /// Its FS base.
    pub tls: u64,
}

/// `clone(flags, stack, parent tid, child tid, tls)` for a thread of the calling process, or for another process.
pub fn clone(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    statistics: &mut Statistics,
    child: Child,
) -> Answer {
    let Child { flags, stack, parent_tid, child_tid, tls } = child;
    if !flags.contains(CloneFlags::IS_THREAD) {
        return forking::clone(caller, memory, tasks, files, statistics, child);
    }
    let known = CloneFlags::THREAD | CloneFlags::IGNORED | CloneFlags::OPTIONS;
    if !flags.contains(CloneFlags::THREAD) || !known.contains(flags) {
        return Err(Errno::ENOSYS);
    }
    if flags.contains(CloneFlags::SETTLS) && tls >= USER_END {
        return Err(Errno::EPERM);
    }
    check_room(tasks, caller.process)?;
    memory.leave_window(caller.space.container, caller.space.cpu).map_err(|_| Errno::ENOMEM)?;
    let spare = tasks.spare.take();
    let parent = tasks.thread_mut(caller.thread).ok_or(Errno::ESRCH)?;
    schedule::store(parent, caller.space.cpu);
    let (mut registers, extended) = (parent.context.registers, extended::copy(&parent.context.extended, spare));
    let (mut fs_base, gs_base) = (parent.context.fs_base, parent.context.gs_base);
    let (mask, priority, affinity) = (parent.signal_mask, parent.priority, parent.affinity);
    registers.rax = 0;
    if stack != 0 {
        registers.rsp = stack;
    }
    if flags.contains(CloneFlags::SETTLS) {
        fs_base = tls;
    }
    let id = tasks.make_thread(caller.process, extended).map_err(|_| Errno::EAGAIN)?;
    let thread = tasks.thread_mut(id).ok_or(Errno::EAGAIN)?;
    let number = thread.number;
    thread.context.registers = registers;
    (thread.context.fs_base, thread.context.gs_base) = (fs_base, gs_base);
    (thread.signal_mask, thread.priority, thread.affinity) = (mask, priority, affinity);
    if flags.contains(CloneFlags::CHILD_CLEARTID) {
        thread.clear_child_tid = child_tid.address;
    }
    // As on Linux, an address that cannot be written is not an error here.
    if flags.contains(CloneFlags::PARENT_SETTID) {
        let _ = caller.write(memory, parent_tid, &number);
    }
    if flags.contains(CloneFlags::CHILD_SETTID) {
        let _ = caller.write(memory, child_tid, &number);
    }
    tasks.make_ready(id);
    value(number)
}

/// `exit(status)` of the calling thread.
pub fn exit(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel, status: i32) -> Answer {
    lifecycle::end_thread(kernel, cpu, caller.thread, Ending::Exited(status as u8));
    Ok(Reply::Gone)
}

/// `exit_group(status)` of the calling process.
pub fn exit_group(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel, status: i32) -> Answer {
    ending::end_process(kernel, cpu, caller.process, caller.thread, Ending::Exited(status as u8));
    Ok(Reply::Gone)
}

/// `set_tid_address(word)`
pub fn set_tid_address(caller: &Caller, tasks: &mut Tasks, word: Pointer<u32>) -> Answer {
    let thread = tasks.thread_mut(caller.thread).ok_or(Errno::ESRCH)?;
    thread.clear_child_tid = word.address;
    value(thread.number)
}

/// `set_robust_list(head, length)`
pub fn set_robust_list(caller: &Caller, tasks: &mut Tasks, head: Pointer<[u64; 3]>, length: u64) -> Answer {
    if length != size_of::<[u64; 3]>() as u64 {
        return Err(Errno::EINVAL);
    }
    tasks.thread_mut(caller.thread).ok_or(Errno::ESRCH)?.robust_list = head.address;
    DONE
}

/// `arch_prctl(code, address)`: FS and GS bases.
pub fn arch_prctl(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, code: u32, address: u64) -> Answer {
    let thread = tasks.thread_mut(caller.thread).ok_or(Errno::ESRCH)?;
    match code {
        linux::ARCH_SET_FS | linux::ARCH_SET_GS if address >= USER_END => return Err(Errno::EPERM),
        linux::ARCH_SET_FS => thread.context.fs_base = address,
        linux::ARCH_SET_GS => thread.context.gs_base = address,
        linux::ARCH_GET_FS => return caller.write(memory, Pointer::to(address), &thread.context.fs_base).and(DONE),
        linux::ARCH_GET_GS => return caller.write(memory, Pointer::to(address), &thread.context.gs_base).and(DONE),
        _ => return Err(Errno::EINVAL),
    }
    schedule::reload_bases(thread, caller.space.cpu);
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
#[inline(always)]
pub fn sched_yield(caller: &Caller, tasks: &mut Tasks) -> Answer {
    // If others go first, the CPU reschedules before it leaves the kernel; the caller has its result by then.
    tasks.give_way(caller.space.cpu, caller.thread);
    DONE
}

/// The thread that a scheduling call names; 0 is the caller.
fn named(caller: &Caller, tasks: &Tasks, number: i32) -> Result<ThreadId, Errno> {
    if number < 0 { Err(Errno::EINVAL) } else { by_number(caller, tasks, number) }
}

/// The thread that an affinity call names: as on Linux, a negative number is an unknown thread here.
fn by_number(caller: &Caller, tasks: &Tasks, number: i32) -> Result<ThreadId, Errno> {
    match number {
        0 => Ok(caller.thread),
        number => u32::try_from(number).ok().and_then(|number| tasks.by_number(number)).ok_or(Errno::ESRCH),
    }
}

/// Bytes of the kernel's own mask of CPUs, a bit for each.
const MASK_BYTES: usize = size_of::<CpuSet>();

/// `sched_getaffinity(thread, size, mask)`: returns how many bytes the mask has.
pub fn sched_getaffinity(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    thread: i32,
    size: u32,
    mask: Pointer<u64>,
) -> Answer {
    if size < MASK_BYTES as u32 || !size.is_multiple_of(MASK_BYTES as u32) {
        return Err(Errno::EINVAL);
    }
    let thread = tasks.thread(by_number(caller, tasks, thread)?).ok_or(Errno::ESRCH)?;
    let affinity = thread.affinity.intersection(CpuSet::first(memory.cpu_count()));
    caller.write(memory, mask, &affinity.0)?;
    value(MASK_BYTES)
}

/// `sched_setaffinity(thread, size, mask)`: missing bits are 0, and bits beyond the kernel's mask are ignored. A thread
/// that moves itself is on its new CPU when the call returns; another running thread moves when its CPU, which is
/// called into the kernel, leaves it next.
pub fn sched_setaffinity(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    thread: i32,
    size: u32,
    mask: Pointer<u64>,
) -> Answer {
    let mut bytes = [0; MASK_BYTES];
    let length = MASK_BYTES.min(size as usize);
    memory.copy_in(caller.space, mask.address, &mut bytes[..length]).map_err(bad_address)?;
    let thread = by_number(caller, tasks, thread)?;
    let mask = CpuSet(u64::from_le_bytes(bytes)).intersection(CpuSet::first(memory.cpu_count()));
    if mask == CpuSet::NONE {
        return Err(Errno::EINVAL);
    }
    tasks.set_affinity(thread, mask);
    DONE
}

/// `sched_getscheduler(thread)`: `SCHED_OTHER`.
pub fn sched_getscheduler(caller: &Caller, tasks: &Tasks, thread: i32) -> Answer {
    named(caller, tasks, thread).and(DONE)
}

/// `sched_getparam(thread, parameters)`
pub fn sched_getparam(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &Tasks,
    thread: i32,
    parameters: Pointer<u32>,
) -> Answer {
    named(caller, tasks, thread)?;
    caller.write(memory, parameters, &0).and(DONE)
}

/// `getcpu(cpu, node)`
pub fn getcpu(
    caller: &Caller,
    user: &mut impl UserMemory,
    cpu: Option<Pointer<u32>>,
    node: Option<Pointer<u32>>,
) -> Answer {
    if let Some(cpu) = cpu {
        caller.write(user, cpu, &caller.space.cpu.0.into())?;
    }
    if let Some(node) = node {
        caller.write(user, node, &0)?;
    }
    DONE
}
