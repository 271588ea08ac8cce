//! Which thread runs on which CPU, and which CPU watches the clock.
//!
//! There is one common ready queue in several *lanes*: one of threads that are bound to no CPU yet, and
//! one for each CPU of those that are bound to it. A CPU serves the common lane and its own, the best
//! priority first, within a priority who came first. A thread is bound where it starts and stays there,
//! so that its pages stay in one cache and its container in one page directory; only its affinity can
//! move it. A new thread goes to an idle CPU if there is one.
//!
//! Who makes a thread ready interrupts nobody here. The CPU that has to look again is put into
//! [`Tasks::attention`], and the kernel sees to the rest.
//!
//! **Invariant:** a CPU that would prefer a ready thread to what it does now, in its own lane or as the
//! one that serves the common lane, is in `attention`, or the thread that it ran has just been put back
//! by itself and it is about to take the next. The common lane is served by the CPU that runs the worst
//! priority, and is empty while a CPU is idle that nobody has been sent to.
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

/// The ready queue, and what each CPU does.
pub(crate) struct Schedule {
    /// Ready threads that are bound to no CPU. All of them may run on any.
    common: Lane,
    cpus: Vec<CpuState>,
    /// CPUs that are idle and to which nobody has been sent since.
    idle: CpuSet,
    /// Threads that have got ready so far.
    stamp: u64,
    /// The CPU that has set its timer for a deadline, and that deadline.
    responsible: Option<(Cpu, u64)>,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule { common: Lane::new(), cpus: Vec::new(), idle: CpuSet::NONE, stamp: 0, responsible: None }
    }
}

struct CpuState {
    /// Ready threads that are bound to it.
    lane: Lane,
    /// The thread that it took last, and its priority; `None` if there was none to take.
    running: Option<(ThreadId, u8)>,
    /// Threads that are bound to it and have not ended.
    bound: u32,
}

impl CpuState {
    fn priority(&self) -> u8 {
        self.running.map_or(IDLE, |(_, priority)| priority)
    }
}

impl Schedule {
    fn cpu(&mut self, cpu: Cpu) -> &mut CpuState {
        &mut self.cpus[usize::from(cpu.0)]
    }

    fn all(&self) -> CpuSet {
        CpuSet::first(self.cpus.len())
    }

    fn lane(&mut self, cpu: Option<Cpu>) -> &mut Lane {
        match cpu {
            Some(cpu) => &mut self.cpu(cpu).lane,
            None => &mut self.common,
        }
    }

    fn best(&self, cpu: Cpu) -> Option<u8> {
        let own = self.cpus[usize::from(cpu.0)].lane.best();
        own.into_iter().chain(self.common.best()).min()
    }

    /// The CPU with the fewest threads of those in `cpus`.
    fn emptiest(&self, cpus: CpuSet) -> Option<Cpu> {
        cpus.iter().min_by_key(|cpu| self.cpus[usize::from(cpu.0)].bound)
    }

    /// The CPU that serves the common lane: it runs the worst priority.
    fn server(&self) -> Cpu {
        let key = |cpu: &Cpu| {
            let state = &self.cpus[usize::from(cpu.0)];
            (IDLE - state.priority(), state.bound)
        };
        self.all().iter().min_by_key(key).unwrap_or_default()
    }

    /// Where a thread that may run on `affinity` is to be bound, if not in the common lane.
    fn home(&mut self, affinity: CpuSet) -> Option<Cpu> {
        let allowed = affinity.intersection(self.all());
        if let Some(cpu) = allowed.intersection(self.idle).lowest() {
            self.idle.remove(cpu);
            return Some(cpu);
        }
        if allowed == self.all() { None } else { self.emptiest(allowed) }
    }

    /// Whether a CPU has to look because of a thread of that priority that is about to get ready for it,
    /// in its own lane (`cpu`) or as the server of the common one: to run it or, when it is the first of
    /// its kind there, to set the timer for the end of a slice.
    fn must_look(&mut self, looks: Cpu, cpu: Option<Cpu>, priority: u8) -> bool {
        let running = self.cpu(looks).priority();
        running > priority || running == priority && self.lane(cpu).best().is_none_or(|best| best > priority)
    }
}

impl<R> Tasks<R> {
    /// One CPU more has come up, idle. Allocates.
    pub fn add_cpu(&mut self) {
        self.schedule.idle.insert(Cpu(self.schedule.cpus.len() as u8));
        self.schedule.cpus.push(CpuState { lane: Lane::new(), running: None, bound: 0 });
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
        let (priority, affinity, mut cpu) = (thread.priority, thread.affinity, thread.cpu);
        if cpu.is_none() {
            cpu = self.schedule.home(affinity);
            cpu.into_iter().for_each(|cpu| self.bind(id, cpu));
        }
        let looks = cpu.unwrap_or_else(|| self.schedule.server());
        if self.schedule.must_look(looks, cpu, priority) {
            self.attention.insert(looks);
        }
        self.schedule.lane(cpu).push(&mut self.threads, id, front);
    }

    /// Takes a ready thread out of its lane.
    pub(crate) fn dequeue(&mut self, id: ThreadId) {
        let cpu = self.thread(id).and_then(|thread| thread.cpu);
        self.schedule.lane(cpu).remove(&mut self.threads, id);
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
        self.schedule.best(cpu)
    }

    /// Takes the next thread to run on `cpu` out of the ready queue; it stays on that CPU from now on.
    /// With `None` the CPU is idle.
    pub fn take_ready(&mut self, cpu: Cpu) -> Option<ThreadId> {
        let candidates = [self.schedule.cpu(cpu).lane.first(), self.schedule.common.first()];
        let turn = |thread: &Thread| (thread.priority, thread.stamp);
        let next = candidates.into_iter().flatten().min_by_key(|id| self.thread(*id).map(turn));
        let Some(id) = next else {
            self.schedule.cpu(cpu).running = None;
            self.schedule.idle.insert(cpu);
            return None;
        };
        self.dequeue(id);
        self.schedule.idle.remove(cpu);
        let thread = self.threads.get_mut(id)?;
        thread.state = State::Running;
        let (priority, bound) = (thread.priority, thread.cpu.is_some());
        if thread.ran_on.replace(cpu).is_some_and(|before| before != cpu) {
            self.counts.migrations += 1;
        }
        if !bound {
            self.bind(id, cpu);
        }
        self.now_runs(cpu, Some((id, priority)));
        Some(id)
    }

    /// Notes what a CPU runs. If it thereby stops serving the common lane, another one takes over.
    fn now_runs(&mut self, cpu: Cpu, running: Option<(ThreadId, u8)>) {
        let state = self.schedule.cpu(cpu);
        let before = state.priority();
        state.running = running;
        let now = state.priority();
        let Some(waiting) = self.schedule.common.best() else { return };
        let server = self.schedule.server();
        let serves = self.schedule.cpu(server).priority();
        // Who runs the same priority has to learn once that it must share its CPU.
        if server != cpu && (serves > waiting || serves == waiting && now < waiting && before >= waiting) {
            self.attention.insert(server);
        }
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
                self.now_runs(cpu, Some((id, priority)));
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
        let Some(thread) = self.threads.get_mut(id).filter(|_| !allowed.is_empty()) else { return };
        thread.affinity = if allowed == all { CpuSet(u64::MAX) } else { affinity };
        match (thread.state, thread.cpu) {
            (_, Some(cpu)) if affinity.contains(cpu) => {}
            (_, None) if allowed == all => {}
            (State::Ready, _) => {
                self.dequeue(id);
                self.unbind(id);
                self.enqueue(id, false);
            }
            (State::Parked, _) => self.unbind(id),
            (State::Running, _) => self.alert(id),
            (State::Ended, _) => {}
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
