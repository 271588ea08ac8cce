//! Every interleaving of two and three CPUs, and every stale value that the memory model lets them
//! read, up to a bound on preemptions. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p giantlock --release --test loom`.
//!
//! Loom's cell reports any access that is not ordered after the last owner's, so "the data is visible
//! to the next owner" is checked, not sampled. A lost wake-up shows as an execution that never
//! ends, which loom reports as too many branches.
//!
//! Loom lets two waiters take turns for ever while the owner, able to run, does not. So from a waiter's
//! third fruitless round on, it follows one schedule, a fair one, instead of all: a round changes nothing that
//! the next could depend on.
#![cfg(loom)]

use giantlock::{Contender, GiantLock, Holder, Looked, QueueLock, Tas, Wait};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering::*, fence};
use loom::{hint, thread};

/// The lock and what it guards.
struct Shared<L> {
    lock: GiantLock<L>,
    value: UnsafeCell<Vec<u8>>,
    /// Words through which the tests' CPUs communicate outside the lock.
    asked: AtomicBool,
    request: AtomicBool,
    answer: AtomicBool,
}

impl<L: QueueLock> Shared<L> {
    fn new() -> Arc<Shared<L>> {
        let no = || AtomicBool::new(false);
        let (lock, value) = (GiantLock::default(), UnsafeCell::new(Vec::new()));
        Arc::new(Shared { lock, value, asked: no(), request: no(), answer: no() })
    }

    /// Calls `work` with the value. The caller holds the lock; loom fails the test if that does not keep other CPUs
    /// out.
    fn with<R>(&self, work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        // SAFETY: loom ends the test before two could have the value at once.
        self.value.with_mut(|value| work(unsafe { &mut *value }))
    }

    /// Takes the lock, writes the id down, gives the lock back.
    fn visit(&self, id: u8, hook: &mut impl FnMut()) {
        assert_eq!(self.lock.acquire(cpu(id), hook).depth, 1);
        self.with(|ids| ids.push(id));
        assert_eq!(self.lock.holder(), Some(Holder { cpu: cpu(id), depth: 1 }));
        assert_eq!(self.lock.release(cpu(id)), 0);
    }

    /// How many visits of how many CPUs there were, at the end.
    fn visits(&self) -> usize {
        assert_eq!(self.lock.holder(), None);
        self.with(|ids| ids.len())
    }
}

// SAFETY: as above; the other fields are shareable.
unsafe impl<L: Sync> Sync for Shared<L> {}
// SAFETY: nothing in it is bound to a thread.
unsafe impl<L: Send> Send for Shared<L> {}

fn cpu(id: u8) -> Contender {
    Contender::new(id).expect("an id below loom's few")
}

/// The hook of a waiter with `duties`; after some rounds of it loom explores no further alternatives.
fn waiter(mut duties: impl FnMut()) -> impl FnMut() {
    let mut rounds = 0;
    move || {
        duties();
        rounds += 1;
        if rounds == 3 {
            loom::skip_branch();
        }
    }
}

/// More preemptions than a run of a small model has steps.
const EVERY: usize = 250;

/// Explores with a bound on preemptions (`LOOM_MAX_PREEMPTIONS` overrides it).
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(run);
}

/// Runs `work` as CPUs 0 to `CPUS - 1`, CPU 0 on this thread.
fn run<const CPUS: u8, L: QueueLock + Send + Sync + 'static>(work: fn(&Shared<L>, u8)) -> Arc<Shared<L>> {
    let shared = Shared::<L>::new();
    let others = Vec::from_iter((1..CPUS).map(|id| {
        let shared = shared.clone();
        thread::spawn(move || work(&shared, id))
    }));
    work(&shared, 0);
    others.into_iter().for_each(|other| other.join().expect("the CPU has ended well"));
    shared
}

/// Mutual exclusion, visibility and progress; the second visits use the queue nodes again.
fn two_cpus_twice<L: QueueLock + Send + Sync + 'static>() {
    model(5, || {
        let shared = run::<2, L>(|shared, id| (0..2).for_each(|_| shared.visit(id, &mut waiter(|| {}))));
        assert_eq!(shared.visits(), 4);
    });
}

/// Mutual exclusion, visibility and progress for a queue of three: a hand-over while another CPU is just asking.
fn three_cpus<L: QueueLock + Send + Sync + 'static>() {
    model(3, || {
        let shared = run::<3, L>(|shared, id| shared.visit(id, &mut waiter(|| {})));
        assert_eq!(shared.visits(), 3);
    });
}

/// Inner acquisitions never wait and inner releases let no CPU in.
fn recursion<L: QueueLock + Send + Sync + 'static>() {
    model(EVERY, || {
        let shared = run::<2, L>(|shared, id| {
            assert_eq!(shared.lock.acquire(cpu(id), &mut waiter(|| {})).depth, 1);
            shared.with(|ids| ids.push(id));
            let again = shared.lock.acquire(cpu(id), &mut || panic!("the owner never waits"));
            assert_eq!((again.depth, again.contended), (2, false));
            shared.with(|ids| ids.push(id));
            assert_eq!(shared.lock.release(cpu(id)), 1);
            shared.with(|ids| ids.push(id));
            assert_eq!(shared.lock.release(cpu(id)), 0);
        });
        assert_eq!(shared.visits(), 6);
        shared.with(|ids| assert!(ids[..3] == [ids[0]; 3] && ids[3..] == [ids[3]; 3], "{ids:?}"));
    });
}

/// CPU 1 has asked when its hook is called; if CPU 2 calls after that, it comes after CPU 1.
fn nobody_is_overtaken<L: QueueLock + Send + Sync + 'static>() {
    model(3, || {
        let shared = run::<3, L>(|shared, id| match id {
            0 => shared.visit(0, &mut waiter(|| {})),
            1 => shared.visit(1, &mut waiter(|| shared.asked.store(true, Release))),
            _ => {
                let later = shared.asked.load(Acquire);
                assert_eq!(shared.lock.acquire(cpu(2), &mut waiter(|| {})).depth, 1);
                let first_served = shared.with(|ids| ids.contains(&1));
                assert!(!later || first_served, "CPU 2 has overtaken CPU 1");
                assert_eq!(shared.lock.release(cpu(2)), 0);
            }
        });
        assert_eq!(shared.visits(), 2);
    });
}

/// A shootdown: CPU 0 holds the lock until CPU 1 has answered, which may be waiting for that lock.
fn shootdown<L: QueueLock + Send + Sync + 'static>(answers_while_waiting: bool) {
    model(EVERY, move || {
        let shared = Shared::<L>::new();
        let other = shared.clone();
        let other = thread::spawn(move || {
            let answer = || {
                if other.request.load(Acquire) {
                    other.answer.store(true, Release);
                }
            };
            let mut hook = waiter(|| {
                if answers_while_waiting {
                    answer();
                }
            });
            other.visit(1, &mut hook);
            // At level 0 the request is an interrupt like any other.
            while !other.answer.load(Relaxed) {
                hint::spin_loop();
                answer();
            }
        });
        assert_eq!(shared.lock.acquire(cpu(0), &mut waiter(|| {})).depth, 1);
        shared.request.store(true, Release);
        while !shared.answer.load(Acquire) {
            hint::spin_loop();
        }
        assert_eq!(shared.lock.release(cpu(0)), 0);
        other.join().expect("the CPU has ended well");
        assert_eq!(shared.visits(), 1);
    });
}

fn a_waiter_answers<L: QueueLock + Send + Sync + 'static>() {
    shootdown::<L>(true);
}

fn a_deaf_waiter_hangs_both<L: QueueLock + Send + Sync + 'static>() {
    shootdown::<L>(false);
}

/// CPUs that halt while they wait and are woken by the CPU that gives the lock away: the order of operations of the
/// kernel's strategy (`Waiter` in kernel/src/strategies/waiting.rs and `leave` in giant.rs beside it).
struct Halting {
    /// CPUs that have halted or are about to; a bit for each.
    halted: AtomicU32,
    /// The interrupt that wakes a CPU: it stays until it has been taken.
    interrupts: [AtomicBool; 3],
}

impl Halting {
    /// A round of a waiter that has no patience at all.
    fn round(&self, id: u8, fence_first: bool) {
        let me = 1 << id;
        if self.halted.load(Relaxed) & me == 0 {
            self.halted.fetch_or(me, Release);
            if fence_first {
                fence(SeqCst);
            }
        } else {
            // The lock has been looked at since.
            let mut look = waiter(thread::yield_now);
            while !self.interrupts[id as usize].swap(false, Relaxed) {
                look();
            }
            self.halted.fetch_and(!me, Relaxed);
        }
    }

    /// Wakes the next CPU if it sleeps: CPU `id` has given the lock away.
    fn wake<L: QueueLock>(&self, lock: &GiantLock<L>, id: u8) {
        let halted = self.halted.load(SeqCst);
        if halted != 0 {
            let wanted = match lock.next(cpu(id)) {
                Some(next) => halted & 1 << next.id(),
                None if L::FAIR => 0,
                None => halted,
            };
            let each = self.interrupts.iter().enumerate();
            // A swap as in `round`: of a store, loom might let that one see nothing for ever.
            each.filter(|(id, _)| wanted >> id & 1 != 0).for_each(|(_, interrupt)| _ = interrupt.swap(true, Relaxed));
        }
    }
}

/// A waiter that has become tired as it says that it halts.
struct Sleeper<'a> {
    halting: &'a Halting,
    id: u8,
    fence_first: bool,
    rounds: u32,
}

impl Wait for Sleeper<'_> {
    fn is_tired(&self) -> bool {
        self.rounds > 0
    }

    fn round(&mut self, _: Looked) {
        self.rounds += 1;
        if self.rounds == 3 {
            loom::skip_branch();
        }
        self.halting.round(self.id, self.fence_first);
    }
}

/// No CPU sleeps on when its turn has come.
fn halting<const CPUS: u8, L: QueueLock + Send + Sync + 'static>(preemptions: usize, fence_first: bool) {
    model(preemptions, move || {
        let interrupts = core::array::from_fn(|_| AtomicBool::new(false));
        let halting = Arc::new(Halting { halted: AtomicU32::new(0), interrupts });
        let shared = Shared::<L>::new();
        let visit = move |id: u8, shared: &Shared<L>, halting: &Halting| {
            if shared.lock.acquire(cpu(id), &mut Sleeper { halting, id, fence_first, rounds: 0 }).contended {
                halting.halted.fetch_and(!(1 << id), Relaxed);
            }
            shared.with(|ids| ids.push(id));
            assert_eq!(shared.lock.release(cpu(id)), 0);
            halting.wake(&shared.lock, id);
        };
        let others = Vec::from_iter((1..CPUS).map(|id| {
            let (shared, halting) = (shared.clone(), halting.clone());
            thread::spawn(move || visit(id, &shared, &halting))
        }));
        visit(0, &shared, &halting);
        others.into_iter().for_each(|other| other.join().expect("the CPU has ended well"));
        assert_eq!(shared.visits(), CPUS.into());
    });
}

fn a_halted_waiter_is_woken<L: QueueLock + Send + Sync + 'static>() {
    halting::<2, L>(EVERY, true);
}

/// Of two CPUs that sleep, each is woken in its turn.
fn the_next_of_two_is_woken<L: QueueLock + Send + Sync + 'static>() {
    halting::<3, L>(2, true);
}

fn without_its_fence_it_sleeps_on<L: QueueLock + Send + Sync + 'static>() {
    halting::<2, L>(EVERY, false);
}

macro_rules! per_algorithm {
    ($($algorithm:ident: $queue:ident $(#[$overtaking:meta])*;)*) => {$(
        mod $algorithm {
            use giantlock::$queue;
            #[test] fn two_cpus_twice() { super::two_cpus_twice::<$queue>() }
            #[test] fn three_cpus() { super::three_cpus::<$queue>() }
            #[test] fn recursion() { super::recursion::<$queue>() }
            #[test] $(#[$overtaking])* fn nobody_is_overtaken() { super::nobody_is_overtaken::<$queue>() }
            #[test] fn a_waiter_answers() { super::a_waiter_answers::<$queue>() }
            #[test] #[should_panic(expected = "exceeded maximum number of branches")]
            fn a_deaf_waiter_hangs_both() { super::a_deaf_waiter_hangs_both::<$queue>() }
            #[test] fn a_halted_waiter_is_woken() { super::a_halted_waiter_is_woken::<$queue>() }
            #[test] #[should_panic(expected = "exceeded maximum number of branches")]
            fn without_its_fence_it_sleeps_on() { super::without_its_fence_it_sleeps_on::<$queue>() }
            #[test] fn the_next_of_two_is_woken() { super::the_next_of_two_is_woken::<$queue>() }
        }
    )*};
}

per_algorithm! {
    ticket: Ticket;
    mcs: Mcs;
    clh: Clh;
    tas: Tas #[should_panic(expected = "CPU 2 has overtaken CPU 1")];
}

/// Tired from its first round on; tells of its second, before which it has made its claim.
struct Tired<'a> {
    rounds: u32,
    claimed: &'a AtomicBool,
}

impl Wait for Tired<'_> {
    fn is_tired(&self) -> bool {
        true
    }

    fn round(&mut self, _: Looked) {
        self.rounds += 1;
        match self.rounds {
            2 => self.claimed.store(true, Release),
            3 => loom::skip_branch(),
            _ => {}
        }
    }
}

/// An owner that has seen a claim does not get the lock again before the CPU that has made it.
#[test]
fn a_tired_cpu_comes_next() {
    model(EVERY, || {
        let shared = run::<2, Tas>(|shared, id| {
            if id == 1 {
                let mut tired = Tired { rounds: 0, claimed: &shared.asked };
                assert_eq!(shared.lock.acquire(cpu(1), &mut tired).depth, 1);
                shared.with(|ids| ids.push(1));
                assert_eq!(shared.lock.release(cpu(1)), 0);
                return;
            }
            assert_eq!(shared.lock.acquire(cpu(0), &mut waiter(|| {})).depth, 1);
            let claimed = shared.asked.load(Acquire);
            assert_eq!(shared.lock.release(cpu(0)), 0);
            assert_eq!(shared.lock.acquire(cpu(0), &mut waiter(|| {})).depth, 1);
            let has_come = shared.with(|ids| ids.contains(&1));
            assert!(!claimed || has_come, "a tired CPU was overtaken");
            assert_eq!(shared.lock.release(cpu(0)), 0);
        });
        assert_eq!(shared.visits(), 1);
    });
}
