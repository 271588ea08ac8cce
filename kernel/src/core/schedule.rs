//! The scheduler: chooses the thread that a CPU runs, and switches the CPU to it.
//!
//! There is no second stack to switch to. A context switch makes another thread the CPU's `current`, loads its
//! container's page tables and makes its user context resident (`containers::context`): the extended state, the FS and GS
//! bases, and the place of the control block, through which the CPU then returns to user mode.
//!
//! For example, a thread's `read` finds its pipe empty and parks the thread. On the way out of the kernel [`choose`]
//! saves its extended state, takes the best runnable thread from the queue and loads that thread's state; the boundary
//! returns to user mode with its registers.

use super::kernel::{Kernel, Memory, Tasks};
use crate::arch;
use crate::arch::frame::{self, USER_TIME};
use ::trace::Event;
use containers::{Cpu, OutOfFrames, ProcessId, Space, State, Thread, ThreadId, Times};
use core::cell::Cell;
use cpulocal::{InKernel, cpu_local};
use hardware::{apic, clock, fpu};

cpu_local! {
    /// The thread that runs on this CPU.
    static CURRENT: Cell<Option<Running>> = Cell::new(None);
    /// The time up to which the current thread has been charged, in nanoseconds since boot.
    static CHARGED: Cell<u64> = Cell::new(0);
    /// The value of [`USER_TIME`] when the current thread was last charged.
    static USER_CHARGED: Cell<u64> = Cell::new(0);
    /// How many context switches this CPU has made.
    pub static SWITCHES: Cell<u64> = Cell::new(0);
}

/// A running thread, and the facts about it that every call needs: none of them changes while it runs.
#[derive(Clone, Copy)]
pub struct Running {
    /// The thread.
    pub thread: ThreadId,
    /// Its process.
    pub process: ProcessId,
    /// Its memory, as seen from this CPU.
    pub space: Space,
    /// Whether a wait has left a call to be made again, or another signal mask in place. Only a parked thread gets a
    /// call to be made again, and a thread with another mask is looked at anew before it goes on.
    pub resumed: bool,
}

/// This CPU's number.
#[inline]
pub fn this_cpu(cpu: &InKernel) -> Cpu {
    arch::cpulocal::number(cpu)
}

/// The thread that runs on this CPU.
#[inline]
pub fn current(cpu: &InKernel) -> Option<ThreadId> {
    running(cpu).map(|running| running.thread)
}

/// The thread that runs on this CPU, with its process and memory.
#[inline(always)]
pub fn running(cpu: &InKernel) -> Option<Running> {
    CURRENT.get(cpu).get()
}

/// Has this CPU act for a thread that it does not run.
#[cfg(test)]
pub fn act_for(kernel: &Kernel, cpu: &InKernel, id: Option<ThreadId>) {
    let running = id.and_then(|id| {
        let thread = kernel.tasks.thread(id)?;
        let space = Space { container: thread.container, cpu: this_cpu(cpu) };
        let resumed = thread.restart.is_some() || thread.saved_mask.is_some();
        Some(Running { thread: id, process: thread.process, space, resumed })
    });
    CURRENT.get(cpu).set(running);
}

/// Charges the current thread for the time since it was last charged; returns the time now.
pub fn charge(tasks: &mut Tasks, cpu: &InKernel) -> u64 {
    let now = clock::nanoseconds();
    let used = used(cpu, now);
    if let Some(thread) = current(cpu).and_then(|id| tasks.thread_mut(id)) {
        thread.charge(used);
    }
    now
}

/// The time up to `now` for which the current thread has not been charged yet. The caller charges the thread for it.
#[inline]
fn used(cpu: &InKernel, now: u64) -> Times {
    let used = now - CHARGED.get(cpu).replace(now);
    let ticks = USER_TIME.get(cpu).get();
    Times { total: used, user_ticks: ticks.wrapping_sub(USER_CHARGED.get(cpu).replace(ticks)) }
}

/// The scheduler's decision for a CPU.
pub enum Choice {
    /// It runs this thread, whose state is loaded.
    Runs(Running),
    /// It is idle: no thread is runnable.
    Idle,
    /// It would run this thread, but there is no frame for the thread's page directory: it must choose again when there
    /// is one.
    LacksDirectory(ThreadId),
}

/// Chooses what this CPU does next: it runs the current thread if that may go on, else the best runnable thread.
pub fn choose(kernel: &mut Kernel, cpu: &InKernel) -> Choice {
    let me = this_cpu(cpu);
    let now = clock::nanoseconds();
    kernel.tasks.begin_reschedule(me, now);
    let used = used(cpu, now);
    let stays =
        running(cpu).filter(|running| kernel.tasks.goes_on(me, running.thread, used, |thread| evict(thread, me)));
    let attempt = match stays {
        Some(running) => go_on(kernel, cpu, running.thread),
        None => {
            CURRENT.get(cpu).set(None);
            switch(kernel, cpu)
        }
    };
    let choice = match attempt {
        Some(Ok(running)) => {
            CURRENT.get(cpu).set(Some(running));
            Choice::Runs(running)
        }
        Some(Err(id)) => {
            if let Some(thread) = current(cpu).and_then(|id| kernel.tasks.thread_mut(id)) {
                evict(thread, me);
            }
            CURRENT.get(cpu).set(None);
            return Choice::LacksDirectory(id);
        }
        None => {
            CURRENT.get(cpu).set(None);
            kernel.memory.rest(me);
            Choice::Idle
        }
    };
    if let Some(alarm) = kernel.tasks.next_alarm(me, now) {
        apic::arm(clock::ticks(alarm.saturating_sub(now)));
    }
    choice
}

/// Makes this CPU leave the kernel without a thread and come back at once, so that other CPUs get in between one thread
/// and the next.
pub fn pause(kernel: &mut Kernel, cpu: &InKernel) {
    let me = this_cpu(cpu);
    kernel.tasks.needs_reschedule.remove(me);
    let now = clock::nanoseconds();
    let used = used(cpu, now);
    if let Some(running) = CURRENT.get(cpu).take() {
        let stays = kernel.tasks.goes_on(me, running.thread, used, |thread| evict(thread, me));
        debug_assert!(!stays, "a thread that could run");
    }
    kernel.memory.rest(me);
    come_back(&mut kernel.tasks, cpu, now);
}

/// Sets this CPU's timer to go off at a given time, unless it goes off earlier anyway.
pub fn come_back(tasks: &mut Tasks, cpu: &InKernel, at: u64) {
    if tasks.bring_alarm_forward(this_cpu(cpu), at) {
        apic::arm(clock::ticks(at.saturating_sub(clock::nanoseconds())));
    }
}

fn is_running(kernel: &Kernel, id: ThreadId) -> bool {
    kernel.tasks.thread(id).is_some_and(|thread| thread.state == State::Running)
}

/// Whether the entry code on this CPU has the current thread's control block.
pub fn is_framed(kernel: &Kernel, cpu: &InKernel) -> bool {
    let current = current(cpu).and_then(|id| kernel.tasks.thread(id));
    current.is_some_and(|thread| core::ptr::eq(&thread.context.registers, frame::frame(cpu)))
}

/// Whether another CPU has ended or stopped the thread that ran here while this CPU waited to be let in.
pub fn is_gone(kernel: &Kernel, cpu: &InKernel) -> bool {
    current(cpu).is_some_and(|id| !is_running(kernel, id)) || is_another(kernel, cpu)
}

/// Whether the thread that ran here has meanwhile begun another program, in another container. This CPU's registers
/// have nothing to do with that program, and the thread may run on any CPU.
fn is_another(kernel: &Kernel, cpu: &InKernel) -> bool {
    let now = |running: &Running| kernel.tasks.thread(running.thread).map(|thread| thread.container);
    running(cpu).is_some_and(|running| now(&running).is_some_and(|now| now != running.space.container))
}

/// The thread that is about to run here, or the thread for whose page directory there is no frame; `None` if no thread
/// is runnable.
type Attempt = Option<Result<Running, ThreadId>>;

/// Lets the current thread go on. Its container's page directory is loaded again if it has changed, as after `exec`, or
/// when the container has got a directory of its own for this CPU.
fn go_on(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId) -> Attempt {
    kernel.tasks.thread(id).map(|thread| put_container_before(&mut kernel.memory, cpu, id, thread))
}

/// Switches this CPU to the best runnable thread, if there is one.
#[inline]
fn switch(kernel: &mut Kernel, cpu: &InKernel) -> Attempt {
    let Kernel { tasks, memory, .. } = kernel;
    let attempt = tasks.take_ready(this_cpu(cpu), |id, thread| {
        let running = put_container_before(memory, cpu, id, thread)?;
        SWITCHES.get(cpu).set(SWITCHES.get(cpu).get() + 1);
        load(thread, cpu);
        Ok(running)
    });
    if cfg!(feature = "trace")
        && let Some(Ok(running)) = &attempt
    {
        record_switch(kernel, cpu, running.thread);
    }
    attempt
}

/// Loads the page directory of a thread's container, unless this CPU has it already.
#[inline]
fn put_container_before(
    memory: &mut Memory,
    cpu: &InKernel,
    id: ThreadId,
    thread: &Thread,
) -> Result<Running, ThreadId> {
    let space = Space { container: thread.container, cpu: this_cpu(cpu) };
    let copies = memory.counts.copies_made;
    memory.activate(space.container, space.cpu).map_err(|OutOfFrames| id)?;
    if cfg!(feature = "trace") && memory.counts.copies_made > copies {
        arch::trace::event(cpu, Event::DirectoryCopy { container: space.container.index() });
    }
    let resumed = thread.restart.is_some() || thread.saved_mask.is_some();
    Ok(Running { thread: id, process: thread.process, space, resumed })
}

/// Records in the trace that another thread runs here now, and its program's name when that is new to this CPU.
fn record_switch(kernel: &Kernel, cpu: &InKernel, id: ThreadId) {
    let Some(thread) = kernel.tasks.thread(id) else { return };
    let Some(process) = kernel.tasks.process(thread.process) else { return };
    let path = process.resources.executable();
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    arch::trace::switch(cpu, thread.number, process.main.number, name);
}

// What is resident on this CPU. Everything else that the kernel does to a thread, it does to the control block.

/// Makes a thread's context resident on this CPU: loads its extended state and its bases, and names its control block to
/// the entry code.
fn load(thread: &mut Thread, cpu: &InKernel) {
    let context = &mut thread.context;
    fpu::restore(&context.extended.area);
    hardware::cpu::set_user_bases(context.fs_base, context.gs_base);
    frame::set_frame(cpu, &mut context.registers);
    context.set_resident(this_cpu(cpu));
}

/// Evicts a thread's context from this CPU, `cpu`, if it is resident here: any CPU may work for the thread now.
fn evict(thread: &mut Thread, cpu: Cpu) {
    thread.context.evict(cpu, |state| fpu::save(&mut state.area));
}

/// Brings the extended state in a thread's control block up to date, whether it is resident on this CPU, `cpu`, or
/// evicted.
pub fn store(thread: &mut Thread, cpu: Cpu) {
    if thread.context.is_resident(cpu) {
        fpu::save(&mut thread.context.extended.area);
    }
}

/// Makes a change of the extended state in a thread's control block count, whether the context is resident on this CPU,
/// `cpu`, or evicted.
pub fn reload_extended(thread: &Thread, cpu: Cpu) {
    if thread.context.is_resident(cpu) {
        fpu::restore(&thread.context.extended.area);
    }
}

/// Gives a thread the extended state with which programs start.
pub fn clear_extended(thread: &mut Thread, cpu: Cpu) {
    if thread.context.is_resident(cpu) {
        fpu::restore_initial();
    } else {
        fpu::initial(&mut thread.context.extended.area);
    }
}

/// Makes a change of the bases in a thread's control block count.
pub fn reload_bases(thread: &Thread, cpu: Cpu) {
    if thread.context.is_resident(cpu) {
        hardware::cpu::set_user_bases(thread.context.fs_base, thread.context.gs_base);
    }
}
