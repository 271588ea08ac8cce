//! Whatever threads and CPUs do, each CPU that must look is asked to: random steps, with the invariants of
//! `scheduling.rs`, `balance.rs` and `watch.rs` checked after each.

use super::cpus_scheduling::process;
use super::scheduling::{container, take_ready};
use crate::ids::ThreadId;
use crate::memory::container::ContainerId;
use crate::tasks::Tasks;
use crate::tasks::affinity::Affinity;
use crate::tasks::balance::MIGRATION;
use crate::tasks::thread::{State, Times};
use crate::tasks::wait::{Channel, Resume, Wait};
use cpulocal::{Cpu, CpuSet};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

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
    /// A CPU that is in `needs_reschedule` looks.
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
    fn new(affinity: Affinity) -> Kernel {
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
        kernel
    }

    /// Takes steps, and checks after each.
    fn take_all(mut self, steps: impl IntoIterator<Item = Step>) {
        for step in steps {
            self.take(step);
            self.check();
        }
        // When all have rescheduled, all is quiet: no CPU keeps alerting another.
        for _ in 0..8 {
            let needs_reschedule = self.tasks.needs_reschedule;
            needs_reschedule.iter().for_each(|cpu| self.look(cpu.0.into()));
            self.check();
        }
        assert!(self.tasks.needs_reschedule.is_empty());
    }

    /// What a CPU does on its way out of the kernel: it looks until it is content, whether others have looked or not, as
    /// they cannot before it has left.
    fn look(&mut self, n: usize) {
        const MOST: usize = 8;
        let is_content = (0..MOST).any(|_| {
            self.look_once(n);
            !self.tasks.needs_reschedule.contains(Cpu(n as u8))
        });
        assert!(is_content, "CPU {n} looks for ever");
    }

    fn look_once(&mut self, n: usize) {
        let cpu = Cpu(n as u8);
        let tasks = &mut self.tasks;
        tasks.begin_reschedule(cpu, self.now);
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
            (!kernel.tasks.needs_reschedule.contains(Cpu(cpu))).then_some(id)
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
                self.tasks.thread_mut(id).unwrap().context.registers.rip = 2;
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
                if self.tasks.needs_reschedule.contains(Cpu(cpu)) {
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
            let looks = thread.cpu.is_some_and(|cpu| self.tasks.needs_reschedule.contains(cpu));
            if looks || self.ready.get(id).is_none_or(|(before, _)| *before != kept) {
                self.ready.insert(*id, (kept, self.now));
            }
        }
    }

    /// No thread waits beside an idle CPU that it may run on for longer than a migration takes, given that those look
    /// that must.
    fn check_waits(&self) {
        let schedule = &self.tasks.schedule;
        let needs_reschedule = |cpu: Cpu| self.tasks.needs_reschedule.contains(cpu);
        let idle = |cpu: &Cpu| self.current[usize::from(cpu.0)].is_none();
        let all = || (0..CPUS).map(Cpu);
        if !schedule.soft {
            return;
        }
        let known = |cpu: Cpu| schedule.idle.contains(cpu) == schedule.cpus[usize::from(cpu.0)].is_idle();
        assert!(all().all(known), "{:?}", schedule.idle);
        let watches = |cpu: &Cpu| idle(cpu) || schedule.balancer.is(*cpu);
        if all().any(|cpu| needs_reschedule(cpu) && watches(&cpu)) {
            return;
        }
        for id in &self.threads {
            let thread = self.tasks.thread(*id).unwrap();
            let at = thread.cpu.filter(|cpu| thread.state == State::Ready && !needs_reschedule(*cpu));
            if at.is_some() && all().any(|cpu| idle(&cpu) && thread.affinity.contains(cpu)) {
                let waits = self.now - self.ready[id].1;
                assert!(
                    waits <= MIGRATION,
                    "{id:?} has waited for {waits}, {:?} {:?}",
                    schedule.balancer.current,
                    self.timers
                );
            }
        }
    }

    /// No CPU runs a thread that is worse than one that waits elsewhere and may run on it, given that those look that must,
    /// idle ones too, and that a CPU which should be idle soon is.
    fn check_priorities(&self) {
        let schedule = &self.tasks.schedule;
        let needs_reschedule = |cpu: Cpu| self.tasks.needs_reschedule.contains(cpu);
        let rank = |cpu: Cpu| self.tasks.thread(self.current[usize::from(cpu.0)]?).map(|thread| thread.rank);
        for id in &self.threads {
            let thread = self.tasks.thread(*id).unwrap();
            let Some(at) = thread.cpu.filter(|at| thread.state == State::Ready && !needs_reschedule(*at)) else {
                continue;
            };
            let state = &schedule.cpus[usize::from(at.0)];
            if !schedule.soft || !schedule.is_migratable(thread) || state.brief {
                continue;
            }
            let worse = |cpu: &Cpu| rank(*cpu).is_none_or(|rank| rank > thread.rank);
            let allowed = thread.affinity.intersection(schedule.all());
            // A CPU that is about to look takes it, or a better one.
            if !allowed.iter().filter(worse).any(needs_reschedule) {
                let found = allowed.iter().find(|cpu| worse(cpu) && rank(*cpu).is_some());
                assert_eq!(found, None, "{id:?} of priority {} waits at {at:?}", thread.priority);
            }
        }
    }

    fn check(&mut self) {
        self.note();
        self.check_waits();
        self.check_priorities();
        let tasks = &self.tasks;
        let needs_reschedule = |n: usize| tasks.needs_reschedule.contains(Cpu(n as u8));
        for n in 0..usize::from(CPUS) {
            let cpu = Cpu(n as u8);
            let current = self.current[n].and_then(|id| tasks.thread(id)).filter(|t| t.state == State::Running);
            let mine = |id: &&ThreadId| {
                let thread = tasks.thread(**id).unwrap();
                thread.state == State::Ready && thread.cpu == Some(cpu)
            };
            let best = self.threads.iter().filter(mine).map(|id| tasks.thread(*id).unwrap().rank).min();
            let looks = match (current, best) {
                // The CPU becomes idle, or a thread that waits goes first.
                (None, None) => self.current[n].is_some(),
                (None, Some(_)) => true,
                (Some(thread), Some(best)) => best < thread.rank || self.timers[n].is_none_or(|at| at > self.slices[n]),
                (Some(_), None) => false,
            };
            assert!(
                needs_reschedule(n) || !looks,
                "{cpu:?} must look: {:?} {best:?} {:?}",
                current.map(|t| (t.priority, t.stamp)),
                self.slices
            );
            if let Some(thread) = current {
                assert!(thread.cpu == Some(cpu) && thread.ran_on == Some(cpu));
                assert!(needs_reschedule(n) || thread.affinity.contains(cpu));
            }
        }
        let fresh = |id: &ThreadId| {
            let thread = tasks.thread(*id).unwrap();
            let begins = thread.state == State::Ready && thread.ran_on.is_none();
            begins && thread.affinity == CpuSet(u64::MAX) && !needs_reschedule(thread.cpu.unwrap().0.into())
        };
        if let Some(id) = self.threads.iter().find(|id| !tasks.schedule.soft && fresh(id)) {
            let idle = (0..usize::from(CPUS)).find(|n| self.current[*n].is_none() && !needs_reschedule(*n));
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
            assert!(armed.is_some_and(|at| *at <= next), "no timer is set for {next}");
        }
        let bound = |cpu| self.threads.iter().filter(|id| tasks.thread(**id).unwrap().cpu == Some(cpu)).count();
        (0..CPUS).map(Cpu).for_each(|cpu| assert_eq!(tasks.bound_to(cpu) as usize, bound(cpu)));
        let runnable = |id: &&ThreadId| matches!(tasks.thread(**id).unwrap().state, State::Ready | State::Running);
        assert_eq!(tasks.runnable() as usize, self.threads.iter().filter(runnable).count());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { ProptestConfig::default().cases.max(1000) }))]
    #[test]
    fn no_reschedule_is_lost(soft: bool, steps in proptest::collection::vec(step(), 1..100)) {
        Kernel::new(if soft { Affinity::Soft } else { Affinity::Strict }).take_all(steps);
    }
}

/// The CPU that was asked to look for one thread takes another that has come to it since.
#[test]
fn a_thread_is_looked_after_when_the_cpu_that_was_to_take_it_takes_another() {
    use Step::{Affinity as Mask, End, Look, New, Park, Priority, Tick};
    const ALL: u64 = u64::MAX;
    // The idle CPU 2 is asked for two threads, and a mask keeps it from the one that is left.
    let beside_an_idle_one = [
        [New(0, ALL), New(0, ALL), Look(1), Park(0, 0), End(0)],
        [Mask(0, ALL), Mask(0, 5), New(1, ALL), Look(0), New(0, ALL)],
        [New(1, 5), Look(1), End(4), Look(0), Tick(100_001)],
    ];
    Kernel::new(Affinity::Soft).take_all(beside_an_idle_one.into_iter().flatten());
    // A thread leaves CPU 1, which so gets idle and is asked for another one.
    let at_one_that_gets_idle = [New(0, ALL), New(0, ALL), New(1, ALL), New(0, ALL), Look(0), Look(2), Tick(100_001)];
    Kernel::new(Affinity::Soft).take_all(at_one_that_gets_idle.into_iter().chain([Park(0, 0)]));
    // CPU 0, whose thread has ended, is to take the most urgent one, and runs a new one instead.
    let beside_a_worse_one = [
        [New(0, ALL), New(1, 4), New(1, ALL), Look(0), Mask(3, 5), Mask(1, ALL), Tick(20_000)],
        [New(0, ALL), Park(0, 1), Look(2), Tick(1), Mask(1, ALL), New(1, ALL), Look(2)],
        [Look(1), Look(2), End(8), Priority(1, 0), Priority(1, 0), New(0, ALL), Look(0)],
    ];
    Kernel::new(Affinity::Soft).take_all(beside_a_worse_one.into_iter().flatten());
}
