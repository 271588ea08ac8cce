//! The search for the process to kill when memory ends, as far as it has come.
//!
//! It may take longer than one visit: to tell what the end of a process gives back, the kernel looks at all its page tables.
//! For example, 230 MiB of pages take about ninety visits. Each visit is a page fault that finds no frame; the access is made
//! again, and the next fault goes on with the search.

use containers::{ContainerId, ProcessId, ReclaimCount};

/// A process that may go.
#[derive(Clone, Copy)]
pub struct Candidate {
    /// The process.
    pub process: ProcessId,
    /// Its container.
    pub container: ContainerId,
    /// Frames that its end gives back.
    pub frames: usize,
}

/// How far the search has come.
#[derive(Default)]
pub struct Search {
    /// Where it goes on in the list of processes.
    pub place: u32,
    /// The process found so far whose end gives back most.
    pub best: Option<Candidate>,
    /// The process that is being looked at, with what it holds beside its pages.
    pub count: Option<(ProcessId, usize, ReclaimCount)>,
    /// When a fault last went on with it, in nanoseconds since the boot.
    pub at: u64,
}
