//! Threads: the entities that execute. A [`Thread`] is a control block: the thread's user registers and all that the
//! kernel keeps for it. For example, a system call finds its arguments in [`Thread::context`] and stores its result
//! there, and a context switch is a change to another control block.

use crate::arena::Id;
use crate::ids::{ProcessId, ThreadId};
use crate::memory::container::ContainerId;
use crate::tasks::context::{Context, ExtendedState, Registers};
use crate::tasks::poll::PollId;
use crate::tasks::queue::Link;
use crate::tasks::scheduling::SLICE;
use crate::tasks::wait::Wait;
use alloc::boxed::Box;
use core::ops::Add;
use cpulocal::{Cpu, CpuSet};

/// Number of priorities; 0 is served first.
pub const PRIORITIES: u8 = 40;

/// The priority of a thread that has not chosen one.
pub const DEFAULT_PRIORITY: u8 = 20;

/// CPU time of a thread or process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// Time on a CPU, in user mode and in the kernel, in nanoseconds.
    pub total: u64,
    /// Time in user mode, in ticks of the time-stamp counter. The reader converts them, so that a context switch need
    /// not.
    pub user_ticks: u64,
}

impl Add for Times {
    type Output = Times;

    fn add(self, other: Times) -> Times {
        Times { total: self.total + other.total, user_ticks: self.user_ticks + other.user_ticks }
    }
}

/// What a thread is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// In the ready queue.
    Ready,
    /// On a CPU.
    Running,
    /// Waiting for what its [`Wait`] says.
    Parked,
    /// Ended. The control block remains until its process is removed, if it is the main thread's.
    Ended,
}

/// A stack for signal handlers, as `sigaltstack` has it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SignalStack {
    /// Lowest address.
    pub base: u64,
    /// Bytes; 0: none.
    pub size: u64,
    /// Whether it is dropped as soon as a handler runs (`SS_AUTODISARM`).
    pub disarms: bool,
}

/// What a call that is made again must know of its first time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restart {
    /// The address of its `syscall` instruction.
    pub rip: u64,
    /// Its deadline: a time-out does not start afresh.
    pub deadline: Option<u64>,
    /// What it has done already (see [`Wait::progress`]).
    pub progress: u64,
    /// Where the call continues if it has left the kernel at a preemption point, in the call's own unit.
    pub place: u64,
    /// What a signal handler that runs before the call does to it.
    pub after_handler: AfterHandler,
}

/// What a signal handler does to a call that waited and is to be made again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterHandler {
    /// The call is made again: it did not wait any more when the signal came.
    Again,
    /// The call is made again if the handler's action says so (`SA_RESTART`).
    AsTheActionSays,
    /// The call ends, whatever it has done.
    Ends,
    /// Handlers wait until the call is over.
    Waits,
}

/// A thread's control block.
#[repr(C)]
pub struct Thread {
    /// Its user context; the entry code knows that it comes first.
    pub context: Context,
    /// The process that holds it.
    pub process: ProcessId,
    /// The process's container, copied here for context switches.
    pub container: ContainerId,
    /// The thread's number in system calls. A main thread has its process's number.
    pub number: u32,
    /// Whether it is ready, runs, waits or has ended.
    pub state: State,
    /// The priority that it was given, 0 to [`PRIORITIES`] − 1.
    pub priority: u8,
    /// The priority by which it is scheduled: its own, or the best one for one slice after it was
    /// [starved](crate::tasks::starvation).
    pub(crate) rank: u8,
    /// The CPUs that it may run on, all by default. The field may be set in a new thread; a thread that has been ready
    /// once needs `Tasks::set_affinity`.
    pub affinity: CpuSet,
    /// The CPU that it is bound to: it runs or waits there. Only `Tasks` changes it, which counts the threads of each
    /// CPU.
    pub cpu: Option<Cpu>,
    /// The CPU that it ran on last.
    pub ran_on: Option<Cpu>,
    /// When it became ready, as a count of such events: the least goes first.
    pub(crate) stamp: u64,
    /// When it became ready with a fresh slice, in nanoseconds since boot.
    pub(crate) since: u64,
    /// The time from which on an idle CPU may take it from the CPU at which it waits, in nanoseconds since boot.
    pub(crate) takeable: u64,
    /// Whether it kept a CPU for a very [short](crate::tasks::balance::SOON) time when it had one last.
    pub(crate) brief: bool,
    /// Nanoseconds left of its time slice.
    pub slice: u64,
    /// What it waits for while parked.
    pub wait: Option<Wait>,
    /// Its neighbours in the ready queue or wait queue.
    pub(crate) link: Link,
    /// Its neighbours among the further threads of its process, if it is one.
    pub(crate) peers: Link<Id<Thread>>,
    /// The call that the thread is about to make again; the call takes it.
    pub restart: Option<Restart>,
    /// The poll of a call that is about to be made again, if the call came to a preemption point before its thread
    /// could park.
    pub(crate) kept_poll: Option<PollId>,
    /// The address where the kernel stores 0 and wakes a futex when the thread ends (`CLONE_CHILD_CLEARTID`); 0: none.
    pub clear_child_tid: u64,
    /// Head of its list of robust futexes; 0: none.
    pub robust_list: u64,
    /// Blocked signals, bit n − 1 for signal n.
    pub signal_mask: u64,
    /// The mask to restore after a call that waits with another one (`ppoll`).
    pub saved_mask: Option<u64>,
    /// Its alternate signal stack.
    pub signal_stack: SignalStack,
    /// Its own pending signals, bit n − 1 for signal n.
    pub(crate) pending: u64,
    /// Its CPU time.
    pub run_time: Times,
}

impl Thread {
    /// A thread with cleared registers. It is not ready yet, and does not belong to a process yet.
    #[inline(always)]
    pub fn new(container: ContainerId, extended: Box<ExtendedState>) -> Thread {
        Thread {
            context: Context::new(extended),
            process: ProcessId::NONE,
            container,
            number: 0,
            state: State::Parked,
            priority: DEFAULT_PRIORITY,
            rank: DEFAULT_PRIORITY,
            affinity: CpuSet(u64::MAX),
            cpu: None,
            ran_on: None,
            stamp: 0,
            since: 0,
            takeable: 0,
            brief: false,
            slice: SLICE,
            wait: None,
            link: Link::default(),
            peers: Link::default(),
            restart: None,
            kept_poll: None,
            clear_child_tid: 0,
            robust_list: 0,
            signal_mask: 0,
            saved_mask: None,
            signal_stack: SignalStack::default(),
            pending: 0,
            run_time: Times::default(),
        }
    }

    /// The thread behind it in the queue that it is in.
    pub fn behind(&self) -> Option<ThreadId> {
        self.link.next
    }

    /// Inherits from another thread what that keeps when it begins another program (`execve`).
    pub fn succeed(&mut self, other: &Thread) {
        (self.signal_mask, self.pending) = (other.signal_mask, other.pending);
        (self.priority, self.affinity) = (other.priority, other.affinity);
    }

    /// The signals that are pending for the thread itself, without those of its process, bit n − 1 for signal n.
    pub fn own_pending(&self) -> u64 {
        self.pending
    }

    /// Charges the thread for CPU time, which comes off its slice.
    #[inline]
    pub fn charge(&mut self, used: Times) {
        self.slice = self.slice.saturating_sub(used.total);
        self.run_time = self.run_time + used;
    }

    /// Prepares the thread to make its call again, with what its wait tells of it.
    #[inline(never)]
    pub(crate) fn make_again(&mut self, interrupted: bool) {
        let Some(wait) = &self.wait else { return };
        let (deadline, progress) = (wait.deadline, wait.progress);
        let after_handler = wait.after_handler(interrupted);
        let rip = self.set_back();
        self.restart = Some(Restart { rip, deadline, progress, place: 0, after_handler });
    }

    /// Sets the registers back onto the `syscall` instruction, with the call's number in place; returns the address of
    /// the instruction.
    pub(crate) fn set_back(&mut self) -> u64 {
        let registers = &mut self.context.registers;
        registers.rip = registers.rip.wrapping_sub(Registers::SYSCALL_LENGTH);
        registers.rax = registers.code;
        registers.vector = Registers::SET;
        registers.rip
    }

    /// Decides, before a signal handler runs, whether the call that is to be made again ends here: with what it has
    /// done already or, if that is nothing, with `interrupted`. `restart` tells whether the handler's action wants
    /// calls made again. Returns the deadline of a call that the handler interrupts.
    pub fn settle_restart(&mut self, restart: bool, interrupted: i64) -> Option<u64> {
        let call = self.restart.take().filter(|call| call.rip == self.context.registers.rip)?;
        let ends = match call.after_handler {
            AfterHandler::Again | AfterHandler::Waits => self.saved_mask.is_some(),
            AfterHandler::AsTheActionSays => !restart,
            AfterHandler::Ends => true,
        };
        if call.progress > 0 || ends {
            self.context.registers.rip = self.context.registers.rip.wrapping_add(Registers::SYSCALL_LENGTH);
            let tells = call.progress > 0 && call.after_handler != AfterHandler::Ends;
            self.context.registers.rax = if tells { call.progress } else { interrupted as u64 };
        }
        call.deadline.filter(|_| ends)
    }
}
