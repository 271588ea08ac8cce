//! How threads and processes end, and what is given back.

use crate::arch;
use crate::files::Descriptors;
use crate::kernel::Kernel;
use crate::signals::SIGKILL;
use crate::{calls, schedule, statistics};
use alloc::vec::Vec;
use containers::{Channel, Ending, ProcessId, Space, ThreadId};
use cpulocal::InKernel;

/// Ends a thread; with its last thread the process has ended as `how` says.
pub fn end_thread(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId, how: Ending) {
    let Some(thread) = kernel.tasks.thread(id) else { return };
    let process = thread.process;
    let space = Space { container: thread.container, cpu: schedule::this_cpu(cpu) };
    calls::threads::farewell(&mut kernel.memory, &mut kernel.tasks, space, id);
    if kernel.tasks.end_thread(id) == 0 {
        end_process(kernel, cpu, process, how);
    }
}

/// Ends a process with all its threads and gives back what it held. Its parent can still ask how it
/// ended; without a parent nothing is left of it.
pub fn end_process(kernel: &mut Kernel, cpu: &InKernel, id: ProcessId, how: Ending) {
    if kernel.tasks.process(id).is_none_or(|process| process.ended.is_some()) {
        return;
    }
    let elsewhere = kernel.tasks.running_on(id).without(schedule::this_cpu(cpu));
    if !elsewhere.is_empty() {
        // Their control blocks and their container are in use there until then.
        kernel.memory.vacate(elsewhere);
    }
    loop {
        // Some at a time: neither a search for each nor a list of all.
        let some: Vec<ThreadId> = kernel.tasks.threads_of(id).take(64).collect();
        if some.is_empty() {
            break;
        }
        some.into_iter().for_each(|thread| _ = kernel.tasks.end_thread(thread));
    }
    kernel.tasks.end_process(id, how);
    let Some(process) = kernel.tasks.process_mut(id) else { return };
    let (container, parent) = (process.container, process.parent);
    let descriptors = core::mem::replace(&mut process.resources.descriptors, Descriptors::new(0));
    process.resources.handlers = Default::default();
    kernel.files.close_all(&mut kernel.memory, &mut kernel.tasks, descriptors);
    kernel.files.leave(&mut kernel.memory, kernel.tasks.process(id).map(|process| process.resources.directory));
    if let Some(main) = kernel.tasks.thread(ThreadId::Main(id)) {
        kernel.files.conceal(main.number);
    }
    kernel.messages.forget(id);
    if let Some(shared) = kernel.memory.container_mut(container) {
        shared.processes -= 1;
        if shared.processes == 0 {
            kernel.memory.destroy_container(container, schedule::this_cpu(cpu));
        }
    }
    disown_children(kernel, id);
    if kernel.first == Some(id) {
        end_run(kernel, cpu, how);
    }
    match parent {
        Some(parent) => kernel.tasks.wake_all(Channel::Children(parent)),
        None => drop(kernel.tasks.remove_process(id)),
    }
}

/// Children of an ended process have nobody to tell: those that have ended go now, the others then.
fn disown_children(kernel: &mut Kernel, parent: ProcessId) {
    let mut next = kernel.tasks.processes().find(|id| is_child(kernel, *id, parent));
    while let Some(child) = next {
        if kernel.tasks.process(child).is_some_and(|process| process.ended.is_some()) {
            kernel.tasks.remove_process(child);
        } else if let Some(process) = kernel.tasks.process_mut(child) {
            process.parent = None;
        }
        next = kernel.tasks.processes().find(|id| is_child(kernel, *id, parent));
    }
}

fn is_child(kernel: &Kernel, id: ProcessId, parent: ProcessId) -> bool {
    kernel.tasks.process(id).is_some_and(|process| process.parent == Some(parent))
}

/// The first process has ended: so does the run.
fn end_run(kernel: &mut Kernel, cpu: &InKernel, how: Ending) -> ! {
    let running = |kernel: &Kernel| {
        let ended = |id: &ProcessId| kernel.tasks.process(*id).is_none_or(|process| process.ended.is_some());
        kernel.tasks.processes().find(|id| !ended(id))
    };
    while let Some(other) = running(kernel) {
        end_process(kernel, cpu, other, Ending::Killed(SIGKILL));
    }
    kernel.console.flush();
    arch::trace::stop(cpu);
    if kernel.statistics.wanted {
        statistics::report(kernel);
    }
    arch::exit::exit(how.shell_status())
}
