//! Sending signals, and the masks that block them.
//!
//! A signal that is sent is pending for a thread or a process ([`containers::signals`]), and is delivered when a thread
//! that takes it next leaves the kernel (`delivery`). For example, `kill` makes SIGUSR1 pending for the process, finds
//! a thread that does not block it, and ends that thread's wait or calls it into the kernel.
//!
//! A signal that stops a process takes effect when it is sent: from then on the process's threads park when they are
//! about to leave the kernel, threads in user mode are called into it, and a thread whose call waits goes on waiting.

pub use super::actions::*;
use super::process::Tasks;
pub use containers::signals::bit;
use containers::signals::{REAL_TIME, each};
use containers::{Change, Channel, Ending, ProcessId, Resume, SignalInfo, Target, ThreadId};

/// The contents of a signal from the kernel itself.
pub fn from_kernel(number: u8) -> SignalInfo {
    SignalInfo { number, code: SI_KERNEL, first: 0, second: 0 }
}

/// The contents of a signal from a process, whose user is root.
pub fn from_process(number: u8, code: i32, sender: ProcessId) -> SignalInfo {
    SignalInfo { number, code, first: sender.number().into(), second: 0 }
}

/// `si_code` and `si_status` for a process's end.
pub fn told(how: Ending) -> (i32, u8) {
    match how {
        Ending::Exited(status) => (CLD_EXITED, status),
        Ending::Killed(signal) => (CLD_KILLED, signal),
    }
}

/// The contents of the signal for a child's end.
pub fn from_child(number: u8, child: ProcessId, how: Ending) -> SignalInfo {
    let (code, status) = told(how);
    SignalInfo { second: status.into(), ..from_process(number, code, child) }
}

/// A process's action for a signal.
pub fn action(tasks: &Tasks, process: ProcessId, signal: u8) -> Action {
    tasks.process(process).map_or(Action::default(), |process| process.resources.handlers.get(signal))
}

/// The effect of a signal's delivery to a process.
pub fn effect(tasks: &Tasks, process: ProcessId, signal: u8) -> Effect {
    tasks.process(process).map_or(Effect::Nothing, |process| effect_with(&process.resources.handlers, signal))
}

/// Sends a signal to a process: any of its threads may take it. False if the signal is refused: it is a real-time
/// signal with contents of its own, and its queue is full.
pub fn send_to_process(tasks: &mut Tasks, process: ProcessId, info: SignalInfo) -> bool {
    send(tasks, process, Target::Process(process), info)
}

/// Sends a signal to a thread. False if the signal is refused: it is a real-time signal with contents of its own, and
/// its queue is full.
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
    // Any thread can end its process, so SIGKILL goes to the process.
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

/// Makes a signal pending. False if it is a real-time signal whose contents find no room; a signal from `kill` has none
/// that could be lost.
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

/// Stops a process, unless it is about to end anyway, or no process in its session could continue it.
pub fn stop(tasks: &mut Tasks, id: ProcessId, signal: u8) {
    let Some(process) = tasks.process(id) else { return };
    let dies = process.control.pending() & bit(SIGKILL) != 0;
    if !dies && (signal == SIGSTOP || !tasks.is_orphaned(process.group)) {
        tasks.stop(id, signal);
        settle_stop(tasks, id);
    }
}

/// Whether the thread blocks a signal or its process ignores it, so that the signal would now neither stop the process
/// nor run a handler.
pub fn is_ignored(tasks: &Tasks, id: ThreadId, signal: u8) -> bool {
    tasks.thread(id).is_none_or(|thread| {
        thread.signal_mask & bit(signal) != 0 || effect(tasks, thread.process, signal) == Effect::Nothing
    })
}

/// Sends SIGHUP and SIGCONT to a group that has become an orphan with a stopped process in it, because no process is
/// left that would continue it. To be called when a process that linked the group to the rest of its session has ended
/// or left the group.
pub fn hang_up_orphans(tasks: &mut Tasks, group: u32) {
    if tasks.members(group).any(|id| tasks.is_stopped(id)) && tasks.is_orphaned(group) {
        send_to_group(tasks, group, from_kernel(SIGHUP));
        send_to_group(tasks, group, from_kernel(SIGCONT));
    }
}

/// Tells the parent of a stopping process that it has stopped, once all its threads have. To be called whenever one of
/// its threads leaves its CPU.
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

/// Looks for signals after a call has parked its thread or has come to a preemption point. While the thread was on its
/// way into the kernel, another CPU may have sent a signal that ends the wait, or a signal that stops the process and
/// found this thread still running.
#[inline]
pub fn has_parked(tasks: &mut Tasks, id: ThreadId) {
    if tasks.has_return_work() {
        has_parked_disturbed(tasks, id);
    }
}

/// Ends or stops the wait of a thread that has just parked, when some thread or process has a signal pending.
#[inline(never)]
fn has_parked_disturbed(tasks: &mut Tasks, id: ThreadId) {
    tasks.settle_preempted(id);
    interrupt_wait(tasks, id);
    if let Some(process) = tasks.thread(id).map(|thread| thread.process) {
        settle_stop(tasks, process);
    }
}

/// Ends a thread's wait if a signal is pending for it that is not ignored: the call is made again, unless the signal's
/// handler ends it.
fn interrupt_wait(tasks: &mut Tasks, id: ThreadId) {
    let Some(thread) = tasks.thread(id) else { return };
    let Some(wait) = &thread.wait else { return };
    let open_with = |wanted: fn(Effect) -> bool| with_effect(tasks, thread.process, tasks.open(thread), wanted);
    match wait.channel {
        Channel::Stopped(_) => {}
        // A parent that has lent its container to a child waits on, unless it is to end. It has its child: the call is
        // not to be made again, whatever comes before the end. A thread that waits for the end of a fork has no call to
        // be made again, either.
        Channel::Leaving(_) | Channel::Forking(_) if open_with(|effect| effect == Effect::Ends) != 0 => {
            let how = wait.woken;
            tasks.resume(id, how)
        }
        Channel::Leaving(_) | Channel::Forking(_) => {}
        // The thread has waited for this signal: that is no interruption.
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

/// The signals of a set whose delivery to a process would have a wanted effect.
pub fn with_effect(tasks: &Tasks, process: ProcessId, signals: u64, wanted: impl Fn(Effect) -> bool) -> u64 {
    let Some(process) = tasks.process(process) else { return 0 };
    let handlers = &process.resources.handlers;
    each(signals).filter(|signal| wanted(effect_with(handlers, *signal))).map(bit).sum()
}

/// Changes a thread's mask. A pending signal that the new mask lets through is delivered before the thread goes on; a
/// signal of its process that the thread blocks now is offered to the other threads.
#[inline]
pub fn set_mask(tasks: &mut Tasks, id: ThreadId, mask: u64) {
    let Some(thread) = tasks.thread_mut(id) else { return };
    let before = core::mem::replace(&mut thread.signal_mask, mask & !UNSTOPPABLE);
    if tasks.has_return_work() {
        has_changed_mask(tasks, id, before);
    }
}

/// Offers pending signals anew after a change of a thread's mask. `before` is the mask that the thread had.
fn has_changed_mask(tasks: &mut Tasks, id: ThreadId, before: u64) {
    let Some(thread) = tasks.thread(id) else { return };
    let (process, mask, pending) = (thread.process, thread.signal_mask, tasks.pending(thread));
    if pending & before & !mask != 0 {
        tasks.alert(id);
    }
    if pending & mask & !before != 0 {
        find_takers(tasks, process);
    }
}

/// Discards a process's pending signal if its action, which has just been set, ignores it.
pub fn forget_ignored(tasks: &mut Tasks, process: ProcessId, signal: u8) {
    if effect(tasks, process, signal) == Effect::Nothing {
        tasks.discard(process, bit(signal));
    }
}

/// Offers the signals pending for a process to threads that take them: the thread that was to take one now blocks it,
/// or has ended.
pub fn find_takers(tasks: &mut Tasks, process: ProcessId) {
    let pending = tasks.process(process).map_or(0, |process| process.control.pending());
    for signal in each(pending) {
        if let Some(taker) = tasks.taker(process, signal) {
            tasks.alert(taker);
            interrupt_wait(tasks, taker);
        }
    }
}

/// Puts a mask in place for as long as the thread's call waits (`ppoll`). False if a signal that it lets through is
/// pending already: then the call does not wait, and the signal is delivered when the call has ended.
pub fn mask_for_wait(tasks: &mut Tasks, id: ThreadId, mask: u64) -> bool {
    let Some(thread) = tasks.thread_mut(id) else { return false };
    thread.saved_mask.get_or_insert(thread.signal_mask);
    set_mask(tasks, id, mask);
    tasks.alert(id);
    may_wait(tasks, id)
}

/// Whether no pending signal would end a wait of the thread. One may have arrived at a preemption point, where handlers
/// wait until the call is over.
pub fn may_wait(tasks: &Tasks, id: ThreadId) -> bool {
    let Some(thread) = tasks.thread(id) else { return false };
    !tasks.has_return_work()
        || with_effect(tasks, thread.process, tasks.open(thread), |effect| effect != Effect::Nothing) == 0
}

/// Blocks the signals of a set while a thread waits for them, so that the wait takes them and not their handlers. False
/// if another signal that the thread does not block is pending already: then the call does not wait.
pub fn await_signals(tasks: &mut Tasks, id: ThreadId, set: u64) -> bool {
    let Some(thread) = tasks.thread(id) else { return false };
    // A signal that ends the process, or that is ignored, is not awaited by a thread that does not block it.
    let handled = with_effect(tasks, thread.process, set, |effect| effect == Effect::Handler);
    let waits = mask_for_wait(tasks, id, thread.saved_mask.unwrap_or(thread.signal_mask) | handled);
    if !waits {
        put_mask_back(tasks, id);
    }
    waits
}

/// Restores the mask of a thread that has another mask in place for a wait.
pub fn put_mask_back(tasks: &mut Tasks, id: ThreadId) {
    if let Some(saved) = tasks.thread_mut(id).and_then(|thread| thread.saved_mask.take()) {
        set_mask(tasks, id, saved);
    }
}

/// Takes the signal that is to be delivered next, of the `open` signals of a thread of `process`. A signal that ends
/// the process goes first, as on Linux, because a handler that ran before it might block it.
pub fn take(tasks: &mut Tasks, id: ThreadId, process: ProcessId, open: u64) -> Option<SignalInfo> {
    let deadly = match open.is_power_of_two() {
        // A single signal is taken, deadly or not.
        true => open,
        false => with_effect(tasks, process, open, |effect| effect == Effect::Ends),
    };
    tasks.take_signal(id, if deadly != 0 { deadly } else { open })
}
