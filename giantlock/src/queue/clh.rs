//! The queue lock of Craig, Landin and Hagersten (1993): each CPU waits on its predecessor's node.
//!
//! The queue needs no links. Who asks puts its node at the tail and watches the one that was there;
//! who releases marks its own node and goes on with its predecessor's, which nobody else watches any
//! more. So handing over is one store, without a look at who follows. There is one node more than
//! there are CPUs, for the tail of the free lock.

use super::QueueLock;
use crate::sync::{AtomicBool, AtomicU32, MAX_CPUS, Ordering::*, Padded, array, const_fn};
use crate::{Cpu, Wait, wait};

/// What a CPU remembers from one call to the next. Its own CPU alone reads and writes it, so relaxed
/// accesses are all it takes.
struct Place {
    /// The node that is this CPU's for now.
    node: AtomicU32,
    /// The node before it in the queue, which becomes this CPU's on release; from then on the one that
    /// it has given away for that.
    predecessor: AtomicU32,
}

/// A node of the queue.
struct Node {
    /// Whether its CPU waits for the lock or has it.
    busy: AtomicBool,
    /// Who watches it, or has watched it last: written by those that do have to wait.
    watcher: AtomicU32,
}

/// The CLH lock.
pub struct Clh {
    /// The node of the last to have asked.
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
    fn ask(&self, cpu: Cpu) -> Option<u32> {
        let place = &self.places[cpu.index()].0;
        let node = place.node.load(Relaxed);
        self.node(node).busy.store(true, Relaxed);
        // Release: whoever finds our node at the tail finds it busy. Acquire: the same of our
        // predecessor's; the lock itself is taken over through `busy`.
        let predecessor = self.tail.0.swap(node, AcqRel);
        place.predecessor.store(predecessor, Relaxed);
        self.node(predecessor).busy.load(Acquire).then_some(predecessor)
    }

    #[inline]
    fn wait(&self, cpu: Cpu, predecessor: u32, wait: &mut impl Wait) {
        let predecessor = self.node(predecessor);
        predecessor.watcher.store(u32::from(cpu.id()), Relaxed);
        wait::until(wait, |_| !predecessor.busy.load(Acquire));
    }

    #[inline]
    fn unlock(&self, cpu: Cpu) {
        let place = &self.places[cpu.index()].0;
        let node = place.node.load(Relaxed);
        place.node.store(place.predecessor.load(Relaxed), Relaxed);
        place.predecessor.store(node, Relaxed);
        self.node(node).busy.store(false, SeqCst);
    }

    fn next(&self, cpu: Cpu) -> Option<Cpu> {
        let node = self.places[cpu.index()].0.predecessor.load(Relaxed);
        Cpu::new(self.node(node).watcher.load(Relaxed) as u8)
    }
}
