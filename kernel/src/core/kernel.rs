//! The kernel's state: one object that owns its subsystems as plain fields.
//!
//! Only the boundary hands it out, and only at level 1. A system call takes the fields that it touches as parameters
//! (see [`crate::calls`]), so the signatures show which calls are independent. For example, `getrandom` takes `memory`,
//! `tasks` and `random`, so it cannot touch a file.

use super::console::Console;
use super::files::Files;
use super::messages::Messages;
use super::packages::Packages;
pub use super::process::Tasks;
use super::random::Random;
use super::search::Search;
use super::statistics::Statistics;
pub use crate::arch::physical::Memory;
use alloc::string::String;
use containers::{ProcessId, Registers, Space};
use core::fmt::Write;
use cpulocal::InKernel;
use hardware::debugcon;

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
    /// Events that cannot be counted where they happen.
    pub statistics: Statistics,
    /// The first process; when it ends, so does the run.
    pub first: Option<ProcessId>,
    /// Functions of the layers above, which the core calls.
    pub upcalls: Upcalls,
    /// The search for the process to kill when memory ends.
    pub search: Search,
}

/// A function that receives one statistic, by its name.
pub type Give<'a> = &'a mut dyn FnMut(&str, u64);

/// Functions of the layers above the core, which the core may not name: the boot fills them in.
#[derive(Clone, Copy)]
pub struct Upcalls {
    /// Completes the calls that wait for a child of the process: one has ended.
    pub child_ended: fn(&mut Kernel, &InKernel, ProcessId),
    /// Writes to user memory how much time was left of a call that a signal has interrupted, given the call's registers
    /// and its deadline.
    pub tell_rest: fn(&mut Memory, Space, &Registers, u64),
    /// Passes every statistic to a function, by its name.
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
