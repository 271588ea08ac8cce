//! Signals as they come to a thread: each time that one is about to leave the kernel.
//!
//! A fault is delivered at once to the thread that made it; what was sent, when a thread that takes it next leaves the
//! kernel. The frame on the user's stack is laid out as Linux lays it out ([`frame`]).

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
