//! First come, first served: the order of grants, and how often a waiter is overtaken.
//!
//! A CPU has not asked before it calls `acquire`, and has asked at the latest when its hook is first
//! called. So a visit is stamped before the call, when it has surely asked, and when it is granted.

mod common;

use common::{Guarded, cpu, idle};
use giantlock::{GiantLock, Looked, QueueLock, Tas, Wait};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::thread;

const CPUS: usize = 8;
const VISITS: usize = if cfg!(miri) { 10 } else { 5_000 };

/// One visit: two moments by a common clock, and how many grants there had been at two moments.
struct Visit {
    called: u64,
    asked: u64,
    grants_when_asked: u64,
    grants_when_granted: u64,
}

/// Runs the CPUs against each other; the visits in the order of their grants.
fn record<L: QueueLock + Sync>() -> Vec<Visit> {
    let guarded = Guarded::<L, Vec<Visit>>::default();
    let clock = AtomicU64::new(0);
    let grants = AtomicU64::new(0);
    let tick = || clock.fetch_add(1, SeqCst);
    thread::scope(|scope| {
        for id in 0..CPUS {
            let (guarded, grants) = (&guarded, &grants);
            scope.spawn(move || {
                for _ in 0..VISITS {
                    let called = tick();
                    let first_round = Cell::new(None);
                    let mut hook = || {
                        if first_round.get().is_none() {
                            first_round.set(Some((tick(), grants.load(SeqCst))));
                        }
                        idle();
                    };
                    guarded.with(cpu(id), &mut hook, |visits, _| {
                        let grants_when_granted = grants.fetch_add(1, SeqCst);
                        let (asked, grants_when_asked) =
                            first_round.get().unwrap_or_else(|| (tick(), grants_when_granted));
                        visits.push(Visit { called, asked, grants_when_asked, grants_when_granted });
                    });
                }
            });
        }
    });
    let visits = guarded.into_inner();
    assert_eq!(visits.len(), CPUS * VISITS);
    visits
}

/// A CPU that calls after another CPU has surely asked is granted after it, and at most N−1 acquisitions by other CPUs
/// lie between request and grant.
fn order_and_bound<L: QueueLock + Sync>() {
    const { assert!(L::FAIR) };
    let visits = record::<L>();
    let mut earliest_asked_later = u64::MAX;
    for visit in visits.iter().rev() {
        assert!(visit.called < earliest_asked_later, "passed a CPU that had asked before this one called");
        earliest_asked_later = earliest_asked_later.min(visit.asked);
    }
    let most = visits.iter().map(|visit| visit.grants_when_granted - visit.grants_when_asked).max();
    println!("{}: overtaken at most {} times", L::NAME, most.expect("there are visits"));
    assert!(most < Some(CPUS as u64), "{most:?} acquisitions between request and grant, of {CPUS} CPUs");
}

/// CPUs that ask one after the other while the lock is held are granted in just that order.
fn a_queue_is_served_in_order<L: QueueLock + Sync>() {
    let guarded = Guarded::<L, Vec<usize>>::default();
    let last = if cfg!(miri) { 5 } else { 63 };
    let asked = [const { AtomicBool::new(false) }; 64];
    assert_eq!(guarded.lock.acquire(cpu(0), &mut idle).depth, 1);
    thread::scope(|scope| {
        for id in 1..=last {
            let (guarded, asked) = (&guarded, &asked[id]);
            scope.spawn(move || {
                let mut hook = || {
                    asked.store(true, Relaxed);
                    idle();
                };
                guarded.with(cpu(id), &mut hook, |order, _| order.push(id));
            });
            while !asked.load(Relaxed) {
                idle();
            }
        }
        assert_eq!(guarded.lock.release(cpu(0)), 0);
    });
    assert_eq!(guarded.into_inner(), Vec::from_iter(1..=last));
}

per_algorithm! {
    ticket: Ticket { order_and_bound, a_queue_is_served_in_order }
    mcs: Mcs { order_and_bound, a_queue_is_served_in_order }
    clh: Clh { order_and_bound, a_queue_is_served_in_order }
}

/// A waiter that is tired from its first round on, and signals each round.
struct Tired<Round>(Round);

impl<Round: FnMut()> Wait for Tired<Round> {
    fn is_tired(&self) -> bool {
        true
    }

    fn round(&mut self, _: Looked) {
        (self.0)();
    }
}

/// The owner that overtakes a waiter as long as it can is refused as soon as the waiter is tired.
#[test]
fn tas_is_handed_to_who_is_tired() {
    let lock = GiantLock::<Tas>::default();
    assert!(!lock.acquire(cpu(0), &mut idle).contended);
    let mut rounds = 0;
    let acquired = lock.acquire(
        cpu(1),
        &mut Tired(|| {
            rounds += 1;
            assert!(lock.ask(cpu(0)).is_ok(), "the owner has it once more");
            match rounds {
                // The claim follows the first round.
                1 => assert_eq!((lock.release(cpu(0)), lock.depth()), (1, 1)),
                2 => {
                    assert_eq!((lock.release(cpu(0)), lock.release(cpu(0))), (1, 0));
                    assert_eq!(lock.next(cpu(0)), Some(cpu(1)));
                    assert_eq!(lock.ask(cpu(0)), Err(()), "it was handed over, not freed");
                }
                _ => panic!("it was not handed over"),
            }
        }),
    );
    assert_eq!((acquired.contended, rounds), (true, 2));
    assert_eq!(lock.release(cpu(1)), 0);
    assert_eq!(lock.ask(cpu(0)), Ok(1), "nobody is tired any more");
}

/// CPUs that are tired take turns: at most N acquisitions by other CPUs follow a claim.
///
/// An owner counts itself only after it has acquired the lock. So a claim is judged only if it was made while the owner had
/// counted itself, and had not counted the end of its visit: all acquisitions before the claim are counted then.
#[test]
fn tas_does_not_starve_who_is_tired() {
    let guarded = Guarded::<Tas, u64>::default();
    let [grants, ends, most, judged] = [const { AtomicU64::new(0) }; 4];
    let all_counted = || {
        let (ended, granted) = (ends.load(SeqCst), grants.load(SeqCst));
        (granted == ended + 1 && ends.load(SeqCst) == ended).then_some(granted)
    };
    thread::scope(|scope| {
        for id in 0..CPUS {
            let (guarded, all_counted) = (&guarded, &all_counted);
            let (grants, ends, most, judged) = (&grants, &ends, &most, &judged);
            scope.spawn(move || {
                for _ in 0..VISITS {
                    // By the second round the claim is made.
                    let (rounds, claimed) = (Cell::new(0), Cell::new(None));
                    let mut hook = Tired(|| {
                        rounds.set(rounds.get() + 1);
                        if rounds.get() == 2 {
                            claimed.set(all_counted());
                        }
                        idle();
                    });
                    guarded.with(cpu(id), &mut hook, |count, _| {
                        let granted = grants.fetch_add(1, SeqCst);
                        if let Some(claimed) = claimed.get() {
                            judged.fetch_add(1, Relaxed);
                            most.fetch_max(granted - claimed, Relaxed);
                        }
                        // Other CPUs ask in the meantime.
                        idle();
                        *count += 1;
                        ends.fetch_add(1, SeqCst);
                    });
                }
            });
        }
    });
    assert_eq!(guarded.into_inner(), (CPUS * VISITS) as u64);
    let (most, judged) = (most.into_inner(), judged.into_inner());
    println!("tas: overtaken at most {most} times when tired, {judged} claims judged");
    assert!(judged > 0 && most <= CPUS as u64, "{most} acquisitions after one of {judged} claims, of {CPUS} CPUs");
}

/// Test-and-set has no bound for waiters that are not tired: a quick CPU overtakes one as often as it likes.
#[test]
fn tas_starves() {
    const { assert!(!Tas::FAIR) };
    let lock = GiantLock::<Tas>::default();
    assert!(!lock.acquire(cpu(0), &mut idle).contended);
    let mut overtaken = 0;
    let acquired = lock.acquire(cpu(1), &mut || {
        lock.release(cpu(0));
        if overtaken < 1000 {
            overtaken += 1;
            assert!(!lock.acquire(cpu(0), &mut idle).contended, "CPU 1 waits, and is passed");
        }
    });
    assert_eq!((acquired.contended, overtaken), (true, 1000));
}
