//! Which thread runs on which CPU, with several CPUs.

use super::scheduling::{goes_on, take_ready};
use crate::ids::ThreadId;
use crate::memory::container::ContainerId;
use crate::tasks::Tasks;
use crate::tasks::affinity::Affinity;
use crate::tasks::context::ExtendedState;
use crate::tasks::scheduling::SLICE;
use crate::tasks::thread::{State, Thread};
use crate::tasks::wait::{Channel, Wait};
use crate::testing::Machine;
use alloc::rc::Rc;
use cpulocal::{Cpu, CpuSet};
use proptest::prelude::*;

fn container() -> ContainerId {
    Machine::memory(200).make_container(&Rc::default()).unwrap()
}

/// Tasks on this number of CPUs, with strict affinity.
fn strict(cpus: usize) -> Tasks<()> {
    Tasks::new(cpus, Affinity::Strict)
}

pub(super) fn process(tasks: &mut Tasks<()>, container: ContainerId) -> ThreadId {
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
    assert_eq!(tasks.needs_reschedule, CpuSet::first(3));
    for (n, id) in threads.iter().enumerate() {
        let cpu = Cpu(n as u8);
        assert_eq!((cpu_of(&tasks, *id), take_ready(&mut tasks, cpu)), (Some(cpu), Some(*id)));
    }
    // No CPU is idle: the thread goes to one of those with the fewest threads, and begins where one is idle first.
    let late = ready(&mut tasks, 5);
    assert_eq!(cpu_of(&tasks, late), Some(Cpu(0)));
    tasks.park(threads[1], Wait::restart(Channel::Locks, None));
    assert_eq!((take_ready(&mut tasks, Cpu(1)), cpu_of(&tasks, late)), (Some(late), Some(Cpu(1))));
    // A thread comes back to where it ran, though another CPU is idle.
    tasks.end_thread(threads[2]);
    assert_eq!(take_ready(&mut tasks, Cpu(2)), None);
    tasks.needs_reschedule = CpuSet::NONE;
    tasks.wake_all(Channel::Locks);
    assert_eq!((take_ready(&mut tasks, Cpu(2)), tasks.needs_reschedule), (None, CpuSet::only(Cpu(1))));
    assert_eq!(tasks.counts.migrations, 0);
}

#[test]
fn only_a_cpu_that_would_prefer_the_thread_is_alerted() {
    let mut tasks = strict(2);
    let (a, b) = (ready(&mut tasks, 5), ready(&mut tasks, 8));
    assert_eq!((take_ready(&mut tasks, Cpu(0)), take_ready(&mut tasks, Cpu(1))), (Some(a), Some(b)));
    let mut alerted = |priority| {
        tasks.needs_reschedule = CpuSet::NONE;
        ready(&mut tasks, priority);
        tasks.needs_reschedule
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
    tasks.needs_reschedule = CpuSet::NONE;
    tasks.set_affinity(a, CpuSet::only(Cpu(1)));
    assert_eq!((cpu_of(&tasks, a), take_ready(&mut tasks, Cpu(0))), (Some(Cpu(1)), None));
    // Running: its CPU preempts it, and it goes to the idle one.
    tasks.needs_reschedule = CpuSet::NONE;
    tasks.set_affinity(b, CpuSet(0b101));
    assert_eq!((tasks.needs_reschedule, goes_on(&mut tasks, Cpu(1), b)), (CpuSet::only(Cpu(1)), false));
    assert_eq!((cpu_of(&tasks, b), tasks.thread(b).unwrap().slice), (Some(Cpu(0)), SLICE));
    assert!(tasks.needs_reschedule.contains(Cpu(0)));
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
    tasks.needs_reschedule = CpuSet::NONE;
    tasks.alert(stranger);
    assert_eq!(tasks.needs_reschedule, CpuSet(0b100));
    tasks.end_thread(other);
    assert_eq!((tasks.running_on(id), tasks.needs_reschedule), (CpuSet(0b1), CpuSet(0b110)));
    tasks.park(main, Wait::restart(Channel::Locks, None));
    assert_eq!(tasks.running_on(id), CpuSet::NONE);
    tasks.alert(main);
    assert_eq!(tasks.needs_reschedule, CpuSet(0b111));
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
    // The CPU that brings an earlier deadline is responsible for it.
    tasks.park(b, Wait::restart(Channel::Time, Some(20)));
    assert_eq!((tasks.deadline_for(Cpu(1)), tasks.deadline_for(Cpu(0))), (Some(20), None));
    tasks.needs_reschedule = CpuSet::NONE;
    tasks.expire(Cpu(1), 20);
    assert!(tasks.needs_reschedule.contains(Cpu(1)));
    assert_eq!((tasks.thread(b).unwrap().state, tasks.deadline_for(Cpu(1))), (State::Ready, Some(50)));
    // The timer of the other goes off for nothing; the responsible one's does not.
    tasks.expire(Cpu(0), 50);
    assert_eq!((tasks.deadline_for(Cpu(0)), tasks.next_deadline()), (None, None));
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
