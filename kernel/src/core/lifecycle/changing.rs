//! Changes of an address space that take several visits to the kernel. The thread that makes one may be ended before it
//! is complete.

use crate::arch::physical::Memory;
use crate::core::process::Tasks;
use containers::{Channel, ContainerId, ThreadId};

/// Abandons the change of an address space that an ending thread's call was making, so that the other processes that
/// share the address space can go on.
pub fn abandon(memory: &mut Memory, tasks: &mut Tasks, id: ContainerId, thread: ThreadId) {
    if memory.container(id).is_some_and(|container| container.changed_by == Some(thread)) {
        abandon_change(memory, tasks, id);
    }
}

/// Abandons the change of an address space that is under way: its call does not go on.
pub fn abandon_change(memory: &mut Memory, tasks: &mut Tasks, id: ContainerId) {
    let Some(container) = memory.container_mut(id) else { return };
    container.changed_by = None;
    tasks.wake_all(Channel::Container(id));
    if memory.is_forking(id) {
        memory.abandon_fork(id);
        tasks.fork_ends(id);
    }
}

/// Whether another thread is forking a container and has come to a preemption point.
pub fn is_forked_by_another(memory: &Memory, id: ContainerId, thread: ThreadId) -> bool {
    memory.is_forking(id) && memory.container(id).is_some_and(|container| container.changed_by != Some(thread))
}
