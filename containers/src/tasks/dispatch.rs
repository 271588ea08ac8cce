//! Dispatching: taking the next thread that a CPU runs out of the ready queue.
//!
//! For example, a CPU whose lanes are empty takes a thread that another CPU would run later; with strict affinity, only
//! one that has never run. [`crate::tasks::scheduling`] explains the lanes.

use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::scheduling::SEVERAL;
use crate::tasks::thread::Thread;
use cpulocal::Cpu;

impl<R> Tasks<R> {
    /// The best priority of all threads that are ready on `cpu`.
    #[inline]
    pub fn best_ready(&self, cpu: Cpu) -> Option<u8> {
        self.schedule.cpus[if SEVERAL { usize::from(cpu.0) } else { 0 }].best()
    }

    /// Takes the next thread that `cpu` runs out of the ready queue and has it `begin`; the thread is bound to that CPU
    /// from now on. `None` if the CPU is idle.
    #[inline]
    pub fn take_ready<T>(&mut self, cpu: Cpu, begin: impl FnOnce(ThreadId, &mut Thread) -> T) -> Option<T> {
        // Usually all threads are in one lane.
        let overloaded = SEVERAL && !self.schedule.overloaded.without(cpu).is_empty();
        let state = self.schedule.cpu(cpu);
        let migratable = SEVERAL && state.migratable.best().is_some();
        let both = migratable && state.pinned.best().is_some();
        let lane = if migratable { &mut state.migratable } else { &mut state.pinned };
        let first = if both || overloaded && lane.best().is_some() {
            self.take_best(cpu)
        } else {
            let first = lane.take_first(&mut self.threads);
            if SEVERAL && first.is_some() {
                state.waiting -= 1;
                if migratable && state.migratable.best().is_none() {
                    self.schedule.overloaded.remove(cpu);
                }
            }
            first
        };
        let Some(id) = first.or_else(|| if SEVERAL { self.take_elsewhere(cpu) } else { None }) else {
            self.schedule.cpu(cpu).running = None;
            return None;
        };
        let thread = self.threads.get_mut(id)?;
        self.counts.migrations += u64::from(self.schedule.cpu(cpu).run(cpu, id, thread));
        let begun = begin(id, thread);
        if SEVERAL {
            self.offer_waiting(cpu);
        }
        Some(begun)
    }

    /// Takes the thread whose turn it is on a CPU for which threads wait: one from its own lanes, or a more urgent one
    /// that waits elsewhere.
    fn take_best(&mut self, cpu: Cpu) -> Option<ThreadId> {
        let state = &self.schedule.cpus[usize::from(cpu.0)];
        let own = self.first_of([state.pinned.first(), state.migratable.first()].into_iter().flatten())?;
        let id = self.better_elsewhere(cpu, state.best()?).unwrap_or(own);
        self.move_to(id, cpu);
        Some(id)
    }

    /// Takes a thread from another CPU, for a CPU that would be idle otherwise.
    fn take_elsewhere(&mut self, cpu: Cpu) -> Option<ThreadId> {
        self.schedule.cpu(cpu).running = None;
        let id = if self.schedule.soft {
            self.find_stranded(cpu)
        } else {
            self.first_of(self.schedule.cpus.iter().filter_map(|state| state.migratable.first()))
        }?;
        self.move_to(id, cpu);
        Some(id)
    }

    /// Takes a ready thread out of its lane to run it on `cpu`.
    fn move_to(&mut self, id: ThreadId, cpu: Cpu) {
        self.dequeue(id);
        let Some(thread) = self.threads.get_mut(id) else { return };
        let from = thread.cpu.unwrap_or(cpu);
        self.schedule.bind(thread, cpu);
        self.schedule.cpu(cpu).running = Some((id, thread.rank));
        self.schedule.idle.remove(cpu);
        if self.schedule.soft {
            // If the CPU `from` had to reschedule only because of this thread, it need not any more.
            let overloaded = !self.schedule.overloaded.is_empty() || self.schedule.balancer.is(from);
            if self.schedule.idle.contains(from) && !overloaded {
                self.needs_reschedule.remove(from);
            }
        } else if self.schedule.cpu(from).migratable.best().is_some() {
            // A thread that could have begun here, but has to let this one go first, begins where a CPU is idle.
            self.needs_reschedule = self.needs_reschedule.union(self.schedule.find_idle());
        }
    }

    /// The thread among these ready ones whose turn comes first.
    pub(crate) fn first_of(&self, threads: impl Iterator<Item = ThreadId>) -> Option<ThreadId> {
        threads.min_by_key(|id| self.thread(*id).map(Thread::turn))
    }
}
