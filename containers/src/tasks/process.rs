//! Processes: they hold resources (open files, messages, threads) in a container. For example, a shell that runs `ls`
//! is two processes in two containers, with a main thread each; an ended `ls` remains a [`Process`] with `ended` set
//! until the shell has waited for it.

use crate::ids::ProcessId;
use crate::memory::container::ContainerId;
use crate::tasks::family::Family;
use crate::tasks::signals::Control;
use crate::tasks::thread::{Thread, Times};

/// A process: its main thread, its container, and what it holds.
///
/// The main thread is part of the process object, as in papers/001 section 2.3: most processes have no further one. `R`
/// is the type of the resources that the kernel gives a process.
pub struct Process<R> {
    /// The main thread.
    pub main: Thread,
    /// The protection domain that its threads run in.
    pub container: ContainerId,
    /// The process that is told when this one ends.
    pub parent: Option<ProcessId>,
    /// The number of its parent (`getppid`): as on Linux 1 when the parent has ended, and 0 if there never was one.
    pub parent_number: u32,
    /// Its process group, named by the number of the process that made it; `Tasks::set_group` changes it.
    pub group: u32,
    /// Its session, named in the same way.
    pub session: u32,
    /// Whether it has run `execve` since it was made: from then on its parent cannot move it to another group.
    pub executed: bool,
    /// The signal that tells its parent of its end; 0: none.
    pub exit_signal: u8,
    /// Its place among other processes.
    pub(crate) family: Family,
    /// Its signals and whether it is stopped.
    pub control: Control,
    /// Threads that have not ended, the main one included.
    pub threads: u32,
    /// How the process ended, if it has.
    pub ended: Option<Ending>,
    /// The CPU time of those of its threads that have ended.
    pub(crate) run_time: Times,
    /// The CPU time of the ended children that it has waited for, and of their own ended children.
    pub children_time: Times,
    /// Resources of the process, for example open files.
    pub resources: R,
}

impl<R> Process<R> {
    /// Whether it has children that have not been waited for.
    pub fn has_children(&self) -> bool {
        self.family.has_children()
    }
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
    /// The status that `wait4` reports.
    pub fn wait_status(self) -> u32 {
        match self {
            Ending::Exited(status) => u32::from(status) << 8,
            Ending::Killed(signal) => u32::from(signal),
        }
    }

    /// The status that a shell reports: 128 + signal for a killed process.
    pub fn shell_status(self) -> u8 {
        match self {
            Ending::Exited(status) => status,
            Ending::Killed(signal) => 128 + signal,
        }
    }
}
