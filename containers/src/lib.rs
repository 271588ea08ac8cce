//! Containers, processes and threads: the part of the kernel's model that needs no hardware.
//!
//! The three entities are those of papers/001 section 2.3. A [`Container`] is a protection domain, a [`Process`] holds
//! resources in a container, a [`Thread`] executes. Beneath them lie the page directories ([`directory`]), the regions
//! of an address space ([`region`]), memory objects ([`object`]) and the physical frames ([`frames`]), all owned by
//! [`Memory`]; above them the ready queue and the wait queues, owned by [`Tasks`]. For example, `fork` makes a
//! container with [`Memory::fork`], then a process and its main thread with [`Tasks::make_process`], then puts the
//! thread into the ready queue with [`Tasks::make_ready`].
//!
//! Everything here compiles and is tested on the host. Memory and its translation are reached through
//! the traits [`PhysicalMemory`] and [`Translation`], which the kernel implements over its direct map
//! and the tests over a vector.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod arena;
mod budget;
pub mod frames;
mod ids;
pub mod memory;
pub mod tasks;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use arena::{Arena, Full, Id};
pub use budget::{Budget, Point};
pub use cpulocal::{Cpu, CpuSet};
pub use frames::{Frame, FrameTable, PAGE_SIZE};
pub use ids::{ProcessId, ThreadId};
pub use memory::container::{Container, ContainerId, Growth, Usage};
pub use memory::fault::Fault;
pub use memory::object::{ObjectId, Purpose};
pub use memory::physical::{OutOfFrames, PhysicalMemory, Translation};
pub use memory::reclaim::ReclaimCount;
pub use memory::region::{Backing, Label, Region, Regions, Rights, Traits};
pub use memory::user::Space;
pub use memory::{GlobalDirectory, KERNEL_RESERVE, Memory, NoMemory};
pub use memory::{container, directory, fault, fork, mapping, object, physical, region, teardown, user};
pub use tasks::Tasks;
pub use tasks::affinity::Affinity;
pub use tasks::context::{Context, ExtendedState, Registers};
pub use tasks::poll::PollId;
pub use tasks::process::{Ending, Process};
pub use tasks::signals::{Change, Job, SignalInfo, Target, Timer};
pub use tasks::thread::{State, Thread, Times};
pub use tasks::wait::{Channel, Resume, Wait};
pub use tasks::{
    balance, context, load, poll, preemption, process, queue, scheduling, signals, starvation, thread, wait,
};
