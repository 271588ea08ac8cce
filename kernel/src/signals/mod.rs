//! Signals: what a process wants done on them, and doing it.
//!
//! Faults are delivered to the thread that made them. What is sent is pending for a thread or a process
//! ([`containers::signals`]), and is delivered when a thread that takes it next leaves the kernel. The frame on
//! the user's stack is laid out as Linux lays it out ([`frame`]).
//!
//! A signal that stops does so when it is sent: from then on the process's threads park when they are about
//! to leave the kernel, those in user mode are called into it, and a thread whose call waits goes on waiting.

pub mod frame;

use crate::calls::memory::is_forked_by_another;
use crate::ending;
use crate::kernel::{Kernel, Tasks};
use crate::schedule::Running;
use alloc::rc::Rc;
pub use containers::signals::bit;
use containers::signals::{Job, REAL_TIME, each};
use containers::thread::{AfterHandler, Restart};
use containers::{Change, Channel, Ending, ProcessId, Resume, SignalInfo, State, Target, ThreadId};
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
    pub const SIGALRM: u8 = 14;
    pub const SIGTERM: u8 = 15;
    pub const SIGCHLD: u8 = 17;
    pub const SIGCONT: u8 = 18;
    pub const SIGSTOP: u8 = 19;
    pub const SIGXFSZ: u8 = 25;
    pub const SIGTSTP: u8 = 20;
    pub const SIGTTIN: u8 = 21;
    pub const SIGTTOU: u8 = 22;
    pub const SIGURG: u8 = 23;
    pub const SIGWINCH: u8 = 28;
    pub const SI_USER: i32 = 0;
    pub const SI_TKILL: i32 = -6;
    pub const SI_KERNEL: i32 = 128;
    pub const CLD_EXITED: i32 = 1;
    pub const CLD_KILLED: i32 = 2;
    pub const CLD_STOPPED: i32 = 5;
    pub const CLD_CONTINUED: i32 = 6;
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

/// Signals that stop a process by default.
const STOPS: u64 = bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);

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
        SIGALRM => "SIGALRM",
        SIGTERM => "SIGTERM",
        SIGXFSZ => "SIGXFSZ",
        _ => "a signal",
    }
}

/// A signal that is being delivered.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// Its number and what `siginfo` tells of it.
    pub info: SignalInfo,
    /// The exception behind it.
    pub vector: u64,
    /// Its error code.
    pub code: u64,
    /// The page fault's address.
    pub address: u64,
}

impl Signal {
    /// A signal for a fault at an address.
    pub fn fault(number: u8, code: i32, address: u64) -> Signal {
        Signal::from(SignalInfo { number, code, first: address, second: 0 })
    }
}

impl From<SignalInfo> for Signal {
    fn from(info: SignalInfo) -> Signal {
        Signal { info, vector: 0, code: 0, address: 0 }
    }
}

/// A signal from the kernel itself.
pub fn from_kernel(number: u8) -> SignalInfo {
    SignalInfo { number, code: SI_KERNEL, first: 0, second: 0 }
}

/// A signal from a process, whose user is root.
pub fn from_process(number: u8, code: i32, sender: ProcessId) -> SignalInfo {
    SignalInfo { number, code, first: sender.number().into(), second: 0 }
}

/// What is told of a process's end: `si_code` and `si_status`.
pub fn told(how: Ending) -> (i32, u8) {
    match how {
        Ending::Exited(status) => (CLD_EXITED, status),
        Ending::Killed(signal) => (CLD_KILLED, signal),
    }
}

/// A signal that tells of a child's end.
pub fn from_child(number: u8, child: ProcessId, how: Ending) -> SignalInfo {
    let (code, status) = told(how);
    SignalInfo { second: status.into(), ..from_process(number, code, child) }
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

/// A flag of `SIGCHLD`'s action: not when a child stops or goes on.
const SA_NOCLDSTOP: u64 = 1;

/// A process's actions; made with the first that is not the default. A child shares its parent's until one of them
/// changes its own.
#[derive(Default, Clone)]
pub struct Handlers(Option<Rc<[Action; SIGNALS as usize]>>);

impl Handlers {
    /// The action for a signal.
    pub fn get(&self, signal: u8) -> Action {
        self.0.as_ref().and_then(|actions| actions.get(usize::from(signal) - 1)).copied().unwrap_or_default()
    }

    /// Sets the action for a signal.
    pub fn set(&mut self, signal: u8, action: Action) {
        let actions = self.0.get_or_insert_with(|| Rc::new([Action::default(); SIGNALS as usize]));
        if let Some(slot) = Rc::make_mut(actions).get_mut(usize::from(signal) - 1) {
            *slot = action;
        }
    }
}

impl Handlers {
    /// What is left of the actions when another program begins: what was ignored is.
    pub fn forget_functions(&mut self) {
        for action in self.0.iter_mut().flat_map(Rc::make_mut) {
            let handler = if action.handler == IGNORE { IGNORE } else { DEFAULT };
            *action = Action { handler, ..Action::default() };
        }
    }
}

/// What the delivery of a signal comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    Nothing,
    Stops,
    Ends,
    Handler,
}

/// A process's action for a signal.
fn action(tasks: &Tasks, process: ProcessId, signal: u8) -> Action {
    tasks.process(process).map_or(Action::default(), |process| process.resources.handlers.get(signal))
}

/// What the delivery of a signal to a process comes to.
fn effect(tasks: &Tasks, process: ProcessId, signal: u8) -> Effect {
    tasks.process(process).map_or(Effect::Nothing, |process| effect_with(&process.resources.handlers, signal))
}

/// The same with a process's actions at hand.
fn effect_with(handlers: &Handlers, signal: u8) -> Effect {
    effect_of(&handlers.get(signal), signal)
}

/// The same with the action at hand.
fn effect_of(action: &Action, signal: u8) -> Effect {
    match action.handler {
        DEFAULT if matches!(signal, SIGCHLD | SIGURG | SIGWINCH | SIGCONT) => Effect::Nothing,
        DEFAULT if STOPS & bit(signal) != 0 => Effect::Stops,
        DEFAULT => Effect::Ends,
        IGNORE => Effect::Nothing,
        _ => Effect::Handler,
    }
}

/// Gives a thread the signal for its own fault, now. Blocked or ignored, it kills: the thread could
/// only make the same fault again.
pub fn force(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId, signal: Signal) {
    let Some(thread) = kernel.tasks.thread(id) else { return };
    let number = signal.info.number;
    let blocked = thread.signal_mask & bit(number) != 0;
    let action = action(&kernel.tasks, thread.process, number);
    if effect_of(&action, number) != Effect::Handler || blocked {
        return kill(kernel, cpu, id, &signal);
    }
    handle(kernel, cpu, id, &signal, action);
}

/// Sends a thread to its handler for a signal.
fn handle(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId, signal: &Signal, action: Action) {
    if frame::push(kernel, cpu, id, signal, action).is_err() {
        // Its handler may have another stack. For want of a frame of its own it ends the process.
        let segmentation = Signal { info: from_kernel(SIGSEGV), ..*signal };
        match signal.info.number {
            SIGSEGV => kill(kernel, cpu, id, &segmentation),
            _ => force(kernel, cpu, id, segmentation),
        }
    }
}

/// Ends the thread's process with a signal and says so in the log.
pub fn kill(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId, signal: &Signal) {
    let Some(thread) = kernel.tasks.thread(id) else { return };
    let process = thread.process;
    let rip = thread.registers.rip;
    let Some(resources) = kernel.tasks.process(process).map(|process| &process.resources) else { return };
    let number = kernel.tasks.thread(ThreadId::main(process)).map_or(0, |main| main.number);
    let (program, killer) = (&resources.name, name(signal.info.number));
    match (signal.info.number, signal.vector) {
        (_, 14) => log::warn!(
            "{program} ({number}) killed by {killer}: {} {:#x} at {rip:#x}",
            ["read of", "write to", "execution of"]
                [(signal.code >> 1 & 1 | (signal.code >> 4 & 1) << 1).min(2) as usize],
            signal.address
        ),
        (SIGSEGV, 0) if signal.info.code == SI_KERNEL => {
            log::warn!(
                "{program} ({number}) killed by {killer}: a signal frame that cannot be returned through at {rip:#x}"
            )
        }
        // A division by zero is vector 0 as well.
        (_, 0) if (signal.info.number, signal.info.code) != (SIGFPE, FPE_INTDIV) => {
            // Programs end each other so; it is out of the ordinary for the one that the run is about.
            let level = if kernel.first == Some(process) { log::Level::Warn } else { log::Level::Info };
            log::log!(level, "{program} ({number}) killed by {killer}, sent to it")
        }
        (_, vector) => log::warn!("{program} ({number}) killed by {killer}: exception {vector} at {rip:#x}"),
    }
    ending::end_process(kernel, cpu, process, id, Ending::Killed(signal.info.number));
}

/// Sends a signal to a process: to whichever of its threads takes it. False if it is refused: a real-time signal of
/// which something is to be told, for which there is no room.
pub fn send_to_process(tasks: &mut Tasks, process: ProcessId, info: SignalInfo) -> bool {
    send(tasks, process, Target::Process(process), info)
}

/// Sends a signal to a thread; else as [`send_to_process`].
pub fn send_to_thread(tasks: &mut Tasks, id: ThreadId, info: SignalInfo) -> bool {
    let process = tasks.thread(id).map(|thread| thread.process);
    process.is_none_or(|process| send(tasks, process, Target::Thread(id), info))
}

/// Sends a signal to all processes of a group.
pub fn send_to_group(tasks: &mut Tasks, group: u32, info: SignalInfo) {
    tasks.each_member(group, |tasks, id| _ = send_to_process(tasks, id, info));
}

fn send(tasks: &mut Tasks, process: ProcessId, target: Target, info: SignalInfo) -> bool {
    let number = info.number;
    let Some(receiver) = tasks.process(process).filter(|process| process.ended.is_none()) else { return true };
    let effect = effect_with(&receiver.resources.handlers, number);
    // Which thread is told to end its process makes no difference.
    let target = if number == SIGKILL { Target::Process(process) } else { target };
    if number == SIGKILL {
        tasks.go_on(process);
    } else if number == SIGCONT {
        tasks.discard(process, STOPS);
        if tasks.go_on(process) {
            tell_parent_of_change(tasks, process, CLD_CONTINUED, SIGCONT);
        }
    } else if STOPS & bit(number) != 0 {
        tasks.discard(process, bit(SIGCONT));
    }
    let taker = match target {
        Target::Process(process) => tasks.taker(process, number),
        Target::Thread(id) => Some(id).filter(|id| tasks.thread(*id).is_some_and(|thread| thread.takes(number))),
    };
    let Some(taker) = taker else { return post(tasks, process, target, info) };
    let awaited = tasks.thread(taker).is_some_and(|thread| thread.own_mask() & bit(number) != 0);
    match effect {
        Effect::Nothing if !awaited => {}
        Effect::Stops if !awaited => stop(tasks, process, number),
        _ => {
            if !post(tasks, process, target, info) {
                return false;
            }
            tasks.alert(taker);
            interrupt_wait(tasks, taker);
        }
    }
    true
}

/// Makes a signal pending, unless it is a real-time signal of which something would be lost. What `kill` sends tells
/// nothing that matters.
fn post(tasks: &mut Tasks, process: ProcessId, target: Target, info: SignalInfo) -> bool {
    let most = || {
        let most = tasks.process(process).map_or(0, |process| process.resources.limits.signals.soft);
        usize::try_from(most).unwrap_or(usize::MAX)
    };
    let fits = info.number < REAL_TIME || info.code == SI_USER || tasks.has_room(target, most());
    if fits {
        tasks.post(target, info);
    }
    fits
}

/// Stops a process, unless it is about to end anyway, or nobody in its session could make it go on.
fn stop(tasks: &mut Tasks, id: ProcessId, signal: u8) {
    let Some(process) = tasks.process(id) else { return };
    let dies = process.control.pending() & bit(SIGKILL) != 0;
    if !dies && (signal == SIGSTOP || !tasks.is_orphaned(process.group)) {
        tasks.stop(id, signal);
        settle_stop(tasks, id);
    }
}

/// Whether a signal would neither stop a thread's process nor come to a handler now: it is blocked, or ignored.
pub fn is_ignored(tasks: &Tasks, id: ThreadId, signal: u8) -> bool {
    tasks.thread(id).is_none_or(|thread| {
        thread.signal_mask & bit(signal) != 0 || effect(tasks, thread.process, signal) == Effect::Nothing
    })
}

/// A process that linked a group to the rest of its session is gone, or is the group's no more: if that has
/// made the group an orphan and one of its processes is stopped, nobody else would make it go on.
pub fn hang_up_orphans(tasks: &mut Tasks, group: u32) {
    if tasks.members(group).any(|id| tasks.is_stopped(id)) && tasks.is_orphaned(group) {
        send_to_group(tasks, group, from_kernel(SIGHUP));
        send_to_group(tasks, group, from_kernel(SIGCONT));
    }
}

/// Tells the parent of a process that is being stopped, once all its threads are. Asked whenever one of them
/// leaves its CPU.
pub fn settle_stop(tasks: &mut Tasks, id: ProcessId) {
    if tasks.has_stopped(id)
        && let Some(Change::Stopped(signal)) = tasks.process(id).and_then(|process| process.control.change)
    {
        tell_parent_of_change(tasks, id, CLD_STOPPED, signal);
    }
}

fn tell_parent_of_change(tasks: &mut Tasks, child: ProcessId, code: i32, status: u8) {
    let Some(parent) = tasks.process(child).and_then(|child| child.parent) else { return };
    tasks.wake_all(Channel::Children(parent));
    let action = tasks.process(parent).map_or(Action::default(), |p| p.resources.handlers.get(SIGCHLD));
    if action.flags & SA_NOCLDSTOP == 0 {
        let info = SignalInfo { second: status.into(), ..from_process(SIGCHLD, code, child) };
        send_to_process(tasks, parent, info);
    }
}

/// A call has parked its thread, or has come to a preemption point. Another CPU may have sent a signal while the thread
/// was on its way into the kernel: one that ends the wait, or one that stops the process and found this thread still
/// running.
#[inline]
pub fn has_parked(tasks: &mut Tasks, id: ThreadId) {
    if !tasks.is_calm() {
        has_parked_disturbed(tasks, id);
    }
}

/// The same when there is something for somebody.
#[inline(never)]
fn has_parked_disturbed(tasks: &mut Tasks, id: ThreadId) {
    tasks.settle_preempted(id);
    interrupt_wait(tasks, id);
    if let Some(process) = tasks.thread(id).map(|thread| thread.process) {
        settle_stop(tasks, process);
    }
}

/// Ends a thread's wait, if it waits and a signal is pending that means something to it: the call is made
/// again, unless the signal's handler ends it.
fn interrupt_wait(tasks: &mut Tasks, id: ThreadId) {
    let Some(thread) = tasks.thread(id) else { return };
    let Some(wait) = &thread.wait else { return };
    let open_with = |wanted: fn(Effect) -> bool| with_effect(tasks, thread.process, tasks.open(thread), wanted);
    match wait.channel {
        Channel::Stopped(_) => {}
        // A parent that has lent its container to a child waits on, unless it is to end.
        // It has its child: the call is not to be made again, whatever comes before the end.
        // Nor is there a call to be made again of a thread that waits for the end of a fork.
        Channel::Leaving(_) | Channel::Forking(_) if open_with(|effect| effect == Effect::Ends) != 0 => {
            let how = wait.woken;
            tasks.resume(id, how)
        }
        Channel::Leaving(_) | Channel::Forking(_) => {}
        // What it has waited for: no interruption.
        Channel::Signal(set) if tasks.pending(thread) & set != 0 => tasks.resume(id, Resume::Restart),
        Channel::Again => tasks.resume(id, Resume::Interrupt),
        channel if open_with(|effect| effect != Effect::Nothing) != 0 => {
            tasks.resume(id, Resume::Interrupt);
            if matches!(channel, Channel::Signal(set) if set != 0) {
                put_mask_back(tasks, id);
            }
        }
        _ => {}
    }
}

/// Of some signals those whose delivery to a process would come to this.
fn with_effect(tasks: &Tasks, process: ProcessId, signals: u64, wanted: impl Fn(Effect) -> bool) -> u64 {
    let Some(process) = tasks.process(process) else { return 0 };
    let handlers = &process.resources.handlers;
    each(signals).filter(|signal| wanted(effect_with(handlers, *signal))).map(bit).sum()
}

/// Changes a thread's mask. Signals that it lets through now come before it goes on; those of its process
/// that it takes no more are shown to the other threads.
pub fn set_mask(tasks: &mut Tasks, id: ThreadId, mask: u64) {
    let Some(thread) = tasks.thread_mut(id) else { return };
    let before = core::mem::replace(&mut thread.signal_mask, mask & !UNSTOPPABLE);
    let (process, own) = (thread.process, thread.own_pending());
    if tasks.is_calm() {
        return;
    }
    let pending = own | tasks.process(process).map_or(0, |process| process.control.pending());
    if pending & before & !mask != 0 {
        tasks.alert(id);
    }
    if pending & mask & !before != 0 {
        find_takers(tasks, process);
    }
}

/// A process's action for a signal has been set: if that is to do nothing, the signal is pending no more.
pub fn forget_ignored(tasks: &mut Tasks, process: ProcessId, signal: u8) {
    if effect(tasks, process, signal) == Effect::Nothing {
        tasks.discard(process, bit(signal));
    }
}

/// Shows the signals that are pending for a process to threads that take them: who was to take one blocks it
/// now, or is gone.
pub fn find_takers(tasks: &mut Tasks, process: ProcessId) {
    let pending = tasks.process(process).map_or(0, |process| process.control.pending());
    for signal in each(pending) {
        if let Some(taker) = tasks.taker(process, signal) {
            tasks.alert(taker);
            interrupt_wait(tasks, taker);
        }
    }
}

/// Puts a mask in place for as long as the thread's call waits (`ppoll`). False if a signal that it lets
/// through is there already: then the call does not wait, and the signal comes when it has ended.
pub fn mask_for_wait(tasks: &mut Tasks, id: ThreadId, mask: u64) -> bool {
    let Some(thread) = tasks.thread_mut(id) else { return false };
    thread.saved_mask.get_or_insert(thread.signal_mask);
    set_mask(tasks, id, mask);
    tasks.alert(id);
    may_wait(tasks, id)
}

/// Whether no signal is there already that would end a wait of the thread. One may have come at a preemption point, where
/// handlers wait until the call is over.
pub fn may_wait(tasks: &Tasks, id: ThreadId) -> bool {
    let Some(thread) = tasks.thread(id) else { return false };
    tasks.is_calm() || with_effect(tasks, thread.process, tasks.open(thread), |effect| effect != Effect::Nothing) == 0
}

/// Keeps handlers from being quicker than a thread that is about to wait for signals of a set. False if there is another
/// signal already that it lets through: then the call does not wait.
pub fn await_signals(tasks: &mut Tasks, id: ThreadId, set: u64) -> bool {
    let Some(thread) = tasks.thread(id) else { return false };
    // What ends the process, or is ignored, is not awaited by a thread that does not block it.
    let handled = with_effect(tasks, thread.process, set, |effect| effect == Effect::Handler);
    let waits = mask_for_wait(tasks, id, thread.saved_mask.unwrap_or(thread.signal_mask) | handled);
    if !waits {
        put_mask_back(tasks, id);
    }
    waits
}

/// Puts back the mask of a thread that has another one for a wait.
pub fn put_mask_back(tasks: &mut Tasks, id: ThreadId) {
    if let Some(saved) = tasks.thread_mut(id).and_then(|thread| thread.saved_mask.take()) {
        set_mask(tasks, id, saved);
    }
}

/// Takes the signal that is to be delivered next, of those that are there for a thread of `process`. What ends the
/// process goes first, as on Linux: no handler comes between, which might block it.
fn take(tasks: &mut Tasks, id: ThreadId, process: ProcessId, open: u64) -> Option<SignalInfo> {
    let deadly = match open.is_power_of_two() {
        // The only one goes first, deadly or not.
        true => open,
        false => with_effect(tasks, process, open, |effect| effect == Effect::Ends),
    };
    tasks.take_signal(id, if deadly != 0 { deadly } else { open })
}

/// Delivers the pending signals that a thread does not block, which has just been chosen to run. Returns false if it
/// does not run any more.
#[inline]
pub fn deliver(kernel: &mut Kernel, cpu: &InKernel, chosen: &Running) -> bool {
    !chosen.resumed && kernel.tasks.is_calm() || deliver_to(kernel, cpu, chosen.thread)
}

/// The same when there is something for somebody.
#[inline(never)]
fn deliver_to(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId) -> bool {
    while let Some(thread) = kernel.tasks.thread(id).filter(|thread| thread.state == State::Running) {
        // Mostly so when a handler is to run now.
        if thread.saved_mask.is_none() && kernel.tasks.is_calm() {
            return true;
        }
        let Some(control) = kernel.tasks.process(thread.process).map(|process| &process.control) else { break };
        if let Some(how) = control.ending() {
            ending::go_on(kernel, cpu, thread.process, id, how);
            return false;
        }
        if control.sheds() {
            ending::shed(kernel, cpu, thread.process);
            kernel.tasks.make_ready(id);
            return false;
        }
        if is_forked_by_another(&kernel.memory, thread.container, id)
            && with_effect(&kernel.tasks, thread.process, kernel.tasks.open(thread), |effect| effect == Effect::Ends)
                == 0
        {
            kernel.tasks.park_while_forking(id);
            return false;
        }
        if thread.saved_mask.is_none() && kernel.tasks.is_quiet(thread) {
            return true;
        }
        let (process, saved, open) = (thread.process, thread.saved_mask, kernel.tasks.open(thread));
        let call = thread.restart.filter(|call| call.rip == thread.registers.rip);
        let again = call.is_some();
        if control.job() != Job::Runs {
            kernel.tasks.park_stopped(id);
            settle_stop(&mut kernel.tasks, process);
            return false;
        }
        let open = match call {
            // A call that is in the middle of its work, which no handler may see so.
            Some(Restart { after_handler: AfterHandler::Waits, .. }) => {
                with_effect(&kernel.tasks, process, open, |effect| effect != Effect::Handler)
            }
            _ => open,
        };
        let info = if open != 0 { take(&mut kernel.tasks, id, process, open) } else { None };
        let Some(info) = info else {
            // Another mask is in place for as long as the call waits: it is over, or is to be made again.
            let Some(saved) = saved.filter(|_| !again) else { return true };
            if let Some(thread) = kernel.tasks.thread_mut(id) {
                thread.saved_mask = None;
            }
            set_mask(&mut kernel.tasks, id, saved);
            continue;
        };
        let action = action(&kernel.tasks, process, info.number);
        match effect_of(&action, info.number) {
            Effect::Nothing => {}
            Effect::Stops => stop(&mut kernel.tasks, process, info.number),
            Effect::Ends => kill(kernel, cpu, id, &info.into()),
            Effect::Handler => handle(kernel, cpu, id, &info.into(), action),
        }
    }
    false
}
