//! Every interleaving of the boot CPU and application processors, and every stale value that the memory model lets them
//! read, up to a bound on preemptions. Run with `RUSTFLAGS="--cfg loom" cargo test -p application --release --test
//! loom`.
//!
//! What a CPU may touch only while it runs a thread, its registers and its address space, is a cell of loom's, which
//! reports an access that is not ordered after the last owner's.
#![cfg(loom)]

use application::mailbox::{EMPTY, Mailbox, POSTED};
use application::reply;
use application::requests::Requests;
use application::scheduler::{Cpu, Number, Place, Scheduler};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering::*};
use loom::thread;

/// Explores with a bound on preemptions (`LOOM_MAX_PREEMPTIONS` overrides it).
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(run);
}

/// What belongs to whoever has a thread: a message, or a context.
struct Owned(UnsafeCell<u32>);

// SAFETY: loom ends the test before two could have the value at once.
unsafe impl Sync for Owned {}
// SAFETY: nothing in it is bound to a thread.
unsafe impl Send for Owned {}

impl Owned {
    fn new() -> Owned {
        Owned(UnsafeCell::new(0))
    }

    /// Counts a use up.
    fn touch(&self) -> u32 {
        // SAFETY: as above.
        self.0.with_mut(|value| unsafe {
            *value += 1;
            *value
        })
    }
}

/// A machine with two application processors and one application thread, which is ready.
struct Machine {
    scheduler: Scheduler<2>,
    thread: Number,
    mailbox: Mailbox,
    posted: AtomicU32,
    /// Whether a CPU watches for the answer.
    answer: AtomicU32,
    /// The thread's registers and message.
    context: Owned,
    requests: [Requests; 2],
}

impl Machine {
    fn new() -> Arc<Machine> {
        let (scheduler, mailbox, posted) = (Scheduler::new(), Mailbox::new(), AtomicU32::new(EMPTY));
        (0..2).for_each(|_| scheduler.spin());
        let thread = scheduler.create().expect("room");
        assert_eq!(scheduler.activate(thread), None);
        let requests = [Requests::new(), Requests::new()];
        let answer = AtomicU32::new(reply::WATCHED);
        Arc::new(Machine { scheduler, thread, mailbox, posted, answer, context: Owned::new(), requests })
    }

    /// The thread traps: its CPU, number 0, posts a message and blocks it. Whether the bootstrap thread is to be woken, and
    /// whether the CPU has got the thread back.
    fn post(&self) -> (bool, bool) {
        self.context.touch();
        let wakes = self.mailbox.post(&self.posted);
        (wakes, self.scheduler.block(0, self.thread).next.is_some())
    }

    /// A CPU runs the thread if it is ready, is interrupted, and comes to `end` unless that has taken the thread from
    /// it. Then it idles, or is in user mode if it has got the thread back.
    fn turn(&self, cpu: Cpu, end: impl FnOnce(&Machine, Cpu) -> bool) {
        let found = self.scheduler.end_spin(cpu).is_some();
        if found {
            self.context.touch();
        }
        if !(found && self.interrupted(cpu) && end(self, cpu)) {
            let requests = &self.requests[usize::from(cpu)];
            requests.pending().into_iter().for_each(|request| requests.answer(request));
        }
    }

    /// A CPU is interrupted while it runs the thread; whether it goes on with it.
    fn interrupted(&self, cpu: Cpu) -> bool {
        let requests = &self.requests[usize::from(cpu)];
        let request = requests.pending();
        let held = self.scheduler.is_held(self.thread);
        if held {
            assert_eq!(self.scheduler.preempt(cpu, self.thread).next, None);
        }
        // As in `remove`: the boot CPU may hold the thread and ask just now.
        thread::yield_now();
        request.into_iter().for_each(|request| requests.answer(request));
        !held
    }

    /// The end of a time slice; whether the CPU has got the thread back.
    fn end_of_slice(&self, cpu: Cpu) -> bool {
        self.context.touch();
        self.scheduler.preempt(cpu, self.thread).next.is_some()
    }

    /// The thread traps, and its CPU, number 0, watches for the answer before it blocks the thread: whether it has come.
    fn watch(&self) -> bool {
        self.context.touch();
        self.mailbox.post(&self.posted);
        for _ in 0..2 {
            if reply::has_come(&self.answer) {
                break;
            }
            if let Some(request) = self.requests[0].pending() {
                if self.scheduler.is_held(self.thread) {
                    break;
                }
                self.requests[0].answer(request);
            }
            thread::yield_now();
        }
        let has_come = !reply::give_up(&self.answer);
        if has_come {
            self.context.touch();
        } else {
            let _ = self.scheduler.block(0, self.thread);
        }
        has_come
    }

    /// The boot CPU takes the thread off its CPU and removes it. A CPU that has not answered is waited for to its
    /// `end`, after which its interrupt would come.
    fn remove(&self, end: impl FnOnce()) {
        let asked = self.scheduler.hold(self.thread).map(|cpu| {
            let requests = &self.requests[usize::from(cpu)];
            (requests, requests.ask())
        });
        // Loom looks at what the CPU does in between only if this yields.
        let mut looks = (0..2).inspect(|_| thread::yield_now());
        if asked.is_some_and(|(requests, request)| !looks.any(|_| requests.has_answered(request))) {
            end();
        }
        if let Place::Running(cpu) = self.scheduler.place(self.thread) {
            self.interrupted(cpu);
        }
        self.context.touch();
        self.scheduler.remove(self.thread);
    }
}

/// A bootstrap thread that is woken before the message is there sleeps again, and is woken again.
#[test]
fn a_wake_up_before_the_message_is_not_the_last() {
    model(250, || {
        let machine = Machine::new();
        machine.scheduler.end_spin(0);
        assert!(machine.mailbox.sleep(&machine.posted));
        let early = Arc::new(AtomicU32::new(0));
        let poster = thread::spawn({
            let (machine, early) = (machine.clone(), early.clone());
            move || {
                early.store(u32::from(machine.mailbox.rouse()), Release);
                machine.post().0
            }
        });
        let is_awake = early.load(Acquire) != 0;
        let sleeps_again = is_awake && machine.mailbox.sleep(&machine.posted);
        let wakes = poster.join().expect("the CPU has ended well");
        assert_eq!(early.load(Relaxed), 1, "it has slept until then");
        if is_awake && !sleeps_again {
            machine.context.touch();
        }
        assert!(wakes || !sleeps_again, "it sleeps beside a message");
    });
}

/// Either the poster sees that the bootstrap thread sleeps, or this sees the message, whole.
#[test]
fn no_wake_up_is_lost() {
    model(250, || {
        let machine = Machine::new();
        machine.scheduler.end_spin(0);
        let poster = thread::spawn({
            let machine = machine.clone();
            move || machine.post()
        });
        let sleeps = machine.mailbox.sleep(&machine.posted);
        if !sleeps {
            machine.context.touch();
        }
        let (wakes, _) = poster.join().expect("the CPU has ended well");
        assert!(wakes || !sleeps, "it sleeps beside a message");
    });
}

/// The answer may come before the CPU has blocked the thread.
#[test]
fn no_activation_is_lost() {
    model(250, || {
        let machine = Machine::new();
        machine.scheduler.end_spin(0);
        let poster = thread::spawn({
            let machine = machine.clone();
            move || machine.post()
        });
        let answers = machine.posted.load(Acquire) == POSTED;
        if answers {
            machine.context.touch();
            assert_eq!(machine.scheduler.activate(machine.thread), None, "nobody sleeps");
        }
        // Another CPU runs the thread while the first still has it in hand.
        let found = machine.scheduler.end_spin(1).is_some();
        if found {
            assert!(answers);
            machine.end_of_slice(1);
        }
        poster.join().expect("the CPU has ended well");
        // It may have come back to one of the two at once.
        let place = machine.scheduler.place(machine.thread);
        assert_eq!(place != Place::Blocked, answers);
        assert!(!found || place == Place::Running(1));
    });
}

/// The answer comes while the CPU watches, or when it has just given up.
#[test]
fn no_answer_is_lost() {
    model(250, || {
        let machine = Machine::new();
        machine.scheduler.end_spin(0);
        let poster = thread::spawn({
            let machine = machine.clone();
            move || machine.watch()
        });
        let answers = machine.posted.load(Acquire) == POSTED;
        if answers {
            machine.context.touch();
            if !reply::answer(&machine.answer) {
                assert_eq!(machine.scheduler.activate(machine.thread), None, "nobody sleeps");
            }
        }
        let taken = poster.join().expect("the CPU has ended well");
        // Without the answer's taking, the CPU has blocked the thread, and may have got it back at once.
        let expected: &[Place] = match (taken, answers) {
            (true, true) => &[Place::Running(0)],
            (false, true) => &[Place::Running(0), Place::Ready],
            (false, false) => &[Place::Blocked],
            (true, false) => panic!("an answer of nobody's"),
        };
        assert!(expected.contains(&machine.scheduler.place(machine.thread)));
    });
}

/// A CPU that spins takes a thread or halts: the thread, if it has.
fn look(scheduler: &Scheduler<2>, cpu: Cpu) -> Option<Number> {
    loop {
        if scheduler.ready() > 0
            && let Some(number) = scheduler.end_spin(cpu)
        {
            return Some(number);
        }
        if scheduler.halt(cpu) {
            return None;
        }
    }
}

/// CPU 1 spins and CPU 2 has halted while two threads become ready: no CPU stays halted beside a thread that no other
/// one looks for.
#[test]
fn no_thread_is_left() {
    model(5, || {
        let scheduler = Arc::new(Scheduler::<2>::new());
        let threads = [(); 2].map(|()| scheduler.create().expect("room"));
        scheduler.spin();
        assert!(scheduler.halt(2));
        scheduler.spin();
        let spinner = thread::spawn({
            let scheduler = scheduler.clone();
            move || look(&scheduler, 1)
        });
        let mut woken: Vec<_> = threads.iter().filter_map(|thread| scheduler.activate(*thread)).collect();
        let mut halted = vec![2];
        if spinner.join().expect("the CPU has ended well").is_none() {
            halted.push(1);
        }
        while let Some(cpu) = woken.pop() {
            assert!(halted.contains(&cpu), "only what has halted is woken");
            scheduler.end_halt(cpu);
            if look(&scheduler, cpu).is_some() {
                halted.retain(|other| *other != cpu);
            }
        }
        assert!(scheduler.ready() == 0 || halted.is_empty(), "a CPU sleeps while a thread is ready");
    });
}

/// Runs a turn of each CPU with `end`, and the removal of the thread on the boot CPU.
fn removed_beside<const CPUS: u8>(preemptions: usize, end: fn(&Machine, Cpu) -> bool) {
    model(preemptions, move || {
        let machine = Machine::new();
        let cpus = Vec::from_iter((0..CPUS).map(|cpu| {
            let machine = machine.clone();
            thread::spawn(move || machine.turn(cpu, end))
        }));
        let mut cpus = Some(cpus);
        let mut join = || {
            cpus.take().into_iter().flatten().for_each(|cpu| cpu.join().expect("the CPU has ended well"));
        };
        machine.remove(&mut join);
        join();
        assert_eq!(machine.scheduler.place(machine.thread), Place::Free);
        assert_eq!(machine.scheduler.ready(), 0);
    });
}

#[test]
fn a_thread_that_posts_is_removed_from_its_cpu() {
    removed_beside::<1>(250, |machine, _| machine.post().1);
}

#[test]
fn a_thread_whose_answer_is_watched_for_is_removed_from_its_cpu() {
    removed_beside::<1>(250, |machine, _| machine.watch());
}

#[test]
fn a_thread_that_computes_is_removed_from_its_cpu() {
    removed_beside::<1>(250, Machine::end_of_slice);
}

#[test]
fn a_thread_that_moves_is_removed_from_its_cpu() {
    removed_beside::<2>(3, Machine::end_of_slice);
}
