//! Whether the queues of children, threads and members are what a search of all processes and threads finds.

use super::*;
use crate::memory::container::ContainerId;
use crate::tasks::context::ExtendedState;
use crate::tasks::process::Ending;
use crate::tests::scheduling::container;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// A process is made, with one of the others as its parent or without one.
    Make(Option<usize>),
    Thread(usize),
    /// A thread ends.
    Leave(usize),
    /// A process joins the group of another one.
    Join(usize, usize),
    /// A process leads a group of its own.
    Lead(usize),
    Disown(usize),
    /// All threads end, and another program begins.
    Execute(usize),
    /// All threads end, and the process is waited for.
    End(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let n = || 0..8_usize;
    prop_oneof![
        4 => prop::option::weighted(0.8, n()).prop_map(Step::Make),
        3 => n().prop_map(Step::Thread),
        2 => n().prop_map(Step::Leave),
        2 => (n(), n()).prop_map(|(n, other)| Step::Join(n, other)),
        2 => n().prop_map(Step::Lead),
        1 => n().prop_map(Step::Disown),
        1 => n().prop_map(Step::Execute),
        2 => n().prop_map(Step::End),
    ]
}

fn make(tasks: &mut Tasks<()>, container: ContainerId, step: Step) {
    let processes: Vec<_> = tasks.processes().collect();
    let threads: Vec<_> = processes.iter().flat_map(|id| tasks.threads_of(*id)).collect();
    let process = |n: usize| processes.get(n % processes.len().max(1)).copied();
    let end_threads = |tasks: &mut Tasks<()>, id| {
        let threads: Vec<_> = tasks.threads_of(id).collect();
        threads.into_iter().for_each(|id| _ = tasks.end_thread(id));
    };
    let main = || Thread::new(container, ExtendedState::zero());
    match step {
        Step::Make(parent) => _ = tasks.make_process(main(), parent.and_then(process), ()).unwrap(),
        Step::Thread(n) => _ = process(n).map(|id| tasks.make_thread(id, ExtendedState::zero()).unwrap()),
        Step::Leave(n) => _ = threads.get(n % threads.len().max(1)).map(|id| tasks.end_thread(*id)),
        Step::Join(n, other) => {
            _ = process(n).zip(process(other)).map(|(id, other)| {
                let group = tasks.process(other).unwrap().group;
                tasks.set_group(id, group);
            })
        }
        Step::Lead(n) => _ = process(n).map(|id| tasks.set_group(id, id.number())),
        Step::Disown(n) => _ = process(n).map(|id| tasks.disown(id)),
        Step::Execute(n) => {
            _ = process(n).map(|id| {
                end_threads(tasks, id);
                tasks.renew(id, main());
            })
        }
        Step::End(n) => {
            _ = process(n).map(|id| {
                end_threads(tasks, id);
                tasks.end_process(id, Ending::Exited(0));
                let children: Vec<_> = tasks.children(id).collect();
                children.into_iter().for_each(|child| tasks.disown(child));
                tasks.remove_process(id);
            })
        }
    }
}

/// What a queue has, in the order of names, of which none comes twice.
fn sorted<T: Ord>(queue: impl Iterator<Item = T>) -> Vec<T> {
    let mut names: Vec<_> = queue.collect();
    names.sort();
    names
}

#[test]
#[cfg_attr(miri, ignore = "many processes")]
fn a_number_is_not_used_again_while_a_group_or_session_bears_it() {
    let (mut tasks, container) = (Tasks::default(), container());
    let main = || Thread::new(container, ExtendedState::zero());
    let end = |tasks: &mut Tasks<()>, id| {
        tasks.end_thread(ThreadId::main(id));
        tasks.end_process(id, Ending::Exited(0));
        tasks.remove_process(id);
    };
    let leader = tasks.make_process(main(), None, ()).unwrap();
    let member = tasks.make_process(main(), Some(leader), ()).unwrap();
    let other = tasks.make_process(main(), Some(leader), ()).unwrap();
    // One that bears the leader's number as its session only.
    tasks.set_group(other, other.number());
    end(&mut tasks, leader);
    // The slot that has become free last is the next, so others are filled.
    let again = |tasks: &mut Tasks<()>| {
        let mut found = false;
        for _ in 0..1 << 14 {
            let id = tasks.make_process(main(), None, ()).unwrap();
            assert_eq!(id.index(), leader.index());
            found |= id.number() == leader.number();
            end(tasks, id);
        }
        found
    };
    assert!(!again(&mut tasks), "a group bears it");
    end(&mut tasks, member);
    tasks.make_process(main(), None, ()).unwrap();
    assert!(!again(&mut tasks), "a session bears it");
    end(&mut tasks, other);
    tasks.make_process(main(), None, ()).unwrap();
    assert!(again(&mut tasks), "no group or session has it");
}

proptest! {
    #[test]
    fn families_are_what_a_search_finds(steps in prop::collection::vec(step(), 1..80)) {
        let (mut tasks, container) = (Tasks::default(), container());
        for step in steps {
            make(&mut tasks, container, step);
            let all: Vec<_> = tasks.processes().collect();
            let having = |what: &dyn Fn(&Process<()>) -> bool| -> Vec<ProcessId> {
                all.iter().copied().filter(|id| tasks.process(*id).is_some_and(what)).collect()
            };
            let mut groups = 0;
            for &id in &all {
                let process = tasks.process(id).unwrap();
                prop_assert_eq!(sorted(tasks.children(id)), sorted(having(&|it| it.parent == Some(id)).into_iter()));
                let members = having(&|it| it.group == process.group);
                groups += usize::from(members.first() == Some(&id));
                prop_assert_eq!(sorted(tasks.members(process.group)), sorted(members.into_iter()));
                let main = (process.main.state != State::Ended).then(|| ThreadId::main(id));
                let further = tasks.threads.further.ids().map(ThreadId::further);
                let further = further.filter(|thread| tasks.thread(*thread).is_some_and(|it| it.process == id));
                let threads = sorted(main.into_iter().chain(further));
                prop_assert_eq!(threads.len(), process.threads as usize);
                prop_assert_eq!(sorted(tasks.threads_of(id)), threads);
            }
            prop_assert_eq!(tasks.groups.by_number.len(), groups);
            prop_assert_eq!(tasks.groups.all.live() as usize, groups);
        }
    }
}

#[test]
fn the_oldest_child_comes_first() {
    let (mut tasks, container) = (Tasks::<()>::default(), container());
    let mut make = |parent| tasks.make_process(Thread::new(container, ExtendedState::zero()), parent, ()).unwrap();
    let parent = make(None);
    let [first, second, third] = [0; 3].map(|_| make(Some(parent)));
    tasks.remove_process(second);
    // In the slot that has become free, between the two others.
    let fourth = tasks.make_process(Thread::new(container, ExtendedState::zero()), Some(parent), ()).unwrap();
    assert_eq!(fourth.index(), second.index());
    assert_eq!(tasks.children(parent).collect::<Vec<_>>(), [first, third, fourth]);
    assert_eq!(tasks.members(parent.number()).collect::<Vec<_>>(), [parent, first, third, fourth]);
}
