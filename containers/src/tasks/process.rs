//! Processes: resource holders.

use crate::ids::ProcessId;
use crate::memory::container::ContainerId;
use crate::tasks::family::Family;
use crate::tasks::signals::Control;
use crate::tasks::thread::{Thread, Times};

/// A process: its main thread, its container, and what it holds.
///
/// The main thread is part of the process object, as in papers/001 section 2.3: most processes have
/// no other. `R` is what the kernel wants a process to hold.
pub struct Process<R> {
    /// The main thread.
    pub main: Thread,
    /// The protection domain that its threads run in.
    pub container: ContainerId,
    /// Who is told when it ends.
    pub parent: Option<ProcessId>,
    /// The number that it has as its parent's (`getppid`): as on Linux 1 when the parent has ended, and 0 if
    /// there never was one.
    pub parent_number: u32,
    /// Its process group, named by the number of the process that made it; `Tasks::set_group` changes it.
    pub group: u32,
    /// Its session, named in the same way.
    pub session: u32,
    /// It has run `execve` since it was made: its parent can put it into no other group from then on.
    pub executed: bool,
    /// The signal that tells its parent of its end; 0: none.
    pub exit_signal: u8,
    /// Its place among other processes.
    pub(crate) family: Family,
    /// Its signals and whether it is stopped.
    pub control: Control,
    /// Threads that have not ended, the main one included.
    pub threads: u32,
    /// How it ended, once it has.
    pub ended: Option<Ending>,
    /// How long its ended threads have had a CPU.
    pub(crate) run_time: Times,
    /// How long its ended children have had a CPU, theirs included, as far as it has waited for them.
    pub children_time: Times,
    /// Open files and the like.
    pub resources: R,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// By `exit`, with the low eight bits of its status.
    Exited(u8),
    /// By a signal.
    Killed(u8),
}

impl Ending {
    /// As `wait4` tells it.
    pub fn wait_status(self) -> u32 {
        match self {
            Ending::Exited(status) => u32::from(status) << 8,
            Ending::Killed(signal) => u32::from(signal),
        }
    }

    /// As a shell tells it: 128 + signal for the killed.
    pub fn shell_status(self) -> u8 {
        match self {
            Ending::Exited(status) => status,
            Ending::Killed(signal) => 128 + signal,
        }
    }
}
