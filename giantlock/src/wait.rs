//! What a CPU does while it waits.

use crate::sync::spin_loop;

/// Proof that the CPU has looked at the lock in this round, and its turn had not come.
///
/// A hook that puts its CPU to sleep takes two of these: one when it says that the CPU will sleep, one when the CPU
/// does. Each round makes one, so a look at the lock lies between, as [`GiantLock::release`](crate::GiantLock::release)
/// requires.
#[derive(Debug)]
pub struct Looked(());

/// The duties of a waiter, performed in every round of its spin.
///
/// A hook may take long: the CPU keeps its place in the queue, and notices that its turn has come when the hook
/// returns. If the hook never returns (the stop request of a panic), a fair lock is never given to the CPUs behind this
/// one either, so the whole machine must be stopping. It must not ask for the lock. For example, the kernel's hook
/// answers TLB shootdowns.
///
/// Any `FnMut()` is a hook.
pub trait Wait {
    /// How often a round looks whether the CPU's turn has come. If the hook takes as long as many looks, this should be
    /// more than one: while the hook runs, the CPU does not notice that the lock has been given to it. Each further
    /// look delays the duties.
    const LOOKS: u32 = 1;

    /// Whether the CPU has waited so long that no CPU must overtake it any more. Once true, it stays true.
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

/// Spins until `granted` returns true; the lock was not granted when the CPU asked. `granted` is told whether the CPU
/// is tired.
///
/// This is the loop of every queue algorithm, and of a lock of another kind whose waiters have these duties.
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
