//! Test-and-set: the CPU that comes first gets the free lock, until a waiter is tired.
//!
//! **Not fair.** There is no queue; a CPU may lose every race, and a CPU whose cache holds the line tends to win. The
//! algorithm is here to measure what fairness costs. A waiter reads until the lock looks free and only then writes
//! (test-and-test-and-set).
//!
//! No CPU loses for ever. A waiter that is tired ([`Wait::is_tired`]; in the kernel, one that has spun for long and
//! halts) would find the lock taken each time that it is awake. So it makes a *claim*: it becomes the *heir*, to which
//! the lock is handed over instead of being freed, or the one after the heir. From then on at most N acquisitions by
//! the other N−1 CPUs come before its own: one by a CPU that finds the lock freed by an owner that had not seen the
//! claim, and one by each other claimant, since heirs follow each other in the order of their numbers and the heir's
//! place is not empty between them.
//!
//! The owner releases the lock by writing the heir into its word, and `FREE` stands for no heir: so where no CPU is
//! tired, a release has as many instructions as if there were no claims.

use super::QueueLock;
use crate::sync::{AtomicU32, AtomicU64, Ordering::*, Padded, const_fn};
use crate::{Contender, Wait, wait};

/// The word of a lock that no CPU has. As the heir's tag: there is no heir.
const FREE: u32 = 0;

/// The word of a lock that was taken when it was free. A lock that was handed over has its owner's [tag](Contender::tag).
const TAKEN: u32 = u32::MAX;

/// The test-and-set lock. No bound on overtaking a waiter that is not tired.
pub struct Tas {
    word: Padded<AtomicU32>,
    /// The tag of the heir, the CPU that gets the lock next. It has a claim.
    heir: Padded<AtomicU32>,
    /// The CPUs with claims, a bit for each.
    claims: Padded<AtomicU64>,
}

impl Tas {
    const_fn! {
        /// A free lock.
        pub fn new() -> Tas {
            Tas {
                word: Padded(AtomicU32::new(FREE)),
                heir: Padded(AtomicU32::new(FREE)),
                claims: Padded(AtomicU64::new(0)),
            }
        }
    }
}

impl Tas {
    /// Takes the lock if it is free.
    #[inline]
    fn take(&self) -> bool {
        // The look is relaxed, being no more than a hint, and so is the attempt that fails. A compare-exchange fails
        // without a store, unlike a swap: so only owners write the word, each after the last.
        self.word.0.load(Relaxed) == FREE && self.word.0.compare_exchange(FREE, TAKEN, Acquire, Relaxed).is_ok()
    }

    /// Whether the lock was handed over to `cpu`, which waits with a claim.
    fn is_given_to(&self, cpu: Contender) -> bool {
        self.word.0.load(Acquire) == u32::from(cpu.tag())
    }

    /// Makes a claim for `cpu`, which has become tired, and makes it the heir if there is none.
    ///
    /// The claim and the look at the heir are sequentially consistent, and so are the heir that [`settle`](Tas::settle)
    /// leaves and its last look at the claims: each of two CPUs writes one word and reads the other, and one of them sees what
    /// the other wrote. Acquire and release would not do, but loom knows of no order over several words.
    fn claim(&self, cpu: Contender) {
        self.claims.0.fetch_or(1 << cpu.id(), SeqCst); // Beyond the models.
        self.inherit(cpu);
    }

    /// Makes `cpu` the heir if there is none.
    fn inherit(&self, cpu: Contender) {
        _ = self.heir.0.compare_exchange(FREE, cpu.tag().into(), SeqCst, SeqCst); // Beyond the models.
    }

    /// Withdraws the claim of `cpu`, which has the lock now, and makes the next claimant the heir.
    ///
    /// The heir's place is empty only where no CPU had a claim when this one withdrew its own. Otherwise a CPU that
    /// claims at that moment could inherit, again and again, before CPUs that have waited for longer.
    fn settle(&self, cpu: Contender) {
        let mine = 1 << cpu.id();
        // A claim that comes later is seen by the next CPU that settles, or below.
        let others = self.claims.0.fetch_and(!mine, Relaxed) & !mine;
        let next = after(cpu, others);
        let heir = next.map_or(FREE, |next| next.tag().into());
        // A CPU that took the lock when it was free need not be the heir; then another one is, and stays that.
        let was_heir = self.heir.0.compare_exchange(cpu.tag().into(), heir, SeqCst, Relaxed).is_ok(); // Beyond the models.
        if was_heir && next.is_none() {
            // A CPU that claimed between the two steps still found this CPU as the heir, and left it at that. So this CPU
            // looks for such a claim once more, and makes its owner the heir.
            let claims = self.claims.0.load(SeqCst); // Beyond the models.
            after(cpu, claims).into_iter().for_each(|next| self.inherit(next));
        }
    }
}

/// The CPU of a set that follows `cpu` in the order of numbers, beginning anew after the last.
fn after(cpu: Contender, cpus: u64) -> Option<Contender> {
    let above = u32::from(cpu.id()) + 1;
    let next = (above + cpus.rotate_right(above).trailing_zeros()) % u64::BITS;
    Contender::new(next as u8).filter(|_| cpus != 0)
}

impl Default for Tas {
    fn default() -> Tas {
        Tas::new()
    }
}

impl QueueLock for Tas {
    const NAME: &'static str = "tas";
    const FAIR: bool = false;

    /// There is no queue, so there is no place in it.
    type Place = ();

    #[inline]
    fn ask(&self, _: Contender) -> Option<()> {
        (!self.take()).then_some(())
    }

    #[inline]
    fn wait(&self, cpu: Contender, (): (), wait: &mut impl Wait) {
        let mut claimed = false;
        wait::until(wait, |is_tired| {
            if is_tired && !claimed {
                claimed = true;
                self.claim(cpu);
            }
            self.take() || claimed && self.is_given_to(cpu)
        });
        if claimed {
            self.settle(cpu);
        }
    }

    #[inline]
    fn unlock(&self, _: Contender) {
        self.word.0.store(self.heir.0.load(Relaxed), SeqCst);
    }

    /// The heir to which the lock was handed over, until it is done with it. No other CPU's turn has come.
    fn next(&self, _: Contender) -> Option<Contender> {
        Contender::with_tag(self.word.0.load(Relaxed))
    }
}
