//! The watch: how an idle CPU comes to look for threads that wait at busy ones, with soft affinity.
//!
//! A thread is *stranded* while it waits at a busy CPU although an idle one may run it. At most one idle CPU keeps the
//! *watch* for all that are: it looks again at a time that it has set its timer for.
//!
//! A CPU that would be idle *looks* ([`Tasks::find_stranded`]), and what it has seen is exact: it takes a stranded thread,
//! makes another idle CPU look if that one alone may run it, or keeps the watch up to the time when the first of them may
//! be taken. Later events can strand a thread only in three ways, and each [asks](Schedule::request_look) an idle CPU to look:
//!
//! 1. a thread gets ready at a busy CPU and does not run there at once ([`Schedule::note_waiting`]);
//! 2. a CPU has looked, and threads go on waiting at it ([`Tasks::offer_waiting`]);
//! 3. the CPU that keeps the watch has found something to run, so it hands the watch on (there, too).
//!
//! A CPU gets idle in two ways. It looks itself; or the only thread that waited for it goes elsewhere before it has looked,
//! and then it stays in `needs_reschedule`, unless no thread waits anywhere that it could take.
//!
//! To ask takes two stores while a CPU keeps the watch, since that one looks soon enough: a thread may be taken
//! [`MIGRATION`] after it has got ready, and no watch is longer than that. For example, two threads that wake each other
//! in turn on one CPU ask at each turn. The idle CPU looks once per [`MIGRATION`], and ends its watch when nobody has asked
//! between two looks.
//!
//! **Invariant:** while a thread is stranded, either its CPU or an idle one is in `needs_reschedule`, or an idle CPU keeps the
//! watch and its timer goes off before the thread has waited for longer than [`MIGRATION`]. A thread that is
//! owed a slice ([`crate::tasks::starvation`]) stays where it is and counts as one that others may not run.

use crate::cpus::{Cpu, CpuSet};
use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::balance::{MIGRATION, SEEN};
use crate::tasks::scheduling::{NEVER, Schedule};
use crate::tasks::thread::Thread;
use core::cell::LazyCell;

/// The idle CPU that keeps the watch, and whether it has to go on.
#[derive(Default)]
pub(crate) struct IdleBalancer {
    /// Which CPU, and when it looks, in nanoseconds since boot: at once, being in `needs_reschedule`, if that is 0.
    pub(crate) keeper: Option<(Cpu, u64)>,
    /// Whether anybody has asked since a keeper looked last.
    requested: bool,
}

impl IdleBalancer {
    /// When a CPU has to look because it keeps the watch, or [`NEVER`].
    #[inline]
    pub(crate) fn next_look(&self, cpu: Cpu) -> u64 {
        self.keeper.filter(|(keeper, _)| *keeper == cpu).map_or(NEVER, |(_, look)| look)
    }

    /// Whether a CPU keeps the watch.
    #[inline]
    pub(crate) fn is_taken_by(&self, cpu: Cpu) -> bool {
        self.keeper.is_some_and(|(keeper, _)| keeper == cpu)
    }

    /// An idle CPU has looked, and can take the first thread at `due`. It keeps the watch, unless another one does and
    /// looks early enough.
    fn has_looked(&mut self, cpu: Cpu, due: u64, now: u64) {
        match self.keeper {
            Some((keeper, look)) if keeper != cpu => {
                if due < look {
                    self.keeper = Some((cpu, due));
                }
            }
            _ => {
                let again = if core::mem::take(&mut self.requested) { now + MIGRATION } else { NEVER };
                let look = due.min(again);
                self.keeper = (look != NEVER).then_some((cpu, look));
            }
        }
    }
}

impl Schedule {
    /// One of these idle CPUs is to look, unless the watch is kept. Returns it.
    fn request_look(&mut self, idle: CpuSet) -> CpuSet {
        self.balancer.requested = true;
        let Some(cpu) = idle.lowest().filter(|_| self.balancer.keeper.is_none()) else { return CpuSet::NONE };
        self.balancer.keeper = Some((cpu, 0));
        CpuSet::only(cpu)
    }

    /// A thread that other CPUs may take gets ready at a CPU, which runs it at once if it goes first there. Returns the
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
    /// A CPU would be idle. Returns the thread that it is to take from another one.
    pub(crate) fn find_stranded(&mut self, cpu: Cpu) -> Option<ThreadId> {
        self.schedule.idle.insert(cpu);
        let (idle, now, awaited) = (self.schedule.idle, self.schedule.now, self.schedule.overloaded);
        let (mut first, mut due): (Option<((u8, u64), ThreadId)>, _) = (None, NEVER);
        let worst = LazyCell::new(|| self.schedule.worst());
        for state in awaited.iter().map(|cpu| &self.schedule.cpus[usize::from(cpu.0)]) {
            for (id, thread) in state.migratable.threads(&self.threads).take(SEEN) {
                let allowed = thread.affinity.intersection(idle);
                // A thread that has run here and waits at an idle CPU is about to go on there.
                let comes = state.running.is_none() && thread.takeable > 0;
                let Some(other) = allowed.lowest().filter(|_| !comes) else { continue };
                // One that is more urgent than what some CPU runs does not wait.
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
        // A CPU that runs something else waits for nothing: a better thread goes first, however short it has waited.
        let id = self.better_elsewhere(cpu, rank).unwrap_or(id);
        self.counts.taken += u64::from(self.thread(id).is_some_and(|thread| thread.ran_on.is_some()));
        Some(id)
    }

    /// A CPU has looked and is about to run a thread, or a thread that waits at it has another priority: finds other CPUs
    /// for those that wait, and hands the watch on if the CPU has kept it.
    #[inline]
    pub(crate) fn offer_waiting(&mut self, cpu: Cpu) {
        let schedule = &self.schedule;
        if schedule.soft && (!schedule.overloaded.is_empty() || schedule.balancer.is_taken_by(cpu)) {
            self.find_cpus_for_waiting(cpu);
        }
    }

    /// What [`Tasks::offer_waiting`] does where there is something to do.
    fn find_cpus_for_waiting(&mut self, cpu: Cpu) {
        let kept = self.schedule.balancer.keeper.take_if(|(keeper, _)| *keeper == cpu).is_some();
        let idle = self.schedule.idle;
        if !idle.is_empty() && (kept || self.has_stranded(cpu)) {
            self.needs_reschedule = self.needs_reschedule.union(self.schedule.request_look(idle));
        }
        self.reschedule_worse();
    }

    /// Whether an idle CPU may run a thread that waits at this one.
    fn has_stranded(&self, cpu: Cpu) -> bool {
        let mut migratable = self.schedule.cpus[usize::from(cpu.0)].migratable.threads(&self.threads).take(SEEN);
        migratable.any(|(_, thread)| !thread.affinity.intersection(self.schedule.idle).is_empty())
    }
}
