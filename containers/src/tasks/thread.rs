//! Threads: what executes.

use crate::arena::Id;
use crate::cpus::{Cpu, CpuSet};
use crate::ids::{ProcessId, ThreadId};
use crate::memory::container::ContainerId;
use crate::tasks::poll::PollId;
use crate::tasks::queue::Link;
use crate::tasks::scheduling::SLICE;
use crate::tasks::wait::Wait;
use alloc::boxed::Box;
use core::ops::Add;

/// A thread's user registers, in the order in which an entry into the kernel stores them: the entry
/// code pushes from the end towards the start, straight into the thread's control block.
#[repr(C, align(16))]
#[derive(Clone, Copy, Default, Debug)]
#[expect(missing_docs, reason = "registers are named by their names")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// What brought the thread into the kernel: an interrupt vector, or [`Registers::SYSTEM_CALL`].
    pub vector: u64,
    /// The exception's error code, or the number of the system call.
    pub code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl Registers {
    /// In `vector`: the thread came by a system call, and may go back by `sysret`, because nothing
    /// has changed its instruction pointer and flags since.
    pub const SYSTEM_CALL: u64 = 0x100;
    /// What a thread starts with that is to run `entry` on `stack`.
    pub fn for_user(entry: u64, stack: u64) -> Registers {
        Registers {
            vector: Registers::SET,
            rip: entry,
            cs: Registers::USER_CODE,
            // Interrupts on; the second bit is always set.
            rflags: 0x202,
            rsp: stack,
            ss: Registers::USER_DATA,
            ..Registers::default()
        }
    }

    /// Selector of user code; `sysret` fixes its place after [`Registers::USER_DATA`].
    pub const USER_CODE: u64 = 0x23;
    /// Selector of user data.
    pub const USER_DATA: u64 = 0x1b;
    /// In `vector`: the registers were set in the kernel; all of them count, so go back by `iret`.
    pub const SET: u64 = 0x101;
    /// Bytes of the `syscall` instruction.
    pub const SYSCALL_LENGTH: u64 = 2;
}

/// Bytes of the extended state: the legacy area, the XSAVE header and the upper halves of AVX, and room behind them for
/// what a signal's frame has there.
pub const EXTENDED_STATE: usize = 512 + 64 + 256 + 64;

/// A thread's x87, SSE and AVX state as `xsave` or `fxsave` leaves it; opaque here.
#[repr(C, align(64))]
#[derive(Clone, Debug)]
pub struct ExtendedState(pub [u8; EXTENDED_STATE]);

impl ExtendedState {
    /// One of zeroes. It has a place of its own, so that a control block can be moved for little.
    pub fn zero() -> Box<ExtendedState> {
        Box::new(ExtendedState([0; EXTENDED_STATE]))
    }
}

/// Number of priorities; 0 is served first.
pub const PRIORITIES: u8 = 40;

/// The priority of a thread that asked for none.
pub const DEFAULT_PRIORITY: u8 = 20;

/// How long somebody has had a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// In all, in nanoseconds.
    pub total: u64,
    /// In user mode, in ticks of the time-stamp counter: who wants to know converts them, not every switch.
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
    /// Ended; its control block goes with its process, or has nobody's name left.
    Ended,
}

/// A stack for signal handlers, as `sigaltstack` has it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SignalStack {
    /// Lowest address.
    pub base: u64,
    /// Bytes; 0: none.
    pub size: u64,
    /// It is none any more once a handler runs (`SS_AUTODISARM`).
    pub disarms: bool,
}

/// What a call that is to be made again has to know of the first time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restart {
    /// Where its `syscall` instruction is.
    pub rip: u64,
    /// Its deadline, so that a time-out does not start afresh.
    pub deadline: Option<u64>,
    /// What it has done already (see [`Wait::progress`]).
    pub progress: u64,
    /// Where it goes on that has left the kernel at a preemption point, in whatever it counts.
    pub place: u64,
    /// What becomes of it if a signal's handler comes first.
    pub after_handler: AfterHandler,
}

/// What becomes of a call that waited, after a signal's handler has run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterHandler {
    /// It is made again: it did not wait any more when the signal came.
    Again,
    /// It is made again if the handler's action says so (`SA_RESTART`).
    AsTheActionSays,
    /// It ends, whatever it has done.
    Ends,
    /// No handler comes first: they wait until it is over.
    Waits,
}

/// A thread's control block.
#[repr(C)]
pub struct Thread {
    /// User registers; the entry code knows that they come first.
    pub registers: Registers,
    /// Extended state, saved when the CPU changes threads.
    pub extended: Box<ExtendedState>,
    /// User FS and GS bases: nothing but thread state.
    pub fs_base: u64,
    /// See `fs_base`.
    pub gs_base: u64,
    /// The process that holds it.
    pub process: ProcessId,
    /// The process's container, at hand for every switch.
    pub container: ContainerId,
    /// Its number in system calls; a main thread's is its process's.
    pub number: u32,
    /// What it is doing.
    pub state: State,
    /// 0 to [`PRIORITIES`] − 1.
    pub priority: u8,
    /// The priority that it is scheduled by: its own, or the best for one slice after it was
    /// [passed over](crate::tasks::starvation) for too long.
    pub(crate) rank: u8,
    /// The CPUs that it may run on, all by default. A new thread's may be set; one that has been ready is
    /// moved by `Tasks::set_affinity`.
    pub affinity: CpuSet,
    /// The CPU that it is bound to: it runs there, or waits for it. `Tasks` changes it, and counts.
    pub cpu: Option<Cpu>,
    /// The CPU that it ran on last.
    pub ran_on: Option<Cpu>,
    /// When it got ready, counted in threads that did: who came first goes first.
    pub(crate) stamp: u64,
    /// When it got ready with a fresh slice, in nanoseconds since boot.
    pub(crate) since: u64,
    /// When an idle CPU may take it from the one that it waits at, in nanoseconds since boot.
    pub(crate) takeable: u64,
    /// Whether it kept a CPU for a very [short](crate::tasks::balance::SOON) time when it had one last, if it had one.
    pub(crate) brief: bool,
    /// Nanoseconds left of its time slice.
    pub slice: u64,
    /// What it waits for while parked.
    pub wait: Option<Wait>,
    /// Neighbours in the queue that it is in.
    pub(crate) link: Link,
    /// Neighbours among the threads of its process, if it is not the main one.
    pub(crate) peers: Link<Id<Thread>>,
    /// A call that is about to be made again; taken by the call.
    pub restart: Option<Restart>,
    /// What the call polls that is about to be made again, if it has not come so far that the thread could park.
    pub(crate) kept_poll: Option<PollId>,
    /// Where to store 0 and wake a futex when it ends (`CLONE_CHILD_CLEARTID`); 0: nowhere.
    pub clear_child_tid: u64,
    /// Head of its list of robust futexes; 0: none.
    pub robust_list: u64,
    /// Blocked signals, bit n − 1 for signal n.
    pub signal_mask: u64,
    /// The mask to put back when the call is over that waits with another one in place (`ppoll`).
    pub saved_mask: Option<u64>,
    /// Its alternate signal stack.
    pub signal_stack: SignalStack,
    /// Signals that are waiting to be delivered, bit n − 1 for signal n.
    pub(crate) pending: u64,
    /// How long it has had a CPU.
    pub run_time: Times,
}

impl Thread {
    /// A thread with cleared registers, not yet ready to run, and not yet of any process.
    #[inline(always)]
    pub fn new(container: ContainerId, extended: Box<ExtendedState>) -> Thread {
        Thread {
            registers: Registers { vector: Registers::SET, ..Registers::default() },
            extended,
            fs_base: 0,
            gs_base: 0,
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

    /// Takes over from another thread what stays when that begins another program (`execve`).
    pub fn succeed(&mut self, other: &Thread) {
        (self.signal_mask, self.pending) = (other.signal_mask, other.pending);
        (self.priority, self.affinity) = (other.priority, other.affinity);
    }

    /// Signals that are waiting to be delivered to it, bit n − 1 for signal n; not those of its process.
    pub fn own_pending(&self) -> u64 {
        self.pending
    }

    /// It has had a CPU for so long, which comes off its slice.
    #[inline]
    pub fn charge(&mut self, used: Times) {
        self.slice = self.slice.saturating_sub(used.total);
        self.run_time = self.run_time + used;
    }

    /// Its call is to be made again, of which its wait tells.
    #[inline(never)]
    pub(crate) fn make_again(&mut self, interrupted: bool) {
        let Some(wait) = &self.wait else { return };
        let (deadline, progress) = (wait.deadline, wait.progress);
        let after_handler = wait.after_handler(interrupted);
        let rip = self.set_back();
        self.restart = Some(Restart { rip, deadline, progress, place: 0, after_handler });
    }

    /// Sets the registers back onto the `syscall` instruction, with its number in place; returns where that is.
    pub(crate) fn set_back(&mut self) -> u64 {
        let registers = &mut self.registers;
        registers.rip = registers.rip.wrapping_sub(Registers::SYSCALL_LENGTH);
        registers.rax = registers.code;
        registers.vector = Registers::SET;
        registers.rip
    }

    /// A signal's handler comes before the call that is to be made again. That may end now: with what it has
    /// done already, or else with `interrupted`. `restart`: the action wants calls made again. Returns the
    /// deadline of a call that has been interrupted.
    pub fn settle_restart(&mut self, restart: bool, interrupted: i64) -> Option<u64> {
        let call = self.restart.take().filter(|call| call.rip == self.registers.rip)?;
        let ends = match call.after_handler {
            AfterHandler::Again | AfterHandler::Waits => self.saved_mask.is_some(),
            AfterHandler::AsTheActionSays => !restart,
            AfterHandler::Ends => true,
        };
        if call.progress > 0 || ends {
            self.registers.rip = self.registers.rip.wrapping_add(Registers::SYSCALL_LENGTH);
            let tells = call.progress > 0 && call.after_handler != AfterHandler::Ends;
            self.registers.rax = if tells { call.progress } else { interrupted as u64 };
        }
        call.deadline.filter(|_| ends)
    }
}
