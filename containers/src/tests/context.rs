//! User contexts: resident on one CPU or evicted, and what other CPUs may do for an evicted one.

use crate::memory::region::Rights;
use crate::memory::user::Space;
use crate::tasks::Tasks;
use crate::tasks::context::{Context, ExtendedState};
use crate::tasks::thread::Thread;
use crate::tasks::wait::{Channel, Resume, Wait};
use crate::testing::Machine;
use crate::tests::cpus::{access, region, run};
use crate::tests::scheduling::{goes_on, take_ready};
use crate::{PhysicalMemory, ThreadId};
use cpulocal::Cpu;

const OUTSIDE: u64 = 0x7000_0000_0000;
const RW: Rights = Rights::READ.union(Rights::WRITE);

#[test]
fn a_context_is_stored_once_and_where_it_is() {
    let mut context = Context::new(ExtendedState::zero());
    context.set_resident(Cpu(1));
    assert!(context.is_resident(Cpu(1)) && !context.is_resident(Cpu(0)));
    context.evict(Cpu(0), |_| panic!("another CPU has nothing of it"));
    context.evict(Cpu(1), |state| state.area[0] = 7);
    context.evict(Cpu(1), |_| panic!("evicted already"));
    assert_eq!(context.extended.area[0], 7);
}

/// A thread waits on CPU 0, and CPU 1 ends its call: it writes to the thread's memory and gives the result, but loads
/// nothing of the thread.
#[test]
fn another_cpu_ends_the_call_of_an_evicted_thread() {
    let mut memory = Machine::memory_with(600, 2);
    let mut tasks = Tasks::<()>::new(2, Default::default());
    let container = memory.make_container_with_directory(Cpu(0)).unwrap();
    memory.map(container, region(OUTSIDE, 2, RW)).unwrap();
    let thread = Thread::new(container, ExtendedState::zero());
    let id = ThreadId::main(tasks.make_process(thread, None, ()).unwrap());
    tasks.make_ready(id);
    assert_eq!(take_ready(&mut tasks, Cpu(0)), Some(id));
    tasks.thread_mut(id).unwrap().context.set_resident(Cpu(0));
    run(&mut memory, Cpu(0), container);
    access(&mut memory, Cpu(0), container, OUTSIDE, Rights::WRITE).unwrap();

    let channel = Channel::Pipe(3);
    tasks.park(id, Wait { woken: Resume::Return(5), ..Wait::restart(channel, None) });
    assert!(!tasks.goes_on(Cpu(0), id, Default::default(), |thread| thread.context.evict(Cpu(0), |_| ())));
    memory.rest(Cpu(0));

    memory.physical.here = Cpu(1);
    let loaded = memory.physical.loaded();
    // The second page has never been touched, so it is delivered by a CPU that does not run the container.
    let space = Space { container, cpu: Cpu(1) };
    let far = OUTSIDE + 4096 - 2;
    memory.copy_out(space, far, b"done").unwrap();
    assert_eq!(tasks.wake(channel, 1, 1), 1);
    assert_eq!(memory.physical.loaded(), loaded, "no page tables were loaded");

    assert_eq!(take_ready(&mut tasks, Cpu(0)), Some(id));
    let context = &tasks.thread(id).unwrap().context;
    assert!(!context.is_resident(Cpu(0)) && !context.is_resident(Cpu(1)));
    assert_eq!(context.registers.rax, 5);
    run(&mut memory, Cpu(0), container);
    let mut seen = [0; 4];
    memory.copy_in(Space { container, cpu: Cpu(0) }, far, &mut seen).unwrap();
    assert_eq!(&seen, b"done");
    assert!(goes_on(&mut tasks, Cpu(0), id));
}

/// The page tables for a CPU can be made ready from elsewhere; nothing is loaded before that CPU loads them.
#[test]
fn page_tables_are_prepared_for_another_cpu() {
    let mut memory = Machine::memory_with(600, 2);
    let id = memory.make_container_with_directory(Cpu(0)).unwrap();
    run(&mut memory, Cpu(0), id);
    let loaded = memory.physical.loaded();
    let prepared = memory.prepare(id, Cpu(1)).unwrap();
    assert_eq!(memory.physical.loaded(), loaded);
    assert_eq!(memory.container(id).unwrap().usage().directories, 2);
    let taken: Vec<_> = core::iter::from_fn(|| memory.physical.allocate().ok()).collect();
    memory.physical.here = Cpu(1);
    memory.load(id, Cpu(1), prepared);
    memory.rest(Cpu(1));
    // A copy that is there needs no frame.
    assert!(memory.activate(id, Cpu(1)).is_ok());
    taken.into_iter().for_each(|frame| memory.physical.release(frame));
}
