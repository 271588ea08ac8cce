//! Who runs where, with several CPUs.

use super::scheduling::{goes_on, take_ready};
use crate::balance::MIGRATION;
use crate::container::{ContainerId, Cpu, CpuSet};
use crate::region::Regions;
use crate::scheduling::{Affinity, SLICE};
use crate::tasks::{Tasks, ThreadId};
use crate::testing::Machine;
use crate::thread::{ExtendedState, State, Thread, Times};
use crate::wait::{Channel, Resume, Wait};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

fn container() -> ContainerId {
    Machine::memory(200).make_container(&Regions::default()).unwrap()
}

/// Tasks on so many CPUs, where threads stay.
fn strict(cpus: usize) -> Tasks<()> {
    Tasks::new(cpus, Affinity::Strict)
}

fn process(tasks: &mut Tasks<()>, container: ContainerId) -> ThreadId {
    ThreadId::main(tasks.make_process(Thread::new(container, ExtendedState::zero()), None, ()).unwrap())
}

fn ready(tasks: &mut Tasks<()>, priority: u8) -> ThreadId {
    let id = process(tasks, container());
    tasks.set_priority(id, priority);
    tasks.make_ready(id);
    id
}

fn cpu_of(tasks: &Tasks<()>, id: ThreadId) -> Option<Cpu> {
    tasks.thread(id).unwrap().cpu
}

#[test]
fn sets_of_cpus() {
    let mut set = CpuSet::first(3);
    set.insert(Cpu(63));
    set.remove(Cpu(1));
    assert_eq!(set.iter().collect::<Vec<_>>(), [0, 2, 63].map(Cpu));
    assert_eq!((set.len(), set.lowest(), set.contains(Cpu(2))), (3, Some(Cpu(0)), true));
    assert_eq!(set.without(Cpu(0)).intersection(CpuSet::first(3)), CpuSet::only(Cpu(2)));
    assert_eq!(CpuSet::first(64), CpuSet(u64::MAX));
    assert_eq!((CpuSet::NONE.lowest(), CpuSet::NONE.is_empty()), (None, true));
    assert_eq!(CpuSet::only(Cpu(1)).union(CpuSet::only(Cpu(4))), CpuSet(0b10010));
}

#[test]
fn new_threads_spread_over_idle_cpus_and_stay() {
    let mut tasks = strict(3);
    let threads: Vec<_> = (0..3).map(|_| ready(&mut tasks, 5)).collect();
    assert_eq!(tasks.attention, CpuSet::first(3));
    for (n, id) in threads.iter().enumerate() {
        let cpu = Cpu(n as u8);
        assert_eq!((cpu_of(&tasks, *id), take_ready(&mut tasks, cpu)), (Some(cpu), Some(*id)));
    }
    // Nobody is idle: it goes to one of those with the fewest threads, and begins where one is idle first.
    let late = ready(&mut tasks, 5);
    assert_eq!(cpu_of(&tasks, late), Some(Cpu(0)));
    tasks.park(threads[1], Wait::restart(Channel::Locks, None));
    assert_eq!((take_ready(&mut tasks, Cpu(1)), cpu_of(&tasks, late)), (Some(late), Some(Cpu(1))));
    // A thread comes back to where it ran, though another CPU is idle.
    tasks.end_thread(threads[2]);
    assert_eq!(take_ready(&mut tasks, Cpu(2)), None);
    tasks.attention = CpuSet::NONE;
    tasks.wake_all(Channel::Locks);
    assert_eq!((take_ready(&mut tasks, Cpu(2)), tasks.attention), (None, CpuSet::only(Cpu(1))));
    assert_eq!(tasks.counts.migrations, 0);
}

#[test]
fn only_a_cpu_that_would_prefer_the_thread_is_alerted() {
    let mut tasks = strict(2);
    let (a, b) = (ready(&mut tasks, 5), ready(&mut tasks, 8));
    assert_eq!((take_ready(&mut tasks, Cpu(0)), take_ready(&mut tasks, Cpu(1))), (Some(a), Some(b)));
    let mut alerted = |priority| {
        tasks.attention = CpuSet::NONE;
        ready(&mut tasks, priority);
        tasks.attention
    };
    // CPU 1 runs the worst priority. It has to watch the slice once, not for each that joins.
    assert_eq!(alerted(9), CpuSet::only(Cpu(1)));
    assert_eq!(alerted(8), CpuSet::NONE);
    assert_eq!(alerted(7), CpuSet::only(Cpu(1)));
}

#[test]
fn threads_are_spread_evenly_over_busy_cpus() {
    let mut tasks = strict(3);
    for _ in 0..3 {
        ready(&mut tasks, 5);
    }
    (0..3).for_each(|cpu| _ = take_ready(&mut tasks, Cpu(cpu)));
    for _ in 0..6 {
        ready(&mut tasks, 5);
    }
    assert_eq!([0, 1, 2].map(|cpu| tasks.bound_to(Cpu(cpu))), [3; 3]);
    // Threads that wait count for as much: five that park at once are not all left to one idle CPU.
    let mut tasks = strict(3);
    for _ in 0..6 {
        let id = ready(&mut tasks, 5);
        let cpu = cpu_of(&tasks, id).unwrap();
        assert_eq!(take_ready(&mut tasks, cpu), Some(id));
        tasks.park(id, Wait::restart(Channel::Locks, None));
        assert_eq!(take_ready(&mut tasks, cpu), None);
    }
    assert_eq!([0, 1, 2].map(|cpu| tasks.bound_to(Cpu(cpu))), [2; 3]);
}

#[test]
fn only_what_has_never_run_and_may_run_anywhere_is_taken_from_another() {
    let mut tasks = strict(2);
    let park = |tasks: &mut Tasks<()>, id| tasks.park(id, Wait::restart(Channel::Locks, None));
    let [a, b, ran] = core::array::from_fn(|_| ready(&mut tasks, 5));
    assert_eq!((take_ready(&mut tasks, Cpu(0)), take_ready(&mut tasks, Cpu(1))), (Some(a), Some(b)));
    tasks.thread_mut(a).unwrap().slice = 0;
    assert!(!goes_on(&mut tasks, Cpu(0), a));
    assert_eq!(take_ready(&mut tasks, Cpu(0)), Some(ran));
    let only = process(&mut tasks, container());
    tasks.set_priority(only, 5);
    tasks.set_affinity(only, CpuSet::only(Cpu(0)));
    tasks.make_ready(only);
    // CPU 0 runs `ran`; `a`, which has run, and `only` wait there. CPU 1 has nothing to take.
    park(&mut tasks, b);
    assert_eq!((take_ready(&mut tasks, Cpu(1)), cpu_of(&tasks, only)), (None, Some(Cpu(0))));
    tasks.wake_all(Channel::Locks);
    assert_eq!(take_ready(&mut tasks, Cpu(1)), Some(b));
    // Behind `b`, until CPU 0 has done all that is its own.
    let new = ready(&mut tasks, 5);
    assert_eq!(cpu_of(&tasks, new), Some(Cpu(1)));
    for (done, next) in [(ran, a), (a, only), (only, new)] {
        park(&mut tasks, done);
        assert_eq!(take_ready(&mut tasks, Cpu(0)), Some(next));
    }
    assert_eq!((cpu_of(&tasks, new), tasks.bound_to(Cpu(0)), tasks.bound_to(Cpu(1))), (Some(Cpu(0)), 4, 1));
    assert_eq!(tasks.counts.migrations, 0);
}

#[test]
fn affinity_moves_a_thread_in_any_state() {
    let mut tasks = strict(3);
    let [a, b, c] = core::array::from_fn(|_| ready(&mut tasks, 5));
    assert_eq!((take_ready(&mut tasks, Cpu(1)), take_ready(&mut tasks, Cpu(2))), (Some(b), Some(c)));
    // Ready: at once.
    tasks.attention = CpuSet::NONE;
    tasks.set_affinity(a, CpuSet::only(Cpu(1)));
    assert_eq!((cpu_of(&tasks, a), take_ready(&mut tasks, Cpu(0))), (Some(Cpu(1)), None));
    // Running: its CPU preempts it, and it goes to the idle one.
    tasks.attention = CpuSet::NONE;
    tasks.set_affinity(b, CpuSet(0b101));
    assert_eq!((tasks.attention, goes_on(&mut tasks, Cpu(1), b)), (CpuSet::only(Cpu(1)), false));
    assert_eq!((cpu_of(&tasks, b), tasks.thread(b).unwrap().slice), (Some(Cpu(0)), SLICE));
    assert!(tasks.attention.contains(Cpu(0)));
    assert_eq!((take_ready(&mut tasks, Cpu(1)), take_ready(&mut tasks, Cpu(0))), (Some(a), Some(b)));
    assert_eq!(tasks.counts.migrations, 1);
    // Parked: when woken, to the allowed CPU with the fewest threads.
    tasks.park(b, Wait::restart(Channel::Locks, None));
    tasks.set_affinity(b, CpuSet(0b110));
    tasks.end_thread(c);
    let d = ready(&mut tasks, 5);
    // The CPU whose thread has ended is as good as idle.
    assert_eq!((cpu_of(&tasks, b), cpu_of(&tasks, d)), (None, Some(Cpu(2))));
    tasks.end_thread(d);
    tasks.wake_all(Channel::Locks);
    assert_eq!(cpu_of(&tasks, b), Some(Cpu(2)));
    // Nothing that is up: nothing changes. All that are up: anywhere, also later.
    tasks.set_affinity(b, CpuSet(0b1000));
    assert_eq!(tasks.thread(b).unwrap().affinity, CpuSet(0b110));
    tasks.set_affinity(b, CpuSet(0b111));
    assert_eq!(tasks.thread(b).unwrap().affinity, CpuSet(u64::MAX));
}

#[test]
fn equals_take_turns_across_lanes() {
    let mut tasks = strict(2);
    let (a, b) = (ready(&mut tasks, 5), ready(&mut tasks, 3));
    assert_eq!((take_ready(&mut tasks, Cpu(0)), take_ready(&mut tasks, Cpu(1))), (Some(a), Some(b)));
    // One that may begin anywhere, one that may not, and again one that may.
    let first = ready(&mut tasks, 5);
    let second = process(&mut tasks, container());
    tasks.set_priority(second, 5);
    tasks.set_affinity(second, CpuSet::only(Cpu(0)));
    tasks.make_ready(second);
    let third = ready(&mut tasks, 5);
    assert_eq!((cpu_of(&tasks, second), tasks.best_ready(Cpu(0))), (Some(Cpu(0)), Some(5)));
    for expected in [first, second, third, a] {
        let current = tasks.running_on_cpu(Cpu(0)).unwrap();
        tasks.thread_mut(current).unwrap().slice = 0;
        assert!(!goes_on(&mut tasks, Cpu(0), current));
        assert_eq!(take_ready(&mut tasks, Cpu(0)), Some(expected));
    }
    // What is left of a slice is used before others get theirs.
    tasks.thread_mut(a).unwrap().slice = 1;
    assert!(goes_on(&mut tasks, Cpu(0), a));
}

#[test]
fn a_process_is_found_where_it_runs() {
    let mut tasks = strict(4);
    let main = ready(&mut tasks, 5);
    let id = main.process().unwrap();
    let other = tasks.make_thread(id, ExtendedState::zero()).unwrap();
    tasks.make_ready(other);
    let stranger = ready(&mut tasks, 5);
    (0..4).for_each(|cpu| _ = take_ready(&mut tasks, Cpu(cpu)));
    assert_eq!(tasks.running_on(id), CpuSet(0b11));
    tasks.attention = CpuSet::NONE;
    tasks.alert(stranger);
    assert_eq!(tasks.attention, CpuSet(0b100));
    tasks.end_thread(other);
    assert_eq!((tasks.running_on(id), tasks.attention), (CpuSet(0b1), CpuSet(0b110)));
    tasks.park(main, Wait::restart(Channel::Locks, None));
    assert_eq!(tasks.running_on(id), CpuSet::NONE);
    tasks.alert(main);
    assert_eq!(tasks.attention, CpuSet(0b111));
}

#[test]
fn one_cpu_watches_the_clock() {
    let mut tasks = strict(2);
    let (a, b) = (ready(&mut tasks, 5), ready(&mut tasks, 5));
    assert_eq!((take_ready(&mut tasks, Cpu(0)), take_ready(&mut tasks, Cpu(1))), (Some(a), Some(b)));
    assert_eq!(tasks.deadline_for(Cpu(0)), None);
    tasks.park(a, Wait::restart(Channel::Time, Some(50)));
    assert_eq!(tasks.deadline_for(Cpu(0)), Some(50));
    assert_eq!((tasks.deadline_for(Cpu(1)), tasks.deadline_for(Cpu(0))), (None, Some(50)));
    // An earlier one is taken on by who brings it.
    tasks.park(b, Wait::restart(Channel::Time, Some(20)));
    assert_eq!((tasks.deadline_for(Cpu(1)), tasks.deadline_for(Cpu(0))), (Some(20), None));
    tasks.attention = CpuSet::NONE;
    tasks.expire(Cpu(1), 20);
    assert!(tasks.attention.contains(Cpu(1)));
    assert_eq!((tasks.thread(b).unwrap().state, tasks.deadline_for(Cpu(1))), (State::Ready, Some(50)));
    // The timer of the other goes off for nothing; the responsible one's does not.
    tasks.expire(Cpu(0), 50);
    assert_eq!((tasks.deadline_for(Cpu(0)), tasks.next_deadline()), (None, None));
}

const CPUS: u8 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// A new thread gets ready.
    New(u8, u64),
    /// The thread of a CPU parks, with a deadline perhaps.
    Park(u8, u64),
    /// Some parked thread is woken.
    Wake(usize),
    /// The thread of a CPU yields.
    Yield(u8),
    /// Some thread ends.
    End(usize),
    Affinity(usize, u64),
    Priority(usize, u8),
    /// A CPU that is in `attention` looks.
    Look(u8),
    /// Time passes, and timers go off.
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let mask = || prop_oneof![Just(u64::MAX), 1..8_u64];
    // Some are long beside a migration.
    let time = |short: std::ops::Range<u64>| prop_oneof![short, MIGRATION / 8..MIGRATION * 2];
    prop_oneof![
        3 => (0..3_u8, mask()).prop_map(|(priority, mask)| Step::New(priority, mask)),
        2 => (0..CPUS, time(0..60)).prop_map(|(cpu, deadline)| Step::Park(cpu, deadline)),
        2 => (0..9_usize).prop_map(Step::Wake),
        1 => (0..CPUS).prop_map(Step::Yield),
        1 => (0..9_usize).prop_map(Step::End),
        2 => (0..9_usize, mask()).prop_map(|(n, mask)| Step::Affinity(n, mask)),
        1 => (0..9_usize, 0..3_u8).prop_map(|(n, priority)| Step::Priority(n, priority)),
        6 => (0..CPUS).prop_map(Step::Look),
        3 => time(1..40).prop_map(Step::Tick),
    ]
}

/// The kernel's part: CPUs that look when they must, with timers.
struct Kernel {
    tasks: Tasks<()>,
    container: ContainerId,
    current: [Option<ThreadId>; CPUS as usize],
    /// What a CPU's timer is set to.
    timers: [Option<u64>; CPUS as usize],
    /// When the slice of its thread is over.
    slices: [u64; CPUS as usize],
    threads: VecDeque<ThreadId>,
    /// Since when a CPU's thread has not been charged for its time.
    charged: [u64; CPUS as usize],
    /// Since when a thread has been ready: it is another time if what is kept with it is.
    ready: BTreeMap<ThreadId, ((u64, u64), u64)>,
    now: u64,
}

impl Kernel {
    /// What a CPU does on its way out of the kernel.
    fn look(&mut self, n: usize) {
        let cpu = Cpu(n as u8);
        let tasks = &mut self.tasks;
        tasks.looks(cpu, self.now);
        let total = self.now - core::mem::replace(&mut self.charged[n], self.now);
        let used = Times { total, user_ticks: 0 };
        let still = self.current[n].filter(|id| tasks.goes_on(cpu, *id, used, |_| {}));
        self.current[n] = still.or_else(|| take_ready(tasks, cpu));
        self.timers[n] = tasks.next_alarm(cpu, self.now).or(self.timers[n]);
        self.slices[n] = self.now + self.current[n].map_or(0, |id| tasks.thread(id).unwrap().slice);
    }

    fn pick(&self, n: usize) -> Option<ThreadId> {
        (!self.threads.is_empty()).then(|| self.threads[n % self.threads.len()])
    }

    fn take(&mut self, step: Step) {
        let running = |kernel: &Kernel, cpu: u8| {
            // A CPU that must look does so before its thread does anything more.
            let id = kernel.current[usize::from(cpu)]?;
            (!kernel.tasks.attention.contains(Cpu(cpu))).then_some(id)
        };
        match step {
            Step::New(priority, mask) => {
                let id = process(&mut self.tasks, self.container);
                let thread = self.tasks.thread_mut(id).unwrap();
                (thread.priority, thread.affinity) = (priority, CpuSet(mask));
                self.tasks.make_ready(id);
                self.threads.push_back(id);
            }
            Step::Park(cpu, deadline) => {
                let Some(id) = running(self, cpu) else { return };
                let deadline = (deadline > 0).then_some(self.now + deadline);
                self.tasks.park(id, Wait::restart(Channel::Locks, deadline));
                // The thread's registers are zero, as if after a call; it came into the kernel, and leaves.
                self.tasks.thread_mut(id).unwrap().registers.rip = 2;
                self.look(cpu.into());
            }
            Step::Wake(n) => {
                let parked = |id: &&ThreadId| self.tasks.thread(**id).unwrap().state == State::Parked;
                let Some(id) = self.threads.iter().filter(parked).nth(n).copied() else { return };
                self.tasks.resume(id, Resume::Return(0));
            }
            Step::Yield(cpu) => {
                let Some(id) = running(self, cpu) else { return };
                self.tasks.make_ready(id);
                self.look(cpu.into());
            }
            Step::End(n) => {
                let Some(id) = self.pick(n) else { return };
                self.tasks.end_thread(id);
                let process = id.process().unwrap();
                self.tasks.remove_process(process);
                self.threads.retain(|other| *other != id);
            }
            Step::Affinity(n, mask) => {
                let Some(id) = self.pick(n) else { return };
                self.tasks.set_affinity(id, CpuSet(mask));
            }
            Step::Priority(n, priority) => {
                let Some(id) = self.pick(n) else { return };
                self.tasks.set_priority(id, priority);
            }
            Step::Look(cpu) => {
                if self.tasks.attention.contains(Cpu(cpu)) {
                    self.look(cpu.into());
                }
            }
            Step::Tick(by) => {
                let until = self.now + by;
                let first =
                    |kernel: &Self| (0..usize::from(CPUS)).min_by_key(|n| kernel.timers[*n].unwrap_or(u64::MAX));
                while let Some(n) = first(self)
                    && let Some(at) = self.timers[n].filter(|at| *at <= until)
                {
                    self.now = self.now.max(at);
                    self.timers[n] = None;
                    self.tasks.expire(Cpu(n as u8), self.now);
                    self.look(n);
                    self.note();
                }
                self.now = until;
            }
        }
    }

    /// Takes note of threads that have got ready, at CPUs that have looked since.
    fn note(&mut self) {
        for id in &self.threads {
            let thread = self.tasks.thread(*id).unwrap();
            let kept = (thread.stamp, thread.takeable);
            let looks = thread.cpu.is_some_and(|cpu| self.tasks.attention.contains(cpu));
            if looks || self.ready.get(id).is_none_or(|(before, _)| *before != kept) {
                self.ready.insert(*id, (kept, self.now));
            }
        }
    }

    /// No thread waits beside an idle CPU that it may run on for longer than a migration takes, given that those look
    /// that must.
    fn check_waits(&self) {
        let schedule = &self.tasks.schedule;
        let attention = |cpu: Cpu| self.tasks.attention.contains(cpu);
        let idle = |cpu: &Cpu| self.current[usize::from(cpu.0)].is_none();
        let all = || (0..CPUS).map(Cpu);
        if !schedule.soft {
            return;
        }
        let known = |cpu: Cpu| schedule.idle.contains(cpu) == schedule.cpus[usize::from(cpu.0)].is_idle();
        assert!(all().all(known), "{:?}", schedule.idle);
        let watches = |cpu: &Cpu| idle(cpu) || schedule.watch.is_some_and(|(who, _)| who == *cpu);
        if all().any(|cpu| attention(cpu) && watches(&cpu)) {
            return;
        }
        for id in &self.threads {
            let thread = self.tasks.thread(*id).unwrap();
            let at = thread.cpu.filter(|cpu| thread.state == State::Ready && !attention(*cpu));
            if at.is_some() && all().any(|cpu| idle(&cpu) && thread.affinity.contains(cpu)) {
                let waits = self.now - self.ready[id].1;
                assert!(waits <= MIGRATION, "{id:?} has waited for {waits}, {:?} {:?}", schedule.watch, self.timers);
            }
        }
    }

    /// No CPU runs a thread that is worse than one that waits elsewhere and may run on it, given that those look that must,
    /// and that a CPU which should be idle soon is.
    fn check_priorities(&self) {
        let schedule = &self.tasks.schedule;
        let attention = |cpu: Cpu| self.tasks.attention.contains(cpu);
        let rank = |cpu: Cpu| self.tasks.thread(self.current[usize::from(cpu.0)]?).map(|thread| thread.rank);
        for id in &self.threads {
            let thread = self.tasks.thread(*id).unwrap();
            let Some(at) = thread.cpu.filter(|at| thread.state == State::Ready && !attention(*at)) else { continue };
            let state = &schedule.cpus[usize::from(at.0)];
            if !schedule.soft || !schedule.is_loose(thread) || state.brief {
                continue;
            }
            let worse = |cpu: &Cpu| !attention(*cpu) && rank(*cpu).is_some_and(|rank| rank > thread.rank);
            let found = thread.affinity.intersection(schedule.all()).iter().find(worse);
            assert_eq!(found, None, "{id:?} of priority {} waits at {at:?}", thread.priority);
        }
    }

    fn check(&mut self) {
        self.note();
        self.check_waits();
        self.check_priorities();
        let tasks = &self.tasks;
        let attention = |n: usize| tasks.attention.contains(Cpu(n as u8));
        for n in 0..usize::from(CPUS) {
            let cpu = Cpu(n as u8);
            let current = self.current[n].and_then(|id| tasks.thread(id)).filter(|t| t.state == State::Running);
            let mine = |id: &&ThreadId| {
                let thread = tasks.thread(**id).unwrap();
                thread.state == State::Ready && thread.cpu == Some(cpu)
            };
            let best = self.threads.iter().filter(mine).map(|id| tasks.thread(*id).unwrap().rank).min();
            let looks = match (current, best) {
                // It goes on with nobody, or somebody who waits goes first.
                (None, None) => self.current[n].is_some(),
                (None, Some(_)) => true,
                (Some(thread), Some(best)) => best < thread.rank || self.timers[n].is_none_or(|at| at > self.slices[n]),
                (Some(_), None) => false,
            };
            assert!(
                attention(n) || !looks,
                "{cpu:?} must look: {:?} {best:?} {:?}",
                current.map(|t| (t.priority, t.stamp)),
                self.slices
            );
            if let Some(thread) = current {
                assert!(thread.cpu == Some(cpu) && thread.ran_on == Some(cpu));
                assert!(attention(n) || thread.affinity.contains(cpu));
            }
        }
        let fresh = |id: &ThreadId| {
            let thread = tasks.thread(*id).unwrap();
            let begins = thread.state == State::Ready && thread.ran_on.is_none();
            begins && thread.affinity == CpuSet(u64::MAX) && !attention(thread.cpu.unwrap().0.into())
        };
        if let Some(id) = self.threads.iter().find(|id| !tasks.schedule.soft && fresh(id)) {
            let idle = (0..usize::from(CPUS)).find(|n| self.current[*n].is_none() && !attention(*n));
            assert_eq!(idle, None, "{id:?} has not begun, and a CPU is idle");
        }
        for id in &self.threads {
            let thread = tasks.thread(*id).unwrap();
            if thread.state == State::Ready {
                assert!(thread.cpu.is_some_and(|cpu| thread.affinity.contains(cpu)));
            }
        }
        if let Some(next) = tasks.next_deadline() {
            let armed = self.timers.iter().flatten().min();
            assert!(armed.is_some_and(|at| *at <= next), "nobody watches the clock for {next}");
        }
        let bound = |cpu| self.threads.iter().filter(|id| tasks.thread(**id).unwrap().cpu == Some(cpu)).count();
        (0..CPUS).map(Cpu).for_each(|cpu| assert_eq!(tasks.bound_to(cpu) as usize, bound(cpu)));
        let runnable = |id: &&ThreadId| matches!(tasks.thread(**id).unwrap().state, State::Ready | State::Running);
        assert_eq!(tasks.runnable() as usize, self.threads.iter().filter(runnable).count());
    }
}

proptest! {
    /// Threads that only compute end up with equally many beside them, whenever CPUs come to look.
    #[test]
    fn computing_threads_are_spread_evenly(cpus in 1..9_u8, looks in proptest::collection::vec(0..12_u8, 1..40)) {
        let mut tasks = strict(cpus.into());
        let look = |tasks: &mut Tasks<()>, cpu| if tasks.running_on_cpu(cpu).is_none() {
            take_ready(tasks, cpu);
        };
        for cpu in &looks {
            ready(&mut tasks, 5);
            if *cpu < cpus {
                look(&mut tasks, Cpu(*cpu));
            }
        }
        (0..cpus).for_each(|cpu| look(&mut tasks, Cpu(cpu)));
        let bound = || (0..cpus).map(|cpu| tasks.bound_to(Cpu(cpu)));
        let (least, most) = (bound().min().unwrap(), bound().max().unwrap());
        prop_assert!(most - least <= 1, "{:?}", bound().collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 1000 }, ..ProptestConfig::default() })]
    #[test]
    fn no_attention_is_lost(soft: bool, steps in proptest::collection::vec(step(), 1..100)) {
        let affinity = if soft { Affinity::Soft } else { Affinity::Strict };
        let mut kernel = Kernel {
            tasks: Tasks::new(CPUS.into(), affinity),
            container: container(),
            current: [None; CPUS as usize],
            timers: [None; CPUS as usize],
            slices: [0; CPUS as usize],
            threads: VecDeque::new(),
            charged: [0; CPUS as usize],
            ready: BTreeMap::new(),
            now: 0,
        };
        (0..usize::from(CPUS)).for_each(|n| kernel.look(n));
        for step in steps {
            kernel.take(step);
            kernel.check();
        }
        // When all have looked, all is quiet: nobody keeps alerting the others.
        for _ in 0..8 {
            let attention = kernel.tasks.attention;
            attention.iter().for_each(|cpu| kernel.look(cpu.0.into()));
            kernel.check();
        }
        prop_assert!(kernel.tasks.attention.is_empty());
    }
}
