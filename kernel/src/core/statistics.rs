//! Counts that have no better home.

/// Counts that have no better home, and whether a report is wanted.
#[derive(Default)]
pub struct Statistics {
    /// Page faults taken from user mode.
    pub page_faults: u64,
    /// System calls that the kernel does not have and a program has made.
    pub unknown_calls: u64,
    /// Frames free when the first process was about to start.
    pub frames_free_at_start: u64,
    /// Pages of the kernel's heap at that moment, idle ones included: pages by which it has grown since are not free,
    /// and not lost.
    pub heap_pages_at_start: u64,
    /// Microseconds from the kernel's first instruction to the first process.
    pub boot_microseconds: u64,
    /// Whether a report is wanted at the end of the run.
    pub wanted: bool,
    /// Which unknown calls have been logged, a bit for each number below 512.
    pub logged_calls: [u64; 8],
}
