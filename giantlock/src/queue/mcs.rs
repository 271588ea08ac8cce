//! The queue lock of Mellor-Crummey and Scott (1991): each CPU waits on its own cache line.
//!
//! The queue is a list from the owner to the CPU that asked last; the owner hands over by writing into its successor's
//! node. A CPU waits in one place at a time, so its id names its node and the list links ids: no pointers, no
//! allocation.

use super::QueueLock;
use crate::sync::{AtomicBool, AtomicU32, MAX_CPUS, Ordering::*, Padded, array, const_fn, spin_loop};
use crate::{Contender, Wait, wait};

/// No CPU; any other link is an id plus one.
const NOBODY: u32 = 0;

/// A CPU's place in the queue.
struct Node {
    /// The CPU that asked after this one, which writes it.
    next: AtomicU32,
    /// Whether this CPU must still wait. Cleared by its predecessor.
    waiting: AtomicBool,
}

/// The MCS lock.
pub struct Mcs {
    /// The CPU that asked last; [`NOBODY`] when the lock is free.
    tail: Padded<AtomicU32>,
    nodes: [Padded<Node>; MAX_CPUS],
}

impl Mcs {
    const_fn! {
        /// A free lock.
        pub fn new() -> Mcs {
            Mcs {
                tail: Padded(AtomicU32::new(NOBODY)),
                nodes: array![
                    Padded(Node { next: AtomicU32::new(NOBODY), waiting: AtomicBool::new(false) });
                    MAX_CPUS
                ],
            }
        }
    }

    /// The node that a link leads to.
    fn node(&self, link: u32) -> &Node {
        &self.nodes[(link as usize - 1) % MAX_CPUS].0
    }
}

impl Default for Mcs {
    fn default() -> Mcs {
        Mcs::new()
    }
}

impl QueueLock for Mcs {
    const NAME: &'static str = "mcs";
    const FAIR: bool = true;

    /// The CPU's node holds its place, so there is nothing to remember.
    type Place = ();

    #[inline]
    fn ask(&self, cpu: Contender) -> Option<()> {
        let me = cpu.index() as u32 + 1;
        let node = self.node(me);
        node.next.store(NOBODY, Relaxed);
        node.waiting.store(true, Relaxed);
        // Acquire: if the lock is free, this takes it over from the last owner's compare-exchange; if
        // not, it makes the predecessor's `next = NOBODY` come before our link to it. Release is the
        // other half of that: our own `next = NOBODY` comes before our successor's link.
        let predecessor = self.tail.0.swap(me, AcqRel);
        if predecessor == NOBODY {
            return None;
        }
        // Release: `waiting = true` comes before the predecessor's `waiting = false`.
        self.node(predecessor).next.store(me, Release);
        Some(())
    }

    #[inline]
    fn wait(&self, cpu: Contender, (): (), wait: &mut impl Wait) {
        let node = &self.nodes[cpu.index()].0;
        wait::until(wait, |_| !node.waiting.load(Acquire));
    }

    #[inline]
    fn unlock(&self, cpu: Contender) {
        let me = cpu.index() as u32 + 1;
        let node = self.node(me);
        // Acquire, here and below: the successor's `waiting = true` comes before our `waiting = false`.
        let mut successor = node.next.load(Acquire);
        if successor == NOBODY {
            // A failure tells only that another CPU has asked; `next` will name it.
            if self.tail.0.compare_exchange(me, NOBODY, Release, Relaxed).is_ok() {
                return;
            }
            // A CPU is between its swap and its link, a few instructions without interrupts or hook: it does not wait
            // for anything that could wait for us.
            successor = loop {
                match node.next.load(Acquire) {
                    NOBODY => spin_loop(),
                    successor => break successor,
                }
            };
        }
        self.node(successor).waiting.store(false, SeqCst);
    }

    /// The link to the successor stays until `cpu` asks again.
    fn next(&self, cpu: Contender) -> Option<Contender> {
        let link = self.nodes[cpu.index()].0.next.load(Relaxed);
        Contender::new(link.checked_sub(1)? as u8)
    }
}
