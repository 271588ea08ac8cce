//! Containers, processes and threads: the part of the kernel's model that needs no hardware.
//!
//! The three entities are those of papers/001 section 2.3. A [`Container`] is a protection domain, a
//! [`Process`] a resource holder in one, a [`Thread`] what executes. Beneath them lie the page
//! directories ([`directory`]), the regions of an address space ([`region`]), memory objects
//! ([`object`]) and the physical frames ([`frames`]), all owned by [`Memory`]; above them the
//! ready queue and the wait queues, owned by [`Tasks`].
//!
//! Everything here compiles and is tested on the host. Memory and its translation are reached through
//! the traits [`PhysicalMemory`] and [`Translation`], which the kernel implements over its direct map
//! and the tests over a vector.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod alarms;
pub mod arena;
pub mod balance;
pub mod container;
pub mod directory;
mod family;
pub mod fault;
pub mod fork;
pub mod frames;
mod gaps;
mod largest;
pub mod load;
pub mod mapping;
pub mod memory;
pub mod object;
pub mod physical;
pub mod poll;
pub mod preemption;
pub mod process;
pub mod queue;
pub mod region;
pub mod relief;
pub mod scheduling;
pub mod signals;
pub mod tasks;
pub mod teardown;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod user;
pub mod wait;
mod watch;
mod weight;

pub use arena::{Arena, Full, Id};
pub use container::{Container, ContainerId, Cpu, CpuSet, Growth, Usage};
pub use fault::Fault;
pub use frames::{Frame, FrameTable, PAGE_SIZE};
pub use memory::{GlobalDirectory, Memory, NoMemory};
pub use object::{ObjectId, Purpose};
pub use physical::{OutOfFrames, PhysicalMemory, Translation};
pub use poll::PollId;
pub use preemption::{Budget, Point};
pub use process::{Ending, Process, ProcessId};
pub use region::{Backing, Label, Region, Regions, Rights, Traits};
pub use scheduling::Affinity;
pub use signals::{Change, Job, SignalInfo, Target, Timer};
pub use tasks::{Tasks, ThreadId};
pub use thread::{ExtendedState, Registers, State, Thread, Times};
pub use user::Space;
pub use wait::{Channel, Resume, Wait};
