//! The queue algorithms: they decide which CPU gets the lock next.
//!
//! Each is plain mutual exclusion, without owner, depth or recursion. The orderings follow one rule: the write that
//! hands the lock over is a release and the read that takes it an acquire, so that the next owner sees all that was
//! written under the lock. If the lock is given to a CPU that waits, the release is a sequentially consistent one, for
//! CPUs that sleep while they wait: see [`GiantLock::release`](crate::GiantLock::release). Any further acquire or
//! release is explained where it stands; all other accesses are relaxed.
//!
//! For example, with three CPUs in the order 0, 2, 1 a ticket lock hands over from 0 to 2 and from 2 to 1, however long
//! each of them holds the lock.

mod clh;
mod mcs;
mod tas;
mod ticket;

use crate::{Contender, Wait};
pub use clh::Clh;
pub use mcs::Mcs;
pub use tas::Tas;
pub use ticket::Ticket;

/// Mutual exclusion between CPUs, in the order that the algorithm gives.
pub trait QueueLock: Default {
    /// The name by which the user chooses the algorithm.
    const NAME: &'static str;

    /// Whether requests are granted in the order in which they came: if so, at most N−1 acquisitions by
    /// the other of N CPUs lie between the moment a CPU has asked (at the latest the first call
    /// of its hook) and its grant. If not, there is no bound but for a waiter that is [tired](Wait::is_tired).
    const FAIR: bool;

    /// The place in the queue of a CPU that must wait.
    type Place;

    /// Asks for the lock. `None`: `cpu` has it. `Some`: it is in the queue and must [`wait`](QueueLock::wait).
    ///
    /// `cpu` must not have the lock, nor be waiting for it: the queue has one place for each CPU.
    fn ask(&self, cpu: Contender) -> Option<Self::Place>;

    /// Waits for `cpu`'s turn, calling `wait` in every round of the spin, and once before the first look.
    fn wait(&self, cpu: Contender, place: Self::Place, wait: &mut impl Wait);

    /// Gives the lock to the CPU whose turn it is. `cpu` must have it.
    ///
    /// One sequentially consistent write hands the lock to a CPU that waits: see
    /// [`GiantLock::release`](crate::GiantLock::release).
    fn unlock(&self, cpu: Contender);

    /// The CPU that `cpu` has just given the lock to: see [`GiantLock::next`](crate::GiantLock::next).
    fn next(&self, cpu: Contender) -> Option<Contender>;
}
