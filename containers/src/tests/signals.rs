//! The count of return work: whether it tells without a search that no thread has any.

use super::*;
use crate::memory::container::ContainerId;
use crate::tasks::context::ExtendedState;
use crate::tasks::process::Ending;
use crate::tests::scheduling::container;
use alloc::collections::BTreeMap;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Process,
    Thread(usize),
    Post(usize, bool, u8),
    Take(usize, u64),
    Discard(usize, u64),
    Stop(usize),
    GoOn(usize),
    /// Stops and continuations are noted.
    Accompany(usize),
    /// A CPU is about to leave the kernel.
    Tell,
    /// A thread ends.
    Leave(usize),
    /// All threads end, and another program begins with what was pending for the first.
    Execute(usize),
    /// All threads end, and the process is waited for.
    End(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let n = || 0..6_usize;
    let set = || prop_oneof![Just(u64::MAX), any::<u64>()];
    prop_oneof![
        2 => Just(Step::Process),
        2 => n().prop_map(Step::Thread),
        5 => (n(), any::<bool>(), 1..40_u8).prop_map(|(n, whole, signal)| Step::Post(n, whole, signal)),
        4 => (n(), set()).prop_map(|(n, set)| Step::Take(n, set)),
        2 => (n(), set()).prop_map(|(n, set)| Step::Discard(n, set)),
        2 => n().prop_map(Step::Stop),
        2 => n().prop_map(Step::GoOn),
        2 => n().prop_map(Step::Accompany),
        2 => Just(Step::Tell),
        2 => n().prop_map(Step::Leave),
        1 => n().prop_map(Step::Execute),
        2 => n().prop_map(Step::End),
    ]
}

fn end_all(tasks: &mut Tasks<()>, process: ProcessId) {
    let threads: Vec<_> = tasks.threads_of(process).collect();
    threads.into_iter().for_each(|id| _ = tasks.end_thread(id));
}

fn make(tasks: &mut Tasks<()>, container: ContainerId, step: Step) {
    let processes: Vec<_> = tasks.processes().collect();
    let threads: Vec<_> = processes.iter().flat_map(|id| tasks.threads_of(*id)).collect();
    let process = |n: usize| processes.get(n % processes.len().max(1)).copied();
    let thread = |n: usize| threads.get(n % threads.len().max(1)).copied();
    match step {
        Step::Process => {
            tasks.make_process(Thread::new(container, ExtendedState::zero()), None, ()).unwrap();
        }
        Step::Thread(n) => _ = process(n).map(|id| tasks.make_thread(id, ExtendedState::zero()).unwrap()),
        Step::Post(n, whole, number) => {
            let target = if whole { process(n).map(Target::Process) } else { thread(n).map(Target::Thread) };
            target.into_iter().for_each(|to| tasks.post(to, SignalInfo { number, code: 0, first: 0, second: 0 }));
        }
        Step::Take(n, set) => _ = thread(n).and_then(|id| tasks.take_signal(id, set)),
        Step::Discard(n, set) => process(n).into_iter().for_each(|id| tasks.discard(id, set)),
        Step::Stop(n) => process(n).into_iter().for_each(|id| {
            tasks.stop(id, 19);
            tasks.has_stopped(id);
        }),
        Step::GoOn(n) => _ = process(n).map(|id| tasks.go_on(id)),
        Step::Accompany(n) => process(n).into_iter().for_each(|id| tasks.accompany(id)),
        Step::Tell => {}
        Step::Leave(n) => _ = thread(n).map(|id| tasks.end_thread(id)),
        Step::Execute(n) => process(n).into_iter().for_each(|id| {
            let mut main = Thread::new(container, ExtendedState::zero());
            main.succeed(tasks.thread(ThreadId::main(id)).unwrap());
            end_all(tasks, id);
            tasks.renew(id, main);
        }),
        Step::End(n) => process(n).into_iter().for_each(|id| {
            end_all(tasks, id);
            tasks.end_process(id, Ending::Exited(0));
            tasks.remove_process(id);
        }),
    }
}

proptest! {
    #[test]
    fn signals_are_known_to_have_nothing_to_say(steps in prop::collection::vec(step(), 1..60)) {
        let (mut tasks, container) = (Tasks::default(), container());
        let mut told = BTreeMap::new();
        for step in steps {
            let tells = matches!(step, Step::Tell);
            make(&mut tasks, container, step);
            let accompanied = |id: &ProcessId| tasks.process(*id).is_some_and(|process| process.control.is_accompanied);
            let jobs: BTreeMap<_, _> = tasks.processes().filter(accompanied).map(|id| (id, tasks.is_stopped(id))).collect();
            if tells && tasks.take_job_change() {
                told = jobs.clone();
            }
            let untold = jobs.iter().any(|(id, is_stopped)| told.get(id).unwrap_or(&false) != is_stopped);
            prop_assert!(!untold || tasks.signals.job_change);
            let main_ones = tasks.processes().map(ThreadId::main);
            let further = tasks.threads.further.ids().map(ThreadId::further);
            let threads = main_ones.chain(further).filter(|id| tasks.thread(*id).is_some_and(|thread| thread.pending != 0));
            let control = |id: &ProcessId| tasks.process(*id).is_some_and(|process| process.control.has_return_work());
            let change = usize::from(tasks.signals.job_change);
            let return_work = threads.count() + tasks.processes().filter(control).count() + change;
            prop_assert_eq!(tasks.signals.return_work as usize, return_work);
            prop_assert_eq!(!tasks.has_return_work(), return_work == 0);
        }
    }
}

#[test]
fn timers_go_off_in_turn_and_go_with_their_process() {
    let (mut tasks, container) = (Tasks::default(), container());
    let mut process = || tasks.make_process(Thread::new(container, ExtendedState::zero()), None, ()).unwrap();
    let [once, again, stopped, ended] = [process(), process(), process(), process()];
    for (id, at, interval) in [(once, 30, 0), (again, 20, 15), (stopped, 10, 0), (ended, 5, 5)] {
        assert_eq!(tasks.set_timer(id, Some(Timer { at, interval })), None);
    }
    assert_eq!(tasks.set_timer(stopped, None), Some(Timer { at: 10, interval: 0 }));
    end_all(&mut tasks, ended);
    tasks.end_process(ended, Ending::Exited(0));
    assert_eq!(tasks.next_deadline(), Some(20));
    assert_eq!(tasks.expired_timer(19), None);
    // What has been missed is passed over.
    let expired: Vec<_> = std::iter::from_fn(|| tasks.expired_timer(51)).collect();
    assert_eq!(expired, [again, once]);
    assert_eq!((tasks.timer(again), tasks.timer(once)), (Some(Timer { at: 65, interval: 15 }), None));
    assert_eq!(tasks.next_deadline(), Some(65));
}
