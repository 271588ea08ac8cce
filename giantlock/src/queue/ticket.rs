//! The ticket lock: a CPU draws a number and waits until it is called. For example, the CPU that draws 7 while 5 is
//! served gets the lock after the CPUs with 5 and 6.
//!
//! Asking is one addition and handing over is another: no algorithm has a shorter path when no CPU waits. All waiters
//! read the one word that is written at each hand-over, so its line goes to every waiting CPU each time: with many
//! waiters a queue lock does better.

use super::QueueLock;
use crate::sync::{AtomicU32, MAX_CPUS, Ordering::*, Padded, array, const_fn};
use crate::{Contender, Wait, wait};

/// The ticket lock.
pub struct Ticket {
    /// The next number to be drawn. It wraps, which is harmless as fewer than 2³² CPUs wait.
    next: Padded<AtomicU32>,
    /// The number that has the lock. It has a line of its own, so that newcomers do not disturb the waiters.
    serving: Padded<AtomicU32>,
    /// The CPU that waits with each number, modulo [`MAX_CPUS`]. Only a CPU that has to wait writes its entry.
    waiters: Padded<[AtomicU32; MAX_CPUS]>,
}

impl Ticket {
    const_fn! {
        /// A free lock.
        pub fn new() -> Ticket {
            Ticket {
                next: Padded(AtomicU32::new(0)),
                serving: Padded(AtomicU32::new(0)),
                waiters: Padded(array![AtomicU32::new(0); MAX_CPUS]),
            }
        }
    }
}

impl Default for Ticket {
    fn default() -> Ticket {
        Ticket::new()
    }
}

impl QueueLock for Ticket {
    const NAME: &'static str = "ticket";
    const FAIR: bool = true;

    /// The number that the CPU has drawn.
    type Place = u32;

    #[inline]
    fn ask(&self, _: Contender) -> Option<u32> {
        // Relaxed: it matters only that no other CPU draws this number. `serving` carries the data.
        let number = self.next.0.fetch_add(1, Relaxed);
        (self.serving.0.load(Acquire) != number).then_some(number)
    }

    #[inline]
    fn wait(&self, cpu: Contender, number: u32, wait: &mut impl Wait) {
        self.waiters.0[number as usize % MAX_CPUS].store(u32::from(cpu.id()), Relaxed);
        wait::until(wait, |_| self.serving.0.load(Acquire) == number);
    }

    #[inline]
    fn unlock(&self, _: Contender) {
        // Only the owner writes `serving`, so the addition need not be atomic; but as one it is the shortest
        // sequentially consistent write there is.
        self.serving.0.fetch_add(1, SeqCst);
    }

    fn next(&self, _: Contender) -> Option<Contender> {
        let number = self.serving.0.load(Relaxed);
        Contender::new(self.waiters.0[number as usize % MAX_CPUS].load(Relaxed) as u8)
    }
}
