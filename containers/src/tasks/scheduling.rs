//! Scheduling: which thread runs on which CPU. [`crate::tasks::alarms`] says which CPU sets its timer, and for what.
//!
//! There is one ready queue, divided into *lanes*, two for each CPU. A thread is bound to a CPU as it becomes ready for
//! the first time: to an idle CPU if there is one, else to one where it would go first, else to one that has few
//! threads. The [`Affinity`] decides what may move it later. One of a CPU's lanes holds its *migratable* threads, which
//! another CPU may take; the second holds the *pinned* ones, which this CPU alone runs. For example, when the second of
//! two threads becomes ready on two CPUs, it is bound to the idle one; a third waits at either CPU, until one of them
//! would be idle.
//!
//! - With [`Affinity::Strict`] a thread stays where it is bound, so that its pages stay in one cache and its container
//!   in one page directory; only `set_affinity` moves it. Migratable are the threads that have never run and may run
//!   anywhere; a CPU that would be idle takes one.
//! - With [`Affinity::Soft`] every thread is migratable that may run on more than one CPU. [`crate::tasks::balance`]
//!   says what moves it.
//!
//! A CPU serves its own lanes, the best priority first, within a priority in the order of arrival. A thread that more
//! urgent ones pass over for too long gets a slice all the same: see [`crate::tasks::starvation`]. Every step takes a
//! time that depends on the number of CPUs at most.
//!
//! Making a thread ready never interrupts another CPU. The CPU that must decide again is put into
//! [`Tasks::needs_reschedule`], and the kernel interrupts it later.
//!
//! **Invariant:** a CPU that would prefer a ready thread in its lanes to what it does now is in `needs_reschedule`, or
//! it has just put back its own thread and is about to take the next. While threads wait in its lanes, its timer goes
//! off at the end of a slice at the latest.
//!
//! **Invariant:** with strict affinity, while a thread that has never run waits at a CPU, that CPU is in
//! `needs_reschedule`, or all idle ones are.

use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::affinity::Affinity;
use crate::tasks::balance::{SOON, TURN};
use crate::tasks::idle_balance::IdleBalancer;
use crate::tasks::queue::Lane;
use crate::tasks::thread::{State, Thread, Times};
use alloc::vec::Vec;
use cpulocal::{Cpu, CpuSet};

/// A time slice, in nanoseconds.
pub const SLICE: u64 = 10_000_000;

/// The priority of an idle CPU, worse than that of any thread.
pub(crate) const IDLE: u8 = u8::MAX;

/// A time that never comes: that of a timer that is not set.
pub(crate) const NEVER: u64 = u64::MAX;

/// Whether the kernel may run on several CPUs. If not, the scheduler leaves out all that concerns the choice between
/// them.
pub(crate) const SEVERAL: bool = cfg!(any(test, feature = "smp"));

/// The ready queue, and what each CPU does.
#[derive(Default)]
pub(crate) struct Schedule {
    pub(crate) cpus: Vec<CpuState>,
    /// Whether threads move to CPUs that have time for them: there are several CPUs, and affinity is soft.
    pub(crate) soft: bool,
    /// All CPUs.
    all: CpuSet,
    /// The CPUs that have nothing to do; maintained with soft affinity only.
    pub(crate) idle: CpuSet,
    /// The idle CPU that looks for threads that wait elsewhere, and when it does.
    pub(crate) balancer: IdleBalancer,
    /// The CPUs at which migratable threads wait; maintained with soft affinity only.
    pub(crate) overloaded: CpuSet,
    /// The time at which a CPU rescheduled last, in nanoseconds since boot.
    pub(crate) now: u64,
    /// The number of times that a thread has become ready; maintained on several CPUs only.
    stamp: u64,
    /// Threads that are ready or run.
    pub(crate) runnable: u32,
    /// The CPU that has set its timer for a deadline, and that deadline.
    pub(crate) responsible: Option<(Cpu, u64)>,
}

pub(crate) struct CpuState {
    /// Its ready threads that it alone runs.
    pub(crate) pinned: Lane,
    /// Its ready threads that another CPU may take.
    pub(crate) migratable: Lane,
    /// The thread that it dispatched last, and the thread's priority; `None` if there was none to take.
    pub(crate) running: Option<(ThreadId, u8)>,
    /// Whether that thread is likely to give the CPU up [soon](SOON).
    pub(crate) brief: bool,
    /// The number of threads that wait here; maintained on several CPUs only.
    pub(crate) waiting: u32,
    /// What the running thread had left of its slice when the CPU rescheduled last, in nanoseconds.
    pub(crate) slice: u64,
    /// The end of the slice, in nanoseconds since boot.
    pub(crate) slice_end: u64,
    /// The time that its timer is set to, in nanoseconds since boot, or [`NEVER`].
    pub(crate) alarm: u64,
    /// The time from which on it may give a slice to a [starved](crate::tasks::starvation) thread, in nanoseconds since
    /// boot.
    pub(crate) next_boost: u64,
    /// The number of threads that are bound to it and have not ended.
    pub(crate) bound: u32,
}

impl CpuState {
    pub(crate) fn priority(&self) -> u8 {
        self.running.map_or(IDLE, |(_, priority)| priority)
    }

    /// The best priority of the ready threads.
    #[inline]
    pub(crate) fn best(&self) -> Option<u8> {
        self.pinned.best_of_both(&self.migratable)
    }

    /// The first ready thread of each priority that is worse than this one, in both lanes.
    pub(crate) fn firsts_behind(&self, priority: u8) -> impl Iterator<Item = ThreadId> {
        self.pinned.firsts_behind(priority).chain(self.migratable.firsts_behind(priority))
    }

    /// The number of threads that run and wait here.
    pub(crate) fn load(&self) -> u32 {
        self.waiting + u32::from(self.running.is_some())
    }

    /// Whether the CPU has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_none() && self.best().is_none()
    }

    /// The best priority of the running thread and the ready ones, or [`IDLE`].
    pub(crate) fn urgent(&self) -> u8 {
        self.best().map_or(self.priority(), |best| best.min(self.priority()))
    }

    /// Whether the CPU must reschedule because a thread of this priority is about to become ready: to run it, or, if it
    /// is the first that waits and the timer goes off too late, to set the timer for the end of the slice.
    fn must_reschedule(&self, priority: u8) -> bool {
        self.priority() > priority || self.alarm > self.slice_end && self.best().is_none()
    }

    /// Notes the thread that the CPU runs.
    fn runs(&mut self, id: ThreadId, thread: &Thread) {
        self.running = Some((id, thread.rank));
        self.slice = thread.slice;
        if SEVERAL {
            self.brief = thread.brief;
        }
    }

    /// Notes that this CPU, which is `cpu`, runs a thread from now on. Returns whether the thread ran elsewhere before.
    #[inline]
    pub(crate) fn run(&mut self, cpu: Cpu, id: ThreadId, thread: &mut Thread) -> bool {
        thread.state = State::Running;
        self.runs(id, thread);
        thread.ran_on.replace(cpu).is_some_and(|before| before != cpu)
    }
}

impl Schedule {
    #[inline]
    pub(crate) fn cpu(&mut self, cpu: Cpu) -> &mut CpuState {
        &mut self.cpus[if SEVERAL { usize::from(cpu.0) } else { 0 }]
    }

    pub(crate) fn all(&self) -> CpuSet {
        self.all
    }

    /// Gives a thread a place in the ready queue: in front if it `goes_on`, so that it continues its slice, else at the
    /// end with a fresh slice. The caller must still [attach](crate::tasks::queue::Link::attach) its new link. Returns
    /// the CPUs that must reschedule.
    #[inline(always)]
    pub(crate) fn put_back(&mut self, id: ThreadId, thread: &mut Thread, goes_on: bool) -> CpuSet {
        let stays = thread.may_stay();
        if SEVERAL && self.soft && thread.state == State::Parked {
            thread.brief = thread.slice > SLICE - SOON;
        }
        let turn_over = SEVERAL && thread.slice <= SLICE - TURN;
        if !goes_on || !stays {
            thread.slice = SLICE;
        }
        if !stays {
            self.unbind(thread);
        }
        if SEVERAL && self.soft && stays && self.has_choice(thread) {
            self.rebind(thread, turn_over && !goes_on);
        }
        self.enqueue(id, thread, goes_on && stays)
    }

    /// Puts a thread into a lane, in `front` or at the end. Returns the CPUs that must reschedule; the caller must
    /// still attach the thread's link.
    #[inline(always)]
    pub(crate) fn enqueue(&mut self, id: ThreadId, thread: &mut Thread, front: bool) -> CpuSet {
        self.runnable += u32::from(thread.state == State::Parked);
        thread.state = State::Ready;
        if !front {
            (thread.rank, thread.since) = (thread.priority, self.now);
            if SEVERAL {
                self.stamp += 1;
                thread.stamp = self.stamp;
            }
        }
        let cpu = *thread.cpu.get_or_insert_with(|| {
            let home = self.home(thread.affinity);
            self.cpu(home).bound += 1;
            home
        });
        let migratable = self.is_migratable(thread);
        let state = self.cpu(cpu);
        let mut look = if state.must_reschedule(thread.rank) { CpuSet::only(cpu) } else { CpuSet::NONE };
        let goes_first = state.urgent() > thread.rank;
        let lane = if migratable { &mut state.migratable } else { &mut state.pinned };
        thread.link = lane.join(id, thread.rank, front);
        if SEVERAL {
            state.waiting += 1;
        }
        if SEVERAL && self.soft {
            self.idle.remove(cpu);
            if migratable {
                look = look.union(self.note_waiting(thread, cpu, goes_first));
            }
        }
        look
    }

    pub(crate) fn unbind(&mut self, thread: &mut Thread) {
        if let Some(cpu) = thread.cpu.take() {
            self.cpu(cpu).bound -= 1;
        }
    }

    /// The lane of a thread that is bound to `cpu`.
    #[inline]
    fn lane(&mut self, thread: &Thread, cpu: Cpu) -> &mut Lane {
        let migratable = self.is_migratable(thread);
        let state = self.cpu(cpu);
        if migratable { &mut state.migratable } else { &mut state.pinned }
    }
}

impl Thread {
    /// The CPU that the thread runs on, if it runs.
    pub(crate) fn runs_on(&self) -> Option<Cpu> {
        self.cpu.filter(|_| self.state == State::Running)
    }

    /// The order of ready threads: the least goes first.
    pub(crate) fn turn(&self) -> (u8, u64) {
        (self.rank, self.stamp)
    }

    /// Whether the thread's mask allows the CPU that it is bound to, if it is bound. No mask is without the only CPU.
    fn may_stay(&self) -> bool {
        !SEVERAL || self.cpu.is_none_or(|cpu| self.affinity.contains(cpu))
    }
}

impl<R> Tasks<R> {
    /// Bytes of memory, in one piece, that this number of CPUs takes.
    pub const fn size_for(cpus: usize) -> usize {
        cpus * size_of::<CpuState>()
    }

    /// Adds this number of CPUs, which are idle. Allocates.
    pub(crate) fn add_cpus(&mut self, cpus: usize, affinity: Affinity) {
        self.schedule.cpus.reserve_exact(cpus);
        let idle = || CpuState {
            pinned: Lane::new(),
            migratable: Lane::new(),
            running: None,
            brief: false,
            waiting: 0,
            slice: 0,
            slice_end: 0,
            alarm: NEVER,
            next_boost: 0,
            bound: 0,
        };
        self.schedule.cpus.extend((0..cpus).map(|_| idle()));
        self.schedule.all = CpuSet::first(self.schedule.cpus.len());
        self.schedule.idle = self.schedule.all;
        self.schedule.soft = SEVERAL && cpus > 1 && affinity == Affinity::Soft;
    }

    /// Whether threads move to CPUs that have time for them.
    pub fn is_soft(&self) -> bool {
        self.schedule.soft
    }

    /// A CPU begins to decide which thread it runs, at time `now`.
    #[inline]
    pub fn begin_reschedule(&mut self, cpu: Cpu, now: u64) {
        self.needs_reschedule.remove(cpu);
        self.schedule.now = now;
    }

    /// Makes a thread ready, with a fresh time slice.
    pub fn make_ready(&mut self, id: ThreadId) {
        // If the thread runs, it gives its CPU up, which must reschedule.
        self.alert(id);
        self.put_back(id, false);
    }

    /// Lets the ready threads of its priority, and better ones, go before a thread that runs on `cpu`, which then must
    /// reschedule. Without such threads nothing happens.
    #[inline(always)]
    pub fn give_way(&mut self, cpu: Cpu, id: ThreadId) {
        let Some(best) = self.best_ready(cpu) else { return };
        let Some(thread) = self.threads.get_mut(id).filter(|thread| best <= thread.priority) else { return };
        let look = self.schedule.put_back(id, thread, false);
        let link = thread.link;
        link.attach(&mut self.threads, id);
        self.needs_reschedule = self.needs_reschedule.union(look).union(CpuSet::only(cpu));
    }

    /// Puts a thread into the ready queue as [`Schedule::put_back`] does.
    fn put_back(&mut self, id: ThreadId, goes_on: bool) {
        self.place(id, |schedule, thread| schedule.put_back(id, thread, goes_on));
    }

    /// Puts a thread at the end of its lane as [`Schedule::enqueue`] does.
    pub(super) fn enqueue(&mut self, id: ThreadId) {
        self.place(id, |schedule, thread| schedule.enqueue(id, thread, false));
    }

    /// Lets `place` put a thread into the ready queue, and completes it: links the thread's neighbours and notes the
    /// CPUs that must reschedule.
    pub(crate) fn place(&mut self, id: ThreadId, place: impl FnOnce(&mut Schedule, &mut Thread) -> CpuSet) {
        let Some(thread) = self.threads.get_mut(id) else { return };
        self.needs_reschedule = self.needs_reschedule.union(place(&mut self.schedule, thread));
        let link = thread.link;
        link.attach(&mut self.threads, id);
    }

    /// Decides whether the thread that ran on a CPU until now, and has used this time there, continues. It does not if
    /// it no longer runs (it has parked or ended), if another thread's turn has come, or if its mask no longer allows
    /// the CPU. Then it `leave`s, and returns to the ready queue if it still runs, at the end if its slice is used up.
    #[inline]
    pub fn goes_on(&mut self, cpu: Cpu, id: ThreadId, used: Times, leave: impl FnOnce(&mut Thread)) -> bool {
        let Some(thread) = self.threads.get_mut(id) else { return false };
        thread.charge(used);
        if thread.runs_on() != Some(cpu) {
            leave(thread);
            return false;
        }
        let schedule = &mut self.schedule;
        let best = schedule.cpus[usize::from(cpu.0)].best();
        let mut over = thread.slice == 0;
        if SEVERAL && best == Some(thread.rank) {
            over |= schedule.turn_left(thread) == Some(0);
        }
        if over {
            thread.rank = thread.priority;
        }
        let rank = thread.rank;
        let displaced = best.is_some_and(|best| best < rank || over && best == rank) || !thread.may_stay();
        if displaced {
            leave(thread);
            self.put_back(id, !over);
            return false;
        }
        if over {
            (thread.slice, thread.since) = (SLICE, schedule.now);
        }
        schedule.cpu(cpu).runs(id, thread);
        if SEVERAL && self.better_elsewhere(cpu, rank).is_some() {
            self.threads.get_mut(id).map(leave);
            self.put_back(id, !over);
            return false;
        }
        if SEVERAL {
            self.offer_waiting(cpu);
        }
        true
    }

    /// Takes a ready thread out of its lane.
    pub(crate) fn dequeue(&mut self, id: ThreadId) {
        if let Some(thread) = self.threads.get(id)
            && let Some(cpu) = thread.cpu
        {
            let (link, rank) = (thread.link, thread.rank);
            self.schedule.lane(thread, cpu).remove(&mut self.threads, link, rank);
            if SEVERAL {
                self.schedule.has_left(cpu);
            }
        }
    }

    pub(super) fn unbind(&mut self, id: ThreadId) {
        if let Some(thread) = self.threads.get_mut(id) {
            self.schedule.unbind(thread);
        }
    }

    /// Makes the CPU that a thread runs on reschedule, if the thread runs.
    pub fn alert(&mut self, id: ThreadId) {
        if let Some(cpu) = self.thread(id).and_then(Thread::runs_on) {
            self.needs_reschedule.insert(cpu);
        }
    }

    /// Changes a thread's priority, in whatever state it is; returns the old one.
    pub fn set_priority(&mut self, id: ThreadId, priority: u8) -> Option<u8> {
        let (state, cpu) = self.thread(id).map(|thread| (thread.state, thread.cpu))?;
        if state == State::Ready {
            self.dequeue(id);
        }
        let old = core::mem::replace(&mut self.threads.get_mut(id)?.priority, priority);
        match (state, cpu) {
            (State::Ready, Some(cpu)) => {
                self.enqueue(id);
                self.offer_waiting(cpu);
            }
            (State::Running, Some(cpu)) => {
                self.threads.get_mut(id)?.rank = priority;
                self.needs_reschedule.insert(cpu);
                self.schedule.cpu(cpu).running = Some((id, priority));
            }
            _ => {}
        }
        Some(old)
    }

    /// The thread that a CPU dispatched last.
    #[cfg(test)]
    pub(crate) fn running_on_cpu(&self, cpu: Cpu) -> Option<ThreadId> {
        self.schedule.cpus[usize::from(cpu.0)].running.map(|(id, _)| id)
    }

    /// The number of threads that are bound to a CPU.
    #[cfg(test)]
    pub(crate) fn bound_to(&self, cpu: Cpu) -> u32 {
        self.schedule.cpus[usize::from(cpu.0)].bound
    }
}
