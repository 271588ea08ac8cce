//! Changes of an address space that take several visits, which the thread that makes them may not live to end.

use crate::arch::physical::Memory;
use crate::core::process::Tasks;
use containers::{Channel, ContainerId, ThreadId};

/// A thread ends: if its call was changing an address space that others have too, they go on.
pub fn abandon(memory: &mut Memory, tasks: &mut Tasks, id: ContainerId, thread: ThreadId) {
    if memory.container(id).is_some_and(|container| container.changed_by == Some(thread)) {
        abandon_change(memory, tasks, id);
    }
}

/// The call that was changing an address space does not go on.
pub fn abandon_change(memory: &mut Memory, tasks: &mut Tasks, id: ContainerId) {
    let Some(container) = memory.container_mut(id) else { return };
    container.changed_by = None;
    tasks.wake_all(Channel::Container(id));
    if memory.is_forking(id) {
        memory.abandon_fork(id);
        tasks.fork_ends(id);
    }
}

/// Whether another thread makes a child of a container, and has come to a preemption point.
pub fn is_forked_by_another(memory: &Memory, id: ContainerId, thread: ThreadId) -> bool {
    memory.is_forking(id) && memory.container(id).is_some_and(|container| container.changed_by != Some(thread))
}
