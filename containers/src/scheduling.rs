//! Which thread runs on which CPU, and which CPU watches the clock.
//!
//! There is one common ready queue, in *lanes*: two for each CPU. A thread is bound to a CPU as it gets ready
//! for the first time and stays there, so that its pages stay in one cache and its container in one page
//! directory; only its affinity can move it. It goes to an idle CPU if there is one, else to one where it
//! would go first, else to one that has few threads. While it has never run, and may run anywhere, any CPU
//! that would be idle takes it: these threads, the *fresh* ones, are what all CPUs have in common.
//!
//! A CPU serves its own lanes, the best priority first, within a priority who came first. Every step takes a
//! time that depends on the number of CPUs at most.
//!
//! Who makes a thread ready interrupts nobody here. The CPU that has to look again is put into
//! [`Tasks::attention`], and the kernel sees to the rest.
//!
//! **Invariant:** a CPU that would prefer a ready thread in its lanes to what it does now is in `attention`,
//! or the thread that it ran has just been put back by itself and it is about to take the next.
//!
//! **Invariant:** while a fresh thread waits at a CPU, this one is in `attention`, or all that are idle are.
//!
//! **Invariant:** while anybody has a deadline, some CPU is responsible for one at least as early as the
//! earliest, and has set its timer for it, given that a CPU asks [`Tasks::deadline_for`] before it leaves
//! the kernel if it has parked a thread or its timer has gone off.

use crate::container::{Cpu, CpuSet};
use crate::process::ProcessId;
use crate::queue::Lane;
use crate::tasks::{Tasks, ThreadId};
use crate::thread::{State, Thread};
use alloc::vec::Vec;

/// A time slice, in nanoseconds.
pub const SLICE: u64 = 10_000_000;

/// Worse than any priority: what an idle CPU runs.
const IDLE: u8 = u8::MAX;

/// The affinity of a thread that may run on all CPUs.
const ANYWHERE: CpuSet = CpuSet(u64::MAX);

/// The ready queue, and what each CPU does.
#[derive(Default)]
pub(crate) struct Schedule {
    cpus: Vec<CpuState>,
    /// Threads that have got ready so far.
    stamp: u64,
    /// The CPU that has set its timer for a deadline, and that deadline.
    responsible: Option<(Cpu, u64)>,
}

struct CpuState {
    /// Ready threads that run here or, if they have never run, may not run everywhere.
    settled: Lane,
    /// Ready threads that have never run and may run on any CPU.
    fresh: Lane,
    /// The thread that it took last, and its priority; `None` if there was none to take.
    running: Option<(ThreadId, u8)>,
    /// Threads that are bound to it and have not ended.
    bound: u32,
}

impl CpuState {
    fn priority(&self) -> u8 {
        self.running.map_or(IDLE, |(_, priority)| priority)
    }

    /// The best priority that a thread has that is ready here.
    fn best(&self) -> Option<u8> {
        self.settled.best().into_iter().chain(self.fresh.best()).min()
    }

    /// Whether it has to look because of a thread of that priority that is about to get ready: to run it or,
    /// when it is the first of its kind, to set the timer for the end of a slice.
    fn must_look(&self, priority: u8) -> bool {
        let running = self.priority();
        running > priority || running == priority && self.best().is_none_or(|best| best > priority)
    }
}

impl Schedule {
    fn cpu(&mut self, cpu: Cpu) -> &mut CpuState {
        &mut self.cpus[usize::from(cpu.0)]
    }

    fn all(&self) -> CpuSet {
        CpuSet::first(self.cpus.len())
    }

    /// The CPUs that have nothing to do.
    fn idle(&self) -> CpuSet {
        let is_idle = |cpu: &Cpu| {
            let state = &self.cpus[usize::from(cpu.0)];
            state.running.is_none() && state.best().is_none()
        };
        let mut cpus = CpuSet::NONE;
        self.all().iter().filter(is_idle).for_each(|cpu| cpus.insert(cpu));
        cpus
    }

    /// The lane of a thread that is bound to a CPU.
    fn lane(&mut self, cpu: Cpu, thread: &Thread) -> &mut Lane {
        let fresh = is_fresh(thread);
        let state = self.cpu(cpu);
        if fresh { &mut state.fresh } else { &mut state.settled }
    }

    /// The CPU that a thread is to be bound to, of those that it may run on: the one with the least urgent
    /// things to do, of these the one with the fewest threads.
    fn home(&self, affinity: CpuSet) -> Cpu {
        let key = |cpu: &Cpu| {
            let state = &self.cpus[usize::from(cpu.0)];
            let urgent = state.best().map_or(state.priority(), |best| best.min(state.priority()));
            (IDLE - urgent, state.bound)
        };
        affinity.intersection(self.all()).iter().min_by_key(key).unwrap_or_default()
    }
}

/// Whether a thread can begin on any CPU.
fn is_fresh(thread: &Thread) -> bool {
    thread.ran_on.is_none() && thread.affinity == ANYWHERE
}

impl<R> Tasks<R> {
    /// Bytes that so many CPUs take, in one piece.
    pub const fn size_for(cpus: usize) -> usize {
        cpus * size_of::<CpuState>()
    }

    /// So many CPUs are up, idle. Allocates.
    pub(crate) fn add_cpus(&mut self, cpus: usize) {
        self.schedule.cpus.reserve_exact(cpus);
        let idle = || CpuState { settled: Lane::new(), fresh: Lane::new(), running: None, bound: 0 };
        self.schedule.cpus.extend((0..cpus).map(|_| idle()));
    }

    /// Puts a thread into the ready queue, with a fresh time slice.
    pub fn make_ready(&mut self, id: ThreadId) {
        // A thread that gives up its CPU leaves it to others.
        self.alert(id);
        if !self.may_stay(id) {
            self.unbind(id);
        }
        self.renew_slice(id);
        self.enqueue(id, false);
    }

    /// Puts the running thread of a CPU that is about to take the next one back: at the end with a fresh
    /// slice if its slice is used up, else at the front with the rest of it; to another CPU if it must
    /// move.
    pub fn preempt(&mut self, id: ThreadId) {
        let Some(thread) = self.threads.get(id).filter(|thread| thread.state == State::Running) else { return };
        let over = thread.slice == 0;
        if self.must_move(id) {
            self.unbind(id);
            self.renew_slice(id);
            self.enqueue(id, false);
        } else {
            if over {
                self.renew_slice(id);
            }
            self.enqueue(id, !over);
        }
    }

    /// Whether a running thread may no longer run where it does: its CPU preempts it.
    pub fn must_move(&self, id: ThreadId) -> bool {
        self.thread(id).is_some_and(|thread| thread.state == State::Running) && !self.may_stay(id)
    }

    fn may_stay(&self, id: ThreadId) -> bool {
        self.thread(id).is_some_and(|thread| thread.cpu.is_none_or(|cpu| thread.affinity.contains(cpu)))
    }

    /// Gives a thread another time slice.
    pub fn renew_slice(&mut self, id: ThreadId) {
        if let Some(thread) = self.threads.get_mut(id) {
            thread.slice = SLICE;
        }
    }

    /// Puts a thread into a lane, in front if it is to go on, and alerts the CPU that must look.
    fn enqueue(&mut self, id: ThreadId, front: bool) {
        let Some(thread) = self.threads.get_mut(id) else { return };
        thread.state = State::Ready;
        if !front {
            self.schedule.stamp += 1;
            thread.stamp = self.schedule.stamp;
        }
        let (priority, affinity, bound) = (thread.priority, thread.affinity, thread.cpu);
        let cpu = bound.unwrap_or_else(|| self.schedule.home(affinity));
        if bound.is_none() {
            self.bind(id, cpu);
        }
        if self.schedule.cpu(cpu).must_look(priority) {
            self.attention.insert(cpu);
        }
        if let Some(thread) = self.threads.get(id) {
            self.schedule.lane(cpu, thread).push(&mut self.threads, id, front);
        }
    }

    /// Takes a ready thread out of its lane.
    pub(crate) fn dequeue(&mut self, id: ThreadId) {
        if let Some(thread) = self.threads.get(id)
            && let Some(cpu) = thread.cpu
        {
            self.schedule.lane(cpu, thread).remove(&mut self.threads, id);
        }
    }

    fn bind(&mut self, id: ThreadId, cpu: Cpu) {
        if let Some(thread) = self.threads.get_mut(id) {
            thread.cpu = Some(cpu);
            self.schedule.cpu(cpu).bound += 1;
        }
    }

    pub(crate) fn unbind(&mut self, id: ThreadId) {
        if let Some(cpu) = self.threads.get_mut(id).and_then(|thread| thread.cpu.take()) {
            self.schedule.cpu(cpu).bound -= 1;
        }
    }

    /// The best priority that any thread has that is ready to run on `cpu`.
    #[inline]
    pub fn best_ready(&self, cpu: Cpu) -> Option<u8> {
        self.schedule.cpus[usize::from(cpu.0)].best()
    }

    /// Takes the next thread to run on `cpu` out of the ready queue; it stays on that CPU from now on.
    /// With `None` the CPU is idle.
    pub fn take_ready(&mut self, cpu: Cpu) -> Option<ThreadId> {
        let state = &self.schedule.cpus[usize::from(cpu.0)];
        let own = self.first_of([state.settled.first(), state.fresh.first()]);
        let next = own.or_else(|| self.first_of(self.schedule.cpus.iter().map(|state| state.fresh.first())));
        let Some(id) = next else {
            self.schedule.cpu(cpu).running = None;
            return None;
        };
        self.dequeue(id);
        let from = self.thread(id)?.cpu.unwrap_or(cpu);
        if from != cpu {
            self.unbind(id);
            self.bind(id, cpu);
        }
        let thread = self.threads.get_mut(id)?;
        thread.state = State::Running;
        if thread.ran_on.replace(cpu).is_some_and(|before| before != cpu) {
            self.counts.migrations += 1;
        }
        self.schedule.cpu(cpu).running = Some((id, thread.priority));
        // What cannot begin here after all, because this goes first, begins where a CPU is idle.
        if self.schedule.cpu(from).fresh.best().is_some() {
            self.attention = self.attention.union(self.schedule.idle());
        }
        Some(id)
    }

    /// Of the first threads of some lanes the one whose turn it is.
    fn first_of(&self, lanes: impl IntoIterator<Item = Option<ThreadId>>) -> Option<ThreadId> {
        let turn = |thread: &Thread| (thread.priority, thread.stamp);
        lanes.into_iter().flatten().min_by_key(|id| self.thread(*id).map(turn))
    }

    /// Makes the CPU that a thread runs on look again, if it runs.
    pub fn alert(&mut self, id: ThreadId) {
        if let Some(thread) = self.thread(id).filter(|thread| thread.state == State::Running)
            && let Some(cpu) = thread.cpu
        {
            self.attention.insert(cpu);
        }
    }

    /// Changes a thread's priority, wherever it is; returns the old one.
    pub fn set_priority(&mut self, id: ThreadId, priority: u8) -> Option<u8> {
        let (state, cpu) = self.thread(id).map(|thread| (thread.state, thread.cpu))?;
        if state == State::Ready {
            self.dequeue(id);
        }
        let old = core::mem::replace(&mut self.threads.get_mut(id)?.priority, priority);
        match (state, cpu) {
            (State::Ready, _) => self.enqueue(id, false),
            (State::Running, Some(cpu)) => {
                self.attention.insert(cpu);
                self.schedule.cpu(cpu).running = Some((id, priority));
            }
            _ => {}
        }
        Some(old)
    }

    /// Lets a thread run on these CPUs only, of which one at least must be up (else nothing changes). One
    /// that is bound elsewhere moves: at once if it is ready, when woken if it is parked, and when its CPU
    /// has looked if it runs.
    pub fn set_affinity(&mut self, id: ThreadId, affinity: CpuSet) {
        let all = self.schedule.all();
        let allowed = affinity.intersection(all);
        let affinity = if allowed == all { ANYWHERE } else { affinity };
        let Some(thread) = self.thread(id).filter(|_| !allowed.is_empty()) else { return };
        let (state, stays) = (thread.state, thread.cpu.is_none_or(|cpu| affinity.contains(cpu)));
        let begins = state == State::Ready && thread.ran_on.is_none();
        // The lane of one that has never run depends on it.
        let moves = begins || state == State::Ready && !stays;
        if moves {
            self.dequeue(id);
            self.unbind(id);
        }
        if let Some(thread) = self.threads.get_mut(id) {
            thread.affinity = affinity;
        }
        match state {
            State::Ready if moves => self.enqueue(id, false),
            State::Parked if !stays => self.unbind(id),
            State::Running if !stays => self.alert(id),
            _ => {}
        }
    }

    /// The CPUs on which threads of a process run.
    pub fn running_on(&self, process: ProcessId) -> CpuSet {
        let runs_it = |cpu: &Cpu| {
            let thread = self.schedule.cpus[usize::from(cpu.0)].running.and_then(|(id, _)| self.thread(id));
            thread.is_some_and(|t| t.process == process && t.state == State::Running && t.cpu == Some(*cpu))
        };
        let mut cpus = CpuSet::NONE;
        self.schedule.all().iter().filter(runs_it).for_each(|cpu| cpus.insert(cpu));
        cpus
    }

    /// The thread that a CPU took last.
    #[cfg(test)]
    pub(crate) fn running_on_cpu(&self, cpu: Cpu) -> Option<ThreadId> {
        self.schedule.cpus[usize::from(cpu.0)].running.map(|(id, _)| id)
    }

    /// Threads that are bound to a CPU.
    #[cfg(test)]
    pub(crate) fn bound_to(&self, cpu: Cpu) -> u32 {
        self.schedule.cpus[usize::from(cpu.0)].bound
    }

    /// Wakes those whose deadline is over: the timer of `cpu` has gone off, or might have.
    pub fn expire(&mut self, cpu: Cpu, now: u64) {
        if self.schedule.responsible.is_some_and(|(who, _)| who == cpu) {
            self.schedule.responsible = None;
            self.attention.insert(cpu);
        }
        self.wake_expired(now);
    }

    /// The deadline for which `cpu` shall set its timer: the earliest of all, unless another CPU is
    /// responsible for one at least as early. It is responsible from now on.
    pub fn deadline_for(&mut self, cpu: Cpu) -> Option<u64> {
        let next = self.next_deadline();
        let responsible = &mut self.schedule.responsible;
        match (*responsible, next) {
            (Some((who, at)), Some(next)) if who != cpu && at <= next => None,
            (_, Some(next)) => {
                *responsible = Some((cpu, next));
                Some(next)
            }
            (_, None) => {
                if responsible.is_some_and(|(who, _)| who == cpu) {
                    *responsible = None;
                }
                None
            }
        }
    }
}
