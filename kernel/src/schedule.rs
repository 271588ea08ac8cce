//! Which thread a CPU runs: choosing it, and putting it before the CPU.
//!
//! There is no second stack to switch to. A switch makes another thread the CPU's `current`, names its
//! control block to the entry code, and puts its container, its extended state and its FS and GS
//! bases before the CPU; the kernel is then left through that control block.

use crate::arch::{self, apic, clock, entry};
use crate::kernel::{Kernel, Memory};
use containers::{ContainerId, Cpu, ProcessId, Space, State, ThreadId};
use core::cell::Cell;
use cpulocal::{InKernel, cpu_local};

cpu_local! {
    /// This CPU's number.
    static CPU: Cell<Cpu> = Cell::new(Cpu(0));
    /// The thread that runs here.
    static CURRENT: Cell<Option<Running>> = Cell::new(None);
    /// Until when it has been charged for its time, in nanoseconds since boot.
    static CHARGED: Cell<u64> = Cell::new(0);
    /// Whose extended state the registers hold.
    static EXTENDED_OWNER: Cell<Option<ThreadId>> = Cell::new(None);
    /// What the timer is set to, in nanoseconds since boot; 0: nothing.
    static ALARM: Cell<u64> = Cell::new(0);
    /// Switches from one thread to another.
    pub static SWITCHES: Cell<u64> = Cell::new(0);
}

/// A running thread, and what a call asks of it again and again: neither changes while it runs.
#[derive(Clone, Copy)]
pub struct Running {
    /// The thread.
    pub thread: ThreadId,
    /// Its process.
    pub process: ProcessId,
    /// Its memory, as seen from this CPU.
    pub space: Space,
}

/// This CPU's number.
#[inline]
pub fn this_cpu(cpu: &InKernel) -> Cpu {
    CPU.get(cpu).get()
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
    let used = now - CHARGED.get(cpu).replace(now);
    if let Some(thread) = current(cpu).and_then(|id| kernel.tasks.thread_mut(id)) {
        thread.slice = thread.slice.saturating_sub(used);
        thread.run_time += used;
    }
    now
}

/// Chooses who runs next: the current thread if it still may, else the best that is ready.
pub fn choose(kernel: &mut Kernel, cpu: &InKernel) {
    let here = this_cpu(cpu);
    kernel.tasks.attention.remove(here);
    let current = current(cpu);
    let now = charge(kernel, cpu);
    if let Some(id) = current
        && let Some(thread) = kernel.tasks.thread(id).filter(|thread| thread.state == State::Running)
    {
        let (priority, over) = (thread.priority, thread.slice == 0);
        match kernel.tasks.best_ready(here) {
            _ if kernel.tasks.must_move(id) => kernel.tasks.preempt(id),
            Some(best) if best < priority || (over && best == priority) => kernel.tasks.preempt(id),
            _ if over => kernel.tasks.renew_slice(id),
            _ => {}
        }
    }
    let still = current.filter(|id| kernel.tasks.thread(*id).is_some_and(|thread| thread.state == State::Running));
    let next = still.or_else(|| kernel.tasks.take_ready(here));
    if next != current
        && let Some(id) = next
    {
        SWITCHES.get(cpu).set(SWITCHES.get(cpu).get() + 1);
        switch_to(kernel, cpu, id);
        if cfg!(feature = "trace") {
            record_switch(kernel, cpu, id);
        }
    } else if let Some(thread) = next.and_then(|id| kernel.tasks.thread(id)) {
        // Its process may have got another container's face meanwhile (a directory of its own, exec).
        activate(&mut kernel.memory, thread.container, cpu);
    }
    CURRENT.get(cpu).set(next.and_then(|id| {
        let thread = kernel.tasks.thread(id)?;
        Some(Running {
            thread: id,
            process: thread.process,
            space: Space { container: thread.container, cpu: this_cpu(cpu) },
        })
    }));
    set_alarm(kernel, cpu, now);
}

/// Puts a thread before the CPU.
fn switch_to(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId) {
    let owner = EXTENDED_OWNER.get(cpu);
    if owner.get() != Some(id) {
        save_extended(kernel, cpu);
    }
    let Some(thread) = kernel.tasks.thread_mut(id) else { return };
    if owner.replace(Some(id)) != Some(id) {
        arch::fpu::restore(&thread.extended.0);
    }
    arch::cpu::set_user_bases(thread.fs_base, thread.gs_base);
    entry::set_frame(cpu, &mut thread.registers);
    let container = thread.container;
    activate(&mut kernel.memory, container, cpu);
}

/// Records that another thread runs here now, and its program's name when it is new to this CPU.
fn record_switch(kernel: &Kernel, cpu: &InKernel, id: ThreadId) {
    let Some(thread) = kernel.tasks.thread(id) else { return };
    let Some(process) = kernel.tasks.process(thread.process) else { return };
    let path = &process.resources.executable;
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    arch::trace::switch(cpu, thread.number, process.main.number, name);
}

fn activate(memory: &mut Memory, container: ContainerId, cpu: &InKernel) {
    memory.activate(container, this_cpu(cpu)).expect("the only CPU needs no copies of page directories");
}

/// Saves the extended state that the registers hold into its owner's control block, if it lives.
pub fn save_extended(kernel: &mut Kernel, cpu: &InKernel) {
    if let Some(thread) = EXTENDED_OWNER.get(cpu).get().and_then(|id| kernel.tasks.thread_mut(id)) {
        arch::fpu::save(&mut thread.extended.0);
    }
}

/// Loads the current thread's extended state and bases anew, after a system call has changed them.
pub fn reload(kernel: &mut Kernel, cpu: &InKernel) {
    if let Some(thread) = current(cpu).and_then(|id| kernel.tasks.thread(id)) {
        arch::fpu::restore(&thread.extended.0);
        arch::cpu::set_user_bases(thread.fs_base, thread.gs_base);
    }
}

/// Sets the timer to the next deadline or, when somebody else waits for the CPU, to the slice's end.
/// With nothing to wait for there is no tick at all.
fn set_alarm(kernel: &mut Kernel, cpu: &InKernel, now: u64) {
    let here = this_cpu(cpu);
    let running = current(cpu).and_then(|id| kernel.tasks.thread(id));
    let slice_end = running
        .filter(|thread| kernel.tasks.best_ready(here).is_some_and(|best| best <= thread.priority))
        .map(|thread| now + thread.slice);
    let wanted = kernel.tasks.deadline_for(here).into_iter().chain(slice_end).min().map_or(0, |wanted| wanted.max(1));
    if ALARM.get(cpu).replace(wanted) != wanted {
        match wanted {
            0 => apic::disarm(),
            _ => apic::arm(clock::ticks(wanted.saturating_sub(now))),
        }
    }
}

/// The timer went off: it is set to nothing now.
pub fn alarm_rang(cpu: &InKernel) {
    ALARM.get(cpu).set(0);
}
