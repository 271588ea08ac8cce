//! What a CPU does while it waits.

use crate::sync::spin_loop;

/// The lock has been looked at in this round, and it was not the CPU's turn.
///
/// A hook that puts its CPU to sleep takes two of these: one when it says that the CPU will sleep, one when the CPU does.
/// Each round gives one, so a look at the lock lies between, as [`GiantLock::release`](crate::GiantLock::release) wants it.
#[derive(Debug)]
pub struct Looked(());

/// The duties of a waiter, seen to in every round of its spin.
///
/// A hook may take its time: the CPU keeps its place in the queue, and notices that its turn has come
/// when the hook returns. If it never returns (the stop request of a panic), a fair lock is never given
/// to the CPUs behind this one either, so the whole machine must be stopping. It must not ask for
/// the lock.
///
/// Any `FnMut()` is one.
pub trait Wait {
    /// How often a round looks whether it is the CPU's turn. Where the hook takes as long as many looks, more than
    /// one: while it runs nobody notices that the lock is there. Each further one lets the duties wait.
    const LOOKS: u32 = 1;

    /// Whether the CPU has waited for so long that others are not to overtake it any more. Once true, it stays true.
    ///
    /// Asked after each round, where the algorithm is not fair by itself.
    fn is_tired(&self) -> bool {
        false
    }

    /// Called once per round, after the CPU has asked for the lock and found it taken. The pause
    /// instruction is the lock's business.
    fn round(&mut self, looked: Looked);
}

impl<F: FnMut()> Wait for F {
    fn round(&mut self, _: Looked) {
        self()
    }
}

/// Spins until `granted`, which it was not when the CPU asked. It is told whether the CPU is tired.
///
/// The loop of every queue algorithm, and of a lock of another kind that owes its waiters the same.
#[inline]
pub fn until<W: Wait>(wait: &mut W, mut granted: impl FnMut(bool) -> bool) {
    loop {
        wait.round(Looked(()));
        let is_tired = wait.is_tired();
        for _ in 0..W::LOOKS {
            spin_loop();
            if granted(is_tired) {
                return;
            }
        }
    }
}
