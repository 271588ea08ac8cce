//! The queue algorithms: who gets the lock next.
//!
//! Each is plain mutual exclusion, without owner, depth or recursion. The orderings follow one rule:
//! what hands the lock over is a release on the giving and an acquire on the taking side, so that all
//! that was written under the lock is seen by the next owner. Where a CPU that waits is given the lock, the
//! release is a sequentially consistent one, for those that sleep while they wait: see
//! [`GiantLock::release`](crate::GiantLock::release). Any further acquire or release is explained where it
//! stands, and all the rest is relaxed.

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
    /// of its hook) and its grant. If not, there is no bound but for a waiter that is [tired](Wait::is_tired).
    const FAIR: bool;

    /// What a CPU that must wait needs to know of its place in the queue.
    type Place;

    /// Asks for the lock. `None`: `cpu` has it. `Some`: it is in the queue and must [`wait`](QueueLock::wait).
    ///
    /// `cpu` must not have the lock, nor be waiting for it: the queue has one place for each CPU.
    fn ask(&self, cpu: Cpu) -> Option<Self::Place>;

    /// Waits for `cpu`'s turn, calling `wait` in every round of the spin, the first time before it looks.
    fn wait(&self, cpu: Cpu, place: Self::Place, wait: &mut impl Wait);

    /// Gives the lock to the CPU whose turn it is. `cpu` must have it.
    ///
    /// What hands the lock to a CPU that waits is one write, and sequentially consistent: see
    /// [`GiantLock::release`](crate::GiantLock::release).
    fn unlock(&self, cpu: Cpu);

    /// The CPU that `cpu` has just given the lock to: see [`GiantLock::next`](crate::GiantLock::next).
    fn next(&self, cpu: Cpu) -> Option<Cpu>;
}
