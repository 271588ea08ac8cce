//! Soft affinity: at which CPU a thread waits, and what an idle CPU takes from a busy one.
//!
//! A thread that becomes ready goes to the first of these CPUs that it may run on:
//!
//! 1. the CPU that it ran on last, if it runs there at once: that CPU is idle, or runs something less urgent;
//! 2. the CPU that it ran on last, if that will be idle soon: only one thread runs there, none waits, and the running
//!    one kept a CPU for less than [`SOON`] when it had one last. For example, two threads that wake each other in turn
//!    stay on one CPU;
//! 3. another CPU where it runs at once;
//! 4. the CPU at which the fewest threads run and wait, if they are fewer than at the CPU that it ran on last;
//! 5. the CPU that it ran on last, to wait there.
//!
//! The rule also holds for a thread whose time slice is over and for one that yields. A thread that was preempted
//! within its slice waits where it ran. Where threads wait at one CPU and fewer are at another, the running thread
//! leaves the first after a [`TURN`] and waits at the second: so eight threads that compute on five CPUs all advance
//! equally fast, though three of the CPUs have two of them at any time.
//!
//! A CPU that chooses its next thread prefers a more urgent one that waits at another CPU to its own
//! ([`Tasks::better_elsewhere`]). When it has chosen, it makes a CPU reschedule that runs something less urgent than a
//! thread that still waits anywhere ([`Tasks::reschedule_worse`]). That CPU does likewise, until there is none. So
//! fixed priorities hold for the machine: the N CPUs run the N most urgent threads, as far as masks allow. Threads of
//! equal priority get no such promise: they share the CPU that they wait at, and change over as described above.
//!
//! **Invariant:** with soft affinity, no CPU runs a thread that is less urgent than one that waits at another CPU and
//! may run here, unless such a CPU, or an idle one where the waiting thread may run, is in `needs_reschedule`, or the
//! waiting thread waits for a CPU that should be idle soon (rule 2) or owes it a slice ([`crate::tasks::starvation`]).
//!
//! **Invariant:** a CPU that reschedules comes to a decision after a few rounds, whether other CPUs have rescheduled
//! meanwhile or not; they cannot before it leaves the kernel. Therefore a thread that a CPU is about to run itself is
//! not offered to the rest (`left_to_others`).
//!
//! A CPU that would be idle takes from a busy one a thread that has waited there for longer than [`MIGRATION`] or has
//! never run; if there are several, the one whose turn comes first. [`crate::tasks::idle_balance`] says which CPU looks
//! for such threads, and when.
//!
//! Two sets of CPUs answer the common questions with one test: the idle CPUs, and the CPUs at which migratable threads
//! wait. A search takes a time bounded by the number of CPUs: it looks at the first [`SEEN`] migratable threads of
//! each. A thread whose mask names only some CPUs can be behind more threads than that which may not run on the idle
//! CPU; it then waits for its turn, as they do.

use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::scheduling::{CpuState, IDLE, SLICE, Schedule};
use crate::tasks::thread::{State, Thread};
use cpulocal::{Cpu, CpuSet};

/// The cost of moving a thread to another CPU, in nanoseconds: page directory, translations and caches are cold there.
pub const MIGRATION: u64 = 100_000;

/// The time that waking an idle CPU takes, in nanoseconds: a thread that waits for less gains nothing there.
pub const SOON: u64 = 20_000;

/// How long a thread runs before it goes to wait at a CPU that has fewer threads, in nanoseconds.
pub const TURN: u64 = SLICE / 4;

/// The number of migratable threads of a CPU that a search looks at.
pub const SEEN: usize = 16;

impl Schedule {
    /// Binds a thread that is about to become ready to a CPU where it runs sooner than where it is bound, if there is
    /// one. A running thread goes to wait at another CPU only if its turn is over.
    pub(crate) fn rebind(&mut self, thread: &mut Thread, turn_over: bool) {
        let Some(here) = thread.cpu else { return };
        let state = self.cpu(here);
        let runs = thread.state == State::Running;
        // If the thread runs and no other waits, it runs nowhere sooner than here.
        let stays = state.waiting == 0 && (runs || state.brief) || !runs && state.urgent() > thread.priority;
        if stays {
            return;
        }
        let home = self.home(thread.affinity);
        let there = Some(home).filter(|home| self.cpu(*home).urgent() > thread.priority);
        if let Some(there) = there.or_else(|| self.less_loaded(thread).filter(|_| turn_over || !runs)) {
            self.bind(thread, there);
        }
    }

    /// The CPU at which the fewest threads run and wait, if they are fewer than at the CPU of this thread; if there are
    /// several, the one whose running thread's slice ends first.
    fn less_loaded(&self, thread: &Thread) -> Option<Cpu> {
        let state = |cpu: Cpu| &self.cpus[usize::from(cpu.0)];
        let here = state(thread.cpu?).load();
        let others = thread.affinity.intersection(self.all()).iter();
        others.filter(|cpu| state(*cpu).load() < here).min_by_key(|cpu| (state(*cpu).load(), state(*cpu).slice_end))
    }

    /// The time that a running thread has left of its turn, if another CPU has fewer threads, so that it could wait
    /// there.
    pub(crate) fn turn_left(&self, thread: &Thread) -> Option<u64> {
        let used = SLICE - thread.slice;
        (self.soft && self.less_loaded(thread).is_some()).then(|| TURN.saturating_sub(used))
    }

    /// The worst priority of all running threads.
    pub(crate) fn worst(&self) -> u8 {
        self.cpus.iter().map(CpuState::priority).filter(|priority| *priority != IDLE).max().unwrap_or(0)
    }
}

impl<R> Tasks<R> {
    /// The most urgent thread that waits at other CPUs and may run on this one, if it is more urgent than priority
    /// `than`.
    #[inline]
    pub(crate) fn better_elsewhere(&self, cpu: Cpu, than: u8) -> Option<ThreadId> {
        let others = self.schedule.overloaded.without(cpu);
        if others.is_empty() { None } else { self.find_better(cpu, others, than) }
    }

    fn find_better(&self, cpu: Cpu, others: CpuSet, than: u8) -> Option<ThreadId> {
        let states = others.iter().map(|other| &self.schedule.cpus[usize::from(other.0)]);
        let better = states.filter(|state| state.migratable.best().is_some_and(|best| best < than));
        let found = better.filter_map(|state| {
            self.left_to_others(state).find(|(_, thread)| thread.rank < than && thread.affinity.contains(cpu))
        });
        found.min_by_key(|(_, thread)| thread.turn()).map(|(id, _)| id)
    }

    /// The migratable threads that wait at a CPU, without the first one if that is more urgent than what the CPU runs:
    /// the CPU is about to run it itself.
    fn left_to_others<'a>(&'a self, state: &'a CpuState) -> impl Iterator<Item = (ThreadId, &'a Thread)> {
        let first = state.migratable.first().filter(|_| state.best().is_some_and(|best| best < state.priority()));
        let is_own = |first| self.first_of([state.pinned.first(), Some(first)].into_iter().flatten()) == Some(first);
        state.migratable.threads(&self.threads).take(SEEN).skip(usize::from(first.is_some_and(is_own)))
    }

    /// If a CPU runs something less urgent than a thread that waits elsewhere, makes a CPU reschedule that runs this
    /// thread at once: the less urgent one, or an idle one.
    pub(crate) fn reschedule_worse(&mut self) {
        let schedule = &self.schedule;
        let worst = schedule.worst();
        let states = schedule.overloaded.iter().map(|cpu| &schedule.cpus[usize::from(cpu.0)]);
        let states = states.filter(|state| state.migratable.best().is_some_and(|best| best < worst));
        let mut waiting = states.flat_map(|state| self.left_to_others(state));
        let found = waiting.find_map(|(_, thread)| {
            let home = schedule.home(thread.affinity);
            (thread.rank < schedule.cpus[usize::from(home.0)].urgent().min(worst)).then_some(home)
        });
        drop(waiting);
        found.into_iter().for_each(|home| self.needs_reschedule.insert(home));
    }

    /// Notes that the thread that a CPU runs has ended. The CPU reschedules soon, and any thread that becomes ready
    /// meanwhile runs there at once.
    pub(crate) fn vacate(&mut self, cpu: Cpu) {
        self.needs_reschedule.insert(cpu);
        if let Some((_, rank)) = &mut self.schedule.cpu(cpu).running {
            *rank = IDLE;
        }
    }
}
