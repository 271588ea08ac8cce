//! The queue lock of Craig, Landin and Hagersten (1993): each CPU waits on its predecessor's node.
//!
//! The queue needs no links. A CPU that asks puts its node at the tail and watches the node that was there. A CPU that
//! releases marks its own node and takes its predecessor's for the next time, as no CPU watches that any more. So a
//! hand-over is one store, without a look at the successor. There is one node more than there are CPUs, for the tail of
//! the free lock.

use super::QueueLock;
use crate::sync::{AtomicBool, AtomicU32, MAX_CPUS, Ordering::*, Padded, array, const_fn};
use crate::{Contender, Wait, wait};

/// A CPU's state between two calls. Only that CPU reads and writes it, so relaxed accesses suffice.
struct Place {
    /// The node that this CPU uses for now.
    node: AtomicU32,
    /// The node before it in the queue, which this CPU takes over on release; after that, the node that it has given
    /// away in exchange.
    predecessor: AtomicU32,
}

/// A node of the queue.
struct Node {
    /// Whether its CPU waits for the lock or has it.
    busy: AtomicBool,
    /// The CPU that watches the node, or has watched it last. Only a CPU that has to wait writes it.
    watcher: AtomicU32,
}

/// The CLH lock.
pub struct Clh {
    /// The node of the CPU that asked last.
    tail: Padded<AtomicU32>,
    nodes: [Padded<Node>; MAX_CPUS + 1],
    places: [Padded<Place>; MAX_CPUS],
}

impl Clh {
    const_fn! {
        /// A free lock.
        pub fn new() -> Clh {
            let mut places = array![
                Padded(Place { node: AtomicU32::new(0), predecessor: AtomicU32::new(0) });
                MAX_CPUS
            ];
            // Node 0 begins as the tail, so CPU n begins with node n + 1.
            let mut cpu = 0;
            while cpu < MAX_CPUS {
                places[cpu].0.node = AtomicU32::new(cpu as u32 + 1);
                cpu += 1;
            }
            Clh {
                tail: Padded(AtomicU32::new(0)),
                nodes: array![
                    Padded(Node { busy: AtomicBool::new(false), watcher: AtomicU32::new(0) });
                    MAX_CPUS + 1
                ],
                places,
            }
        }
    }
}

impl Clh {
    fn node(&self, number: u32) -> &Node {
        &self.nodes[number as usize].0
    }
}

impl Default for Clh {
    fn default() -> Clh {
        Clh::new()
    }
}

impl QueueLock for Clh {
    const NAME: &'static str = "clh";
    const FAIR: bool = true;

    /// The predecessor's node.
    type Place = u32;

    #[inline]
    fn ask(&self, cpu: Contender) -> Option<u32> {
        let place = &self.places[cpu.index()].0;
        let node = place.node.load(Relaxed);
        self.node(node).busy.store(true, Relaxed);
        // Release: a CPU that finds our node at the tail finds it busy. Acquire: we find our predecessor's node busy;
        // the lock itself is taken over through `busy`.
        let predecessor = self.tail.0.swap(node, AcqRel);
        place.predecessor.store(predecessor, Relaxed);
        self.node(predecessor).busy.load(Acquire).then_some(predecessor)
    }

    #[inline]
    fn wait(&self, cpu: Contender, predecessor: u32, wait: &mut impl Wait) {
        let predecessor = self.node(predecessor);
        predecessor.watcher.store(u32::from(cpu.id()), Relaxed);
        wait::until(wait, |_| !predecessor.busy.load(Acquire));
    }

    #[inline]
    fn unlock(&self, cpu: Contender) {
        let place = &self.places[cpu.index()].0;
        let node = place.node.load(Relaxed);
        place.node.store(place.predecessor.load(Relaxed), Relaxed);
        place.predecessor.store(node, Relaxed);
        self.node(node).busy.store(false, SeqCst);
    }

    fn next(&self, cpu: Contender) -> Option<Contender> {
        let node = self.places[cpu.index()].0.predecessor.load(Relaxed);
        Contender::new(self.node(node).watcher.load(Relaxed) as u8)
    }
}
