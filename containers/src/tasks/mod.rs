//! The task subsystem: processes, threads, the ready queue and the wait queues.
//!
//! There is one mechanism to wait: a thread is *parked* on a [`Channel`] and *woken* through it, or by its deadline.
//! Nothing of the call that parked it stays on a kernel stack; the [`Wait`] says beforehand how the call ends. For
//! example, `futex_wait` parks its thread on [`Channel::Futex`]; [`Tasks::wake`] on that channel stores the call's
//! result in the thread's registers and makes the thread ready. [`crate::tasks::scheduling`] decides which CPU runs it.

pub mod affinity;
mod alarms;
pub mod balance;
pub mod context;
mod dispatch;
mod family;
mod idle_balance;
pub mod load;
pub mod poll;
pub mod preemption;
pub mod process;
pub mod queue;
pub mod scheduling;
pub mod signals;
pub mod starvation;
pub mod thread;
pub mod wait;

use crate::arena::{Arena, Full, Id};
use crate::ids::{ProcessId, ThreadId};
use crate::tasks::affinity::Affinity;
use crate::tasks::context::ExtendedState;
use crate::tasks::family::{Family, Groups};
use crate::tasks::load::Load;
use crate::tasks::poll::Polls;
use crate::tasks::process::{Ending, Process};
use crate::tasks::queue::{Link, Links, Queue};
use crate::tasks::scheduling::Schedule;
use crate::tasks::signals::{Control, Signals, Target};
use crate::tasks::thread::{State, Thread, Times};
use crate::tasks::wait::{Channel, QUEUES, Resume, Wait};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec;
use core::num::NonZeroU64;
use cpulocal::CpuSet;

/// The greatest number of processes.
pub const MAX_PROCESSES: u32 = 8_192;
/// The greatest number of threads that are not main threads.
pub const MAX_THREADS: u32 = 8_192;

/// A thread's name, decoded.
pub(crate) enum Named {
    /// The main thread, whose control block is inside the process object.
    Main(ProcessId),
    /// A thread with a control block of its own.
    Further(Id<Thread>),
}

impl ThreadId {
    pub(crate) fn further(id: Id<Thread>) -> ThreadId {
        ThreadId(id.name() | ThreadId::FURTHER)
    }

    /// Decodes the name; `None` if no thread can have it.
    #[inline(always)]
    pub(crate) fn named(self) -> Option<Named> {
        if self.0.get() & ThreadId::FURTHER == 0 {
            return Some(Named::Main(Id::from_name(self.0)));
        }
        NonZeroU64::new(self.0.get() & !ThreadId::FURTHER).map(|name| Named::Further(Id::from_name(name)))
    }

    /// The process whose main thread this is; `None` for a further thread.
    pub fn process(self) -> Option<ProcessId> {
        match self.named()? {
            Named::Main(process) => Some(process),
            Named::Further(_) => None,
        }
    }
}

/// The control blocks of all processes and threads, found by name.
pub struct Threads<R> {
    pub(crate) processes: Arena<Process<R>>,
    pub(crate) further: Arena<Thread>,
}

impl<R> Threads<R> {
    /// The thread with this name.
    #[inline]
    pub fn get(&self, id: ThreadId) -> Option<&Thread> {
        match id.named()? {
            Named::Main(process) => self.processes.get(process.cast()).map(|process| &process.main),
            Named::Further(id) => self.further.get(id),
        }
    }

    /// The thread with this name, to be changed.
    #[inline(always)]
    pub fn get_mut(&mut self, id: ThreadId) -> Option<&mut Thread> {
        match id.named()? {
            Named::Main(process) => self.processes.get_mut(process.cast()).map(|process| &mut process.main),
            Named::Further(id) => self.further.get_mut(id),
        }
    }
}

/// The links of the ready queue and of the wait queues.
impl<R> Links<ThreadId> for Threads<R> {
    fn link_mut(&mut self, id: ThreadId, change: impl FnOnce(&mut Link)) {
        if let Some(thread) = self.get_mut(id) {
            change(&mut thread.link);
        }
    }
}

/// Counts since boot.
#[derive(Clone, Copy, Default, Debug)]
pub struct TaskCounts {
    /// Processes made.
    pub processes_made: u64,
    /// Threads made, main ones included.
    pub threads_made: u64,
    /// Threads parked.
    pub parks: u64,
    /// Threads woken by their deadline.
    pub timeouts: u64,
    /// Threads that were dispatched on another CPU than before.
    pub migrations: u64,
    /// Threads that an idle CPU took from a busy one although they had run before.
    pub taken: u64,
}

/// Processes, threads, the ready queue and the wait queues.
pub struct Tasks<R> {
    /// The control blocks.
    pub threads: Threads<R>,
    pub(crate) groups: Groups,
    pub(crate) schedule: Schedule,
    waiting: Box<[Queue; QUEUES]>,
    deadlines: BTreeSet<(u64, ThreadId)>,
    /// The files that parked threads poll.
    pub(crate) polls: Polls,
    pub(crate) signals: Signals,
    /// The memory for extended state of the thread that ended last: the next new thread uses it.
    pub spare: Option<Box<ExtendedState>>,
    /// CPUs that must decide again which thread they run, or until when: something has changed for them. Such a CPU
    /// does so before it leaves the kernel, or is interrupted.
    pub needs_reschedule: CpuSet,
    /// Load averages.
    load: Load,
    /// Statistics.
    pub counts: TaskCounts,
}

impl<R> Default for Tasks<R> {
    fn default() -> Self {
        Tasks::new(1, Affinity::Soft)
    }
}

/// Numbers of further threads begin here; process numbers are below.
const FURTHER: u32 = 1 << 29;

/// Uses of a slot until its numbers repeat.
const GENERATIONS: u32 = 1 << 14;

/// The number by which system calls name the object in a slot: positive, below 2³⁰ (a futex word has no more room), and
/// different each time the slot is used.
fn number(index: u32, generation: u32) -> u32 {
    (generation % GENERATIONS) << 15 | (index + 1)
}

/// The number of a further thread.
fn further_number(id: Id<Thread>) -> u32 {
    FURTHER | number(id.index(), id.generation())
}

impl ProcessId {
    /// The process's number in system calls, which is that of its main thread.
    pub fn number(self) -> u32 {
        number(self.index(), self.generation())
    }
}

impl<R> Tasks<R> {
    /// An empty task subsystem for `cpus` CPUs, at least one, which are all up.
    pub fn new(cpus: usize, affinity: Affinity) -> Tasks<R> {
        let waiting = vec![Queue::EMPTY; QUEUES].into_boxed_slice();
        let mut tasks = Tasks {
            threads: Threads { processes: Arena::new(MAX_PROCESSES), further: Arena::new(MAX_THREADS) },
            groups: Groups::default(),
            schedule: Schedule::default(),
            waiting: waiting.try_into().expect("there are so many"),
            deadlines: BTreeSet::new(),
            polls: Polls::new(),
            signals: Signals::default(),
            spare: None,
            needs_reschedule: CpuSet::NONE,
            load: Load::default(),
            counts: TaskCounts::default(),
        };
        tasks.add_cpus(cpus.max(1), affinity);
        tasks
    }

    /// Makes a process with this main thread, in the thread's container. It joins its parent's group and session;
    /// without a parent it leads a group and session of its own. The thread is not ready yet.
    #[inline(always)]
    pub fn make_process(&mut self, main: Thread, parent: Option<ProcessId>, resources: R) -> Result<ProcessId, Full> {
        let inherited = parent.and_then(|parent| self.process(parent)).map(|parent| (parent.group, parent.session));
        let id = self.threads.processes.insert_named(|id| {
            let id: ProcessId = id.cast();
            let (group, session) = inherited.unwrap_or((id.number(), id.number()));
            Process {
                container: main.container,
                main: Thread { process: id, number: id.number(), ..main },
                parent,
                parent_number: parent.map_or(0, ProcessId::number),
                group,
                session,
                executed: false,
                exit_signal: 0,
                family: Family::default(),
                control: Control::default(),
                threads: 1,
                ended: None,
                run_time: Times::default(),
                children_time: Times::default(),
                resources,
            }
        })?;
        self.join_family(id.cast(), parent);
        self.counts.processes_made += 1;
        self.counts.threads_made += 1;
        Ok(id.cast())
    }

    /// Makes a further thread in a process. It is not ready yet.
    pub fn make_thread(&mut self, process: ProcessId, extended: Box<ExtendedState>) -> Result<ThreadId, Full> {
        let container = self.process(process).ok_or(Full)?.container;
        let id = self.threads.further.insert_named(|id| Thread {
            process,
            number: further_number(id),
            ..Thread::new(container, extended)
        })?;
        self.join_threads(process, id);
        self.counts.threads_made += 1;
        Ok(ThreadId::further(id))
    }

    /// The process with this name.
    pub fn process(&self, id: ProcessId) -> Option<&Process<R>> {
        self.threads.processes.get(id.cast())
    }

    /// The process with this name, to be changed.
    pub fn process_mut(&mut self, id: ProcessId) -> Option<&mut Process<R>> {
        self.threads.processes.get_mut(id.cast())
    }

    /// All processes, including ended ones that are still to be waited for.
    pub fn processes(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.threads.processes.ids().map(Id::cast)
    }

    /// Calls `act` for each process, the ended ones included, beginning at place `from` of their list, until it returns
    /// false. Then the result is the place at which to continue.
    pub fn each_process(&mut self, from: u32, mut act: impl FnMut(&mut Self, ProcessId) -> bool) -> Option<u32> {
        (from..self.threads.processes.slots()).find_map(|index| {
            let id = self.threads.processes.id_at(index)?;
            (!act(self, id.cast())).then_some(index + 1)
        })
    }

    /// The CPU time of a process, threads that have ended included.
    pub fn run_time(&self, id: ProcessId) -> Times {
        let threads = self.threads_of(id).filter_map(|id| self.thread(id));
        threads.fold(self.ended_time(id), |sum, thread| sum + thread.run_time)
    }

    /// The CPU time of a process's threads that have ended.
    pub fn ended_time(&self, id: ProcessId) -> Times {
        self.process(id).map_or(Times::default(), |process| process.run_time)
    }

    /// The number of threads that run or are ready.
    pub fn runnable(&self) -> u32 {
        self.schedule.runnable
    }

    /// The load averages at this time, with all samples that are due by then.
    pub fn load_at(&self, now: u64) -> Load {
        let mut load = self.load;
        load.sample(now, || self.runnable());
        load
    }

    /// Brings the load averages up to date.
    pub fn sample_load(&mut self, now: u64) {
        let runnable = self.schedule.runnable;
        self.load.sample(now, || runnable);
    }

    /// The number of processes.
    pub fn processes_live(&self) -> u32 {
        self.threads.processes.live()
    }

    /// The number of threads, main ones included.
    pub fn threads_live(&self) -> u32 {
        self.threads.processes.live() + self.threads.further.live()
    }

    /// The thread with this name.
    #[inline]
    pub fn thread(&self, id: ThreadId) -> Option<&Thread> {
        self.threads.get(id)
    }

    /// The thread with this name, to be changed.
    #[inline]
    pub fn thread_mut(&mut self, id: ThreadId) -> Option<&mut Thread> {
        self.threads.get_mut(id)
    }

    /// The thread that system calls name by this number.
    pub fn by_number(&self, wanted: u32) -> Option<ThreadId> {
        let index = (wanted & 0x7fff).checked_sub(1)?;
        let (id, number) = if wanted & FURTHER == 0 {
            let id: ProcessId = self.threads.processes.id_at(index)?.cast();
            (ThreadId::main(id), id.number())
        } else {
            let id = self.threads.further.id_at(index)?;
            (ThreadId::further(id), further_number(id))
        };
        (number == wanted).then_some(id)
    }

    /// Parks a running thread. Inlined, so that the caller writes the wait straight into the control block.
    #[inline(always)]
    pub fn park(&mut self, id: ThreadId, wait: Wait) {
        let Some(thread) = self.threads.get_mut(id) else { return };
        if let Some(cpu) = thread.runs_on() {
            self.needs_reschedule.insert(cpu);
        }
        thread.state = State::Parked;
        self.schedule.runnable -= 1;
        thread.link = self.waiting[wait.channel.bucket()].join(id, false);
        thread.wait = Some(wait);
        let link = thread.link;
        link.attach(&mut self.threads, id);
        if let Some(deadline) = wait.deadline {
            self.deadlines.insert((deadline, id));
        }
        self.counts.parks += 1;
    }

    /// Takes a parked thread out of its wait queue and out of the list of deadlines.
    #[inline(always)]
    fn unpark(&mut self, id: ThreadId, link: Link, bucket: usize, deadline: Option<u64>) {
        self.waiting[bucket].remove(&mut self.threads, link);
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, id));
        }
    }

    /// Wakes a parked thread; its call ends as the caller says.
    pub fn resume(&mut self, id: ThreadId, how: Resume) {
        self.resume_if(id, Channel::bucket, |_, _| Some(how));
    }

    /// Wakes a thread if it is parked and `how`, which is shown thread and wait, returns how its call ends. Returns the
    /// thread behind it in its queue, and whether it has been woken. `bucket` returns the queue of its channel.
    #[inline]
    fn resume_if(
        &mut self,
        id: ThreadId,
        bucket: impl FnOnce(Channel) -> usize,
        how: impl FnOnce(&Thread, &Wait) -> Option<Resume>,
    ) -> (Option<ThreadId>, bool) {
        let Some(thread) = self.threads.get_mut(id) else { return (None, false) };
        let before = thread.link;
        let Some(wait) = &thread.wait else { return (before.next, false) };
        let Some(how) = how(thread, wait) else { return (before.next, false) };
        let (channel, deadline) = (wait.channel, wait.deadline);
        match how {
            Resume::Unchanged => {}
            Resume::Return(value) => thread.context.registers.rax = value as u64,
            Resume::Restart | Resume::Interrupt => {
                thread.make_again(how == Resume::Interrupt);
                if let Channel::Poll(poll) = channel {
                    self.polls.end(poll);
                }
            }
        }
        thread.wait = None;
        self.needs_reschedule = self.needs_reschedule.union(self.schedule.put_back(id, thread, false));
        let link = thread.link;
        self.unpark(id, before, bucket(channel), deadline);
        link.attach(&mut self.threads, id);
        (before.next, true)
    }

    /// Wakes up to `most` threads that wait on `channel` for one of `bits`, in the order in which they parked; returns
    /// how many.
    pub fn wake(&mut self, channel: Channel, most: usize, bits: u32) -> usize {
        self.wake_with(channel, most, bits, |_, wait| wait.woken)
    }

    /// Wakes threads as [`Tasks::wake`] does, for a caller that completes their calls: `how` is shown each thread and
    /// its wait, and returns how the call ends. The arguments of the call are in the thread's registers.
    #[inline]
    pub fn wake_with(
        &mut self,
        channel: Channel,
        most: usize,
        bits: u32,
        mut how: impl FnMut(&Thread, &Wait) -> Resume,
    ) -> usize {
        let bucket = channel.bucket();
        let mut woken = 0;
        let mut next = self.waiting[bucket].first();
        while woken < most
            && let Some(id) = next
        {
            let (behind, resumed) = self.resume_if(
                id,
                |_| bucket,
                |thread, wait| (wait.channel == channel && wait.bits & bits != 0).then(|| how(thread, wait)),
            );
            next = behind;
            woken += usize::from(resumed);
        }
        woken
    }

    /// The first thread in the queue of `channel`. Threads that wait for something else may be in that queue too;
    /// [`Thread::behind`] returns the next one.
    #[inline]
    pub fn first_waiting(&self, channel: Channel) -> Option<ThreadId> {
        self.waiting[channel.bucket()].first()
    }

    /// Wakes all threads that wait on `channel`.
    pub fn wake_all(&mut self, channel: Channel) {
        self.wake(channel, usize::MAX, u32::MAX);
    }

    /// Moves up to `most` threads that wait on `from` to the channel `to`; returns how many.
    pub fn requeue(&mut self, from: Channel, to: Channel, most: usize) -> usize {
        let mut moved = 0;
        let mut next = self.waiting[from.bucket()].first();
        while let Some(id) = next.filter(|_| moved < most && from != to) {
            let Some(thread) = self.threads.get_mut(id) else { break };
            next = thread.link.next;
            if let Some(wait) = &mut thread.wait
                && wait.channel == from
            {
                wait.channel = to;
                let before = thread.link;
                self.waiting[from.bucket()].remove(&mut self.threads, before);
                let link = self.waiting[to.bucket()].join(id, false);
                self.threads.link_mut(id, |own| *own = link);
                link.attach(&mut self.threads, id);
                moved += 1;
            }
        }
        moved
    }

    /// Wakes all threads whose deadline has passed.
    pub(crate) fn wake_expired(&mut self, now: u64) {
        while let Some(&(_, id)) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now) {
            let Some(wait) = self.thread(id).and_then(|thread| thread.wait) else {
                // A thread that ends or wakes takes its deadline along. Should one be left behind, it must not hold up
                // the deadlines after it.
                self.deadlines.pop_first();
                continue;
            };
            self.resume(id, wait.expired);
            self.counts.timeouts += 1;
        }
    }

    /// The earliest deadline of all threads and interval timers.
    pub fn next_deadline(&self) -> Option<u64> {
        match (self.deadlines.first(), self.signals.next_timer()) {
            (Some((wait, _)), Some(timer)) => Some(timer.min(*wait)),
            (wait, timer) => wait.map(|(wait, _)| *wait).or(timer),
        }
    }

    /// Ends a thread, whatever it is doing. A thread that runs on another CPU must have been made to leave user mode
    /// before. The control block of a further thread is freed; that of a main thread stays with its process. Returns
    /// how many threads of the process are left.
    pub fn end_thread(&mut self, id: ThreadId) -> u32 {
        let Some(thread) = self.thread(id) else { return 0 };
        let (process, run_time, link) = (thread.process, thread.run_time, thread.link);
        match thread.state {
            State::Ready => self.dequeue(id),
            State::Parked => {
                let wait = thread.wait.map(|wait| (wait.channel, wait.deadline));
                if let Some((channel, deadline)) = wait {
                    self.unpark(id, link, channel.bucket(), deadline);
                    if let Channel::Poll(poll) = channel {
                        self.polls.end(poll);
                    }
                }
            }
            State::Running => thread.cpu.into_iter().for_each(|cpu| self.vacate(cpu)),
            State::Ended => return self.process(process).map_or(0, |process| process.threads),
        }
        let Some(thread) = self.threads.get_mut(id) else { return 0 };
        self.schedule.unbind(thread);
        self.schedule.runnable -= u32::from(thread.state != State::Parked);
        (thread.state, thread.wait) = (State::Ended, None);
        if let Some(poll) = thread.kept_poll.take() {
            self.polls.end(poll);
        }
        if thread.pending != 0 {
            self.discard_of(Target::Thread(id), u64::MAX);
        }
        if let Some(Named::Further(further)) = id.named() {
            self.leave_threads(further);
            self.spare = self.threads.further.remove(further).map(|thread| thread.context.extended);
        }
        self.process_mut(process).map_or(0, |process| {
            process.run_time = process.run_time + run_time;
            process.threads -= 1;
            process.threads
        })
    }

    /// Marks a process as ended. The caller wakes the threads that wait for its end.
    pub fn end_process(&mut self, id: ProcessId, how: Ending) {
        if let Some(process) = self.process_mut(id) {
            process.ended = Some(how);
            if process.control.timer.is_some() {
                self.set_timer(id, None);
            }
        }
        if self.has_return_work() {
            self.has_come_to_end(id);
            self.discard_of(Target::Process(id), u64::MAX);
        }
    }

    /// Gives a process whose threads have all ended a new main thread, which is not ready yet (`execve`). From now on
    /// the process is in that thread's container.
    pub fn renew(&mut self, id: ProcessId, mut main: Thread) {
        let pending = core::mem::take(&mut main.pending);
        self.discard_of(Target::Thread(ThreadId::main(id)), u64::MAX);
        if let Some(process) = self.process_mut(id) {
            process.container = main.container;
            process.threads = 1;
            process.main = Thread { process: id, number: id.number(), ..main };
        }
        self.change_pending(Target::Thread(ThreadId::main(id)), |own| *own = pending);
    }

    /// Removes an ended process.
    pub fn remove_process(&mut self, id: ProcessId) {
        self.leave_family(id);
        if self.has_return_work() {
            self.forget_signals(id);
        }
        self.spare = self.threads.processes.remove(id.cast()).map(|process| process.main.context.extended);
        if id.generation() + 1 >= GENERATIONS {
            self.pass_over_groups(id.index());
        }
    }
}
