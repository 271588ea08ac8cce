//! Names of processes and threads. They are defined apart from both types because the memory subsystem uses them too:
//! for example, to say which thread a fork at a preemption point belongs to, without knowing what a thread is.

use crate::arena::Id;
use core::num::NonZeroU64;

/// Stands in for `Process<R>` in a [`ProcessId`], so that the name of a process does not depend on `R`, the resources
/// that the process holds.
pub struct AnyProcess;

/// Names a [`Process`](crate::Process).
pub type ProcessId = Id<AnyProcess>;

/// Names a thread, in one word: for a main thread the name of its process; for a further thread the name of its control
/// block plus [`ThreadId::FURTHER`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ThreadId(pub(crate) NonZeroU64);

impl ThreadId {
    /// Marks the name of a further thread. It cannot be part of a slot's number: no arena has that many slots.
    pub(crate) const FURTHER: u64 = 1 << 31;

    /// The main thread of a process.
    pub const fn main(process: ProcessId) -> ThreadId {
        ThreadId(process.name())
    }
}
