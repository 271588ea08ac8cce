//! Ends of processes that have much.
//!
//! Threads, descriptors and children of a process that ends go one by one, and there may be thousands. Then they go a
//! few at a time. A thread of the process stays meanwhile: whenever it is about to go to user mode, more of what the
//! process has goes, and the thread is put back into the ready queue (`delivery::deliver`). Any other thread that gets so
//! far does the same. When little is left, the process ends.
//!
//! A process that has become another program loses the descriptors which `execve` closes in the same way ([`shed`]).
//!
//! **Invariant:** no thread of a process that is ending or shedding goes to user mode. Until the process has ended, others find it
//! alive, with what it still has.

use crate::arch::heap;
use crate::core::kernel::Kernel;
use crate::core::lifecycle;
use crate::core::signals::SIGKILL;
use containers::{Budget, Ending, ProcessId, ThreadId};
use cpulocal::InKernel;

/// Threads, descriptors and children that go at once with their process, of each kind.
const FEW: usize = 64;

/// Instructions that one piece takes, roughly. A visit may make four (`boundary::choose`).
const PIECE: u64 = 12_000;

/// Instructions that it takes to close some descriptors, roughly.
const COST_OF_DESCRIPTORS: u64 = 12_000;

/// Ends a process, of which a thread runs on this CPU: now if it has little, else by and by.
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

/// A thread of a process that is ending would go to user mode: more goes of what the process has, and at last the process.
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

/// Closes descriptors until the budget is spent; whether none is left that no other process shares.
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

/// Instructions that it takes to close one descriptor, roughly.
const COST_OF_A_DESCRIPTOR: u64 = 400;

/// Closes descriptors that `execve` closes: as many as one piece may, and the others when a thread of the process would
/// go to user mode. If there is no memory for a table of its own, the process is killed: the program that could have been
/// told is gone.
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
            Ok(news) => news.tell(tasks, files),
            Err(_) => break true,
        }
    };
    kernel.tasks.set_shedding(id, !is_done);
}
