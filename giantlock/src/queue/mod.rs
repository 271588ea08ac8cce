//! The queue algorithms: who gets the lock next.
//!
//! Each is plain mutual exclusion, without owner, depth or recursion. The orderings follow one rule:
//! what hands the lock over is a release on the giving and an acquire on the taking side, so that all
//! that was written under the lock is seen by the next owner. Any further acquire or release is
//! explained where it stands, and all the rest is relaxed.

mod clh;
mod mcs;
mod tas;
mod ticket;

use crate::{Cpu, Wait};
pub use clh::Clh;
pub use mcs::Mcs;
pub use tas::Tas;
pub use ticket::Ticket;

/// Mutual exclusion between CPUs, in the order that the algorithm gives.
pub trait QueueLock: Default {
    /// The algorithm's name, as the user chooses it.
    const NAME: &'static str;

    /// Whether requests are granted in the order in which they came: if so, at most N−1 acquisitions by
    /// the other of N CPUs lie between the moment a CPU has asked (at the latest the first call
    /// of its hook) and its grant. If not, there is no bound.
    const FAIR: bool;

    /// Takes the lock, calling `wait` in every round of the spin. True if it had to wait.
    ///
    /// `cpu` must not have the lock, nor be waiting for it: the queue has one place for each CPU.
    fn lock(&self, cpu: Cpu, wait: &mut impl Wait) -> bool;

    /// Gives the lock to the CPU whose turn it is. `cpu` must have it.
    fn unlock(&self, cpu: Cpu);

    /// The CPU that has been given the lock last, or whose turn it is, if the algorithm can tell: see
    /// [`GiantLock::next`](crate::GiantLock::next).
    fn next(&self) -> Option<Cpu> {
        None
    }
}
