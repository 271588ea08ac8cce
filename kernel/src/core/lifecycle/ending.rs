//! How large processes end.
//!
//! When a process ends, its threads end, its descriptors are closed and its children are disowned one by one, and there
//! may be thousands. Then the kernel does a few at a time. One thread of the process stays meanwhile: whenever it is
//! about to return to user mode, the kernel does another piece of the work and puts the thread back into the ready
//! queue (`delivery::deliver`). Any other thread of the process that gets that far does a piece in this way too. When
//! little is left, the process ends.
//!
//! For example, a process with 5,000 open files is killed. Each time its thread is dispatched, the kernel closes some
//! of the files; between the pieces other threads and other CPUs run.
//!
//! The descriptors that `execve` closes are closed piece by piece too ([`shed`]).
//!
//! **Invariant:** no thread of a process that is ending or shedding returns to user mode. Until the process has ended,
//! other processes find it alive, with what it still has.

use crate::arch::heap;
use crate::core::kernel::Kernel;
use crate::core::lifecycle;
use crate::core::signals::SIGKILL;
use containers::{Budget, Ending, ProcessId, ThreadId};
use cpulocal::InKernel;

/// The most threads, descriptors or children that a process may have to end at once.
const FEW: usize = 64;

/// How many instructions one piece takes, roughly. A visit to the kernel may make four pieces (`boundary::choose`).
const PIECE: u64 = 12_000;

/// How many instructions it takes to close a batch of descriptors, roughly.
const COST_OF_DESCRIPTORS: u64 = 12_000;

/// Ends a process of which `thread` runs on this CPU: at once if the process has little, else piece by piece.
pub fn end_process(kernel: &mut Kernel, cpu: &InKernel, id: ProcessId, thread: ThreadId, how: Ending) {
    if has_much(kernel, id) {
        kernel.tasks.begin_to_end(id, how);
        kernel.tasks.alert(thread);
    } else {
        lifecycle::end_process(kernel, cpu, id, how);
    }
}

fn has_much(kernel: &Kernel, id: ProcessId) -> bool {
    let Some(process) = kernel.tasks.process(id) else { return false };
    let descriptors = &process.resources.descriptors;
    process.threads as usize > FEW
        || descriptors.len() as usize > FEW && !descriptors.is_shared()
        || kernel.tasks.children(id).nth(FEW).is_some()
}

/// Does one piece of ending a process, instead of returning to user mode with `thread`; the last piece ends the
/// process.
pub fn go_on(kernel: &mut Kernel, cpu: &InKernel, id: ProcessId, thread: ThreadId, how: Ending) {
    let mut budget = Budget::of(PIECE);
    let is_light = lifecycle::end_some_threads(kernel, cpu, id, Some(thread), &mut budget)
        && close_some(kernel, id, &mut budget)
        && lifecycle::disown_some(kernel, id, &mut budget);
    if is_light {
        lifecycle::end_process(kernel, cpu, id, how);
    } else {
        kernel.tasks.make_ready(thread);
    }
}

/// Closes descriptors until the budget is spent. True if all that are left are shared with another process.
fn close_some(kernel: &mut Kernel, id: ProcessId, budget: &mut Budget) -> bool {
    let Kernel { memory, tasks, files, .. } = kernel;
    while !budget.is_spent() {
        let descriptors = tasks.process_mut(id).map(|process| &mut process.resources.descriptors);
        let Some((some, are_own)) = descriptors.and_then(|descriptors| descriptors.take_some()) else { return true };
        some.into_iter().for_each(|file| files.give_up(memory, tasks, id, file, are_own));
        budget.spend(COST_OF_DESCRIPTORS);
    }
    false
}

/// How many instructions it takes to close one descriptor, roughly.
const COST_OF_A_DESCRIPTOR: u64 = 400;

/// Closes the descriptors that `execve` closes: as many as one piece allows now, and the rest when a thread of the
/// process is about to return to user mode. If there is no memory for a descriptor table of its own, the process is
/// killed: `execve` cannot fail any more, as the program that called it is gone.
pub fn shed(kernel: &mut Kernel, cpu: &InKernel, id: ProcessId) {
    let mut budget = Budget::of(PIECE);
    let mut from = 0;
    let is_done = loop {
        let Kernel { memory, tasks, files, .. } = &mut *kernel;
        let Some(process) = tasks.process_mut(id) else { return };
        let descriptors = &mut process.resources.descriptors;
        let Some(fd) = descriptors.next_close_on_exec(from) else { break true };
        if budget.is_spent() {
            break false;
        }
        budget.spend(COST_OF_A_DESCRIPTOR);
        from = fd + 1;
        if descriptors.is_shared_at(fd) && !heap::reserve(&mut memory.physical) {
            return end_process(kernel, cpu, id, ThreadId::main(id), Ending::Killed(SIGKILL));
        }
        if files.locks.is_empty() && descriptors.give_up_shared(fd..=u32::MAX, true) {
            continue;
        }
        match files.close(memory, descriptors, fd, id) {
            Ok(events) => events.notify(tasks, files),
            Err(_) => break true,
        }
    };
    kernel.tasks.set_shedding(id, !is_done);
}
