//! Delivers signals to a thread, each time that it is about to return to user mode.
//!
//! The signal for a fault is delivered at once to the thread that made it. A signal that was sent is delivered when a
//! thread that takes it next leaves the kernel. The frame on the user's stack is laid out as Linux lays it out
//! ([`frame`]).
//!
//! For example, a thread waits in `read` and another process sends it SIGUSR1. The wait ends and the thread becomes
//! runnable; when it is dispatched, [`deliver`] takes the signal and pushes a frame, and the thread returns to user
//! mode in its handler. The handler's return restores the frame's registers, and `read` returns EINTR or is made again.

pub mod frame;

use super::actions::{Action, FPE_INTDIV, SI_KERNEL, SIGFPE, SIGSEGV, name};
use super::kernel::Kernel;
use super::lifecycle::changing::is_forked_by_another;
use super::lifecycle::ending;
use super::schedule::Running;
use super::signals::{Effect, action, bit, effect_of, from_kernel, set_mask, settle_stop, stop, take, with_effect};
use containers::signals::Job;
use containers::thread::{AfterHandler, Restart};
use containers::{Ending, SignalInfo, State, ThreadId};
use cpulocal::InKernel;

/// A signal that is being delivered.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// The signal's number and the contents of its `siginfo`.
    pub info: SignalInfo,
    /// The vector of the exception that caused it, or 0.
    pub vector: u64,
    /// The exception's error code.
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

/// Delivers the signal for a thread's own fault, now. If the signal is blocked or ignored, it kills the process: the
/// thread could only make the fault again.
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
        // There is no room for the frame. The handler of SIGSEGV may have another stack; if SIGSEGV's own frame finds
        // no room either, the process ends.
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
    let rip = thread.context.registers.rip;
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
            // Programs may well end each other by signals; for the first process it is out of the ordinary.
            let level = if kernel.first == Some(process) { log::Level::Warn } else { log::Level::Info };
            log::log!(level, "{program} ({number}) killed by {killer}, sent to it")
        }
        (_, vector) => log::warn!("{program} ({number}) killed by {killer}: exception {vector} at {rip:#x}"),
    }
    ending::end_process(kernel, cpu, process, id, Ending::Killed(signal.info.number));
}

/// Delivers the pending signals that the thread just chosen to run does not block. Returns false if the thread cannot
/// run any more.
#[inline]
pub fn deliver(kernel: &mut Kernel, cpu: &InKernel, chosen: &Running) -> bool {
    !chosen.resumed && !kernel.tasks.has_return_work() || deliver_to(kernel, cpu, chosen.thread)
}

/// Tells the extension that accompanies threads of a process, if one does, that the process has stopped or continues.
pub fn tell_companions(kernel: &mut Kernel) {
    if kernel.tasks.take_job_change() {
        kernel.files.extensions.tell_job_changes(&mut kernel.memory, &mut kernel.tasks);
    }
}

/// Delivers signals to a thread, and makes it stop, wait for a fork or go on ending its process, when some thread or
/// process has such business pending.
#[inline(never)]
fn deliver_to(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId) -> bool {
    tell_companions(kernel);
    while let Some(thread) = kernel.tasks.thread(id).filter(|thread| thread.state == State::Running) {
        // In most cases a handler is to run now, and nothing else is pending.
        if thread.saved_mask.is_none() && !kernel.tasks.has_return_work() {
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
        if thread.saved_mask.is_none() && !kernel.tasks.has_return_work_for(thread) {
            return true;
        }
        let (process, saved, open) = (thread.process, thread.saved_mask, kernel.tasks.open(thread));
        let call = thread.restart.filter(|call| call.rip == thread.context.registers.rip);
        let again = call.is_some();
        if control.job() != Job::Runs {
            kernel.tasks.park_stopped(id);
            settle_stop(&mut kernel.tasks, process);
            return false;
        }
        let open = match call {
            // The call is in the middle of its work, which a handler must not see.
            Some(Restart { after_handler: AfterHandler::Waits, .. }) => {
                with_effect(&kernel.tasks, process, open, |effect| effect != Effect::Handler)
            }
            _ => open,
        };
        let info = if open != 0 { take(&mut kernel.tasks, id, process, open) } else { None };
        let Some(info) = info else {
            // Another mask is in place for as long as the call waits: the call is over, or is to be made again.
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
