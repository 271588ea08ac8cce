//! One run of a machine: how QEMU or Bochs is started, the channels to it, and what it came to.

mod ahead;
pub(crate) mod bochs;
pub(crate) mod console;
pub(crate) mod control;
mod debugger;
mod kinds;
mod launch;
mod limit;
mod monitor;
pub(crate) mod qemu;
pub(crate) mod session;
mod streams;
mod terminal;

pub(crate) use ahead::Ahead;
pub(crate) use launch::{Player, die_with_us};
pub(crate) use terminal::{is_terminal, size as terminal_size};
