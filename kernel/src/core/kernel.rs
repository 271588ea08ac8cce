//! The kernel's state: one object that owns its subsystems as plain fields.
//!
//! Only the boundary hands it out, only at level 1. A system call takes the fields that it touches as
//! parameters (see [`crate::calls`]), so which calls are independent can be read off their signatures.

use super::console::Console;
use super::files::Files;
use super::messages::Messages;
use super::packages::Packages;
pub use super::process::Tasks;
use super::random::Random;
use super::statistics::Statistics;
use crate::arch::debugcon;
pub use crate::arch::physical::Memory;
use alloc::string::String;
use containers::{ProcessId, Registers, Space};
use core::fmt::Write;
use cpulocal::InKernel;

/// The kernel.
pub struct Kernel {
    /// Frames, memory objects, containers.
    pub memory: Memory,
    /// Processes, threads, queues.
    pub tasks: Tasks,
    /// Names, inodes, open files.
    pub files: Files,
    /// The terminal.
    pub console: Console,
    /// Messages between processes.
    pub messages: Messages,
    /// Resident native programs.
    pub packages: Packages,
    /// Random numbers.
    pub random: Random,
    /// What cannot be counted where it happens.
    pub statistics: Statistics,
    /// The process whose end is the end of the run.
    pub first: Option<ProcessId>,
    /// What the core asks of the layers above.
    pub upcalls: Upcalls,
}

/// What takes a statistic, by its name.
pub type Give<'a> = &'a mut dyn FnMut(&str, u64);

/// What the core asks of the layers above it, which it does not know: the boot fills this in.
#[derive(Clone, Copy)]
pub struct Upcalls {
    /// A child of the process has ended: completes the calls that wait for that.
    pub child_ended: fn(&mut Kernel, &InKernel, ProcessId),
    /// A signal has ended a call, whose registers these are and whose deadline this was: tells what was left of the time.
    pub tell_rest: fn(&mut Memory, Space, &Registers, u64),
    /// Gives every statistic, by its name.
    pub statistics: fn(&Kernel, Give<'_>),
}

impl Kernel {
    /// Sends all statistics to the host, as one line of JSON.
    pub fn report(&self) {
        let mut line = String::with_capacity(2048);
        (self.upcalls.statistics)(self, &mut |name, value| {
            let separator = if line.is_empty() { '{' } else { ',' };
            let _ = write!(line, "{separator}\"{name}\":{value}");
        });
        debugcon::record(abi::channel::STATS, format_args!("{line}}}"));
    }
}
