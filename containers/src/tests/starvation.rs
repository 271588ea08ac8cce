//! What a CPU gives to threads that more urgent ones pass over.

use super::scheduling::{container, take_ready};
use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::affinity::Affinity;
use crate::tasks::context::ExtendedState;
use crate::tasks::scheduling::SLICE;
use crate::tasks::starvation::STARVED_AFTER;
use crate::tasks::thread::{Thread, Times};
use crate::tasks::wait::{Channel, Wait};
use cpulocal::Cpu;
use proptest::prelude::*;

const CPU: Cpu = Cpu(0);

/// A CPU on which threads compute, and some of them sleep in between.
struct Machine {
    tasks: Tasks<()>,
    current: Option<ThreadId>,
    timer: Option<u64>,
    now: u64,
    charged: u64,
}

impl Machine {
    fn new() -> Machine {
        Machine { tasks: Tasks::new(1, Affinity::Soft), current: None, timer: None, now: 0, charged: 0 }
    }

    fn thread(&mut self, priority: u8) -> ThreadId {
        let thread = Thread { priority, ..Thread::new(container(), ExtendedState::zero()) };
        let id = ThreadId::main(self.tasks.make_process(thread, None, ()).unwrap());
        self.tasks.make_ready(id);
        id
    }

    fn look(&mut self) {
        self.tasks.begin_reschedule(CPU, self.now);
        let total = self.now - core::mem::replace(&mut self.charged, self.now);
        let used = Times { total, user_ticks: 0 };
        let still = self.current.filter(|id| self.tasks.goes_on(CPU, *id, used, |_| {}));
        self.current = still.or_else(|| take_ready(&mut self.tasks, CPU));
        self.timer = self.tasks.next_alarm(CPU, self.now).or(self.timer);
    }

    /// Lets time pass up to `until`; `sleeps` says until when the current thread runs and how long it sleeps then.
    fn run(&mut self, until: u64, sleeps: impl Fn(ThreadId) -> Option<(u64, u64)>) {
        let mut awake_since = 0;
        while self.now < until {
            if !self.tasks.needs_reschedule.is_empty() {
                self.look();
            }
            let rest = self.current.and_then(|id| Some((id, sleeps(id)?)));
            let stops = rest.map(|(_, (runs, _))| runs.max(1) + awake_since);
            let next = stops.into_iter().chain(self.timer).chain([until]).min().unwrap();
            self.now = self.now.max(next);
            if stops == Some(next)
                && let Some((id, (_, pause))) = rest
            {
                self.tasks.park(id, Wait::restart(Channel::Time, Some(self.now + pause.max(1))));
                self.tasks.thread_mut(id).unwrap().context.registers.rip = 2;
                awake_since = self.now + pause.max(1);
            }
            if self.timer == Some(self.now) {
                self.timer = None;
                self.tasks.expire(CPU, self.now);
                self.look();
            }
        }
        self.look();
    }

    fn ran(&self, id: ThreadId) -> u64 {
        self.tasks.thread(id).unwrap().run_time.total
    }
}

#[test]
fn a_thread_of_the_best_priority_leaves_others_a_twentieth() {
    let mut machine = Machine::new();
    let (best, others) = (machine.thread(0), [20, 20, 39].map(|priority| machine.thread(priority)));
    machine.run(100 * SLICE * 20, |_| None);
    let all: u64 = others.iter().map(|id| machine.ran(*id)).sum();
    assert!((100 * SLICE..=2000 * SLICE / 18 + SLICE).contains(&all), "{all}");
    assert_eq!(machine.ran(best) + all, 2000 * SLICE);
    // They have their turns in the order in which they got ready, whatever their priorities.
    assert!(others.iter().all(|id| machine.ran(*id) >= 33 * SLICE), "{:?}", others.map(|id| machine.ran(id)));
    assert_eq!(machine.tasks.set_priority(others[2], 39), Some(39), "its own priority is as it was");
}

#[test]
fn who_gets_a_slice_has_it_to_its_end_and_goes_behind_then() {
    let mut machine = Machine::new();
    let (best, worst) = (machine.thread(0), machine.thread(39));
    machine.run(STARVED_AFTER - 1, |_| None);
    assert_eq!(machine.current, Some(best));
    machine.run(STARVED_AFTER, |_| None);
    assert_eq!(machine.current, Some(worst));
    machine.run(STARVED_AFTER + SLICE - 1, |_| None);
    assert_eq!((machine.current, machine.tasks.best_ready(CPU)), (Some(worst), Some(0)));
    machine.run(STARVED_AFTER + SLICE, |_| None);
    assert_eq!((machine.current, machine.tasks.best_ready(CPU)), (Some(best), Some(39)));
}

#[test]
fn a_thread_that_had_the_cpu_to_itself_is_owed_nothing() {
    let mut machine = Machine::new();
    let worse = machine.thread(20);
    machine.run(1, |_| None);
    let best = machine.thread(0);
    machine.look();
    let sleeps = |id| (id == best).then_some((1, 2 * STARVED_AFTER));
    machine.run(STARVED_AFTER, sleeps);
    assert_eq!(machine.current, Some(worse));
    // A timer goes off, and the better thread runs.
    machine.run(2 * STARVED_AFTER + 3, |_| None);
    assert_eq!(machine.current, Some(best));
}

proptest! {
    /// Pauses that the more urgent thread makes do not put the others off.
    #[test]
    fn pauses_evade_nothing(runs in SLICE / 10..3 * STARVED_AFTER, pause in prop_oneof![1..1000_u64, 1..SLICE]) {
        let mut machine = Machine::new();
        let (best, worse) = (machine.thread(0), machine.thread(20));
        let until = 100 * STARVED_AFTER;
        machine.run(until, |id| (id == best).then_some((runs, pause)));
        let ran = machine.ran(worse);
        prop_assert!(ran >= until / 20 - SLICE, "{ran} of {until}");
        // It takes no more than it is owed, beside the pauses.
        let pauses = until / (runs + pause) * pause;
        prop_assert!(ran <= until / 18 + pauses + SLICE, "{ran} of {until}, pauses {pauses}");
    }
}
