//! One CPU at a time: depth, owner, and bugs that are caught.

mod common;

use common::{cpu, idle};
use giantlock::{Acquired, Clh, Contender, GiantLock, Holder, MAX_CPUS, Mcs, QueueLock, Tas, Ticket};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Every algorithm can be a static.
static LOCKS: (GiantLock<Ticket>, GiantLock<Mcs>, GiantLock<Clh>, GiantLock<Tas>) =
    (GiantLock::new(Ticket::new()), GiantLock::new(Mcs::new()), GiantLock::new(Clh::new()), GiantLock::new(Tas::new()));

fn never() {
    panic!("a free lock needs no waiting");
}

fn depth_and_owner<L: QueueLock>() {
    let lock = GiantLock::<L>::default();
    let me = cpu(63);
    assert_eq!((lock.owner(), lock.depth(), lock.holder()), (None, 0, None));
    for depth in 1..=1000 {
        assert_eq!(lock.acquire(me, &mut never), Acquired { depth, contended: false });
        assert_eq!(lock.holder(), Some(Holder { cpu: me, depth }));
        assert_eq!((lock.owner(), lock.depth()), (Some(me), depth));
    }
    for left in (0..1000).rev() {
        assert_eq!(lock.depth(), left + 1);
        assert_eq!(lock.release(me), left);
    }
    assert_eq!((lock.owner(), lock.depth(), lock.holder()), (None, 0, None));
}

/// All CPUs in turn, in changing order: each finds the lock as the last CPU left it.
fn all_cpus_in_turn<L: QueueLock>() {
    let lock = GiantLock::<L>::default();
    for step in [1, 3, 7, 31] {
        for n in 0..3 * MAX_CPUS {
            let me = cpu(n * step % MAX_CPUS);
            assert_eq!(lock.acquire(me, &mut never), Acquired { depth: 1, contended: false });
            assert_eq!(lock.acquire(me, &mut never).depth, 2);
            assert_eq!(lock.owner(), Some(me));
            assert_eq!(lock.release(me), 1);
            assert_eq!(lock.release(me), 0);
        }
    }
}

fn message(of: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(of)).expect_err("a release by a non-owner panics");
    *panic.downcast::<String>().expect("the message has been formatted")
}

fn release_by_a_non_owner<L: QueueLock>() {
    let lock = GiantLock::<L>::default();
    let free = message(|| _ = lock.release(cpu(0)));
    assert_eq!(free, "CPU 0 releases the giant lock, which is free");

    assert_eq!(lock.acquire(cpu(2), &mut never).depth, 1);
    let foreign = message(|| _ = lock.release(cpu(5)));
    assert_eq!(foreign, "CPU 5 releases the giant lock, which CPU 2 holds");
    assert_eq!(lock.holder(), Some(Holder { cpu: cpu(2), depth: 1 }), "the attempt changes nothing");

    assert_eq!(lock.release(cpu(2)), 0);
    assert_eq!(message(|| _ = lock.release(cpu(2))), "CPU 2 releases the giant lock, which is free");
    assert!(!lock.acquire(cpu(5), &mut never).contended);
}

/// `contended` means that the hook was called, and the hook is called as long as the lock is taken.
fn the_hook_is_called_in_every_round<L: QueueLock>() {
    let lock = GiantLock::<L>::default();
    assert_eq!(lock.acquire(cpu(0), &mut idle).depth, 1);
    let mut rounds = 0;
    // The hook stands in for the holder: in the hundredth round it gives the lock back.
    let acquired = lock.acquire(cpu(1), &mut || {
        rounds += 1;
        assert_eq!(lock.owner(), (rounds <= 100).then_some(cpu(0)));
        if rounds == 100 {
            lock.release(cpu(0));
        }
    });
    assert_eq!(acquired, Acquired { depth: 1, contended: true });
    assert_eq!(rounds, 100);
    assert_eq!(lock.owner(), Some(cpu(1)));
}

per_algorithm! {
    ticket: Ticket { depth_and_owner, all_cpus_in_turn, release_by_a_non_owner, the_hook_is_called_in_every_round }
    mcs: Mcs { depth_and_owner, all_cpus_in_turn, release_by_a_non_owner, the_hook_is_called_in_every_round }
    clh: Clh { depth_and_owner, all_cpus_in_turn, release_by_a_non_owner, the_hook_is_called_in_every_round }
    tas: Tas { depth_and_owner, all_cpus_in_turn, release_by_a_non_owner, the_hook_is_called_in_every_round }
}

#[test]
fn names_and_fairness() {
    fn of<L: QueueLock>() -> (&'static str, bool) {
        (L::NAME, L::FAIR)
    }
    assert_eq!(
        [of::<Ticket>(), of::<Mcs>(), of::<Clh>(), of::<Tas>()],
        [("ticket", true), ("mcs", true), ("clh", true), ("tas", false)]
    );
}

#[test]
fn statics_start_free() {
    assert_eq!([LOCKS.0.owner(), LOCKS.1.owner(), LOCKS.2.owner(), LOCKS.3.owner()], [None; 4]);
    assert!(!LOCKS.2.acquire(cpu(7), &mut never).contended);
    assert_eq!(LOCKS.2.release(cpu(7)), 0);
}

#[test]
fn ids_are_below_64() {
    assert_eq!(MAX_CPUS, 64);
    assert_eq!(Contender::new(0).map(Contender::id), Some(0));
    assert_eq!(Contender::new(63).map(Contender::id), Some(63));
    assert_eq!(Contender::new(64), None);
    assert_eq!(Contender::new(255), None);
}
