//! One run of a machine: QEMU's command line, the channels to it, and what it came to.

pub(crate) mod console;
pub(crate) mod control;
mod launch;
mod monitor;
pub(crate) mod qemu;
pub(crate) mod session;
mod streams;
mod terminal;

pub(crate) use launch::die_with_us;
pub(crate) use terminal::{is_terminal, size as terminal_size};
