//! How threads and processes end, and what they give back.
//!
//! For example, when `exit_group` ends a process, its threads end, wherever they run; its descriptors are closed, its
//! container goes with the last process in it, its children are disowned, and its parent gets SIGCHLD. A zombie remains
//! until the parent has waited for it.

pub mod changing;
pub mod ending;
pub mod joining;

use crate::arch;
use crate::core::files::{Descriptors, Files};
use crate::core::kernel::{Kernel, Tasks};
use crate::core::process::Process;
use crate::core::schedule;
use crate::core::signals::{self, SIGCHLD, SIGKILL};
use alloc::rc::Rc;
use alloc::vec::Vec;
use containers::{Budget, Channel, ContainerId, Ending, ProcessId, Space, State, ThreadId};
use cpulocal::InKernel;

/// Ends a thread that runs on this CPU. If it is its process's last thread, the process ends as `how` says.
pub fn end_thread(kernel: &mut Kernel, cpu: &InKernel, id: ThreadId, how: Ending) {
    let Some(thread) = kernel.tasks.thread(id) else { return };
    let process = thread.process;
    let space = Space { container: thread.container, cpu: schedule::this_cpu(cpu) };
    if kernel.tasks.process(process).is_none_or(|process| process.threads == 1) {
        return ending::end_process(kernel, cpu, process, id, how);
    }
    tell_companion(kernel, id);
    joining::release_robust(&mut kernel.memory, &mut kernel.tasks, space, id, &mut { joining::ROBUST });
    joining::tell_joiner(&mut kernel.memory, &mut kernel.tasks, space, id);
    kernel.tasks.end_thread(id);
    // The thread may have been the one that was to take a signal, or the last one that had not stopped yet.
    signals::find_takers(&mut kernel.tasks, process);
    signals::settle_stop(&mut kernel.tasks, process);
}

/// Tells the extension that accompanies a thread, if one does, that the thread ends.
#[inline]
fn tell_companion(kernel: &mut Kernel, thread: ThreadId) {
    if kernel.memory.physical.accompanied.any() {
        kernel.files.extensions.left(&mut kernel.memory, &mut kernel.tasks, thread);
    }
}

/// Ends a process with all its threads and gives back what it held. A zombie remains for its parent to wait for;
/// without a parent nothing is left of the process.
pub fn end_process(kernel: &mut Kernel, cpu: &InKernel, id: ProcessId, how: Ending) {
    if kernel.tasks.process(id).is_none_or(|process| process.ended.is_some()) {
        return;
    }
    end_threads(kernel, cpu, id);
    kernel.tasks.end_process(id, how);
    let Some(process) = kernel.tasks.process_mut(id) else { return };
    let (container, parent, directory) = (process.container, process.parent, process.resources.directory);
    let has_children = process.has_children();
    let descriptors = core::mem::replace(&mut process.resources.descriptors, Descriptors::new(0));
    process.resources.handlers = Default::default();
    let invocation = process.resources.invocation.take().and_then(Rc::into_inner);
    kernel.files.close_all(&mut kernel.memory, &mut kernel.tasks, descriptors, id);
    kernel.files.leave(&mut kernel.memory, Some(directory));
    kernel.files.leave(&mut kernel.memory, invocation.map(|invocation| invocation.inode));
    kernel.files.conceal(id.number());
    kernel.messages.forget(id);
    leave_container(kernel, cpu, id, container);
    kernel.console.hang_up(&mut kernel.tasks, id);
    if has_children {
        disown_some(kernel, id, &mut Budget::unlimited());
    }
    if kernel.first == Some(id) {
        end_run(kernel, cpu, how);
    }
    tell_family(kernel, cpu, id, parent, how);
}

/// The group of a process, if the process's parent can continue it: the parent is in another group of the process's
/// session.
fn linked_group(process: &Process, parent: &Process) -> Option<u32> {
    (process.session == parent.session && process.group != parent.group).then_some(process.group)
}

/// Ends all threads of a process, wherever they run.
pub fn end_threads(kernel: &mut Kernel, cpu: &InKernel, id: ProcessId) {
    end_some_threads(kernel, cpu, id, None, &mut Budget::unlimited());
}

/// Ends threads of a process, wherever they run, except the one that `stays`, until the budget is spent. True if no
/// thread is left to end.
pub fn end_some_threads(
    kernel: &mut Kernel,
    cpu: &InKernel,
    id: ProcessId,
    stays: Option<ThreadId>,
    budget: &mut Budget,
) -> bool {
    let me = schedule::this_cpu(cpu);
    if kernel.memory.cpu_count() > 1 {
        // Other CPUs use the threads' control blocks and their container until they have left them.
        kernel.memory.vacate(kernel.tasks.running_on(id).without(me));
    }
    let Some(process) = kernel.tasks.process(id) else { return true };
    let (container, mut left) = (process.container, process.threads);
    let main = (process.main.state != State::Ended).then_some(ThreadId::main(id));
    let space = Space { container, cpu: me };
    // If no other process shares the container, no thread is left that could join these.
    let shared = kernel.memory.container(container).is_some_and(|container| container.processes > 1);
    let mut robust = joining::ROBUST;
    let mut end = |kernel: &mut Kernel, thread| {
        tell_companion(kernel, thread);
        joining::release_robust(&mut kernel.memory, &mut kernel.tasks, space, thread, &mut robust);
        if shared {
            joining::tell_joiner(&mut kernel.memory, &mut kernel.tasks, space, thread);
            changing::abandon(&mut kernel.memory, &mut kernel.tasks, container, thread);
        }
        kernel.tasks.end_thread(thread)
    };
    if let Some(main) = main.filter(|main| Some(*main) != stays) {
        left = end(kernel, main);
    }
    // Most processes have no more threads. The rest end a few at a time: neither a search for each thread nor a list of
    // all.
    let least = u32::from(stays.is_some());
    while left > least && !budget.is_spent() {
        let others = kernel.tasks.threads_of(id).filter(|thread| Some(*thread) != stays);
        let some: Vec<ThreadId> = others.take(SOME).collect();
        some.into_iter().for_each(|thread| left = end(kernel, thread));
        budget.spend(COST_OF_THREADS);
    }
    left == least
}

/// How many threads or children are ended or disowned before the budget is looked at, and roughly how many instructions
/// that takes.
const SOME: usize = 16;
const COST_OF_THREADS: u64 = 12_000;
const COST_OF_CHILDREN: u64 = 8_000;

/// Takes a process out of a container, which ends with its last process, and wakes the parent that may have waited for
/// this (`vfork`).
pub fn leave_container(kernel: &mut Kernel, cpu: &InKernel, id: ProcessId, container: ContainerId) {
    if let Some(shared) = kernel.memory.container_mut(container) {
        shared.processes -= 1;
        if shared.processes == 0 {
            if shared.changed_by.is_some() {
                changing::abandon_change(&mut kernel.memory, &mut kernel.tasks, container);
            }
            kernel.memory.destroy_container(container, schedule::this_cpu(cpu));
        }
    }
    kernel.tasks.wake_all(Channel::Leaving(id));
}

/// Tells the parent of a process that has ended, and the process's group if it was the last one that linked the group to
/// its session. The process stays a zombie until the parent has waited for it; without a parent, or if the parent
/// ignores its children's ends, nothing is left of it.
fn tell_family(kernel: &mut Kernel, cpu: &InKernel, id: ProcessId, parent: Option<ProcessId>, how: Ending) {
    let find = |id| kernel.tasks.process(id);
    let Some(process) = find(id) else { return };
    let (signal, living) = (process.exit_signal, parent.and_then(find));
    let group = living.and_then(|parent| linked_group(process, parent));
    let action = living.map(|parent| parent.resources.handlers.get(SIGCHLD));
    if action.is_none_or(|action| signal == SIGCHLD && action.leaves_no_zombies()) {
        forget(&mut kernel.tasks, &mut kernel.files, id);
    }
    if let Some(parent) = parent {
        (kernel.upcalls.child_ended)(kernel, cpu, parent);
        if signal != 0 {
            let info = signals::from_child(signal, id, how);
            signals::send_to_process(&mut kernel.tasks, parent, info);
        }
    }
    group.into_iter().for_each(|group| signals::hang_up_orphans(&mut kernel.tasks, group));
}

/// Removes a zombie: what is left of an ended process.
pub fn forget(tasks: &mut Tasks, files: &mut Files, id: ProcessId) {
    files.conceal(id.number());
    tasks.remove_process(id);
}

/// Disowns the children of a process that ends: zombies among them go now, and the other children leave none when they
/// end. Goes on until the budget is spent; true if no child is left.
pub fn disown_some(kernel: &mut Kernel, parent: ProcessId, budget: &mut Budget) -> bool {
    while !budget.is_spent() {
        let some: Vec<ProcessId> = kernel.tasks.children(parent).take(SOME).collect();
        if some.is_empty() {
            return true;
        }
        budget.spend(COST_OF_CHILDREN);
        for child in some {
            match kernel.tasks.process(child).is_some_and(|process| process.ended.is_some()) {
                true => forget(&mut kernel.tasks, &mut kernel.files, child),
                false => {
                    let both = kernel.tasks.process(child).zip(kernel.tasks.process(parent));
                    let group = both.and_then(|(child, parent)| linked_group(child, parent));
                    kernel.tasks.disown(child);
                    group.into_iter().for_each(|group| signals::hang_up_orphans(&mut kernel.tasks, group));
                }
            }
        }
    }
    false
}

/// Ends the run, because the first process has ended: ends every other process, and leaves the machine.
fn end_run(kernel: &mut Kernel, cpu: &InKernel, how: Ending) -> ! {
    let mut place = 0;
    loop {
        let mut running = None;
        let behind = kernel.tasks.each_process(place, |tasks, id| {
            running = Some(id).filter(|id| tasks.process(*id).is_some_and(|process| process.ended.is_none()));
            running.is_none()
        });
        let (Some(other), Some(behind)) = (running, behind) else { break };
        end_process(kernel, cpu, other, Ending::Killed(SIGKILL));
        place = behind;
    }
    kernel.memory.tear_down(&mut Budget::unlimited());
    kernel.console.flush();
    arch::trace::stop(cpu);
    if kernel.statistics.wanted {
        kernel.report();
    }
    hardware::exit::exit(how.shell_status())
}
