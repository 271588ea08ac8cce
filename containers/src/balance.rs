//! Soft affinity: which CPU a thread waits at, and what an idle CPU takes from a busy one.
//!
//! A thread that gets ready goes, of the CPUs that it may run on, to
//!
//! 1. the one that it ran on last, if it runs there at once: that CPU is idle, or does something less urgent;
//! 2. the same one if that will be idle soon: only one thread runs there, none waits, and that one kept a CPU for
//!    less than [`SOON`] when it had one last. For example, two threads that wake each other in turn stay on one CPU;
//! 3. another one where it runs at once;
//! 4. if others wait for the one that it ran on last, one that no thread waits for;
//! 5. the one that it ran on last, to wait there.
//!
//! A thread whose time slice is over goes by the same rule, and so does one that yields to others. A thread that
//! was displaced within its slice waits where it ran. Where threads wait for one CPU and, for as long as a
//! [`TURN`], none for another that runs one as urgent, a thread gives the first up after a turn and waits at the second:
//! so eight threads that compute on five CPUs all get on equally fast, though three of the CPUs have two of them at any
//! time.
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
//! To find a thread takes a time bounded by the number of CPUs: at each, the first [`SEEN`] loose threads are
//! looked at. A thread whose mask names some CPUs only can be behind so many others that may not run on the idle
//! one; it then waits for its turn, as they do.

use crate::container::{Cpu, CpuSet};
use crate::scheduling::{NEVER, SLICE, Schedule};
use crate::tasks::{Tasks, ThreadId};
use crate::thread::{State, Thread};

/// What a move to another CPU costs a thread, in nanoseconds: page directory, translations and caches are cold there.
pub const MIGRATION: u64 = 100_000;

/// What waking an idle CPU takes, in nanoseconds: a thread that waits for less gains nothing there.
pub const SOON: u64 = 20_000;

/// How long a thread runs before it goes to wait at a CPU that fewer threads wait for, in nanoseconds.
pub const TURN: u64 = SLICE / 4;

/// Loose threads of a CPU that an idle one looks at.
pub const SEEN: usize = 16;

impl Schedule {
    /// Binds a thread that is about to get ready to a CPU where it runs sooner than where it is bound, if there is one.
    /// A thread that runs goes to wait at another CPU only with its turn over.
    pub(crate) fn rebind(&mut self, thread: &mut Thread, turn_over: bool) {
        let Some(here) = thread.cpu else { return };
        let state = self.cpu(here);
        let stays = match state.best() {
            // If it runs, there is nothing else.
            None => thread.state == State::Running || state.brief || state.priority() > thread.priority,
            Some(best) => {
                thread.priority < best && (thread.state == State::Running || thread.priority < state.priority())
            }
        };
        if stays {
            return;
        }
        let waits_elsewhere = turn_over || thread.state != State::Running && state.best().is_some();
        let home = self.home(thread.affinity);
        let there = Some(home).filter(|home| self.cpu(*home).urgent() > thread.priority);
        if let Some(there) = there.or_else(|| self.unawaited(thread).filter(|_| waits_elsewhere).map(|(cpu, _)| cpu)) {
            self.bind(thread, there);
        }
    }

    /// The CPU for which no thread has waited for longest and which runs one as urgent as this, which is bound to
    /// another; and since when.
    fn unawaited(&self, thread: &Thread) -> Option<(Cpu, u64)> {
        let here = thread.cpu?;
        let unawaited = |cpu: Cpu| {
            let state = &self.cpus[usize::from(cpu.0)];
            let is_one = state.best().is_none() && state.priority() == thread.priority;
            is_one.then_some((cpu, state.unawaited_since))
        };
        let others = thread.affinity.intersection(self.all()).without(here);
        others.iter().filter_map(unawaited).min_by_key(|(_, since)| *since)
    }

    /// How long a thread that runs has left of its turn, given that there is where to wait for the next.
    pub(crate) fn turn_left(&self, thread: &Thread) -> Option<u64> {
        let (_, since) = self.soft.then(|| self.unawaited(thread)).flatten()?;
        let used = SLICE - thread.slice;
        Some(TURN.saturating_sub(used).max((since + TURN).saturating_sub(self.now)))
    }

    /// A thread is about to get ready at a CPU. Returns the idle CPU that must look because of it, if one must.
    pub(crate) fn waits(&mut self, thread: &mut Thread, cpu: Cpu) -> CpuSet {
        thread.takeable = if thread.ran_on.is_some() { self.now + MIGRATION } else { 0 };
        self.idle.remove(cpu);
        let others = self.idle.intersection(thread.affinity);
        let waits = !others.is_empty() && self.cpu(cpu).urgent() <= thread.priority;
        if waits { self.leave(others) } else { CpuSet::NONE }
    }

    /// A thread is left waiting although these CPUs are idle. Returns the one that must look, unless one watches.
    fn leave(&mut self, idle: CpuSet) -> CpuSet {
        self.left = true;
        let Some(cpu) = idle.lowest().filter(|_| self.watch.is_none()) else { return CpuSet::NONE };
        self.watch = Some((cpu, 0));
        CpuSet::only(cpu)
    }

    /// A CPU has taken a thread, and watches no more. Returns the CPU that must look instead.
    #[inline]
    pub(crate) fn took(&mut self, cpu: Cpu) -> CpuSet {
        self.idle.remove(cpu);
        self.note_unawaited(cpu);
        let watched = self.watch.take_if(|(who, _)| *who == cpu).is_some();
        let left = watched || self.left || self.cpu(cpu).loose.best().is_some();
        if left && !self.idle.is_empty() { self.leave(self.idle) } else { CpuSet::NONE }
    }

    /// A thread has left the lanes of a CPU.
    #[inline]
    pub(crate) fn note_unawaited(&mut self, cpu: Cpu) {
        let now = self.now;
        let state = self.cpu(cpu);
        if state.best().is_none() {
            state.unawaited_since = now;
        }
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
        if self.schedule.cpus.iter().all(|state| state.loose.best().is_none()) {
            self.schedule.found_nothing(cpu, NEVER);
            return None;
        }
        let (idle, now) = (self.schedule.idle, self.schedule.now);
        let (mut first, mut seen, mut due): (Option<((u8, u64), ThreadId)>, _, _) = (None, 0, NEVER);
        for state in &self.schedule.cpus {
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
        let Some((_, id)) = first else {
            self.schedule.found_nothing(cpu, due);
            return None;
        };
        self.schedule.left |= seen > 1;
        self.counts.taken += u64::from(self.thread(id).is_some_and(|thread| thread.ran_on.is_some()));
        Some(id)
    }
}
