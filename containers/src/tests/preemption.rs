//! A call that has come to a preemption point is made again where it was, by the thread that goes on.

use super::*;
use crate::budget::Budget;
use crate::tasks::context::Registers;
use crate::tasks::signals::{SignalInfo, Target};
use crate::tasks::thread::Times;
use crate::tests::scheduling::{running, take_ready};
use cpulocal::Cpu;

const BYTES: Point = Point { progress: 4096, place: 0, ends_for_handlers: true };
const PAGES: Point = Point { progress: 0, place: 7, ends_for_handlers: false };

/// A running thread whose call has come to a point; its registers are in its control block.
fn preempted(tasks: &mut Tasks<()>, point: Point) -> ThreadId {
    let id = running(tasks);
    tasks.preempt(id, point);
    assert!(tasks.has_return_work(), "the registers must be set back when they are in the control block");
    tasks.thread_mut(id).unwrap().context.registers = Registers { rip: 0x1002, code: 9, ..Registers::default() };
    tasks.settle_preempted(id);
    assert!(!tasks.has_return_work());
    id
}

#[test]
fn it_is_made_again_by_the_thread_that_goes_on() {
    let mut tasks = Tasks::default();
    let id = preempted(&mut tasks, PAGES);
    assert!(tasks.needs_reschedule.contains(Cpu(0)), "its CPU must reschedule");
    let thread = tasks.thread(id).unwrap();
    assert_eq!((thread.state, thread.context.registers.rip, thread.context.registers.rax), (State::Running, 0x1000, 9));
    let call = thread.restart.unwrap();
    assert_eq!((call.rip, call.progress, call.place), (0x1000, 0, 7));
    let used = Times { total: 1, user_ticks: 0 };
    assert!(tasks.goes_on(Cpu(0), id, used, |_| panic!("there is no other thread")), "it keeps its CPU");
    // Only once: what is made again has not come to a point yet.
    tasks.settle_preempted(id);
    assert_eq!(tasks.thread(id).unwrap().context.registers.rip, 0x1000);
    assert_eq!(take_ready(&mut tasks, Cpu(0)), None);
}

#[test]
fn a_handler_ends_it_with_what_it_has_done_or_has_it_made_again() {
    let mut tasks = Tasks::default();
    let ends = preempted(&mut tasks, BYTES);
    let thread = tasks.thread_mut(ends).unwrap();
    assert_eq!(thread.settle_restart(true, -4), None);
    assert_eq!((thread.context.registers.rip, thread.context.registers.rax, thread.restart), (0x1002, 4096, None));
    let mut tasks = Tasks::default();
    let waits = preempted(&mut tasks, PAGES);
    let call = tasks.thread(waits).unwrap().restart.unwrap();
    assert_eq!(call.after_handler, AfterHandler::Waits);
}

#[test]
fn a_signal_that_is_there_does_not_disturb_the_count() {
    let mut tasks = Tasks::default();
    let id = running(&mut tasks);
    tasks.preempt(id, PAGES);
    tasks.post(Target::Thread(id), SignalInfo { number: 10, code: 0, first: 0, second: 0 });
    tasks.settle_preempted(id);
    assert!(tasks.has_return_work());
    assert!(tasks.take_signal(id, u64::MAX).is_some());
    assert!(!tasks.has_return_work());
}

#[test]
fn a_budget_ends_and_stays_ended() {
    let mut budget = Budget::of(10);
    budget.spend(4);
    assert_eq!((budget.left(), budget.is_spent()), (6, false));
    budget.spend(100);
    assert!(budget.is_spent());
    let mut unlimited = Budget::unlimited();
    unlimited.spend(1 << 60);
    assert!(!unlimited.is_spent());
}
