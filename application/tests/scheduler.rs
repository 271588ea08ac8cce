//! The scheduler of application threads: each way from one place to another, and random operations beside a simple
//! model.
#![cfg(not(loom))]

use application::scheduler::{Cpu, Number, Place, Scheduler, Turn};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

/// More threads than the tests have at a time, but for the one that tries what comes then.
const MOST: usize = 6;
const CPUS: usize = 3;

/// A scheduler with a thread that is ready.
fn with_ready() -> (Scheduler<MOST>, Number) {
    let scheduler = Scheduler::new();
    let thread = scheduler.create().expect("room");
    assert_eq!(scheduler.activate(thread), None);
    (scheduler, thread)
}

/// What a CPU that has just come up finds.
fn next(scheduler: &Scheduler<MOST>, cpu: Cpu) -> Option<Number> {
    scheduler.spin();
    scheduler.end_spin(cpu)
}

#[test]
fn a_thread_is_made_runs_waits_and_goes() {
    let (scheduler, thread) = with_ready();
    assert_eq!((scheduler.place(thread), scheduler.ready()), (Place::Ready, 1));
    assert_eq!(next(&scheduler, 1), Some(thread));
    assert_eq!((scheduler.place(thread), scheduler.ready()), (Place::Running(1), 0));
    assert!(scheduler.is_running(thread));
    assert_eq!(next(&scheduler, 2), None);
    assert_eq!(scheduler.block(1, thread), Turn { next: None, wake: None });
    assert_eq!(scheduler.place(thread), Place::Blocked);
    assert_eq!(scheduler.hold(thread), None);
    scheduler.remove(thread);
    assert_eq!(scheduler.place(thread), Place::Free);
}

#[test]
fn an_answer_before_the_block_is_not_lost() {
    let (scheduler, thread) = with_ready();
    next(&scheduler, 1);
    assert_eq!(scheduler.activate(thread), None);
    assert_eq!(scheduler.place(thread), Place::Running(1));
    assert_eq!(scheduler.block(1, thread).next, Some(thread), "it goes on");
    // It has been used up.
    assert_eq!(scheduler.block(1, thread).next, None);
    assert_eq!(scheduler.place(thread), Place::Blocked);
}

#[test]
fn a_held_thread_waits_for_its_last_release() {
    let (scheduler, thread) = with_ready();
    assert_eq!((scheduler.hold(thread), scheduler.hold(thread)), (None, None));
    assert_eq!((scheduler.place(thread), scheduler.ready()), (Place::Blocked, 0));
    assert_eq!(scheduler.release(thread), None);
    assert!(scheduler.is_held(thread) && scheduler.wants_to_run(thread));
    assert_eq!(scheduler.release(thread), None);
    assert_eq!((scheduler.place(thread), scheduler.is_held(thread)), (Place::Ready, false));
}

#[test]
fn a_thread_held_on_a_cpu_leaves_it() {
    let (scheduler, thread) = with_ready();
    next(&scheduler, 2);
    assert_eq!(scheduler.hold(thread), Some(2));
    assert_eq!(scheduler.preempt(2, thread).next, None);
    assert_eq!((scheduler.place(thread), scheduler.wants_to_run(thread)), (Place::Blocked, true));
    assert_eq!(scheduler.release(thread), None);
    // One that has posted a message meanwhile is not ready before it is activated.
    assert_eq!(scheduler.end_spin(2), Some(thread));
    scheduler.hold(thread);
    assert_eq!(scheduler.block(2, thread).next, None);
    assert_eq!(scheduler.release(thread), None);
    assert_eq!(scheduler.place(thread), Place::Blocked);
}

#[test]
fn the_end_of_a_slice_lets_the_others_run_first() {
    let (scheduler, first) = with_ready();
    let second = scheduler.create().expect("room");
    assert_eq!(scheduler.activate(second), None);
    assert_eq!(next(&scheduler, 1), Some(first));
    assert_eq!(scheduler.preempt(1, first).next, Some(second));
    assert_eq!(scheduler.preempt(1, second).next, Some(first));
}

#[test]
fn numbers_end_and_come_back() {
    let scheduler = Scheduler::<MOST>::new();
    let all: Vec<_> = std::iter::from_fn(|| scheduler.create()).collect();
    assert_eq!(all.len(), MOST);
    scheduler.hold(all[3]);
    scheduler.remove(all[3]);
    assert_eq!((scheduler.create(), scheduler.create()), (Some(all[3]), None));
}

#[test]
fn a_removed_thread_is_not_rung() {
    let scheduler = Scheduler::<MOST>::new();
    let threads: [_; 3] = std::array::from_fn(|_| scheduler.create().expect("room"));
    assert_eq!(threads.map(|thread| scheduler.ring(thread)), [true, false, false]);
    assert!(!scheduler.ring(threads[1]), "once is enough");
    scheduler.hold(threads[1]);
    scheduler.remove(threads[1]);
    assert_eq!(std::iter::from_fn(|| scheduler.rung()).collect::<Vec<_>>(), [threads[2], threads[0]]);
    assert!(scheduler.ring(threads[0]), "the boot CPU has looked at them all");
}

/// A CPU that has found its thread is no longer one that looks for another.
#[test]
fn a_thread_is_not_left_to_a_cpu_that_has_one() {
    let (scheduler, first) = with_ready();
    let second = scheduler.create().expect("room");
    scheduler.spin();
    assert_eq!(scheduler.end_spin(1), Some(first));
    scheduler.spin();
    assert!(scheduler.halt(2));
    assert_eq!(scheduler.activate(second), Some(2));
}

/// What a CPU does in the model.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Doing {
    Runs(Number),
    Spins,
    /// It has halted; whether its interrupt is on the way.
    Halted(bool),
}

/// A thread of the model.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Thread {
    place: Place,
    holds: u8,
    wants: bool,
}

/// The scheduler, and beside it what it should be.
struct Pair {
    scheduler: Scheduler<MOST>,
    threads: BTreeMap<Number, Thread>,
    queue: VecDeque<Number>,
    rung: Vec<Number>,
    cpus: [Doing; CPUS],
}

impl Pair {
    fn new() -> Pair {
        let (scheduler, cpus) = (Scheduler::new(), [Doing::Spins; CPUS]);
        (0..CPUS).for_each(|_| scheduler.spin());
        Pair { scheduler, threads: BTreeMap::new(), queue: VecDeque::new(), rung: Vec::new(), cpus }
    }

    /// The thread that a random number names.
    fn pick(&self, which: u8) -> Option<Number> {
        let count = self.threads.len();
        (count > 0).then(|| *self.threads.keys().nth(usize::from(which) % count).expect("below the count"))
    }

    fn thread(&mut self, number: Number) -> &mut Thread {
        self.threads.get_mut(&number).expect("a thread of the model")
    }

    /// The model's thread becomes ready, unless it is held.
    fn make_ready(&mut self, number: Number) {
        let thread = self.thread(number);
        thread.wants = thread.holds > 0;
        thread.place = if thread.wants { Place::Blocked } else { Place::Ready };
        if !thread.wants {
            self.queue.push_back(number);
        }
    }

    /// A CPU is to be interrupted: it must have halted, and not be on its way already.
    fn wake(&mut self, wake: Option<Cpu>) {
        if let Some(cpu) = wake {
            assert_eq!(self.cpus[usize::from(cpu)], Doing::Halted(false));
            self.cpus[usize::from(cpu)] = Doing::Halted(true);
        }
    }

    /// What the boot CPU does with threads.
    fn on_boot_cpu(&mut self, operation: u8, which: u8) {
        if operation == 0 {
            let number = self.scheduler.create();
            assert_eq!(number.is_some(), self.threads.len() < MOST);
            let blocked = Thread { place: Place::Blocked, holds: 0, wants: false };
            assert!(number.is_none_or(|number| self.threads.insert(number, blocked).is_none()), "a number given twice");
            return;
        }
        let Some(number) = self.pick(which) else { return };
        let thread = *self.thread(number);
        match operation {
            1 => {
                match thread.place {
                    Place::Blocked => self.make_ready(number),
                    Place::Running(_) => self.thread(number).wants = true,
                    Place::Ready | Place::Free => {}
                }
                let wake = self.scheduler.activate(number);
                self.wake(wake);
            }
            2 if thread.holds < u8::MAX => {
                self.thread(number).holds += 1;
                if thread.place == Place::Ready {
                    self.queue.retain(|other| *other != number);
                    (self.thread(number).place, self.thread(number).wants) = (Place::Blocked, true);
                }
                let running = if let Place::Running(cpu) = thread.place { Some(cpu) } else { None };
                assert_eq!(self.scheduler.hold(number), running);
            }
            3 if thread.holds > 0 => {
                self.thread(number).holds -= 1;
                if thread.place == Place::Blocked && thread.holds == 1 && thread.wants {
                    self.make_ready(number);
                }
                let wake = self.scheduler.release(number);
                self.wake(wake);
            }
            4 if thread.holds > 0 && thread.place == Place::Blocked => {
                self.scheduler.remove(number);
                self.threads.remove(&number);
                self.rung.retain(|other| *other != number);
            }
            5 => {
                let first = self.rung.is_empty();
                let again = self.rung.contains(&number);
                if !again {
                    self.rung.push(number);
                }
                assert_eq!(self.scheduler.ring(number), first && !again);
            }
            6 => assert_eq!(self.scheduler.rung(), self.rung.pop()),
            _ => {}
        }
    }

    /// A step of an application processor.
    fn on(&mut self, cpu: Cpu, choice: u8) {
        let index = usize::from(cpu);
        match (self.cpus[index], choice % 2) {
            (Doing::Spins, 0) => {
                let found = self.scheduler.end_spin(cpu);
                self.runs(cpu, found);
            }
            (Doing::Spins, _) => {
                let halts = self.scheduler.halt(cpu);
                assert_eq!(halts, self.queue.is_empty());
                if halts {
                    self.cpus[index] = Doing::Halted(false);
                }
            }
            (Doing::Halted(_), _) => {
                self.scheduler.end_halt(cpu);
                self.cpus[index] = Doing::Spins;
            }
            (Doing::Runs(number), posts) => {
                let turn = if posts == 0 {
                    let answered = self.thread(number).wants;
                    self.thread(number).place = Place::Blocked;
                    if answered {
                        self.make_ready(number);
                    }
                    self.scheduler.block(cpu, number)
                } else {
                    self.make_ready(number);
                    self.scheduler.preempt(cpu, number)
                };
                self.runs(cpu, turn.next);
                self.wake(turn.wake);
            }
        }
    }

    /// A CPU without a thread has found this one, which is the first of the queue.
    fn runs(&mut self, cpu: Cpu, found: Option<Number>) {
        assert_eq!(found, self.queue.pop_front());
        self.cpus[usize::from(cpu)] = found.map_or(Doing::Spins, Doing::Runs);
        if let Some(number) = found {
            assert_eq!(self.thread(number).holds, 0, "a held thread never runs");
            self.thread(number).place = Place::Running(cpu);
        }
    }

    /// Each thread is where the model has it, and no ready one is left to nobody.
    fn check(&self) {
        for (&number, thread) in &self.threads {
            let found =
                (self.scheduler.place(number), self.scheduler.is_held(number), self.scheduler.wants_to_run(number));
            assert_eq!(found, (thread.place, thread.holds > 0, thread.wants), "thread {number}");
            assert_eq!(self.scheduler.is_running(number), self.cpus.contains(&Doing::Runs(number)));
        }
        let ready = self.queue.len();
        assert_eq!(self.scheduler.ready() as usize, ready);
        let looking = self.cpus.iter().filter(|doing| matches!(doing, Doing::Spins | Doing::Halted(true))).count();
        assert!(ready <= looking || !self.cpus.contains(&Doing::Halted(false)), "a CPU sleeps while a thread is ready");
    }
}

proptest! {
    #[test]
    fn each_thread_is_in_one_place(steps in prop::collection::vec((0_u8..16, any::<u8>()), 1..200)) {
        let mut pair = Pair::new();
        for (operation, which) in steps {
            match operation {
                0..7 => pair.on_boot_cpu(operation, which),
                // The CPUs make more steps than the boot CPU, or most threads would be held for ever.
                _ => pair.on(operation % CPUS as u8, which),
            }
            pair.check();
        }
    }
}
