//! The recursive lock around a queue lock: it keeps the holder and how often that CPU has taken the lock.

use crate::contender::ONCE;
use crate::sync::{AtomicU32, Ordering::Relaxed, Padded, const_fn};
use crate::{Contender, QueueLock, Wait};

/// The result of an acquisition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the depth tells whether this was the entry to the kernel"]
pub struct Acquired {
    /// How often the CPU now holds the lock: 1 after its first acquisition.
    pub depth: u32,
    /// Whether the CPU had to wait, and so whether the hook was called.
    pub contended: bool,
}

/// The CPU that holds the lock, and how often: a snapshot, consistent in itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The CPU.
    pub cpu: Contender,
    /// Acquisitions not yet released, at least 1.
    pub depth: u32,
}

/// The giant lock, recursive, over the queue algorithm `L`.
///
/// Owner and depth share one word, so that a reader never sees one holder's id with the next holder's depth: the
/// owner's id plus one in the low byte, the depth above it; 0 when the lock is free. For example, CPU 2 at depth 1 is
/// 0x103.
///
/// All accesses to the word are relaxed. The CPU that holds the lock is its only writer, and a CPU asks of the word
/// only "is it me?". If the word says so, that CPU wrote it itself and has not released the lock since. If not, then
/// any value, even a stale one, leads to the queue lock, whose orderings make one owner's writes, this word's among
/// them, visible to the next.
pub struct GiantLock<L> {
    holder: Padded<AtomicU32>,
    queue: L,
}

/// The lock is free.
const FREE: u32 = 0;

impl<L> GiantLock<L> {
    const_fn! {
        /// Makes a free lock over `queue`, which must be free and used for nothing else.
        pub fn new(queue: L) -> GiantLock<L> {
            GiantLock { holder: Padded(AtomicU32::new(FREE)), queue }
        }
    }

    /// The CPU that holds the lock. Unless that is the caller, the answer may be out of date: good for a report, not
    /// for a decision.
    pub fn holder(&self) -> Option<Holder> {
        let word = self.holder.0.load(Relaxed);
        let cpu = Contender::with_tag(u32::from(word as u8))?;
        Some(Holder { cpu, depth: word / ONCE })
    }

    /// The CPU that holds the lock; see [`holder`](GiantLock::holder).
    pub fn owner(&self) -> Option<Contender> {
        self.holder().map(|holder| holder.cpu)
    }

    /// How often the lock is held, 0 if it is free; see [`holder`](GiantLock::holder).
    pub fn depth(&self) -> u32 {
        self.holder().map_or(0, |holder| holder.depth)
    }
}

impl<L: QueueLock> GiantLock<L> {
    /// Takes the lock for `cpu`, once more if `cpu` has it already. While `cpu` waits, `wait` is called in every round.
    #[inline]
    pub fn acquire(&self, cpu: Contender, wait: &mut impl Wait) -> Acquired {
        match self.ask(cpu) {
            Ok(depth) => Acquired { depth, contended: false },
            Err(place) => {
                self.wait(cpu, place, wait);
                Acquired { depth: 1, contended: true }
            }
        }
    }

    /// The first half of [`acquire`](GiantLock::acquire), for a caller that takes another path after a wait. `Ok`:
    /// `cpu` has the lock, at this depth. `Err`: `cpu` is in the queue, and [`wait`](GiantLock::wait) is its next call.
    #[inline]
    pub fn ask(&self, cpu: Contender) -> Result<u32, L::Place> {
        let word = self.holder.0.load(Relaxed);
        if word as u8 == cpu.tag() {
            self.holder.0.store(word + ONCE, Relaxed);
            return Ok(word / ONCE + 1);
        }
        match self.queue.ask(cpu) {
            None => {
                self.holder.0.store(cpu.holds_once(), Relaxed);
                Ok(1)
            }
            Some(place) => Err(place),
        }
    }

    /// The second half of [`acquire`](GiantLock::acquire): waits for the lock, at the place that
    /// [`ask`](GiantLock::ask) has returned.
    #[inline]
    pub fn wait(&self, cpu: Contender, place: L::Place, wait: &mut impl Wait) {
        self.queue.wait(cpu, place, wait);
        self.holder.0.store(cpu.holds_once(), Relaxed);
    }

    /// The waiter that `cpu` has given the lock to with its last [`release`](GiantLock::release). To be called before
    /// `cpu` asks again. `None`: to no CPU; with an algorithm that is not [`FAIR`](QueueLock::FAIR), to the CPU that
    /// comes first.
    ///
    /// It serves to wake waiters that sleep. It never misses a sleeping CPU that has been given the lock, but may name
    /// a CPU that does not sleep, or does not wait any more.
    pub fn next(&self, cpu: Contender) -> Option<Contender> {
        self.queue.next(cpu)
    }

    /// Takes back one acquisition of `cpu`'s, and with the last one gives the lock away. Returns the depth that is
    /// left: 0 when the lock has been given away.
    ///
    /// # Waiters that sleep
    /// The hook may put its CPU to sleep, if the CPU that gives the lock away wakes it. Each side takes two steps:
    ///
    /// | the CPU that waits | the CPU that gives the lock away |
    /// | --- | --- |
    /// | 1. says that it will sleep | 1. hands over: **this call** |
    /// | *a sequentially consistent fence* | |
    /// | 2. looks at the lock, sleeps if it is not its turn | 2. looks for sleepers, by a **sequentially consistent load** |
    ///
    /// It must not happen that both look too early. The write that hands over to a waiter is sequentially consistent
    /// here. All such accesses and fences have one order that every CPU agrees on, and each CPU's own are in program
    /// order in it. So there are two cases.
    /// - *The fence comes before the handing over*, and so before the look for sleepers that follows it.
    ///   A sequentially consistent load sees what was written before a fence that precedes it: the waiter
    ///   is seen, and woken.
    /// - *The handing over comes before the fence.* A load after a fence sees the sequentially consistent writes that
    ///   precede it, or later ones: the waiter sees that the lock has been handed over, and does not go to sleep. A
    ///   later write is possible only without a queue: another CPU has taken the lock first, and when that CPU gives it
    ///   away this argument holds for its release.
    ///
    /// (In the words of C++20, [atomics.order] paragraph 4, which is Rust's memory model: a look that missed the
    /// other side's write would be coherence-ordered before it, and so, by 4.2 in the first case and 4.3 in the
    /// second, be the other way round in the order than supposed.)
    ///
    /// So the caller puts no fence in between. On x86 the write is one locked instruction, which lets no later load
    /// pass (SDM volume 3, section 9.2.3.9), and the load an ordinary one. The waiter says that it sleeps with a write
    /// that is a release at least: a CPU that sees it sees also what [`next`](GiantLock::next) reads. Where the lock is
    /// given to no CPU there was no waiter, and the write need not be sequentially consistent.
    ///
    /// # Panics
    /// If `cpu` does not hold the lock, which is a bug in the kernel.
    #[inline]
    pub fn release(&self, cpu: Contender) -> u32 {
        let word = self.holder.0.load(Relaxed);
        if word != cpu.holds_once() {
            return self.release_inner(cpu, word);
        }
        // The word is cleared before the queue lock is released, or the store could wipe out the next owner's word.
        self.holder.0.store(FREE, Relaxed);
        self.queue.unlock(cpu);
        0
    }

    /// The rest of [`release`](GiantLock::release): the lock stays with `cpu`.
    #[cold]
    fn release_inner(&self, cpu: Contender, word: u32) -> u32 {
        if word as u8 != cpu.tag() {
            not_the_owner(cpu, self.owner());
        }
        self.holder.0.store(word - ONCE, Relaxed);
        word / ONCE - 1
    }
}

impl<L: QueueLock> Default for GiantLock<L> {
    fn default() -> GiantLock<L> {
        GiantLock::new(L::default())
    }
}

#[cold]
#[inline(never)]
fn not_the_owner(cpu: Contender, owner: Option<Contender>) -> ! {
    match owner {
        Some(owner) => panic!("CPU {} releases the giant lock, which CPU {} holds", cpu.id(), owner.id()),
        None => panic!("CPU {} releases the giant lock, which is free", cpu.id()),
    }
}
