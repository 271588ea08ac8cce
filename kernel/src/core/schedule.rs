//! Which thread a CPU runs: choosing it, and putting it before the CPU.
//!
//! There is no second stack to switch to. A switch makes another thread the CPU's `current`, names its
//! control block to the entry code, and puts its container, its extended state and its FS and GS
//! bases before the CPU; the kernel is then left through that control block.

use super::kernel::{Kernel, Memory, Tasks};
use crate::arch::frame::{self, USER_TIME};
use crate::arch::{self, apic, clock};
use ::trace::Event;
use containers::{Cpu, OutOfFrames, ProcessId, Space, State, Thread, ThreadId, Times};
use core::cell::Cell;
use cpulocal::{InKernel, cpu_local};

cpu_local! {
    /// The thread that runs here.
    static CURRENT: Cell<Option<Running>> = Cell::new(None);
    /// Until when it has been charged for its time, in nanoseconds since boot.
    static CHARGED: Cell<u64> = Cell::new(0);
    /// What [`USER_TIME`] was then.
    static USER_CHARGED: Cell<u64> = Cell::new(0);
    /// Switches from one thread to another.
    pub static SWITCHES: Cell<u64> = Cell::new(0);
}

/// A running thread, and what a call asks of it again and again: none of that changes while it runs.
#[derive(Clone, Copy)]
pub struct Running {
    /// The thread.
    pub thread: ThreadId,
    /// Its process.
    pub process: ProcessId,
    /// Its memory, as seen from this CPU.
    pub space: Space,
    /// Whether a wait has left a call to be made again, or another signal mask in place. Only a thread that is parked
    /// gets the first, and one with the second is looked at anew before it goes on.
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

/// The same with its process and memory.
#[inline(always)]
pub fn running(cpu: &InKernel) -> Option<Running> {
    CURRENT.get(cpu).get()
}

/// Charges the current thread for the time since it was last charged; returns the time now.
pub fn charge(kernel: &mut Kernel, cpu: &InKernel) -> u64 {
    let now = clock::nanoseconds();
    let used = used(cpu, now);
    if let Some(thread) = current(cpu).and_then(|id| kernel.tasks.thread_mut(id)) {
        thread.charge(used);
    }
    now
}

/// The time up to `now` for which the current thread has not been charged yet, and is now.
#[inline]
fn used(cpu: &InKernel, now: u64) -> Times {
    let used = now - CHARGED.get(cpu).replace(now);
    let ticks = USER_TIME.get(cpu).get();
    Times { total: used, user_ticks: ticks.wrapping_sub(USER_CHARGED.get(cpu).replace(ticks)) }
}

/// What a CPU does next.
pub enum Choice {
    /// It runs this thread, which is before it.
    Runs(Running),
    /// It is idle: no thread is ready.
    Idle,
    /// It would run this thread, for whose page directory there is not a page: it is to choose again when there is one.
    LacksDirectory(ThreadId),
}

/// Chooses what this CPU does next: the current thread if it still may go on, else the best that is ready.
pub fn choose(kernel: &mut Kernel, cpu: &InKernel) -> Choice {
    let me = this_cpu(cpu);
    let now = clock::nanoseconds();
    kernel.tasks.looks(me, now);
    let used = used(cpu, now);
    let stays =
        running(cpu).filter(|running| kernel.tasks.goes_on(me, running.thread, used, |thread| save(thread, running)));
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
            save_extended(kernel, cpu);
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

/// This CPU runs nobody, so that it leaves the kernel, and comes back at once: preemption between one thread and the next.
pub fn pause(kernel: &mut Kernel, cpu: &InKernel) {
    let me = this_cpu(cpu);
    kernel.tasks.attention.remove(me);
    let now = clock::nanoseconds();
    let used = used(cpu, now);
    if let Some(running) = CURRENT.get(cpu).take() {
        let stays = kernel.tasks.goes_on(me, running.thread, used, |thread| save(thread, &running));
        debug_assert!(!stays, "a thread that could run");
    }
    kernel.memory.rest(me);
    come_back(&mut kernel.tasks, cpu, now);
}

/// This CPU's timer goes off at a time, or before it.
pub fn come_back(tasks: &mut Tasks, cpu: &InKernel, at: u64) {
    if tasks.bring_alarm_forward(this_cpu(cpu), at) {
        apic::arm(clock::ticks(at.saturating_sub(clock::nanoseconds())));
    }
}

fn is_running(kernel: &Kernel, id: ThreadId) -> bool {
    kernel.tasks.thread(id).is_some_and(|thread| thread.state == State::Running)
}

/// Whether the control block that this CPU has been told of is the current thread's.
pub fn is_framed(kernel: &Kernel, cpu: &InKernel) -> bool {
    let current = current(cpu).and_then(|id| kernel.tasks.thread(id));
    current.is_some_and(|thread| core::ptr::eq(&thread.registers, frame::frame(cpu)))
}

/// Whether the thread that runs here has been ended by another CPU while this one waited to be let in.
pub fn is_gone(kernel: &Kernel, cpu: &InKernel) -> bool {
    current(cpu).is_some_and(|id| !is_running(kernel, id)) || is_another(kernel, cpu)
}

/// Whether the thread that ran here has begun another program meanwhile, in another container: its registers
/// have nothing to do with those of this CPU any more, and it may run anywhere.
fn is_another(kernel: &Kernel, cpu: &InKernel) -> bool {
    let now = |running: &Running| kernel.tasks.thread(running.thread).map(|thread| thread.container);
    running(cpu).is_some_and(|running| now(&running).is_some_and(|now| now != running.space.container))
}

/// A thread is about to run here, or the one whose page directory found no frame.
type Attempt = Option<Result<Running, ThreadId>>;

/// The thread that runs here goes on. Its process may have got another container's face meanwhile (a directory of
/// its own, exec).
fn go_on(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId) -> Attempt {
    kernel.tasks.thread(id).map(|thread| put_container_before(&mut kernel.memory, cpu, id, thread))
}

/// Puts the next ready thread and its container before this CPU, if there is one.
#[inline]
fn switch(kernel: &mut Kernel, cpu: &InKernel) -> Attempt {
    let Kernel { tasks, memory, .. } = kernel;
    let attempt = tasks.take_ready(this_cpu(cpu), |id, thread| {
        let running = put_container_before(memory, cpu, id, thread)?;
        SWITCHES.get(cpu).set(SWITCHES.get(cpu).get() + 1);
        arch::fpu::restore(&thread.extended.0);
        arch::cpu::set_user_bases(thread.fs_base, thread.gs_base);
        frame::set_frame(cpu, &mut thread.registers);
        Ok(running)
    });
    if cfg!(feature = "trace")
        && let Some(Ok(running)) = &attempt
    {
        record_switch(kernel, cpu, running.thread);
    }
    attempt
}

/// Puts a thread's container before this CPU, unless it is there.
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

/// Records that another thread runs here now, and its program's name when it is new to this CPU.
fn record_switch(kernel: &Kernel, cpu: &InKernel, id: ThreadId) {
    let Some(thread) = kernel.tasks.thread(id) else { return };
    let Some(process) = kernel.tasks.process(thread.process) else { return };
    let path = process.resources.executable();
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    arch::trace::switch(cpu, thread.number, process.main.number, name);
}

/// Saves the extended state of the current thread, if it lives, into its control block.
pub fn save_extended(kernel: &mut Kernel, cpu: &InKernel) {
    if let Some(running) = running(cpu)
        && let Some(thread) = kernel.tasks.thread_mut(running.thread)
    {
        save(thread, &running);
    }
}

/// Saves the extended state of the thread that runs here into its control block. While it runs, the registers hold it;
/// whenever it does not, the control block does, wherever it is to run next. If it has begun another program
/// meanwhile, the registers are none of that.
fn save(thread: &mut Thread, running: &Running) {
    if thread.container == running.space.container {
        arch::fpu::save(&mut thread.extended.0);
    }
}
