//! Calls on signals.

use super::{Answer, Caller, DONE, Reply, bad_address};
use crate::kernel::{Kernel, Memory, Tasks};
use crate::signals::{self, Action, SIGNALS, Signal, UNSTOPPABLE, bit, frame};
use ::files::Errno;
use containers::ThreadId;
use containers::thread::SignalStack;
use cpulocal::InKernel;

/// Bytes of a signal set.
const SET: u64 = 8;

fn signal(number: u64) -> Result<u8, Errno> {
    u8::try_from(number as u32).ok().filter(|number| (1..=SIGNALS).contains(number)).ok_or(Errno::EINVAL)
}

/// `rt_sigaction(signal, new, old, set size)`
pub fn action(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let [number, new, old, size, ..] = caller.arguments;
    let number = signal(number)?;
    if size != SET || (new != 0 && bit(number) & UNSTOPPABLE != 0) {
        return Err(Errno::EINVAL);
    }
    let wanted = if new != 0 { Some(caller.read::<Action>(memory, new)?) } else { None };
    let handlers = &mut tasks.process_mut(caller.process).ok_or(Errno::ESRCH)?.resources.handlers;
    let before = handlers.get(number);
    if let Some(wanted) = wanted {
        handlers.set(number, wanted);
    }
    if old != 0 {
        caller.write(memory, old, &before)?;
    }
    DONE
}

/// `rt_sigprocmask(how, new, old, set size)`
pub fn mask(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    let [how, new, old, size, ..] = caller.arguments;
    if size != SET {
        return Err(Errno::EINVAL);
    }
    let wanted = if new != 0 { Some(caller.read::<u64>(memory, new)?) } else { None };
    let thread = tasks.thread_mut(caller.thread).ok_or(Errno::ESRCH)?;
    let before = thread.signal_mask;
    if let Some(set) = wanted {
        thread.signal_mask = !UNSTOPPABLE
            & match how as i32 {
                0 => before | set,
                1 => before & !set,
                2 => set,
                _ => return Err(Errno::EINVAL),
            };
        if thread.pending != 0 {
            tasks.alert(caller.thread);
        }
    }
    if old != 0 {
        caller.write(memory, old, &before)?;
    }
    DONE
}

/// `rt_sigpending(set, set size)`
pub fn pending(caller: &Caller, memory: &mut Memory, tasks: &Tasks) -> Answer {
    if caller.arguments[1] > SET {
        return Err(Errno::EINVAL);
    }
    let thread = tasks.thread(caller.thread).ok_or(Errno::ESRCH)?;
    let set = (thread.pending & thread.signal_mask).to_le_bytes();
    memory.copy_out(caller.space, caller.arguments[0], &set[..caller.arguments[1] as usize]).map_err(bad_address)?;
    DONE
}

/// `sigaltstack(new, old)`
pub fn stack(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks) -> Answer {
    const SMALLEST: u64 = 2048;
    const FLAGS: i32 = frame::ON_STACK | frame::DISABLED | i32::MIN;
    let [new, old, ..] = caller.arguments;
    let wanted = if new != 0 { Some(caller.read::<frame::StackT>(memory, new)?) } else { None };
    let thread = tasks.thread_mut(caller.thread).ok_or(Errno::ESRCH)?;
    let rsp = thread.registers.rsp;
    let before = frame::describe(thread.signal_stack, rsp);
    if let Some(wanted) = wanted {
        if frame::on_stack(thread.signal_stack, rsp) {
            return Err(Errno::EPERM);
        }
        if wanted.flags & !FLAGS != 0 {
            return Err(Errno::EINVAL);
        }
        thread.signal_stack = if wanted.flags & frame::DISABLED != 0 {
            SignalStack::default()
        } else if wanted.size < SMALLEST {
            return Err(Errno::ENOMEM);
        } else {
            SignalStack { base: wanted.base, size: wanted.size }
        };
    }
    if old != 0 {
        caller.write(memory, old, &before)?;
    }
    DONE
}

/// `rt_sigreturn()`: back to what the signal interrupted. A frame that is not one kills.
pub fn handler_done(caller: &Caller, kernel: &mut Kernel, cpu: &InKernel) -> Answer {
    if frame::pop(kernel, cpu, caller.thread).is_err() {
        signals::kill(kernel, cpu, caller.thread, &Signal::fault(signals::SIGSEGV, signals::SI_KERNEL, 0));
    }
    Ok(Reply::Gone)
}

/// `kill(process, signal)`
pub fn kill(caller: &Caller, kernel: &mut Kernel) -> Answer {
    let (pid, number) = (caller.int(0), caller.arguments[1]);
    let target = match pid {
        0 | -1 => caller.process,
        _ => {
            let id = kernel.tasks.by_number(pid.unsigned_abs()).ok_or(Errno::ESRCH)?;
            kernel.tasks.thread(id).ok_or(Errno::ESRCH)?.process
        }
    };
    if number as u32 != 0 {
        signals::send_to_process(kernel, target, signal(number)?);
    }
    DONE
}

/// `tgkill(process, thread, signal)`, and `tkill` with `process` left out.
pub fn kill_thread(kernel: &mut Kernel, process: Option<i32>, thread: i32, number: u64) -> Answer {
    if thread <= 0 || process.is_some_and(|process| process <= 0) {
        return Err(Errno::EINVAL);
    }
    let id = kernel.tasks.by_number(thread as u32).ok_or(Errno::ESRCH)?;
    let owner = kernel.tasks.thread(id).ok_or(Errno::ESRCH)?.process;
    let main = kernel.tasks.thread(ThreadId::Main(owner)).ok_or(Errno::ESRCH)?.number;
    if process.is_some_and(|process| process as u32 != main) {
        return Err(Errno::ESRCH);
    }
    if number as u32 != 0 {
        signals::send(kernel, id, signal(number)?);
    }
    DONE
}
