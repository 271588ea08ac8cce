//! Which thread runs next, and how parked threads wake up.

use crate::ids::ThreadId;
use crate::memory::container::ContainerId;
use crate::tasks::Tasks;
use crate::tasks::affinity::Affinity;
use crate::tasks::context::{ExtendedState, Registers};
use crate::tasks::process::Ending;
use crate::tasks::scheduling::SLICE;
use crate::tasks::thread::{AfterHandler, Restart, State, Thread, Times};
use crate::tasks::wait::{Channel, Resume, Wait};
use crate::testing::Machine;
use alloc::rc::Rc;
use cpulocal::{Cpu, CpuSet};

const CPU: Cpu = Cpu(0);

/// The thread that a CPU takes next.
pub(crate) fn take_ready(tasks: &mut Tasks<()>, cpu: Cpu) -> Option<ThreadId> {
    tasks.take_ready(cpu, |id, _| id)
}

/// Whether a thread goes on that has used up nothing.
pub(crate) fn goes_on(tasks: &mut Tasks<()>, cpu: Cpu, id: ThreadId) -> bool {
    tasks.goes_on(cpu, id, Times::default(), |_| {})
}

pub(crate) fn container() -> ContainerId {
    Machine::memory(200).make_container(&Rc::default()).unwrap()
}

fn process(tasks: &mut Tasks<()>, priority: u8) -> ThreadId {
    let id = ThreadId::main(tasks.make_process(Thread::new(container(), ExtendedState::zero()), None, ()).unwrap());
    tasks.set_priority(id, priority);
    tasks.make_ready(id);
    id
}

pub(crate) fn running(tasks: &mut Tasks<()>) -> ThreadId {
    let id = process(tasks, 3);
    assert_eq!(take_ready(tasks, CPU), Some(id));
    id
}

#[test]
fn better_priorities_go_first_and_equals_in_turn() {
    let mut tasks = Tasks::default();
    let (low, first, second) = (process(&mut tasks, 9), process(&mut tasks, 5), process(&mut tasks, 5));
    assert_eq!(tasks.best_ready(CPU), Some(5));
    let order: Vec<_> = core::iter::from_fn(|| take_ready(&mut tasks, CPU)).collect();
    assert_eq!(order, [first, second, low]);
}

#[test]
fn an_interrupted_slice_goes_on_first_a_used_up_one_last() {
    let mut tasks = Tasks::default();
    let (a, b) = (process(&mut tasks, 5), process(&mut tasks, 5));
    assert_eq!(take_ready(&mut tasks, CPU), Some(a));
    tasks.thread_mut(a).unwrap().slice = 1;
    assert!(goes_on(&mut tasks, CPU, a));
    let better = process(&mut tasks, 4);
    assert!(!goes_on(&mut tasks, CPU, a));
    assert_eq!(take_ready(&mut tasks, CPU), Some(better));
    tasks.park(better, Wait::restart(Channel::Time, None));
    assert!(!goes_on(&mut tasks, CPU, better));
    assert_eq!((take_ready(&mut tasks, CPU), tasks.thread(a).unwrap().slice), (Some(a), 1));
    tasks.thread_mut(a).unwrap().slice = 0;
    assert!(!goes_on(&mut tasks, CPU, a));
    assert_eq!((take_ready(&mut tasks, CPU), tasks.thread(a).unwrap().slice), (Some(b), SLICE));
    // No other thread is ready: another slice.
    tasks.end_thread(a);
    tasks.thread_mut(b).unwrap().slice = 0;
    assert_eq!((goes_on(&mut tasks, CPU, b), tasks.thread(b).unwrap().slice), (true, SLICE));
}

#[test]
fn the_timer_is_set_when_it_would_go_off_too_late() {
    let mut tasks = Tasks::default();
    let a = running(&mut tasks);
    assert_eq!(tasks.next_alarm(CPU, 100), None);
    tasks.needs_reschedule = CpuSet::NONE;
    // The first thread that waits makes the CPU set its timer for the end of the slice; the next one does not.
    let b = process(&mut tasks, 3);
    assert_eq!((tasks.needs_reschedule, goes_on(&mut tasks, CPU, a)), (CpuSet::only(CPU), true));
    assert_eq!((tasks.next_alarm(CPU, 200), tasks.next_alarm(CPU, 300)), (Some(200 + SLICE), None));
    // Threads that wake each other in turn: the timer stays, and is enough for the slices to come.
    for (now, [from, to]) in (400..500).zip([[a, b], [b, a]].into_iter().cycle()) {
        tasks.needs_reschedule = CpuSet::NONE;
        tasks.park(from, Wait::restart(Channel::Locks, None));
        assert_eq!((tasks.needs_reschedule, goes_on(&mut tasks, CPU, from)), (CpuSet::only(CPU), false));
        assert_eq!((take_ready(&mut tasks, CPU), tasks.next_alarm(CPU, now)), (Some(to), None));
        tasks.needs_reschedule = CpuSet::NONE;
        tasks.wake_all(Channel::Locks);
        assert_eq!(tasks.needs_reschedule, CpuSet::NONE);
    }
    // A deadline that comes sooner, and one that does not.
    tasks.park(a, Wait::restart(Channel::Time, Some(1000)));
    assert_eq!((take_ready(&mut tasks, CPU), tasks.next_alarm(CPU, 500)), (Some(b), Some(1000)));
    tasks.park(b, Wait::restart(Channel::Time, Some(2000)));
    assert_eq!((take_ready(&mut tasks, CPU), tasks.next_alarm(CPU, 600)), (None, None));
    tasks.expire(CPU, 1000);
    assert_eq!((take_ready(&mut tasks, CPU), tasks.next_alarm(CPU, 1000)), (Some(a), Some(2000)));
}

#[test]
fn with_strict_affinity_a_thread_stays_on_the_cpu_that_it_started_on() {
    let mut tasks = Tasks::new(2, Affinity::Strict);
    let id = running(&mut tasks);
    tasks.make_ready(id);
    assert_eq!(take_ready(&mut tasks, Cpu(1)), None);
    assert_eq!(take_ready(&mut tasks, Cpu(0)), Some(id));
}

#[test]
fn wakers_complete_or_restart_a_call() {
    let mut tasks = Tasks::default();
    let (a, b) = (running(&mut tasks), running(&mut tasks));
    let word = Channel::Futex(container(), 0x1000);
    let complete =
        Wait { woken: Resume::Return(0), expired: Resume::Return(-110), bits: 1, ..Wait::restart(word, None) };
    tasks.park(a, complete);
    tasks.thread_mut(b).unwrap().context.registers = Registers { rip: 0x1002, code: 7, ..Registers::default() };
    tasks.park(b, Wait { progress: 3, ..Wait::restart(Channel::ConsoleInput, Some(50)) });
    assert_eq!(tasks.wake(word, 1, 2), 0, "no common bit");
    assert_eq!(tasks.wake(word, 1, 3), 1);
    tasks.wake_all(Channel::ConsoleInput);
    assert_eq!(tasks.thread(a).unwrap().context.registers.rax, 0);
    let b = tasks.thread_mut(b).unwrap();
    assert_eq!((b.context.registers.rip, b.context.registers.rax), (0x1000, 7));
    assert_eq!(
        b.restart,
        Some(Restart { rip: 0x1000, deadline: Some(50), progress: 3, place: 0, after_handler: AfterHandler::Again })
    );
    b.settle_restart(true, -4);
    assert_eq!(
        (b.context.registers.rip, b.context.registers.rax, b.restart),
        (0x1002, 3, None),
        "what was done counts"
    );
    b.settle_restart(true, -4);
    assert_eq!((b.context.registers.rip, b.context.registers.rax), (0x1002, 3), "and once only");
    assert_eq!(tasks.next_deadline(), None);
}

#[test]
fn a_waker_says_for_each_how_its_call_ends() {
    let mut tasks = Tasks::default();
    let channel = Channel::Pipe(1);
    let threads: Vec<_> = (0..4).map(|_| running(&mut tasks)).collect();
    for (n, id) in (0..).zip(&threads) {
        tasks.thread_mut(*id).unwrap().context.registers =
            Registers { rip: 0x1002, rdx: n, code: 7, ..Registers::default() };
        tasks.park(*id, Wait { bits: if n == 1 { 2 } else { 1 }, ..Wait::restart(channel, Some(50 + n)) });
    }
    let mut shown = Vec::new();
    let woken = tasks.wake_with(channel, 2, 1, |thread, wait| {
        shown.push(thread.context.registers.rdx);
        if thread.context.registers.rdx == 0 { Resume::Return(9) } else { wait.woken }
    });
    assert_eq!((woken, shown), (2, vec![0, 2]), "the threads that wait for this bit, in the order in which they came");
    let registers = |tasks: &Tasks<()>, id| {
        tasks.thread(id).map(|thread| (thread.context.registers.rip, thread.context.registers.rax))
    };
    assert_eq!(registers(&tasks, threads[0]), Some((0x1002, 9)), "it has ended");
    assert_eq!(registers(&tasks, threads[2]), Some((0x1000, 7)), "it is made again");
    assert_eq!(tasks.next_deadline(), Some(51));
    assert_eq!((tasks.wake(channel, 9, 3), tasks.next_deadline()), (2, None));
    let order: Vec<_> = core::iter::from_fn(|| take_ready(&mut tasks, CPU)).collect();
    assert_eq!(order, [0, 2, 1, 3].map(|n| threads[n]));
}

#[test]
fn deadlines_expire_in_order_and_once() {
    let mut tasks = Tasks::default();
    let (a, b) = (running(&mut tasks), running(&mut tasks));
    let sleep =
        |deadline, expired| Wait { expired: Resume::Return(expired), ..Wait::restart(Channel::Time, Some(deadline)) };
    tasks.park(a, sleep(20, -1));
    tasks.park(b, sleep(10, -2));
    assert_eq!(tasks.next_deadline(), Some(10));
    tasks.expire(CPU, 15);
    assert_eq!(tasks.thread(b).unwrap().context.registers.rax, -2_i64 as u64);
    assert_eq!((tasks.thread(a).unwrap().state, tasks.next_deadline()), (State::Parked, Some(20)));
    tasks.expire(CPU, 20);
    tasks.expire(CPU, 99);
    assert_eq!(tasks.counts.timeouts, 2);
}

#[test]
fn requeued_threads_wake_with_the_other_word() {
    let mut tasks = Tasks::default();
    let (one, two) = (Channel::Futex(container(), 0x1000), Channel::Futex(container(), 0x2000));
    let threads: Vec<_> = (0..3).map(|_| running(&mut tasks)).collect();
    for id in &threads {
        tasks.park(*id, Wait { woken: Resume::Return(0), ..Wait::restart(one, None) });
    }
    assert_eq!((tasks.wake(one, 1, u32::MAX), tasks.requeue(one, two, 9)), (1, 2));
    assert_eq!((tasks.wake(one, 9, u32::MAX), tasks.wake(two, 9, u32::MAX)), (0, 2));
}

#[test]
fn threads_can_end_wherever_they_are() {
    let mut tasks = Tasks::default();
    let main = running(&mut tasks);
    let process = main.process().unwrap();
    let further: Vec<_> = (0..3).map(|_| tasks.make_thread(process, ExtendedState::zero()).unwrap()).collect();
    tasks.make_ready(further[0]);
    tasks.make_ready(further[1]);
    assert_eq!(take_ready(&mut tasks, CPU), Some(further[0]));
    tasks.park(further[0], Wait::restart(Channel::Locks, Some(5)));
    assert_eq!(tasks.threads_of(process).count(), 4);
    for (left, id) in (0..3).rev().zip(further) {
        assert_eq!(tasks.end_thread(id), left + 1);
    }
    assert_eq!((take_ready(&mut tasks, CPU), tasks.next_deadline(), tasks.end_thread(main)), (None, None, 0));
    tasks.end_process(process, Ending::Exited(3));
    assert_eq!(tasks.process(process).unwrap().ended.unwrap().wait_status(), 0x300);
    tasks.remove_process(process);
    assert_eq!((tasks.processes_live(), tasks.threads_live()), (0, 0));
}

#[test]
fn numbers_find_threads_and_not_their_successors() {
    let mut tasks = Tasks::default();
    let main = running(&mut tasks);
    let process = main.process().unwrap();
    let further = tasks.make_thread(process, ExtendedState::zero()).unwrap();
    let numbers = [main, further].map(|id| tasks.thread(id).unwrap().number);
    assert_eq!(numbers.map(|number| tasks.by_number(number)), [Some(main), Some(further)]);
    assert_eq!((numbers[0], tasks.by_number(0)), (1, None));
    tasks.end_thread(further);
    let next = tasks.make_thread(process, ExtendedState::zero()).unwrap();
    assert_ne!(tasks.thread(next).unwrap().number, numbers[1]);
    assert_eq!(tasks.by_number(numbers[1]), None);
}

#[test]
fn group_and_session_are_inherited() {
    let mut tasks = Tasks::default();
    let container = container();
    let leader = tasks.make_process(Thread::new(container, ExtendedState::zero()), None, ()).unwrap();
    let child = tasks.make_process(Thread::new(container, ExtendedState::zero()), Some(leader), ()).unwrap();
    for id in [leader, child] {
        let process = tasks.process(id).unwrap();
        assert_eq!((process.group, process.session), (leader.number(), leader.number()));
    }
    tasks.set_group(child, child.number());
    assert_eq!(tasks.members(leader.number()).collect::<Vec<_>>(), [leader]);
    assert_eq!(tasks.members(child.number()).collect::<Vec<_>>(), [child]);
}

#[test]
fn a_thread_that_gives_way_goes_behind_its_equals_and_stays_before_others() {
    let mut tasks = Tasks::default();
    let first = running(&mut tasks);
    tasks.needs_reschedule = CpuSet::NONE;
    let worse = process(&mut tasks, 4);
    tasks.needs_reschedule = CpuSet::NONE;
    tasks.give_way(CPU, first);
    assert_eq!((tasks.thread(first).unwrap().state, tasks.needs_reschedule), (State::Running, CpuSet::NONE));
    let equal = process(&mut tasks, 3);
    tasks.give_way(CPU, first);
    assert!(tasks.needs_reschedule.contains(CPU) && !goes_on(&mut tasks, CPU, first));
    assert_eq!([(); 3].map(|()| take_ready(&mut tasks, CPU)), [Some(equal), Some(first), Some(worse)]);
}
