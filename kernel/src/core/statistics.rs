//! Counts that have no better home.

/// Counts that have no better home, and what is asked of a report.
#[derive(Default)]
pub struct Statistics {
    /// Page faults taken from user mode.
    pub page_faults: u64,
    /// System calls asked for that are not there.
    pub unknown_calls: u64,
    /// Frames free when the first process was about to start.
    pub frames_free_at_start: u64,
    /// Pages of the kernel's heap then, idle ones among them: what it has grown by is not free, and not lost.
    pub heap_pages_at_start: u64,
    /// Microseconds from the kernel's first instruction to the first process.
    pub boot_microseconds: u64,
    /// A report is wanted at the end of the run.
    pub wanted: bool,
    /// Which unknown calls have been logged, a bit for each number below 512.
    pub logged_calls: [u64; 8],
}
