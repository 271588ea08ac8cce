//! The giant lock: one CPU at a time in the kernel (papers/001 section 3.1).
//!
//! A CPU asks for the lock when its execution level rises from 0 to 1 and releases it when the level falls to 0.
//! [`GiantLock`] counts the acquisitions in between, so the lock is recursive by construction, and taking it again is
//! free. Owner and depth live **outside** the queue lock, which knows nothing of recursion; so the algorithms are
//! interchangeable, and each of them is short.
//!
//! | algorithm | waits on | overtaking | costs |
//! | --- | --- | --- | --- |
//! | [`Ticket`] (the kernel's default) | one word, all CPUs | none: first come, first served | two cache lines |
//! | [`Mcs`] | its own node | none | one line per CPU |
//! | [`Clh`] | its predecessor's node | none | two lines per CPU |
//! | [`Tas`] | one word, all CPUs | **unbounded** until the waiter is [tired](Wait::is_tired), then N | two cache lines |
//!
//! With a fair algorithm, at most N−1 acquisitions by the other of N CPUs come between a CPU's request and its grant.
//! [`QueueLock::FAIR`] says whether an algorithm has that bound.
//!
//! ```
//! use giantlock::{Contender, GiantLock, Ticket};
//!
//! static LOCK: GiantLock<Ticket> = GiantLock::new(Ticket::new());
//!
//! let cpu = Contender::new(0).unwrap();
//! let mut answer = || { /* TLB shootdowns, the stop request */ };
//! assert!(!LOCK.acquire(cpu, &mut answer).contended);
//! assert_eq!(LOCK.acquire(cpu, &mut answer).depth, 2);
//! assert_eq!(LOCK.release(cpu), 1);
//! assert_eq!(LOCK.release(cpu), 0);
//! ```
//!
//! # What a waiter may do
//! The holder may itself be waiting until every CPU has answered a TLB shootdown. A CPU that only spins would never
//! answer, and the two CPUs would wait for each other for ever. So each algorithm calls a [`Wait`] hook in **every
//! round** of its spin, and the hook answers. The hook must not ask for the lock.
//!
//! # What it relies on
//! Only the CPU that a [`Contender`] names uses it, and no call for it begins while [`acquire`](GiantLock::acquire) or
//! [`release`](GiantLock::release) is under way for it: interrupts are off, or their handlers leave the lock alone.
//! Memory safety does not depend on this (the crate has no unsafe code); mutual exclusion does.
//!
//! # What it deliberately does not do
//! It guards no data: the kernel's boundary hands out `&mut Kernel` to the CPU that holds it. It measures nothing and
//! times nothing out; it says whether an acquisition was contended, and the hook, called in each round, can look at the
//! clock and at [`GiantLock::holder`].
//!
//! # How it is proved
//! ```text
//! cargo test -p giantlock                                                # one CPU, stress, fairness
//! cargo +nightly miri test -p giantlock                                  # the same, smaller
//! RUSTFLAGS="--cfg loom" cargo test -p giantlock --release --test loom   # the models
//! giantlock/weaken.sh                                                    # every ordering is needed
//! ```
//! The models (`tests/loom.rs`) take two and three CPUs through the interleavings and stale reads that the memory model
//! permits, up to a bound on preemptions. `weaken.sh` takes the orderings of the algorithms away one at a time, and
//! expects a model to fail each time. Loom treats a sequentially consistent access as acquire and release and no more;
//! [`GiantLock::release`] argues what the rest of it ensures.
#![no_std]
#![forbid(unsafe_code)]

mod contender;
mod giant;
pub mod queue;
mod sync;
mod wait;

pub use contender::Contender;
pub use giant::{Acquired, GiantLock, Holder};
pub use queue::{Clh, Mcs, QueueLock, Tas, Ticket};
pub use sync::MAX_CPUS;
pub use wait::{Looked, Wait, until};
