//! Many CPUs at once, on the host's threads: mutual exclusion, recursion, the waiter's duties.

mod common;

use common::{Guarded, cpu, idle};
use giantlock::QueueLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::thread;

const CPUS: usize = 8;
const VISITS: u64 = if cfg!(miri) { 20 } else { 20_000 };

/// A plain counter loses increments unless its visitors exclude one another.
fn exclusion<L: QueueLock + Sync>() {
    let guarded = Guarded::<L, u64>::default();
    let contended = AtomicU64::new(0);
    thread::scope(|scope| {
        for id in 0..CPUS {
            let (guarded, contended) = (&guarded, &contended);
            scope.spawn(move || {
                for _ in 0..VISITS {
                    let mut rounds = 0;
                    let mut hook = || {
                        rounds += 1;
                        idle();
                    };
                    let said = guarded.with(cpu(id), &mut hook, |count, acquired| {
                        *count += 1;
                        acquired.contended
                    });
                    assert_eq!(said, rounds > 0, "contended means that the hook was called");
                    contended.fetch_add(said as u64, Relaxed);
                }
            });
        }
    });
    assert_eq!(guarded.into_inner(), CPUS as u64 * VISITS);
    println!("{}: {} of {} visits contended", L::NAME, contended.into_inner(), CPUS as u64 * VISITS);
}

/// Nested acquisitions keep other CPUs out until the last one is released.
fn recursion<L: QueueLock + Sync>() {
    let guarded = Guarded::<L, [u64; 2]>::default();
    thread::scope(|scope| {
        for id in 0..CPUS {
            let guarded = &guarded;
            scope.spawn(move || {
                for visit in 0..VISITS / 4 {
                    guarded.with(cpu(id), &mut idle, |pair, _| {
                        pair[0] += 1;
                        let levels = 1 + (visit % 3) as u32;
                        for depth in 2..2 + levels {
                            let again = guarded.lock.acquire(cpu(id), &mut || panic!("the owner never waits"));
                            assert_eq!((again.depth, again.contended), (depth, false));
                        }
                        for left in (1..1 + levels).rev() {
                            assert_eq!(guarded.lock.release(cpu(id)), left);
                        }
                        // After nested releases the lock is still ours.
                        pair[1] += 1;
                        assert_eq!(pair[0], pair[1]);
                    });
                }
            });
        }
    });
    assert_eq!(guarded.into_inner(), [CPUS as u64 * (VISITS / 4); 2]);
}

/// Each owner interrupts all other CPUs and waits, inside the lock, until all have answered, as a TLB shootdown does.
/// It ends only because CPUs that spin answer too.
fn waiters_answer<L: QueueLock + Sync>() {
    let guarded = Guarded::<L, u64>::default();
    // Per CPU: whether a request is pending, and whether the CPU has finished (and is not asked any more).
    let requests: [AtomicBool; CPUS] = Default::default();
    let finished: [AtomicBool; CPUS] = Default::default();
    let shootdowns = VISITS / 40;
    thread::scope(|scope| {
        for id in 0..CPUS {
            let (guarded, requests, finished) = (&guarded, &requests, &finished);
            scope.spawn(move || {
                let mut answer = || {
                    requests[id].store(false, Release);
                    idle();
                };
                for _ in 0..shootdowns {
                    guarded.with(cpu(id), &mut answer, |count, _| {
                        let others = || (0..CPUS).filter(|&other| other != id);
                        others().for_each(|other| requests[other].store(true, Release));
                        for other in others() {
                            while requests[other].load(Acquire) && !finished[other].load(Acquire) {
                                idle();
                            }
                        }
                        *count += 1;
                    });
                }
                finished[id].store(true, Release);
            });
        }
    });
    assert_eq!(guarded.into_inner(), CPUS as u64 * shootdowns);
}

per_algorithm! {
    ticket: Ticket { exclusion, recursion, waiters_answer }
    mcs: Mcs { exclusion, recursion, waiters_answer }
    clh: Clh { exclusion, recursion, waiters_answer }
    tas: Tas { exclusion, recursion, waiters_answer }
}
