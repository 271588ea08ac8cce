//! Tests of the memory subsystem as a whole, and of tasks.

mod address_space;
mod cpus;
mod model;
mod scheduling;
