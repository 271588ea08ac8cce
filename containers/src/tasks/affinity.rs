//! Which CPUs a thread may run on, and which one it is bound to.
//!
//! A thread's *affinity* is the mask of the CPUs that it may run on. Within the mask, the machine's [`Affinity`] says how
//! firmly the thread is bound to one of them. For example, `sched_setaffinity` takes CPU 1 out of the mask of a thread that
//! waits there: the thread is bound to another CPU at once, and becomes ready anew in that CPU's lanes.

use crate::ids::{ProcessId, ThreadId};
use crate::tasks::Tasks;
use crate::tasks::scheduling::{IDLE, SEVERAL, Schedule};
use crate::tasks::thread::{State, Thread};
use cpulocal::{Cpu, CpuSet};

/// The affinity of a thread that may run on all CPUs.
const ANYWHERE: CpuSet = CpuSet(u64::MAX);

/// How firmly a thread is bound to the CPU that it ran on last, within its mask.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Affinity {
    /// It returns to that CPU as long as no other has time for it.
    #[default]
    Soft,
    /// It stays on that CPU: the rule of papers/001.
    Strict,
}

impl Schedule {
    /// The CPU that a new thread is bound to, of those that it may run on: the one with the least urgent things to do,
    /// and of several such the one with the fewest threads.
    pub(crate) fn home(&self, affinity: CpuSet) -> Cpu {
        let key = |cpu: &Cpu| {
            let state = &self.cpus[usize::from(cpu.0)];
            (IDLE - state.urgent(), state.bound)
        };
        affinity.intersection(self.all()).iter().min_by_key(key).unwrap_or_default()
    }

    /// Binds a thread to another CPU.
    pub(crate) fn bind(&mut self, thread: &mut Thread, cpu: Cpu) {
        self.unbind(thread);
        thread.cpu = Some(cpu);
        self.cpu(cpu).bound += 1;
    }

    /// Whether the thread's mask allows several CPUs.
    #[inline]
    pub(super) fn has_choice(&self, thread: &Thread) -> bool {
        thread.affinity.intersection(self.all()).is_several()
    }

    /// Whether another CPU may take a ready thread from the one that it is bound to.
    #[inline]
    pub(crate) fn is_migratable(&self, thread: &Thread) -> bool {
        SEVERAL
            && if self.soft {
                // A CPU that owes a starved thread a slice keeps it: another CPU owes it none.
                self.has_choice(thread) && thread.rank == thread.priority
            } else {
                thread.ran_on.is_none() && thread.affinity == ANYWHERE
            }
    }

    /// Notes that a thread has left the lanes of a CPU, which may have nothing to do any more.
    pub(super) fn has_left(&mut self, cpu: Cpu) {
        let state = self.cpu(cpu);
        state.waiting -= 1;
        if state.migratable.best().is_none() {
            self.overloaded.remove(cpu);
        }
        if self.soft && self.cpu(cpu).is_idle() {
            self.idle.insert(cpu);
        }
    }

    /// The CPUs that have nothing to do.
    pub(crate) fn find_idle(&self) -> CpuSet {
        let mut cpus = CpuSet::NONE;
        self.all().iter().filter(|cpu| self.cpus[usize::from(cpu.0)].is_idle()).for_each(|cpu| cpus.insert(cpu));
        cpus
    }
}

impl<R> Tasks<R> {
    /// Restricts a thread to these CPUs; if none of them is up, nothing changes. A thread that is bound to a CPU
    /// outside of the mask moves: at once if it is ready, when woken if it is parked, and when its CPU has rescheduled
    /// if it runs.
    pub fn set_affinity(&mut self, id: ThreadId, affinity: CpuSet) {
        let all = self.schedule.all();
        let allowed = affinity.intersection(all);
        let affinity = if allowed == all { ANYWHERE } else { affinity };
        let Some(thread) = self.thread(id).filter(|_| !allowed.is_empty()) else { return };
        let (state, stays) = (thread.state, thread.cpu.is_none_or(|cpu| affinity.contains(cpu)));
        // The mask decides between the thread's lanes, except for a thread that has run under strict affinity: that is
        // pinned in any case.
        let moves = state == State::Ready && (!stays || self.schedule.soft || thread.ran_on.is_none());
        if moves {
            self.dequeue(id);
            self.unbind(id);
        }
        if let Some(thread) = self.threads.get_mut(id) {
            thread.affinity = affinity;
        }
        match state {
            State::Ready if moves => self.enqueue(id),
            State::Parked if !stays => self.unbind(id),
            State::Running if !stays => self.alert(id),
            _ => {}
        }
    }

    /// The CPUs that run threads of a process.
    pub fn running_on(&self, process: ProcessId) -> CpuSet {
        let runs_it = |cpu: &Cpu| {
            let thread = self.schedule.cpus[usize::from(cpu.0)].running.and_then(|(id, _)| self.thread(id));
            thread.is_some_and(|t| t.process == process && t.state == State::Running && t.cpu == Some(*cpu))
        };
        let mut cpus = CpuSet::NONE;
        self.schedule.all().iter().filter(runs_it).for_each(|cpu| cpus.insert(cpu));
        cpus
    }
}
