//! System calls: how the kernel finds the call asked for, and what all calls share.
//!
//! A call is a function of its [`Caller`], the parts of the kernel that it uses and its arguments. It returns an
//! [`Answer`]: a value, an error number, or that the thread has been parked or is gone. The calls are in [`table`],
//! those on files in a table of their own, and the functions are grouped by subject.
//!
//! For example, `getrandom(buffer, length, flags)` is number 318. The boundary finds its [`Entry`], which calls
//! `system::getrandom` with the [`Caller`], `memory`, `tasks` and `random`. It answers `Ok(Reply::Value(length))`,
//! which the thread finds in rax; `Err(Errno::EFAULT)` becomes −14 there.

#![expect(
    clippy::too_many_arguments,
    reason = "a call's function takes the caller, the parts of the kernel that the call uses, and the call's arguments"
)]

pub mod advice;
pub mod argument;
pub mod children;
mod entry;
pub mod extensions;
pub mod files;
pub mod forking;
pub mod futex;
pub mod jobs;
pub mod mapping;
pub mod memory;
pub mod native;
pub mod processes;
pub mod signals;
pub mod system;
mod table;
pub mod threads;
pub mod time;

use crate::arch::frame::{Progress, SystemCall};
use crate::arch::own::Own;
use crate::arch::{deferred, extension, heap};
use crate::core::kernel::{Kernel, Memory, Tasks};
use crate::core::lifecycle::changing;
use crate::core::schedule::{self, Running};
use ::files::Errno;
use argument::Pointer;
use containers::thread::{AfterHandler, Restart};
use containers::{Budget, Cpu, Fault, NoMemory, PhysicalMemory, Point, ProcessId, Space, ThreadId};
pub use entry::{Entry, each_made, enter, entries, find, make_lockless};
use entry::{WITH_INTERRUPTS, WITHOUT_RESERVE};
use hardware::interrupts;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The thread that makes a call.
#[derive(Clone, Copy)]
pub struct Caller {
    /// The calling thread.
    pub thread: ThreadId,
    /// Its process.
    pub process: ProcessId,
    /// Its memory, as seen from this CPU.
    pub space: Space,
    /// Whether something may be left of an earlier wait: see [`restart`].
    pub resumed: bool,
    /// The call's number.
    pub number: u64,
}

/// The memory of a caller: with the kernel's state any that is mapped, without it what this CPU could access in user mode.
pub trait UserMemory {
    /// Writes bytes, all of them or an error.
    fn write(&mut self, space: Space, address: u64, bytes: &[u8]) -> Result<(), Fault>;
}

impl UserMemory for Memory {
    #[inline(always)]
    fn write(&mut self, space: Space, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.copy_out(space, address, bytes)
    }
}

impl UserMemory for Own<'_> {
    #[inline(always)]
    fn write(&mut self, _: Space, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        Own::write(self, address, bytes).ok_or(Fault::NoRegion)
    }
}

/// How a call that has not failed ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The call returns a value.
    Value(u64),
    /// The call ends later: the thread has been parked, and its wait says how.
    Parked,
    /// The call has come to a preemption point, and is made again.
    Again,
    /// The call does not return: the thread is gone, or its registers have been set to something else.
    Gone,
}

/// A call's result.
pub type Answer = Result<Reply, Errno>;

/// The answer 0.
pub const DONE: Answer = Ok(Reply::Value(0));

/// The answer with a value.
pub fn value(value: impl TryInto<u64>) -> Answer {
    // A value that does not fit would look like an error.
    Ok(Reply::Value(value.try_into().unwrap_or(0)))
}

/// The errno of a failed access to user memory.
pub fn bad_address(_: Fault) -> Errno {
    Errno::EFAULT
}

/// The errno of failed allocations.
pub fn no_memory(_: NoMemory) -> Errno {
    Errno::ENOMEM
}

impl Caller {
    /// The caller of the call that this CPU is making.
    #[inline(always)]
    fn of(call: &SystemCall) -> Caller {
        let Running { thread, process, space, resumed } =
            schedule::running(&call.cpu).expect("a CPU goes to user mode only with a current thread");
        Caller { thread, process, space, resumed, number: call.number }
    }

    /// The caller as extensions know it.
    pub fn for_extension(&self) -> extension::Caller {
        extension::Caller { thread: self.thread, process: self.process, space: self.space }
    }

    /// Reads a structure from user memory.
    pub fn read<T: FromBytes + IntoBytes>(&self, memory: &mut Memory, from: Pointer<T>) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        memory.copy_in(self.space, from.address, value.as_mut_bytes()).map_err(bad_address)?;
        Ok(value)
    }

    /// Writes a structure to user memory.
    pub fn write<T: IntoBytes + Immutable>(
        &self,
        user: &mut impl UserMemory,
        to: Pointer<T>,
        value: &T,
    ) -> Result<(), Errno> {
        user.write(self.space, to.address, value.as_bytes()).map_err(bad_address)
    }
}

/// Makes a system call that may be long or use the kernel's heap.
#[inline]
pub fn make(call: &SystemCall, kernel: &mut Kernel, entry: Entry) -> Progress {
    let cpu = &call.cpu;
    if entry.is(WITH_INTERRUPTS) {
        interrupts::enable();
    }
    // Every call may use some kernel heap, or give some back; the heap has what the call may use before the call
    // starts.
    let memory = &mut kernel.memory;
    let result = if heap::settle(&mut memory.physical) || entry.is(WITHOUT_RESERVE) || has_room_after_all(memory) {
        (entry.make)(call, kernel)
    } else {
        let answer = refuse(kernel, &Caller::of(call));
        conclude(kernel, schedule::this_cpu(cpu), answer)
    };
    if entry.is(WITH_INTERRUPTS) {
        interrupts::disable();
        // The work that interrupts have left is done before the CPU leaves.
        if deferred::any(cpu) {
            kernel.tasks.needs_reschedule.insert(schedule::this_cpu(cpu));
        }
    }
    result
}

/// Whether there is room for the heap's reserve once some of the memory of ended processes has been torn down.
#[cold]
fn has_room_after_all(memory: &mut Memory) -> bool {
    let wanted = memory.physical.free() + TEARDOWN_FOR_THE_HEAP;
    memory.has_teardown_work()
        && memory.make_room(wanted, &mut Budget::of_a_visit())
        && memory.physical.has_room_for_bookkeeping()
}

/// How many frames are torn down for the heap at a time.
const TEARDOWN_FOR_THE_HEAP: usize = 256;

/// Refuses a call because the kernel's heap has no reserve: the call may not begin, or not go on after a preemption
/// point.
#[cold]
fn refuse(kernel: &mut Kernel, caller: &Caller) -> Answer {
    changing::abandon(&mut kernel.memory, &mut kernel.tasks, caller.space.container, caller.thread);
    if let Some(poll) = kernel.tasks.kept_poll(caller.thread) {
        kernel.tasks.end_poll(poll);
    }
    match restart(&mut kernel.tasks, caller) {
        Some(Restart { progress: done @ 1.., .. }) => value(done),
        _ => Err(Errno::ENOMEM),
    }
}

/// An answer as the boundary goes on with it: a value as the thread finds it in rax, or that the thread does not return
/// to user mode now and the CPU must reschedule.
#[inline(always)]
fn conclude(kernel: &mut Kernel, cpu: Cpu, answer: Answer) -> Progress {
    returned(answer).unwrap_or_else(|| {
        kernel.tasks.needs_reschedule.insert(cpu);
        Progress::Stays
    })
}

/// An answer as the thread finds it in rax, if it returns to user mode now.
#[inline(always)]
fn returned(answer: Answer) -> Option<Progress> {
    match answer {
        Ok(Reply::Value(value)) => Some(Progress::Returns(value)),
        Err(errno) => Some(Progress::Returns(-i64::from(errno.into_raw()) as u64)),
        Ok(Reply::Parked | Reply::Again | Reply::Gone) => None,
    }
}

/// Whether a call's deadline has passed.
pub fn is_over(deadline: Option<u64>) -> bool {
    deadline.is_some_and(|deadline| deadline <= hardware::clock::nanoseconds())
}

/// The state that the caller's call left when it is made again. Every call that can wait must take it, so that the
/// state left by one wait does not go into a later call.
#[inline(always)]
pub fn restart(tasks: &mut Tasks, caller: &Caller) -> Option<Restart> {
    if !caller.resumed {
        return None;
    }
    let thread = tasks.thread_mut(caller.thread)?;
    let restart = thread.restart.take();
    let waits = restart.is_some_and(|call| call.after_handler == AfterHandler::Waits);
    if thread.saved_mask.is_some() || waits && tasks.has_return_work() {
        // The mask of the call's wait is still in place, or handlers wait until the call is over. If the call does not
        // wait again, the thread must be looked at before it returns to user mode.
        tasks.alert(caller.thread);
    }
    restart
}

/// The preemption point at which the caller's call goes on; all zero if the call begins.
#[inline(always)]
pub fn point(tasks: &mut Tasks, caller: &Caller) -> Point {
    let (progress, place) = restart(tasks, caller).map_or((0, 0), |restart| (restart.progress, restart.place));
    Point { progress, place, ends_for_handlers: false }
}

/// The place at which the caller's call goes on, in the call's own unit; 0 if it begins. For calls that return no
/// number of bytes.
#[inline(always)]
pub fn place(tasks: &mut Tasks, caller: &Caller) -> u64 {
    point(tasks, caller).place
}

/// Ends a visit at a preemption point: the caller's call goes on at `place` when it is made again, and handlers wait
/// until it is over.
pub fn preempt(tasks: &mut Tasks, caller: &Caller, place: u64) -> Answer {
    preempt_at(tasks, caller, Point { progress: 0, place, ends_for_handlers: false })
}

/// Tears down the memory of ended processes, before a call reports how much memory is free. If one visit is not
/// enough, the call is made again and continues here.
pub fn settle_remains(memory: &mut Memory, tasks: &mut Tasks, caller: &Caller) -> Result<(), Answer> {
    if memory.has_teardown_work() {
        memory.tear_down(&mut Budget::of_a_visit());
    }
    if memory.has_teardown_work() { Err(preempt(tasks, caller, 0)) } else { Ok(()) }
}

/// Ends a visit at any preemption point: the caller's call goes on at `point` when it is made again.
pub fn preempt_at(tasks: &mut Tasks, caller: &Caller, point: Point) -> Answer {
    tasks.preempt(caller.thread, point);
    Ok(Reply::Again)
}

/// The absolute deadline of a call with a time-out: the deadline set before a restart, else the time-out from now.
pub fn deadline(tasks: &mut Tasks, caller: &Caller, timeout: Option<u64>) -> Option<u64> {
    let restarted = restart(tasks, caller).and_then(|restart| restart.deadline);
    restarted.or_else(|| timeout.map(|timeout| hardware::clock::nanoseconds().saturating_add(timeout)))
}
