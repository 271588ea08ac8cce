//! Soft affinity: where woken threads go, and what idle CPUs take.

use super::scheduling::{container, take_ready};
use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::affinity::Affinity;
use crate::tasks::balance::{MIGRATION, SOON};
use crate::tasks::context::ExtendedState;
use crate::tasks::thread::{Thread, Times};
use crate::tasks::wait::{Channel, Resume, Wait};
use cpulocal::{Cpu, CpuSet};

/// CPUs that look when they are told to, at a time.
struct Machine {
    tasks: Tasks<()>,
    now: u64,
}

impl Machine {
    fn new(cpus: usize) -> Machine {
        Machine { tasks: Tasks::new(cpus, Affinity::Soft), now: MIGRATION }
    }

    /// A CPU looks, whose thread has used so much time. Returns what it runs.
    fn look(&mut self, cpu: u8, used: u64) -> Option<ThreadId> {
        let cpu = Cpu(cpu);
        self.tasks.begin_reschedule(cpu, self.now);
        let used = Times { total: used, user_ticks: 0 };
        let still = self.tasks.running_on_cpu(cpu).filter(|id| self.tasks.goes_on(cpu, *id, used, |_| {}));
        still.or_else(|| take_ready(&mut self.tasks, cpu))
    }

    fn alarm(&mut self, cpu: u8) -> Option<u64> {
        self.tasks.next_alarm(Cpu(cpu), self.now)
    }

    fn thread(&mut self, affinity: CpuSet) -> ThreadId {
        let thread = Thread { affinity, ..Thread::new(container(), ExtendedState::zero()) };
        ThreadId::main(self.tasks.make_process(thread, None, ()).unwrap())
    }

    /// A thread that has run on CPU 0 for so long, and waits.
    fn parked(&mut self, used: u64) -> ThreadId {
        let id = self.thread(CpuSet::only(Cpu(0)));
        self.tasks.make_ready(id);
        assert_eq!(self.look(0, 0), Some(id));
        self.tasks.set_affinity(id, CpuSet(u64::MAX));
        self.tasks.park(id, Wait::restart(Channel::Locks, None));
        assert_eq!(self.look(0, used), None);
        id
    }

    /// One that runs there, and has run for so long before.
    fn running(&mut self, used: u64) -> ThreadId {
        let id = self.parked(used);
        self.wake(id);
        assert_eq!(self.look(0, 0), Some(id));
        id
    }

    /// Wakes a thread; the CPU that it waits at, and the CPUs that must look.
    fn wake(&mut self, id: ThreadId) -> (Cpu, CpuSet) {
        self.tasks.needs_reschedule = CpuSet::NONE;
        self.tasks.resume(id, Resume::Return(0));
        (self.tasks.thread(id).unwrap().cpu.unwrap(), self.tasks.needs_reschedule)
    }
}

#[test]
fn a_woken_thread_goes_to_its_last_cpu_if_that_is_idle_and_else_to_an_idle_one() {
    let mut machine = Machine::new(3);
    let [a, b, c, d] = core::array::from_fn(|_| machine.parked(SOON));
    assert_eq!(machine.wake(a), (Cpu(0), CpuSet(0b001)), "its own is idle");
    assert_eq!(machine.look(0, 0), Some(a));
    assert_eq!(machine.wake(b), (Cpu(1), CpuSet(0b010)));
    assert_eq!(machine.wake(c), (Cpu(2), CpuSet(0b100)));
    // None is idle: it waits where its pages are, and that CPU watches its slice.
    assert_eq!(machine.wake(d), (Cpu(0), CpuSet(0b001)));
    assert_eq!((machine.look(1, 0), machine.look(2, 0)), (Some(b), Some(c)));
    // A more urgent one displaces the least urgent.
    machine.tasks.set_priority(c, 30);
    machine.tasks.park(a, Wait::restart(Channel::Locks, None));
    assert_eq!(machine.look(0, 0), Some(d));
    assert_eq!(machine.wake(a), (Cpu(2), CpuSet(0b100)));
}

#[test]
fn threads_that_wake_each_other_in_turn_stay_together() {
    let mut machine = Machine::new(2);
    let (a, b) = (machine.running(SOON - 1), machine.parked_beside());
    for [awake, asleep] in [[a, b], [b, a], [a, b]] {
        assert_eq!(machine.wake(asleep).0, Cpu(0), "the waker waits soon");
        // The idle CPU keeps watch: it is asked once, and looks at its own pace from then on.
        machine.look(1, 0);
        assert!(machine.tasks.schedule.balancer.current.is_some_and(|(who, at)| who == Cpu(1) && at > machine.now));
        machine.tasks.park(awake, Wait::restart(Channel::Locks, None));
        assert_eq!(machine.look(0, SOON - 1), Some(asleep));
    }
    // CPU 1 looks once more. No thread has been left waiting since its last look, so it ends its watch.
    machine.now += MIGRATION;
    machine.look(1, 0);
    machine.now += MIGRATION;
    assert_eq!((machine.look(1, 0), machine.tasks.schedule.balancer.current), (None, None));
    assert_eq!(machine.tasks.counts.migrations, 0);
}

impl Machine {
    /// A thread that has run on CPU 0 while another one waited, which goes on.
    fn parked_beside(&mut self) -> ThreadId {
        let first = self.tasks.running_on_cpu(Cpu(0)).unwrap();
        self.tasks.park(first, Wait::restart(Channel::ConsoleInput, None));
        self.look(0, SOON - 1);
        let id = self.parked(SOON - 1);
        self.wake(first);
        assert_eq!(self.look(0, 0), Some(first));
        id
    }
}

#[test]
fn an_idle_cpu_takes_what_has_waited_for_longer_than_a_migration() {
    let mut machine = Machine::new(2);
    let (runs, waits) = (machine.running(SOON - 1), machine.parked_beside());
    // The thread that runs there is expected to give its CPU up soon, but this time it does not.
    assert_eq!(machine.wake(waits), (Cpu(0), CpuSet(0b11)));
    machine.look(0, 0);
    assert_eq!((machine.look(1, 0), machine.alarm(1)), (None, Some(machine.now + MIGRATION)));
    machine.now += MIGRATION - 1;
    assert_eq!(machine.look(1, 0), None);
    machine.now += 1;
    assert_eq!(machine.look(1, 0), Some(waits));
    let counts = machine.tasks.counts;
    assert_eq!((counts.taken, counts.migrations), (1, 1));
    assert_eq!(machine.tasks.running_on_cpu(Cpu(0)), Some(runs));
    assert_eq!([0, 1].map(|cpu| machine.tasks.bound_to(Cpu(cpu))), [1, 1]);
}

#[test]
fn the_best_that_may_run_there_is_taken_and_masks_are_kept() {
    let mut machine = Machine::new(3);
    let [bound, worse, equal, better] = core::array::from_fn(|_| machine.parked(SOON));
    let masks = [(bound, 0b001), (worse, 0b111), (equal, 0b111), (better, 0b101)];
    masks.iter().for_each(|(id, mask)| machine.tasks.set_affinity(*id, CpuSet(*mask)));
    machine.tasks.set_priority(worse, 30);
    machine.tasks.set_priority(better, 10);
    let busy = [0, 1, 2].map(|cpu| {
        let id = machine.thread(CpuSet::only(Cpu(cpu)));
        machine.tasks.set_priority(id, 5);
        machine.tasks.make_ready(id);
        assert_eq!(machine.look(cpu, 0), Some(id));
        id
    });
    // Each waits where the fewest threads do. A CPU sets its timer for the end of the slice as soon as a thread waits.
    let woken = masks.map(|(id, _)| machine.wake(id));
    assert_eq!(woken, [(0, 0b001), (1, 0b010), (2, 0b100), (0, 0)].map(|(cpu, look)| (Cpu(cpu), CpuSet(look))));
    machine.now += MIGRATION;
    // The best goes first, wherever it waits.
    machine.tasks.park(busy[1], Wait::restart(Channel::Locks, None));
    assert_eq!(machine.look(1, 0), Some(equal));
    machine.tasks.park(busy[2], Wait::restart(Channel::Locks, None));
    assert_eq!(machine.look(2, 0), Some(better));
    machine.tasks.end_thread(better);
    assert_eq!(machine.look(2, 0), Some(worse));
    machine.tasks.end_thread(worse);
    assert_eq!((machine.look(2, 0), machine.tasks.thread(bound).unwrap().cpu), (None, Some(Cpu(0))));
}

#[test]
fn a_thread_that_yields_leaves_its_cpu_to_those_that_wait_there_only() {
    let mut machine = Machine::new(2);
    let a = machine.running(SOON);
    machine.tasks.make_ready(a);
    assert_eq!((machine.tasks.thread(a).unwrap().cpu, machine.look(0, 0)), (Some(Cpu(0)), Some(a)));
    // With another one that may run here alone, it goes to the idle CPU.
    let b = machine.thread(CpuSet::only(Cpu(0)));
    machine.tasks.make_ready(b);
    machine.tasks.make_ready(a);
    assert_eq!((machine.look(0, 0), machine.look(1, 0)), (Some(b), Some(a)));
}
