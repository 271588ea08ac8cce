//! Threads that wait at several files at once, against a model: which thread waits where, and for what.

use super::scheduling::{container, take_ready};
use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::context::ExtendedState;
use crate::tasks::poll::ROW;
use crate::tasks::thread::{State, Thread};
use crate::tasks::wait::Resume;
use cpulocal::Cpu;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::vec::Vec;

const CPU: Cpu = Cpu(0);
const FILES: usize = 5;
const THREADS: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    /// The thread that runs next polls these files for these events, until a deadline if there is one.
    Poll(Vec<(usize, u32)>, Option<u64>),
    /// It takes its entries, and does not park after all.
    GiveUp(Vec<(usize, u32)>),
    Event(usize, u32),
    Interrupt(usize),
    Pass(u64),
    End(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let entries = || prop::collection::vec((0..FILES, 1..8_u32), 0..8);
    prop_oneof![
        6 => (entries(), prop::option::of(1..100_u64)).prop_map(|(entries, deadline)| Step::Poll(entries, deadline)),
        1 => entries().prop_map(Step::GiveUp),
        4 => (0..FILES, 1..8_u32).prop_map(|(file, bits)| Step::Event(file, bits)),
        1 => (0..THREADS).prop_map(Step::Interrupt),
        1 => (1..20_u64).prop_map(Step::Pass),
        1 => (0..THREADS).prop_map(Step::End),
    ]
}

/// Where a parked thread waits, for what, and until when.
type Parked = BTreeMap<ThreadId, (BTreeMap<usize, u32>, Option<u64>)>;

struct Both {
    tasks: Tasks<()>,
    threads: Vec<ThreadId>,
    /// The names that files keep of their poll queues.
    names: [Option<NonZeroU64>; FILES],
    now: u64,
    parked: Parked,
}

impl Both {
    fn new() -> Both {
        let mut tasks = Tasks::default();
        let container = container();
        let mut make = || {
            let id = tasks.make_process(Thread::new(container, ExtendedState::zero()), None, ()).unwrap();
            let id = ThreadId::main(id);
            tasks.make_ready(id);
            id
        };
        let threads = (0..THREADS).map(|_| make()).collect();
        Both { tasks, threads, names: [None; FILES], now: 0, parked: Parked::new() }
    }

    fn take_entries(&mut self, thread: ThreadId, entries: &[(usize, u32)]) -> crate::PollId {
        let poll = self.tasks.begin_poll(thread).unwrap();
        for (file, bits) in entries {
            self.names[*file] = Some(self.tasks.join_poll_queue(poll, self.names[*file], *bits).unwrap());
        }
        poll
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Poll(entries, deadline) => {
                let Some(thread) = take_ready(&mut self.tasks, CPU) else { return };
                let poll = self.take_entries(thread, &entries);
                let deadline = deadline.map(|time| self.now + time);
                self.tasks.park_polling(thread, poll, deadline);
                let mut files = BTreeMap::new();
                entries.iter().for_each(|(file, bits)| *files.entry(*file).or_insert(0) |= bits);
                self.parked.insert(thread, (files, deadline));
            }
            Step::GiveUp(entries) => {
                let Some(thread) = take_ready(&mut self.tasks, CPU) else { return };
                let poll = self.take_entries(thread, &entries);
                self.tasks.end_poll(poll);
                self.tasks.make_ready(thread);
            }
            Step::Event(file, bits) => {
                let before = self.parked.len();
                self.parked.retain(|_, (files, _)| files.get(&file).is_none_or(|wanted| wanted & bits == 0));
                let woken = self.names[file].map_or(0, |name| self.tasks.wake_pollers(name, bits));
                assert_eq!(woken, before - self.parked.len(), "exactly the threads that wait for the event");
            }
            Step::Interrupt(thread) => {
                self.tasks.resume(self.threads[thread], Resume::Interrupt);
                self.parked.remove(&self.threads[thread]);
            }
            Step::Pass(time) => {
                self.now += time;
                self.tasks.wake_expired(self.now);
                self.parked.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > self.now));
            }
            Step::End(thread) => {
                self.tasks.end_thread(self.threads[thread]);
                self.parked.remove(&self.threads[thread]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 500 }, ..ProptestConfig::default() })]
    #[test]
    fn events_wake_those_who_wait_for_them(steps in prop::collection::vec(step(), 1..60)) {
        let mut both = Both::new();
        for step in steps {
            both.step(step);
            for id in &both.threads {
                let parked = both.tasks.thread(*id).is_some_and(|thread| thread.state == State::Parked);
                prop_assert_eq!(parked, both.parked.contains_key(id));
            }
            let entries = both.parked.values().map(|(files, _)| files.len()).sum();
            let files: BTreeSet<_> = both.parked.values().flat_map(|(files, _)| files.keys()).collect();
            prop_assert_eq!(both.tasks.poll_entries(), (entries, files.len() as u32));
        }
    }
}

#[test]
fn a_thread_may_have_rows_of_entries() {
    let mut both = Both::new();
    let thread = take_ready(&mut both.tasks, CPU).unwrap();
    let poll = both.tasks.begin_poll(thread).unwrap();
    let names: Vec<_> = (0..5 * ROW / 2).map(|_| both.tasks.join_poll_queue(poll, None, 1).unwrap()).collect();
    both.tasks.park_polling(thread, poll, None);
    assert_eq!(both.tasks.poll_entries(), (names.len(), names.len() as u32));
    assert_eq!(both.tasks.wake_pollers(names[2 * ROW], 1), 1);
    assert_eq!(both.tasks.poll_entries(), (0, 0));
    assert!(names.iter().all(|name| both.tasks.wake_pollers(*name, 1) == 0));
}

/// A call that has more entries to take than one visit may keeps those that it has.
#[test]
fn entries_are_kept_at_a_preemption_point() {
    let mut both = Both::new();
    let tasks = &mut both.tasks;
    let thread = take_ready(tasks, CPU).unwrap();
    let poll = tasks.begin_poll(thread).unwrap();
    let poll_queue = tasks.join_poll_queue(poll, None, 1).unwrap();
    tasks.preempt_polling(thread, 7, Some(50), Some(poll));
    let call = tasks.thread(thread).unwrap().restart.unwrap();
    assert_eq!((call.place, call.deadline), (7, Some(50)));
    assert!(!tasks.is_told(poll));
    assert_eq!(tasks.wake_pollers(poll_queue, 2), 0, "it did not ask for this event");
    assert!(!tasks.is_told(poll));
    tasks.wake_pollers(poll_queue, 1);
    assert!(tasks.is_told(poll), "it must not park now");
    assert_eq!(tasks.kept_poll(thread), Some(poll));
    assert_eq!(tasks.kept_poll(thread), None, "they are the call's again");
    // With its entries kept it ends.
    tasks.preempt_polling(thread, 7, None, Some(poll));
    tasks.end_thread(thread);
    assert_eq!(tasks.poll_entries(), (0, 0));
}
