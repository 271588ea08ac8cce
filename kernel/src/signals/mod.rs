//! Signals: what a process wants done on them, and doing it.
//!
//! Faults are delivered to the thread that made them; `kill` and its kin mark a signal as pending, and
//! it is delivered when the thread next leaves the kernel. The frame on the user's stack is laid out
//! as Linux lays it out ([`frame`]).

pub mod frame;

use crate::kernel::{Kernel, Tasks};
use crate::{lifecycle, schedule};
use alloc::boxed::Box;
use containers::{Channel, Ending, ProcessId, Resume, State, ThreadId};
use cpulocal::InKernel;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod numbers {
    pub const SIGHUP: u8 = 1;
    pub const SIGINT: u8 = 2;
    pub const SIGQUIT: u8 = 3;
    pub const SIGILL: u8 = 4;
    pub const SIGTRAP: u8 = 5;
    pub const SIGABRT: u8 = 6;
    pub const SIGBUS: u8 = 7;
    pub const SIGFPE: u8 = 8;
    pub const SIGKILL: u8 = 9;
    pub const SIGSEGV: u8 = 11;
    pub const SIGPIPE: u8 = 13;
    pub const SIGCHLD: u8 = 17;
    pub const SIGCONT: u8 = 18;
    pub const SIGSTOP: u8 = 19;
    pub const SIGTSTP: u8 = 20;
    pub const SIGTTOU: u8 = 22;
    pub const SIGURG: u8 = 23;
    pub const SIGWINCH: u8 = 28;
    pub const SI_TKILL: i32 = -6;
    pub const SI_KERNEL: i32 = 128;
    pub const FPE_INTDIV: i32 = 1;
    pub const ILL_ILLOPN: i32 = 2;
    pub const TRAP_TRACE: i32 = 2;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const BUS_ADRALN: i32 = 1;
    pub const BUS_ADRERR: i32 = 2;
}
pub use numbers::*;

/// Signals there are, 1 to this.
pub const SIGNALS: u8 = 64;

/// Signals that can be neither handled nor blocked.
pub const UNSTOPPABLE: u64 = bit(SIGKILL) | bit(SIGSTOP);

/// A signal's bit in masks.
pub const fn bit(signal: u8) -> u64 {
    1 << (signal - 1)
}

/// The log's name for a signal.
pub fn name(signal: u8) -> &'static str {
    match signal {
        SIGHUP => "SIGHUP",
        SIGINT => "SIGINT",
        SIGQUIT => "SIGQUIT",
        SIGILL => "SIGILL",
        SIGTRAP => "SIGTRAP",
        SIGABRT => "SIGABRT",
        SIGBUS => "SIGBUS",
        SIGFPE => "SIGFPE",
        SIGKILL => "SIGKILL",
        SIGSEGV => "SIGSEGV",
        SIGPIPE => "SIGPIPE",
        _ => "a signal",
    }
}

/// A signal and what `siginfo` tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// 1 to [`SIGNALS`].
    pub number: u8,
    /// `si_code`.
    pub reason: i32,
    /// `si_addr`, or sender for `kill`.
    pub value: u64,
    /// The exception behind it.
    pub vector: u64,
    /// Its error code.
    pub code: u64,
    /// The page fault's address.
    pub address: u64,
}

impl Signal {
    /// A signal for a fault at an address.
    pub fn fault(number: u8, reason: i32, value: u64) -> Signal {
        Signal { number, reason, value, vector: 0, code: 0, address: 0 }
    }
}

/// What to do on a signal, as `rt_sigaction` has it.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Action {
    /// [`DEFAULT`], [`IGNORE`] or the handler's address.
    pub handler: u64,
    /// `SA_` flags.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Signals blocked meanwhile.
    pub mask: u64,
}

/// `SIG_DFL`
pub const DEFAULT: u64 = 0;
/// `SIG_IGN`
pub const IGNORE: u64 = 1;

impl Action {
    /// Of `SIGCHLD`: children are not waited for, and nothing is to be left of them.
    pub fn leaves_no_zombies(&self) -> bool {
        const SA_NOCLDWAIT: u64 = 2;
        self.handler == IGNORE || self.flags & SA_NOCLDWAIT != 0
    }
}

/// A process's actions; made with the first that is not the default.
#[derive(Default, Clone)]
pub struct Handlers(Option<Box<[Action; SIGNALS as usize]>>);

impl Handlers {
    /// The action for a signal.
    pub fn get(&self, signal: u8) -> Action {
        self.0.as_ref().and_then(|actions| actions.get(usize::from(signal) - 1)).copied().unwrap_or_default()
    }

    /// Sets the action for a signal.
    pub fn set(&mut self, signal: u8, action: Action) {
        let actions = self.0.get_or_insert_with(|| Box::new([Action::default(); SIGNALS as usize]));
        if let Some(slot) = actions.get_mut(usize::from(signal) - 1) {
            *slot = action;
        }
    }
}

impl Handlers {
    /// What is left of the actions when another program begins: what was ignored is.
    pub fn forget_functions(&mut self) {
        for action in self.0.iter_mut().flat_map(|actions| actions.iter_mut()) {
            let handler = if action.handler == IGNORE { IGNORE } else { DEFAULT };
            *action = Action { handler, ..Action::default() };
        }
    }
}

/// Whether the default action on a signal is to do nothing.
fn harmless(signal: u8) -> bool {
    // Stopping and continuing need job control, which is not here: they do nothing.
    matches!(signal, SIGCHLD | SIGURG | SIGWINCH | SIGCONT | SIGTSTP..=SIGTTOU | SIGSTOP)
}

/// Gives a thread the signal for its own fault, now. Blocked or ignored, it kills: the thread could
/// only make the same fault again.
pub fn force(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId, signal: Signal) {
    let Some(thread) = kernel.tasks.thread(id) else { return };
    let Some(process) = kernel.tasks.process(thread.process) else { return };
    let action = process.resources.handlers.get(signal.number);
    let blocked = thread.signal_mask & bit(signal.number) != 0;
    if matches!(action.handler, DEFAULT | IGNORE) || blocked || signal.number == SIGKILL {
        return kill(kernel, cpu, id, &signal);
    }
    if frame::push(kernel, cpu, id, &signal, action).is_err() {
        kill(kernel, cpu, id, &Signal { number: SIGSEGV, ..signal });
    }
}

/// Ends the thread's process with a signal and says so in the log.
pub fn kill(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId, signal: &Signal) {
    let Some(thread) = kernel.tasks.thread(id) else { return };
    let process = thread.process;
    let rip = thread.registers.rip;
    let Some(resources) = kernel.tasks.process(process).map(|process| &process.resources) else { return };
    let number = kernel.tasks.thread(ThreadId::Main(process)).map_or(0, |main| main.number);
    let (program, killer) = (&resources.name, name(signal.number));
    match (signal.number, signal.vector) {
        (SIGKILL, 14) => {
            log::warn!("{program} ({number}) killed: no memory left for the page at {:#x}", signal.address)
        }
        (_, 14) => log::warn!(
            "{program} ({number}) killed by {killer}: {} {:#x} at {rip:#x}",
            ["read of", "write to", "execution of"]
                [(signal.code >> 1 & 1 | (signal.code >> 4 & 1) << 1).min(2) as usize],
            signal.address
        ),
        (_, 0) if signal.reason <= 0 => log::warn!("{program} ({number}) killed by {killer}, sent to it"),
        // A division by zero is vector 0 as well, but gives its own signal.
        (SIGSEGV, 0) if signal.reason == SI_KERNEL => {
            log::warn!(
                "{program} ({number}) killed by {killer}: a signal frame that cannot be returned through at {rip:#x}"
            )
        }
        (_, vector) => log::warn!("{program} ({number}) killed by {killer}: exception {vector} at {rip:#x}"),
    }
    lifecycle::end_process(kernel, cpu, process, Ending::Killed(signal.number));
}

/// Makes a signal pending for the thread whose call this is: it comes when the call has ended.
pub fn post(tasks: &mut Tasks, id: ThreadId, signal: u8) {
    if let Some(thread) = tasks.thread_mut(id) {
        thread.pending |= bit(signal);
        tasks.alert(id);
    }
}

/// Makes a signal pending for a thread and sees to it that it is looked at soon.
pub fn send(kernel: &mut Kernel, id: ThreadId, signal: u8) {
    let Some(thread) = kernel.tasks.thread_mut(id) else { return };
    thread.pending |= bit(signal);
    kernel.tasks.alert(id);
    interrupt_wait(kernel, id);
}

/// Ends a thread's wait, if it waits and a signal is pending that means something to it. Asked when a signal
/// comes, and when a call has parked its thread: another CPU may have sent one while the thread was on its
/// way into the kernel.
pub fn interrupt_wait(kernel: &mut Kernel, id: ThreadId) {
    let Some(thread) = kernel.tasks.thread(id).filter(|thread| thread.state == State::Parked) else { return };
    let Some(signal) = first_that_matters(&kernel.tasks, id, thread.pending & !thread.signal_mask) else { return };
    // A parent that has lent its container to a child waits on, unless it is to end.
    let lends = thread.wait.is_some_and(|wait| matches!(wait.channel, Channel::Leaving(_)));
    if lends && has_function(&kernel.tasks, id, signal) {
        return;
    }
    let how = match thread.wait.map_or(0, |wait| wait.progress) {
        0 if restarts(kernel, id, signal) => Resume::Restart,
        0 => Resume::Return(-i64::from(files::Errno::EINTR.into_raw())),
        done => Resume::Return(done as i64),
    };
    kernel.tasks.resume(id, how);
}

/// The first of a set of signals on whose delivery to a thread anything would happen.
fn first_that_matters(tasks: &Tasks, id: ThreadId, signals: u64) -> Option<u8> {
    (1..=SIGNALS).find(|signal| signals & bit(*signal) != 0 && cares(tasks, id, *signal))
}

/// Whether a parked thread's call is made again after the handler: those that Linux makes again, if the
/// handler wants it (signal(7)). Not sleeping, not `poll`, and nothing with a time-out.
fn restarts(kernel: &Kernel, id: ThreadId, signal: u8) -> bool {
    let Some(thread) = kernel.tasks.thread(id) else { return false };
    let action = kernel.tasks.process(thread.process).map(|process| process.resources.handlers.get(signal));
    let wait = thread.wait.filter(|wait| {
        wait.deadline.is_none()
            && matches!(
                wait.channel,
                Channel::Futex(..)
                    | Channel::ConsoleInput
                    | Channel::ConsoleOutput
                    | Channel::Pipe(_)
                    | Channel::Children(_)
                    | Channel::Locks
            )
    });
    wait.is_some() && action.is_some_and(|action| action.flags & frame::SA_RESTART != 0)
}

/// Whether a signal's action is a function of the program's.
fn has_function(tasks: &Tasks, id: ThreadId, signal: u8) -> bool {
    let process = tasks.thread(id).and_then(|thread| tasks.process(thread.process));
    process.is_some_and(|process| !matches!(process.resources.handlers.get(signal).handler, DEFAULT | IGNORE))
}

/// Whether anything would happen on delivery.
fn cares(tasks: &Tasks, id: ThreadId, signal: u8) -> bool {
    let process = tasks.thread(id).and_then(|thread| tasks.process(thread.process));
    process.is_some_and(|process| match process.resources.handlers.get(signal).handler {
        DEFAULT => !harmless(signal),
        handler => handler != IGNORE,
    })
}

/// Makes a signal pending for some thread of a process that does not block it.
pub fn send_to_process(kernel: &mut Kernel, process: ProcessId, signal: u8) {
    let open = |id: &ThreadId| kernel.tasks.thread(*id).is_some_and(|thread| thread.signal_mask & bit(signal) == 0);
    let thread = kernel.tasks.threads_of(process).find(open).or_else(|| kernel.tasks.threads_of(process).next());
    if let Some(thread) = thread {
        send(kernel, thread, signal);
    }
}

/// A signal from the terminal's keys, to the process in the foreground: the first.
pub fn to_foreground(kernel: &mut Kernel, signal: u8) {
    if let Some(first) = kernel.first {
        send_to_process(kernel, first, signal);
    }
}

/// Puts a mask in place for as long as the thread's call waits (`ppoll`). False if a signal that it lets
/// through is there already: then the call does not wait, and the signal comes when it has ended.
pub fn mask_for_wait(tasks: &mut Tasks, id: ThreadId, mask: u64) -> bool {
    let Some(thread) = tasks.thread_mut(id) else { return false };
    thread.saved_mask = Some(core::mem::replace(&mut thread.signal_mask, mask & !UNSTOPPABLE));
    let open = thread.pending & !thread.signal_mask;
    tasks.alert(id);
    first_that_matters(tasks, id, open).is_none()
}

/// Delivers the pending signals that the current thread does not block. Called when it has been
/// chosen to run; returns false if it does not run any more.
pub fn deliver(kernel: &mut Kernel, cpu: &InKernel) -> bool {
    let Some(id) = schedule::current(cpu) else { return true };
    while let Some(thread) = kernel.tasks.thread_mut(id) {
        let open = thread.pending & !(thread.signal_mask & !UNSTOPPABLE);
        if open == 0 {
            // The call that waited with another mask in place is over, or will put it there again.
            match thread.saved_mask.take() {
                Some(mask) => thread.signal_mask = mask,
                None => return true,
            }
            continue;
        }
        let number = open.trailing_zeros() as u8 + 1;
        thread.pending &= !bit(number);
        let process = thread.process;
        let action = kernel.tasks.process(process).map(|p| p.resources.handlers.get(number)).unwrap_or_default();
        let signal = Signal::fault(number, SI_TKILL, 0);
        match action.handler {
            DEFAULT if harmless(number) => {}
            DEFAULT => kill(kernel, cpu, id, &signal),
            IGNORE => {}
            _ => {
                if frame::push(kernel, cpu, id, &signal, action).is_err() {
                    kill(kernel, cpu, id, &Signal { number: SIGSEGV, ..signal });
                }
            }
        }
    }
    false
}
