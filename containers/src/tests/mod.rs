//! Tests of the memory subsystem as a whole, and of tasks.

mod address_space;
mod balance;
mod context;
mod cpus;
mod cpus_scheduling;
mod fork;
mod model;
mod needs_reschedule;
mod phases;
mod poll;
pub(crate) mod scheduling;
mod starvation;
