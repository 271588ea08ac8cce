//! Idle balancing: how an idle CPU comes to look for threads that wait at busy ones, with soft affinity.
//!
//! A thread is *stranded* while it waits at a busy CPU although an idle one may run it. At most one idle CPU is the
//! *balancer* for all of them: it has set its timer for the time at which it looks again.
//!
//! A CPU that would be idle *looks* ([`Tasks::find_stranded`]), and what it has seen is exact: it takes a stranded
//! thread, makes another idle CPU look if that one alone may run it, or becomes the balancer up to the time when the
//! first of them may be taken. Later events can strand a thread only in three ways, and each
//! [requests](Schedule::request_look) that an idle CPU looks:
//!
//! 1. a thread becomes ready at a busy CPU and does not run there at once ([`Schedule::note_waiting`]);
//! 2. a CPU has rescheduled, and threads still wait at it ([`Tasks::offer_waiting`]);
//! 3. the balancer has found something to run, so another idle CPU must follow it ([`Tasks::offer_waiting`], too).
//!
//! A CPU becomes idle in two ways. It looks itself; or the only thread that waited for it goes elsewhere before it has
//! rescheduled. Then it stays in `needs_reschedule`, unless no thread waits anywhere that it could take.
//!
//! A request takes two stores while there is a balancer, since that one looks soon enough: a thread may be taken
//! [`MIGRATION`] after it has become ready, and a balancer never waits for longer. For example, two threads that wake
//! each other in turn on one CPU request a look at each turn. The balancer looks once per [`MIGRATION`], and ceases to
//! be the balancer when there was no request between two looks.
//!
//! **Invariant:** while a thread is stranded, its CPU or an idle one is in `needs_reschedule`, or an idle CPU is the
//! balancer and its timer goes off before the thread has waited for longer than [`MIGRATION`]. A thread that is owed a
//! slice ([`crate::tasks::starvation`]) stays where it is, and counts as one that other CPUs may not run.

use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::balance::{MIGRATION, SEEN};
use crate::tasks::scheduling::{NEVER, Schedule};
use crate::tasks::thread::Thread;
use core::cell::LazyCell;
use cpulocal::{Cpu, CpuSet};

/// The idle CPU that looks for stranded threads, and whether it has to go on.
#[derive(Default)]
pub(crate) struct IdleBalancer {
    /// The balancer and the time at which it looks, in nanoseconds since boot; 0 if it looks at once, being in
    /// `needs_reschedule`.
    pub(crate) current: Option<(Cpu, u64)>,
    /// Whether a look has been requested since a balancer looked last.
    requested: bool,
}

impl IdleBalancer {
    /// The time at which a CPU has to look because it is the balancer, or [`NEVER`].
    #[inline]
    pub(crate) fn next_look(&self, cpu: Cpu) -> u64 {
        self.current.filter(|(current, _)| *current == cpu).map_or(NEVER, |(_, look)| look)
    }

    /// Whether a CPU is the balancer.
    #[inline]
    pub(crate) fn is(&self, cpu: Cpu) -> bool {
        self.current.is_some_and(|(current, _)| current == cpu)
    }

    /// Notes that an idle CPU has looked, and can take the first thread at `due`. It becomes the balancer, unless
    /// another one is and looks early enough.
    fn has_looked(&mut self, cpu: Cpu, due: u64, now: u64) {
        match self.current {
            Some((current, look)) if current != cpu => {
                if due < look {
                    self.current = Some((cpu, due));
                }
            }
            _ => {
                let again = if core::mem::take(&mut self.requested) { now + MIGRATION } else { NEVER };
                let look = due.min(again);
                self.current = (look != NEVER).then_some((cpu, look));
            }
        }
    }
}

impl Schedule {
    /// Requests that one of these idle CPUs looks, unless there is a balancer. Returns it.
    fn request_look(&mut self, idle: CpuSet) -> CpuSet {
        self.balancer.requested = true;
        let Some(cpu) = idle.lowest().filter(|_| self.balancer.current.is_none()) else { return CpuSet::NONE };
        self.balancer.current = Some((cpu, 0));
        CpuSet::only(cpu)
    }

    /// Notes that a migratable thread becomes ready at a CPU, which runs it at once if it goes first there. Returns the
    /// idle CPU that must look because of it, if one must.
    #[inline]
    pub(crate) fn note_waiting(&mut self, thread: &mut Thread, cpu: Cpu, goes_first: bool) -> CpuSet {
        thread.takeable = if thread.ran_on.is_some() { self.now + MIGRATION } else { 0 };
        self.overloaded.insert(cpu);
        let others = self.idle.intersection(thread.affinity);
        if goes_first || others.is_empty() { CpuSet::NONE } else { self.request_look(others) }
    }
}

impl<R> Tasks<R> {
    /// Looks for stranded threads on behalf of a CPU that would be idle. Returns the thread that it must take.
    pub(crate) fn find_stranded(&mut self, cpu: Cpu) -> Option<ThreadId> {
        self.schedule.idle.insert(cpu);
        let (idle, now, overloaded) = (self.schedule.idle, self.schedule.now, self.schedule.overloaded);
        let (mut first, mut due): (Option<((u8, u64), ThreadId)>, _) = (None, NEVER);
        let worst = LazyCell::new(|| self.schedule.worst());
        for state in overloaded.iter().map(|cpu| &self.schedule.cpus[usize::from(cpu.0)]) {
            for (id, thread) in state.migratable.threads(&self.threads).take(SEEN) {
                let allowed = thread.affinity.intersection(idle);
                // A thread that has run here and waits at an idle CPU will be dispatched there in a moment.
                let comes = state.running.is_none() && thread.takeable > 0;
                let Some(other) = allowed.lowest().filter(|_| !comes) else { continue };
                // A thread that is more urgent than what some CPU runs does not have to wait first.
                if thread.takeable > now && thread.rank >= *worst {
                    due = due.min(thread.takeable);
                } else if !allowed.contains(cpu) {
                    self.needs_reschedule.insert(other);
                } else if first.is_none_or(|(turn, _)| thread.turn() < turn) {
                    first = Some((thread.turn(), id));
                }
            }
        }
        let Some(((rank, _), id)) = first else {
            self.schedule.balancer.has_looked(cpu, due, now);
            return None;
        };
        // For a less urgent thread no waiting time is owed: a better one goes first, however short it has waited.
        let id = self.better_elsewhere(cpu, rank).unwrap_or(id);
        self.counts.taken += u64::from(self.thread(id).is_some_and(|thread| thread.ran_on.is_some()));
        Some(id)
    }

    /// Finds other CPUs for the threads that wait at `cpu`, when that has rescheduled and is about to run a thread or
    /// when a thread that waits there has got another priority. If `cpu` was the balancer, another idle CPU follows it.
    #[inline]
    pub(crate) fn offer_waiting(&mut self, cpu: Cpu) {
        let schedule = &self.schedule;
        if schedule.soft && (!schedule.overloaded.is_empty() || schedule.balancer.is(cpu)) {
            self.find_cpus_for_waiting(cpu);
        }
    }

    /// Does the work of [`Tasks::offer_waiting`], where there is some.
    fn find_cpus_for_waiting(&mut self, cpu: Cpu) {
        let kept = self.schedule.balancer.current.take_if(|(current, _)| *current == cpu).is_some();
        let idle = self.schedule.idle;
        if !idle.is_empty() && (kept || self.has_stranded(cpu)) {
            self.needs_reschedule = self.needs_reschedule.union(self.schedule.request_look(idle));
        }
        self.reschedule_worse();
    }

    /// Whether a thread is stranded at this CPU.
    fn has_stranded(&self, cpu: Cpu) -> bool {
        let mut migratable = self.schedule.cpus[usize::from(cpu.0)].migratable.threads(&self.threads).take(SEEN);
        migratable.any(|(_, thread)| !thread.affinity.intersection(self.schedule.idle).is_empty())
    }
}
