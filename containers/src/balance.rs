//! Soft affinity: which CPU a thread waits at, and what an idle CPU takes from a busy one.
//!
//! A thread that gets ready goes, of the CPUs that it may run on, to
//!
//! 1. the one that it ran on last, if it runs there at once: that CPU is idle, or does something less urgent;
//! 2. the same one if that will be idle soon: only one thread runs there, none waits, and that one kept a CPU for
//!    less than [`SOON`] when it had one last. For example, two threads that wake each other in turn stay on one CPU;
//! 3. another one where it runs at once;
//! 4. the one at which the fewest threads run and wait, if they are fewer than at the one that it ran on last;
//! 5. the one that it ran on last, to wait there.
//!
//! A thread whose time slice is over goes by the same rule, and so does one that yields to others. A thread that
//! was displaced within its slice waits where it ran. Where threads wait for one CPU and fewer are at another, the
//! running thread gives the first up after a [`TURN`] and waits at the second: so eight threads that compute on five CPUs
//! all get on equally fast, though three of the CPUs have two of them at any time.
//!
//! A CPU that chooses its next thread takes a more urgent one that waits at another CPU before its own
//! ([`Tasks::better_elsewhere`]). A CPU that leaves threads waiting makes one that runs something worse look
//! ([`Tasks::look_after`]). So fixed priorities hold for the machine: of N CPUs each runs one of the N most urgent threads,
//! as far as masks allow. Threads of one priority get no such promise: they share the CPU that they wait at, and change
//! over as said above.
//!
//! **Invariant:** with soft affinity, no CPU runs a thread that is worse than one that waits at another and may run on it,
//! unless that CPU is in `attention`, or the thread waits for a CPU that should be idle soon (rule 2) or owes it a slice
//! ([`crate::relief`]).
//!
//! A CPU that would be idle takes from a busy one a thread that has waited there for longer than [`MIGRATION`] or
//! has never run; of several, the one whose turn it is. If all have waited for a shorter time, it sets its timer.
//! While a thread may be left waiting beside idle CPUs, one of these keeps the *watch*: it looks again after
//! [`MIGRATION`] at the latest, and another one takes over when it finds something to run. So a thread that is left
//! to a CPU that should be idle soon costs its waker one store, and an idle CPU one look per [`MIGRATION`].
//!
//! **Invariant:** with soft affinity, while a thread waits at a busy CPU although an idle one may run it, an idle
//! CPU is in `attention` or keeps the watch, and looks before the thread has waited for longer than [`MIGRATION`].
//!
//! Two sets of CPUs answer the common questions with one test: which are idle, and at which threads wait that others may
//! take. To find a thread takes a time bounded by the number of CPUs: at each, the first [`SEEN`] loose threads are
//! looked at. A thread whose mask names some CPUs only can be behind so many others that may not run on the idle
//! one; it then waits for its turn, as they do.

use crate::container::{Cpu, CpuSet};
use crate::scheduling::{CpuState, IDLE, NEVER, SLICE, Schedule};
use crate::tasks::{Tasks, ThreadId};
use crate::thread::{State, Thread};

/// What a move to another CPU costs a thread, in nanoseconds: page directory, translations and caches are cold there.
pub const MIGRATION: u64 = 100_000;

/// What waking an idle CPU takes, in nanoseconds: a thread that waits for less gains nothing there.
pub const SOON: u64 = 20_000;

/// How long a thread runs before it goes to wait at a CPU that has fewer threads, in nanoseconds.
pub const TURN: u64 = SLICE / 4;

/// Loose threads of a CPU that an idle one looks at.
pub const SEEN: usize = 16;

impl Schedule {
    /// Binds a thread that is about to get ready to a CPU where it runs sooner than where it is bound, if there is one.
    /// A thread that runs goes to wait at another CPU only with its turn over.
    pub(crate) fn rebind(&mut self, thread: &mut Thread, turn_over: bool) {
        let Some(here) = thread.cpu else { return };
        let state = self.cpu(here);
        let runs = thread.state == State::Running;
        // If it runs and no thread waits, there is nothing else.
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

    /// The CPU at which the fewest threads run and wait, if they are fewer than those at the CPU that this thread is
    /// bound to; of several the one whose thread's turn is over first.
    fn less_loaded(&self, thread: &Thread) -> Option<Cpu> {
        let state = |cpu: Cpu| &self.cpus[usize::from(cpu.0)];
        let here = state(thread.cpu?).load();
        let others = thread.affinity.intersection(self.all()).iter();
        others.filter(|cpu| state(*cpu).load() < here).min_by_key(|cpu| (state(*cpu).load(), state(*cpu).slice_end))
    }

    /// How long a thread that runs has left of its turn, given that there is where to wait for the next.
    pub(crate) fn turn_left(&self, thread: &Thread) -> Option<u64> {
        let used = SLICE - thread.slice;
        (self.soft && self.less_loaded(thread).is_some()).then(|| TURN.saturating_sub(used))
    }

    /// A thread that other CPUs may take is about to get ready at a CPU. Returns the idle CPU that must look because of
    /// it, if one must.
    #[inline]
    pub(crate) fn waits(&mut self, thread: &mut Thread, cpu: Cpu) -> CpuSet {
        thread.takeable = if thread.ran_on.is_some() { self.now + MIGRATION } else { 0 };
        self.awaited.insert(cpu);
        let others = self.idle.intersection(thread.affinity);
        let waits = !others.is_empty() && self.cpu(cpu).urgent() <= thread.rank;
        if waits { self.leave(others) } else { CpuSet::NONE }
    }

    /// A thread is left waiting although these CPUs are idle. Returns the one that must look, unless one watches.
    fn leave(&mut self, idle: CpuSet) -> CpuSet {
        self.left = true;
        let Some(cpu) = idle.lowest().filter(|_| self.watch.is_none()) else { return CpuSet::NONE };
        self.watch = Some((cpu, 0));
        CpuSet::only(cpu)
    }

    /// Whether a CPU that has taken a thread leaves others waiting, or watches no more.
    #[inline]
    pub(crate) fn leaves_some(&self, cpu: Cpu) -> bool {
        self.awaited.contains(cpu) || self.watch.is_some_and(|(who, _)| who == cpu)
    }

    /// The worst priority that any CPU runs, or worse than any if one is idle.
    fn worst(&self) -> u8 {
        self.cpus.iter().map(CpuState::priority).max().unwrap_or(0)
    }

    /// A CPU has found nothing to take before `due`. It watches, unless another one does and looks early enough.
    fn found_nothing(&mut self, cpu: Cpu, due: u64) {
        match self.watch {
            Some((other, look)) if other != cpu => {
                if due < look {
                    self.watch = Some((cpu, due));
                }
            }
            _ => {
                let again = if core::mem::take(&mut self.left) { self.now + MIGRATION } else { NEVER };
                let look = due.min(again);
                self.watch = (look != NEVER).then_some((cpu, look));
            }
        }
    }
}

impl<R> Tasks<R> {
    /// A CPU is idle. Returns the thread that it is to take from another one.
    pub(crate) fn find_waiting(&mut self, cpu: Cpu) -> Option<ThreadId> {
        self.schedule.idle.insert(cpu);
        let (idle, now, awaited) = (self.schedule.idle, self.schedule.now, self.schedule.awaited);
        let (mut first, mut seen, mut due): (Option<((u8, u64), ThreadId)>, _, _) = (None, 0, NEVER);
        for state in awaited.iter().map(|cpu| &self.schedule.cpus[usize::from(cpu.0)]) {
            for (id, thread) in state.loose.threads(&self.threads).take(SEEN) {
                let allowed = thread.affinity.intersection(idle);
                // A thread that has run here and waits at an idle CPU is about to go on there.
                let comes = state.running.is_none() && thread.takeable > 0;
                let Some(other) = allowed.lowest().filter(|_| !comes) else { continue };
                seen += 1;
                if thread.takeable > now {
                    due = due.min(thread.takeable);
                } else if !allowed.contains(cpu) {
                    self.attention.insert(other);
                } else if first.is_none_or(|(turn, _)| thread.turn() < turn) {
                    first = Some((thread.turn(), id));
                }
            }
        }
        let Some(((rank, _), id)) = first else {
            self.schedule.found_nothing(cpu, due);
            return None;
        };
        // A CPU that runs something else waits for nothing: a better thread goes first, however short it has waited.
        let id = self.better_elsewhere(cpu, rank).unwrap_or(id);
        self.schedule.left |= seen > 1;
        self.counts.taken += u64::from(self.thread(id).is_some_and(|thread| thread.ran_on.is_some()));
        Some(id)
    }

    /// The best thread that waits at other CPUs and may run on this one, if it is better than `than`.
    #[inline]
    pub(crate) fn better_elsewhere(&self, cpu: Cpu, than: u8) -> Option<ThreadId> {
        let others = self.schedule.awaited.without(cpu);
        if others.is_empty() { None } else { self.find_better(cpu, others, than) }
    }

    fn find_better(&self, cpu: Cpu, others: CpuSet, than: u8) -> Option<ThreadId> {
        let states = others.iter().map(|other| &self.schedule.cpus[usize::from(other.0)]);
        let found = states.filter_map(|state| {
            let best = state.loose.best().filter(|best| *best < than)?;
            // A CPU is about to run its first thread itself if that is better than what it runs now.
            let own = usize::from(best < state.priority() && Some(best) == state.best());
            let mut better = state.loose.threads(&self.threads).take(SEEN).skip(own);
            better.find(|(_, thread)| thread.rank < than && thread.affinity.contains(cpu))
        });
        found.min_by_key(|(_, thread)| thread.turn()).map(|(id, _)| id)
    }

    /// Finds a CPU for what waits at this one: one that runs something worse than the first thread that it may take, or an
    /// idle one that watches.
    pub(crate) fn look_after(&mut self, cpu: Cpu) {
        let schedule = &mut self.schedule;
        if !schedule.soft {
            return;
        }
        let watched = schedule.watch.take_if(|(who, _)| *who == cpu).is_some();
        let waits = schedule.cpu(cpu).loose.best();
        if !schedule.idle.is_empty() && (watched || schedule.left || waits.is_some()) {
            self.attention = self.attention.union(schedule.leave(schedule.idle));
        }
        let (schedule, worst) = (&self.schedule, self.schedule.worst());
        if waits.is_none_or(|best| best >= worst) {
            return;
        }
        let loose = schedule.cpus[usize::from(cpu.0)].loose.threads(&self.threads).take(SEEN);
        let runs_worse = |thread: &Thread| {
            let home = schedule.home(thread.affinity);
            let urgent = schedule.cpus[usize::from(home.0)].urgent();
            (thread.rank < urgent && !schedule.idle.contains(home)).then_some(home)
        };
        if let Some(home) =
            loose.take_while(|(_, thread)| thread.rank < worst).find_map(|(_, thread)| runs_worse(thread))
        {
            self.attention.insert(home);
        }
    }

    /// The thread that a CPU runs has ended. The CPU looks soon, and whoever gets ready meanwhile runs there at once.
    pub(crate) fn vacate(&mut self, cpu: Cpu) {
        self.attention.insert(cpu);
        if let Some((_, rank)) = &mut self.schedule.cpu(cpu).running {
            *rank = IDLE;
        }
    }
}
