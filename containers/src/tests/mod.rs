//! Tests of the memory subsystem as a whole, and of tasks.

mod address_space;
mod attention;
mod balance;
mod cpus;
mod cpus_scheduling;
mod fork;
mod model;
mod phases;
mod poll;
mod relief;
pub(crate) mod scheduling;
