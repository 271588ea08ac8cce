//! Pending signals, stopped processes, and interval timers. The kernel decides what a signal does to a process; this
//! module keeps what is pending.
//!
//! A signal is pending for a thread, or for a process, of which any thread may take it. For example, `kill` makes a
//! signal pending for a process, and the first of its threads that does not block the signal takes it. The `siginfo` of
//! all pending signals is kept in one queue of a fixed size, because signals also come when no memory may be allocated.
//! A signal that finds no room there is delivered all the same, without information, as on Linux. Real-time signals
//! queue as long as there is room, all others are pending once. So that no real-time signal is lost, the kernel asks
//! for [room](Tasks::has_room) first.

use crate::ids::{ProcessId, ThreadId};
use crate::memory::container::ContainerId;
use crate::tasks::Tasks;
use crate::tasks::process::Ending;
use crate::tasks::thread::{State, Thread};
use crate::tasks::wait::{Channel, Resume, Wait};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use cpulocal::Cpu;

/// The number of signals of all processes whose `siginfo` is kept.
const INFOS: usize = 512;

/// The number of signals of one process or thread whose `siginfo` is kept.
pub const INFOS_EACH: usize = 64;

/// The first real-time signal, as the kernel counts them.
pub const REAL_TIME: u8 = 32;

/// A signal's bit in sets.
pub const fn bit(signal: u8) -> u64 {
    1 << (signal - 1)
}

/// The signals of a set, the lowest number first.
pub fn each(mut set: u64) -> impl Iterator<Item = u8> {
    core::iter::from_fn(move || {
        let next = (set != 0).then(|| set.trailing_zeros() as u8 + 1);
        set &= set.wrapping_sub(1);
        next
    })
}

/// The information about a signal: `siginfo_t` without its padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignalInfo {
    /// 1 to 64.
    pub number: u8,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`, or `si_pid` and above it `si_uid`.
    pub first: u64,
    /// `si_value`, or `si_status`.
    pub second: u64,
}

/// The thread or process for which a signal is pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// This thread.
    Thread(ThreadId),
    /// Any thread of this process.
    Process(ProcessId),
}

/// Whether a process runs, as job control sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Job {
    /// It runs.
    #[default]
    Runs,
    /// This signal stops it, but some of its threads have not left their CPUs yet.
    Stopping(u8),
    /// This signal has stopped it.
    Stopped(u8),
}

/// What a parent can wait for besides an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// This signal has stopped the process.
    Stopped(u8),
    /// `SIGCONT` has made it go on.
    Continued,
}

/// An interval timer that runs (`ITIMER_REAL`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// Nanoseconds since boot at which it goes off.
    pub at: u64,
    /// Nanoseconds after which it goes off again; 0: never.
    pub interval: u64,
}

/// A process's signals and job control.
#[derive(Default)]
pub struct Control {
    /// Signals that any thread of the process may take.
    pending: u64,
    /// Whether the process runs or is stopped.
    job: Job,
    /// A stop or continuation that its parent has not been told yet.
    pub change: Option<Change>,
    /// Its interval timer, which is in [`Signals::timers`] too.
    pub(crate) timer: Option<Timer>,
    /// How the process is about to end, if its end takes several visits.
    ending: Option<Ending>,
    /// Whether the process still has to close descriptors of the program that it ran before `execve`.
    sheds: bool,
    /// Whether an extension of the kernel accompanies threads of it, which is to be told of its stops.
    pub(crate) is_accompanied: bool,
}

/// The part of signals that all processes share: the `siginfo` queue in the order of arrival, and the interval timers
/// that run, by the time at which they go off.
pub(crate) struct Signals {
    infos: Vec<(Target, SignalInfo)>,
    timers: BTreeSet<(u64, ProcessId)>,
    /// The number of reasons why a thread may have to work before it returns to user mode: threads with a pending
    /// signal or with a call at a preemption point in this visit; processes with a pending signal, that are stopped,
    /// about to end or closing descriptors; forks at a preemption point; and a change that companions are to be told.
    return_work: u32,
    /// Whether an accompanied process has stopped or continued.
    pub(crate) job_change: bool,
}

impl Default for Signals {
    fn default() -> Signals {
        Signals { infos: Vec::with_capacity(INFOS), timers: BTreeSet::new(), return_work: 0, job_change: false }
    }
}

impl Signals {
    /// The time at which the first interval timer goes off.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Updates the count of return work after a change to a thread or process.
    fn recount(&mut self, before: bool, after: bool) {
        self.return_work = self.return_work + u32::from(after) - u32::from(before);
    }

    /// Counts a call that has come to a preemption point: the thread's registers must be set back as soon as they are
    /// in the control block.
    pub(crate) fn expect_leaving(&mut self) {
        self.return_work += 1;
    }

    /// Counts a call off whose registers have been set back.
    pub(crate) fn has_left(&mut self) {
        self.return_work -= 1;
    }
}

impl Control {
    /// Signals that any of the process's threads may take.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Whether the process runs or is stopped.
    pub fn job(&self) -> Job {
        self.job
    }

    /// How the process is about to end, if it is.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Whether the process still has to close descriptors of the program that it ran before.
    pub fn sheds(&self) -> bool {
        self.sheds
    }

    fn has_return_work(&self) -> bool {
        self.pending != 0 || self.job != Job::Runs || self.ending.is_some() || self.sheds
    }
}

impl<R> Tasks<R> {
    /// Changes a process's pending signals or job state. All changes go this way, or the count of return work would be
    /// wrong.
    fn change_control<T>(&mut self, id: ProcessId, change: impl FnOnce(&mut Control) -> T) -> Option<T> {
        let control = &mut self.threads.processes.get_mut(id.cast())?.control;
        let before = control.has_return_work();
        let result = change(control);
        self.signals.recount(before, control.has_return_work());
        Some(result)
    }

    /// Changes the set of signals that are pending for a thread or a process.
    pub(crate) fn change_pending<T>(&mut self, target: Target, change: impl FnOnce(&mut u64) -> T) -> Option<T> {
        match target {
            Target::Thread(id) => {
                let pending = &mut self.threads.get_mut(id)?.pending;
                let before = *pending != 0;
                let result = change(pending);
                self.signals.recount(before, *pending != 0);
                Some(result)
            }
            Target::Process(id) => self.change_control(id, |control| change(&mut control.pending)),
        }
    }

    /// Whether any thread may have work to do before it returns to user mode: a signal to take, a stop, an end, or a call
    /// at a preemption point. Almost always there is none, so an exit from the kernel asks this first.
    #[inline]
    pub fn has_return_work(&self) -> bool {
        self.signals.return_work != 0
    }

    /// Whether a thread may have work to do before it returns to user mode: a signal is pending for it or its process, or
    /// the process does not simply run.
    pub fn has_return_work_for(&self, thread: &Thread) -> bool {
        let of_process = || self.process(thread.process).is_some_and(|process| process.control.has_return_work());
        self.has_return_work() && (thread.pending != 0 || of_process())
    }

    /// The pending signals of a thread and of its process, blocked or not.
    pub fn pending(&self, thread: &Thread) -> u64 {
        thread.pending | self.process(thread.process).map_or(0, |process| process.control.pending)
    }

    /// The pending signals that a thread does not block.
    pub fn open(&self, thread: &Thread) -> u64 {
        self.pending(thread) & !thread.signal_mask
    }

    /// Whether there is room for the information about one more signal, with at most `most` entries for its target.
    pub fn has_room(&self, target: Target, most: usize) -> bool {
        let infos = &self.signals.infos;
        infos.len() < INFOS && infos.iter().filter(|(whose, _)| *whose == target).count() < INFOS_EACH.min(most)
    }

    /// Makes a signal pending. The caller wakes or interrupts the threads that must see it.
    pub fn post(&mut self, target: Target, info: SignalInfo) {
        let add = |pending: &mut u64| core::mem::replace(pending, *pending | bit(info.number));
        let Some(before) = self.change_pending(target, add) else { return };
        let twice = before & bit(info.number) != 0;
        if (!twice || info.number >= REAL_TIME) && self.has_room(target, INFOS_EACH) {
            self.signals.infos.push((target, info));
        }
    }

    /// Takes the next pending signal in `set` for a thread: its own before its process's, the lowest number first.
    pub fn take_signal(&mut self, id: ThreadId, set: u64) -> Option<SignalInfo> {
        let thread = self.thread(id)?;
        let (own, process) = (thread.pending & set, thread.process);
        let (target, open) = match own {
            0 => (Target::Process(process), self.process(process)?.control.pending & set),
            _ => (Target::Thread(id), own),
        };
        if open == 0 {
            return None;
        }
        let number = open.trailing_zeros() as u8 + 1;
        let infos = &mut self.signals.infos;
        let mut same = (0..infos.len()).filter(|n| infos[*n].0 == target && infos[*n].1.number == number);
        let (first, more) = (same.next(), same.next().is_some());
        // Usually it is the only one, and no entry has to move.
        let info = if first.is_some_and(|at| at + 1 == infos.len()) {
            infos.pop().map(|(_, info)| info)
        } else {
            first.map(|at| infos.remove(at).1)
        };
        if !more {
            self.change_pending(target, |pending| *pending &= !bit(number));
        }
        Some(info.unwrap_or(SignalInfo { number, code: 0, first: 0, second: 0 }))
    }

    /// Drops all pending signals of a process that has ended.
    pub(crate) fn forget_signals(&mut self, process: ProcessId) {
        self.change_control(process, |control| *control = Control::default());
        self.discard_of(Target::Thread(ThreadId::main(process)), u64::MAX);
    }

    /// Drops pending signals of a process and of all its threads.
    pub fn discard(&mut self, process: ProcessId, set: u64) {
        self.discard_of(Target::Process(process), set);
        self.discard_of(Target::Thread(ThreadId::main(process)), set);
        self.each_further(process, |tasks, id| tasks.discard_of(Target::Thread(id), set));
    }

    /// Drops the pending signals in `set` of one target.
    pub(crate) fn discard_of(&mut self, target: Target, set: u64) {
        let take = |pending: &mut u64| core::mem::replace(pending, *pending & !set);
        if self.change_pending(target, take).is_some_and(|before| before & set != 0) {
            self.signals.infos.retain(|(whose, info)| *whose != target || bit(info.number) & !set != 0);
        }
    }

    /// Whether a process is stopped, or about to be.
    pub fn is_stopped(&self, id: ProcessId) -> bool {
        self.process(id).is_some_and(|process| process.control.job != Job::Runs)
    }

    /// Begins to stop a process. Its threads park when they are about to return to user mode ([`Tasks::park_stopped`]);
    /// those in user mode are made to leave it.
    pub fn stop(&mut self, id: ProcessId, signal: u8) {
        let running = self.running_on(id);
        let begin = |control: &mut Control| {
            let runs = control.job == Job::Runs;
            if runs {
                control.job = Job::Stopping(signal);
            }
            runs
        };
        if self.change_control(id, begin) == Some(true) {
            running.iter().for_each(|cpu: Cpu| self.needs_reschedule.insert(cpu));
            self.note_job_change(id);
        }
    }

    /// Parks a thread of a stopped process until the process continues.
    pub fn park_stopped(&mut self, id: ThreadId) {
        let Some(process) = self.thread(id).map(|thread| thread.process) else { return };
        let (woken, expired) = (Resume::Unchanged, Resume::Unchanged);
        self.park(id, Wait { woken, expired, ..Wait::restart(Channel::Stopped(process), None) });
    }

    /// Marks a process as about to end, unless it is already: none of its threads returns to user mode again.
    pub fn begin_to_end(&mut self, id: ProcessId, how: Ending) {
        self.change_control(id, |control| control.ending = control.ending.or(Some(how)));
    }

    /// Notes that a process that was about to end has ended.
    pub(crate) fn has_come_to_end(&mut self, id: ProcessId) {
        self.change_control(id, |control| control.ending = None);
    }

    /// Sets whether a process still has to close descriptors of the program that it ran before: until it has, none of
    /// its threads returns to user mode.
    pub fn set_shedding(&mut self, id: ProcessId, sheds: bool) {
        self.change_control(id, |control| control.sheds = sheds);
    }

    /// Has stops and continuations of a process noted from now on, for [`Tasks::take_job_change`].
    pub fn accompany(&mut self, id: ProcessId) {
        self.change_control(id, |control| control.is_accompanied = true);
        if self.is_stopped(id) {
            self.note_job_change(id);
        }
    }

    /// Notes that a process has stopped or continued, if it is accompanied, and makes a CPU look.
    fn note_job_change(&mut self, id: ProcessId) {
        if self.process(id).is_some_and(|process| process.control.is_accompanied) {
            self.signals.recount(self.signals.job_change, true);
            self.signals.job_change = true;
            self.needs_reschedule.insert(Cpu(0));
        }
    }

    /// Whether an accompanied process has stopped or continued since this was asked last. A CPU asks before it leaves the
    /// kernel; until then there is [return work](Tasks::has_return_work).
    pub fn take_job_change(&mut self) -> bool {
        self.signals.recount(self.signals.job_change, false);
        core::mem::take(&mut self.signals.job_change)
    }

    /// Notes that a fork has come to its first preemption point. No other thread of the container is in user mode now,
    /// and those that are about to return to it park ([`Tasks::park_while_forking`]).
    pub fn fork_begins(&mut self) {
        self.signals.return_work += 1;
    }

    /// Notes that such a fork is over, or has been given up.
    pub fn fork_ends(&mut self, container: ContainerId) {
        self.signals.return_work -= 1;
        self.wake_all(Channel::Forking(container));
    }

    /// Parks a thread of a container of which another thread makes a child, until the child has been made.
    pub fn park_while_forking(&mut self, id: ThreadId) {
        let Some(container) = self.thread(id).map(|thread| thread.container) else { return };
        let (woken, expired) = (Resume::Unchanged, Resume::Unchanged);
        self.park(id, Wait { woken, expired, ..Wait::restart(Channel::Forking(container), None) });
    }

    /// Completes the stop of a process if none of its threads runs any more; true only when it does.
    pub fn has_stopped(&mut self, id: ProcessId) -> bool {
        let Some(Job::Stopping(signal)) = self.process(id).map(|process| process.control.job) else { return false };
        if !self.running_on(id).is_empty() {
            return false;
        }
        self.change_control(id, |control| {
            (control.job, control.change) = (Job::Stopped(signal), Some(Change::Stopped(signal)));
        });
        true
    }

    /// Makes a stopped process continue; true if it had been stopped.
    pub fn go_on(&mut self, id: ProcessId) -> bool {
        let Some(before) = self.change_control(id, |control| core::mem::take(&mut control.job)) else { return false };
        let stopped = matches!(before, Job::Stopped(_));
        if stopped && let Some(process) = self.process_mut(id) {
            process.control.change = Some(Change::Continued);
        }
        if before != Job::Runs {
            self.note_job_change(id);
            self.wake_all(Channel::Stopped(id));
        }
        stopped
    }

    /// A process's interval timer, if it runs.
    pub fn timer(&self, id: ProcessId) -> Option<Timer> {
        self.process(id)?.control.timer
    }

    /// Sets or clears a process's interval timer; returns the old one.
    pub fn set_timer(&mut self, id: ProcessId, timer: Option<Timer>) -> Option<Timer> {
        let before = core::mem::replace(&mut self.process_mut(id)?.control.timer, timer);
        let timers = &mut self.signals.timers;
        before.iter().for_each(|timer| _ = timers.remove(&(timer.at, id)));
        timers.extend(timer.map(|timer| (timer.at, id)));
        before
    }

    /// A process whose interval timer has gone off, if there is one. If the timer has an interval, it is set to the
    /// next time that is still to come.
    pub fn expired_timer(&mut self, now: u64) -> Option<ProcessId> {
        let &(at, id) = self.signals.timers.first().filter(|(at, _)| *at <= now)?;
        let interval = self.timer(id).map_or(0, |timer| timer.interval);
        let next = (now - at)
            .checked_div(interval)
            .map(|missed| Timer { at: at.saturating_add((missed + 1).saturating_mul(interval)), interval });
        self.set_timer(id, next);
        Some(id)
    }

    /// Whether a group is orphaned: no member has a parent in another group of its session, so no shell could make the
    /// group continue if it were stopped.
    pub fn is_orphaned(&self, group: u32) -> bool {
        !self.members(group).filter_map(|id| self.process(id)).any(|process| {
            let parent = process.parent.and_then(|parent| self.process(parent));
            process.ended.is_none()
                && parent.is_some_and(|parent| parent.group != group && parent.session == process.session)
        })
    }

    /// The thread of a process that takes a signal: the first, beginning with the main one, that does not block the
    /// signal or waits for it.
    pub fn taker(&self, process: ProcessId, signal: u8) -> Option<ThreadId> {
        self.threads_of(process).find(|id| self.thread(*id).is_some_and(|thread| thread.takes(signal)))
    }
}

impl Thread {
    /// The thread's own signal mask, also while a call waits with another one.
    pub fn own_mask(&self) -> u64 {
        match (&self.wait, self.saved_mask) {
            (Some(Wait { channel: Channel::Signal(1..), .. }), Some(own)) => own,
            _ => self.signal_mask,
        }
    }

    /// Whether the thread does not block a signal, or waits for it.
    pub fn takes(&self, signal: u8) -> bool {
        let awaited = match &self.wait {
            Some(Wait { channel: Channel::Signal(set), .. }) => *set,
            _ => 0,
        };
        self.state != State::Ended && (!self.signal_mask | awaited) & bit(signal) != 0
    }
}

#[cfg(test)]
#[path = "../tests/signals.rs"]
mod tests;
