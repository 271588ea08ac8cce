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
//! earliest, and has set its timer for it or for something before it, given that a CPU asks
//! [`Tasks::next_alarm`] before it leaves the kernel if it has parked a thread or its timer has gone off.
//!
//! A timer that is set is not set anew for something later, and not stopped when nobody waits any more: it
//! goes off once for nothing, and threads that wake each other in turn do not touch it.

use crate::container::{Cpu, CpuSet};
use crate::process::ProcessId;
use crate::queue::Lane;
use crate::tasks::{Tasks, ThreadId};
use crate::thread::{State, Thread, Times};
use alloc::vec::Vec;

/// A time slice, in nanoseconds.
pub const SLICE: u64 = 10_000_000;

/// Worse than any priority: what an idle CPU runs.
const IDLE: u8 = u8::MAX;

/// The time that a timer is set to that is set to none.
const NEVER: u64 = u64::MAX;

/// The affinity of a thread that may run on all CPUs.
const ANYWHERE: CpuSet = CpuSet(u64::MAX);

/// The ready queue, and what each CPU does.
#[derive(Default)]
pub(crate) struct Schedule {
    cpus: Vec<CpuState>,
    /// Threads that have got ready so far.
    stamp: u64,
    /// Threads that are ready or run.
    pub(crate) runnable: u32,
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
    /// What that had left of its slice when the CPU looked last, in nanoseconds.
    slice: u64,
    /// When the slice is over, in nanoseconds since boot.
    slice_end: u64,
    /// What its timer is set to, in the same way, or [`NEVER`].
    alarm: u64,
    /// Threads that are bound to it and have not ended.
    bound: u32,
}

impl CpuState {
    fn priority(&self) -> u8 {
        self.running.map_or(IDLE, |(_, priority)| priority)
    }

    /// The best priority that a thread has that is ready here.
    #[inline]
    fn best(&self) -> Option<u8> {
        self.settled.best_of_both(&self.fresh)
    }

    /// Whether it has to look because of a thread of that priority that is about to get ready: to run it or,
    /// when it is the first of its kind and the timer does not go off before, to set that for the end of a slice.
    fn must_look(&self, priority: u8) -> bool {
        let running = self.priority();
        let watches = self.alarm <= self.slice_end || self.best().is_some_and(|best| best <= priority);
        running > priority || running == priority && !watches
    }

    /// Takes note of the thread that it runs on.
    fn runs(&mut self, id: ThreadId, thread: &Thread) {
        self.running = Some((id, thread.priority));
        self.slice = thread.slice;
    }

    /// Runs a thread from now on, being `cpu`. Returns whether it ran elsewhere before.
    #[inline]
    fn run(&mut self, cpu: Cpu, id: ThreadId, thread: &mut Thread) -> bool {
        thread.state = State::Running;
        self.runs(id, thread);
        thread.ran_on.replace(cpu).is_some_and(|before| before != cpu)
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

    /// Gives a thread a place in the ready queue: in front if it `goes_on` there, else at the end with a fresh slice.
    /// Its new link is still to be [attached](crate::queue::Link::attach). Returns the CPU that must look, if one must.
    #[inline(always)]
    pub(crate) fn put_back(&mut self, id: ThreadId, thread: &mut Thread, goes_on: bool) -> Option<Cpu> {
        let stays = thread.may_stay();
        if !goes_on || !stays {
            thread.slice = SLICE;
        }
        if !stays {
            self.unbind(thread);
        }
        self.enqueue(id, thread, goes_on && stays)
    }

    /// Puts a thread into a lane, in front if it is to go on; else as [`Schedule::put_back`].
    #[inline(always)]
    fn enqueue(&mut self, id: ThreadId, thread: &mut Thread, front: bool) -> Option<Cpu> {
        self.runnable += u32::from(thread.state == State::Parked);
        thread.state = State::Ready;
        if !front {
            self.stamp += 1;
            thread.stamp = self.stamp;
        }
        let cpu = *thread.cpu.get_or_insert_with(|| {
            let home = self.home(thread.affinity);
            self.cpu(home).bound += 1;
            home
        });
        let state = self.cpu(cpu);
        let must_look = state.must_look(thread.priority);
        thread.link = state.lane(thread).join(id, thread.priority, front);
        must_look.then_some(cpu)
    }

    pub(crate) fn unbind(&mut self, thread: &mut Thread) {
        if let Some(cpu) = thread.cpu.take() {
            self.cpu(cpu).bound -= 1;
        }
    }
}

impl CpuState {
    /// The lane of a thread that is bound to it.
    fn lane(&mut self, thread: &Thread) -> &mut Lane {
        if thread.ran_on.is_none() && thread.affinity == ANYWHERE { &mut self.fresh } else { &mut self.settled }
    }
}

impl Thread {
    /// The CPU that it runs on, if it runs.
    pub(crate) fn runs_on(&self) -> Option<Cpu> {
        self.cpu.filter(|_| self.state == State::Running)
    }

    /// Whether it may go on where it is bound to, if it is.
    fn may_stay(&self) -> bool {
        self.cpu.is_none_or(|cpu| self.affinity.contains(cpu))
    }
}

impl<R> Tasks<R> {
    /// Bytes that so many CPUs take, in one piece.
    pub const fn size_for(cpus: usize) -> usize {
        cpus * size_of::<CpuState>()
    }

    /// So many CPUs are up, idle. Allocates.
    pub(crate) fn add_cpus(&mut self, cpus: usize) {
        self.schedule.cpus.reserve_exact(cpus);
        let idle = || CpuState {
            settled: Lane::new(),
            fresh: Lane::new(),
            running: None,
            slice: 0,
            slice_end: 0,
            alarm: NEVER,
            bound: 0,
        };
        self.schedule.cpus.extend((0..cpus).map(|_| idle()));
    }

    /// Puts a thread into the ready queue, with a fresh time slice.
    pub fn make_ready(&mut self, id: ThreadId) {
        // A thread that gives up its CPU leaves it to others.
        self.alert(id);
        self.put_back(id, false);
    }

    /// Puts a thread into the ready queue, as [`Schedule::put_back`] has it.
    fn put_back(&mut self, id: ThreadId, goes_on: bool) {
        self.place(id, |schedule, thread| schedule.put_back(id, thread, goes_on));
    }

    /// Puts a thread into a lane, in the same way.
    fn enqueue(&mut self, id: ThreadId) {
        self.place(id, |schedule, thread| schedule.enqueue(id, thread, false));
    }

    /// Has a thread placed in the ready queue, and alerts the CPU that must look.
    fn place(&mut self, id: ThreadId, place: impl FnOnce(&mut Schedule, &mut Thread) -> Option<Cpu>) {
        let Some(thread) = self.threads.get_mut(id) else { return };
        if let Some(cpu) = place(&mut self.schedule, thread) {
            self.attention.insert(cpu);
        }
        let link = thread.link;
        link.attach(&mut self.threads, id);
    }

    /// Whether the thread that ran on a CPU until now, and has used so much time there, goes on. It does not if it
    /// does not run any more, or if somebody else's turn has come or it may not stay: then it `leave`s, and is put
    /// back into the ready queue if it still runs, at the end if its slice is used up.
    #[inline]
    pub fn goes_on(&mut self, cpu: Cpu, id: ThreadId, used: Times, leave: impl FnOnce(&mut Thread)) -> bool {
        let Some(thread) = self.threads.get_mut(id) else { return false };
        thread.charge(used);
        if thread.runs_on() != Some(cpu) {
            leave(thread);
            return false;
        }
        let state = &mut self.schedule.cpus[usize::from(cpu.0)];
        let over = thread.slice == 0;
        let displaced = state.best().is_some_and(|best| best < thread.priority || over && best == thread.priority);
        if displaced || !thread.may_stay() {
            leave(thread);
            self.put_back(id, !over);
            return false;
        }
        if over {
            thread.slice = SLICE;
        }
        state.runs(id, thread);
        true
    }

    /// Takes a ready thread out of its lane.
    pub(crate) fn dequeue(&mut self, id: ThreadId) {
        if let Some(thread) = self.threads.get(id)
            && let Some(cpu) = thread.cpu
        {
            let (link, priority) = (thread.link, thread.priority);
            self.schedule.cpu(cpu).lane(thread).remove(&mut self.threads, link, priority);
        }
    }

    fn unbind(&mut self, id: ThreadId) {
        if let Some(thread) = self.threads.get_mut(id) {
            self.schedule.unbind(thread);
        }
    }

    /// The best priority that any thread has that is ready to run on `cpu`.
    #[inline]
    pub fn best_ready(&self, cpu: Cpu) -> Option<u8> {
        self.schedule.cpus[usize::from(cpu.0)].best()
    }

    /// Takes the next thread to run on `cpu` out of the ready queue, and has it `begin`; it stays on that CPU from now
    /// on. With `None` the CPU is idle.
    #[inline]
    pub fn take_ready<T>(&mut self, cpu: Cpu, begin: impl FnOnce(ThreadId, &mut Thread) -> T) -> Option<T> {
        let state = self.schedule.cpu(cpu);
        // Mostly there are threads that run here, and nobody who competes with them.
        let competes = state.fresh.best().is_some();
        let settled = if competes { None } else { state.settled.take_first(&mut self.threads) };
        let Some(id) = settled.or_else(|| self.take_of_several(cpu)) else {
            self.schedule.cpu(cpu).running = None;
            return None;
        };
        let thread = self.threads.get_mut(id)?;
        self.counts.migrations += u64::from(self.schedule.cpu(cpu).run(cpu, id, thread));
        Some(begin(id, thread))
    }

    /// Takes the thread out of the ready queue whose turn it is on `cpu`, where settled threads compete with fresh ones:
    /// the CPU's own or, if there is none that is settled, everybody's.
    #[inline(never)]
    fn take_of_several(&mut self, cpu: Cpu) -> Option<ThreadId> {
        let state = self.schedule.cpu(cpu);
        let first = match (state.settled.first(), state.fresh.first()) {
            (None, None) => self.first_of(self.schedule.cpus.iter().map(|state| state.fresh.first())),
            both => self.first_of(<[_; 2]>::from(both)),
        };
        let id = first?;
        let thread = self.threads.get_mut(id)?;
        let (link, priority) = (thread.link, thread.priority);
        let from = thread.cpu.replace(cpu).unwrap_or(cpu);
        if from != cpu {
            self.schedule.cpu(from).bound -= 1;
            self.schedule.cpu(cpu).bound += 1;
        }
        self.schedule.cpu(from).lane(thread).remove(&mut self.threads, link, priority);
        self.schedule.cpu(cpu).running = Some((id, priority));
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
        if let Some(cpu) = self.thread(id).and_then(Thread::runs_on) {
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
            (State::Ready, _) => self.enqueue(id),
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
            State::Ready if moves => self.enqueue(id),
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

    /// Wakes those whose deadline is over: the timer of `cpu` has gone off.
    pub fn expire(&mut self, cpu: Cpu, now: u64) {
        self.schedule.cpu(cpu).alarm = NEVER;
        if self.schedule.responsible.is_some_and(|(who, _)| who == cpu) {
            self.schedule.responsible = None;
            self.attention.insert(cpu);
        }
        self.wake_expired(now);
    }

    /// What `cpu` is to set its timer to when it is about to run what it has chosen: the next deadline that it
    /// is responsible for or, if somebody waits who goes next, the end of a slice that begins `now` or goes on.
    /// `None` if the timer goes off early enough as it is.
    pub fn next_alarm(&mut self, cpu: Cpu, now: u64) -> Option<u64> {
        let deadline = self.deadline_for(cpu).unwrap_or(NEVER);
        let state = self.schedule.cpu(cpu);
        state.slice_end = now + state.slice;
        let contested = state.best().is_some_and(|best| best <= state.priority());
        let wanted = if contested { deadline.min(state.slice_end) } else { deadline };
        let sooner = wanted < state.alarm;
        state.alarm = state.alarm.min(wanted);
        sooner.then_some(wanted)
    }

    /// `cpu` wants to come back at a time: whether its timer is to be set for that, as it goes off later.
    pub fn bring_alarm_forward(&mut self, cpu: Cpu, at: u64) -> bool {
        let alarm = &mut self.schedule.cpu(cpu).alarm;
        let sooner = at < *alarm;
        *alarm = at.min(*alarm);
        sooner
    }

    /// The deadline for which `cpu` shall set its timer: the earliest of all, unless another CPU is
    /// responsible for one at least as early. It is responsible from now on.
    pub(crate) fn deadline_for(&mut self, cpu: Cpu) -> Option<u64> {
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
