//! Names of processes and threads, which memory takes note of without knowing what they name.

use crate::arena::Id;
use core::num::NonZeroU64;

/// Stands in for `Process<R>` in names, which do not care what a process holds.
pub struct AnyProcess;

/// Names a [`Process`](crate::Process).
pub type ProcessId = Id<AnyProcess>;

/// Names a thread. One word: the name of the process whose main thread it is, or of a further thread with
/// [`ThreadId::FURTHER`] added to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ThreadId(pub(crate) NonZeroU64);

impl ThreadId {
    /// No slot has a number as large as that.
    pub(crate) const FURTHER: u64 = 1 << 31;

    /// The main thread of a process.
    pub const fn main(process: ProcessId) -> ThreadId {
        ThreadId(process.name())
    }
}
