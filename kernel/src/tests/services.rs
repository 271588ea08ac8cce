//! What extensions may ask of the kernel, asked by functions of the test in an extension's place.

use super::machine::{MEMORY, machine, process};
use crate::arch::extension::{Caller, Diversion, Held, Loan, Purpose, Supply};
use crate::core::kernel::Kernel;
use abi::extension::{Companions, Functions, Interrupted, Report, Services, WAIT};
use abi::registers::Registers;
use abi::vectors;
use alloc::vec::Vec;
use containers::{Channel, Cpu, Frame, KERNEL_RESERVE, PhysicalMemory, Space, ThreadId};
use x86_64::PhysAddr;

const ESRCH: i64 = -3;
const EFAULT: i64 = -14;
const EBUSY: i64 = -16;
const ENOMEM: i64 = -12;
const EEXIST: i64 = -17;
const EINVAL: i64 = -22;
const ENOSPC: i64 = -28;

/// Requests of [`asks`].
const HOLD: u32 = 0;
const RELEASE: u32 = 1;
const WAITS: u32 = 2;
const WAKE: u32 = 3;
const CALLER: u32 = 4;
const INTERRUPT: u32 = 5;
const LOW: u32 = 6;
const CPU: u32 = 7;
const REGISTERS: u32 = 8;
const ACCOMPANY: u32 = 9;
const ALLOCATE: u32 = 10;
const FOUND: u32 = 11;
const DIVERT: u32 = 12;
const COMPANIONS: u32 = 13;

unsafe extern "C" fn nothing(_: &Services, _: u64) {}
unsafe extern "C" fn left(_: &Services, _: u64, _: u64) {}
unsafe extern "C" fn stopped(_: &Services, _: u64, _: u64, _: u32) {}
unsafe extern "C" fn rights_taken(_: u64, _: u64) {}
unsafe extern "C" fn report(_: u64, value: u64, report: &mut Report) {
    *report = Report { ticks: value * 1000, runs: 1, cpu: 3 };
}

/// An `ioctl` that asks the kernel for one service.
unsafe extern "C" fn asks(services: &Services, _: u64, _: u64, request: u32, argument: u64) -> i64 {
    let Services { context, functions, .. } = *services;
    let Functions { hold_page, release_frame, wait, wake, caller, take_interrupt, low_pages, .. } = *functions;
    // SAFETY: the context of this call.
    unsafe {
        match request {
            HOLD => hold_page(context, argument),
            RELEASE => {
                release_frame(context, argument);
                0
            }
            WAITS => wait(context, argument as u32),
            WAKE => wake(context, argument as u32),
            CALLER => caller(context) as i64,
            INTERRUPT => take_interrupt(context, nothing, 0),
            LOW => low_pages(context) as i64,
            CPU => (functions.cpu_id)(context, argument),
            REGISTERS => (functions.map_registers)(context, argument, 4096) as i64,
            ACCOMPANY => (functions.accompany)(context, argument),
            ALLOCATE => (functions.allocate_frame)(context) as i64,
            FOUND => {
                let mut found = Interrupted::default();
                match (functions.interrupted)(context, &mut found) {
                    0 => (found.value << 1 | found.in_user_mode) as i64,
                    error => error,
                }
            }
            DIVERT => (functions.divert)(context, &Registers::for_user(argument, 0x7000), 5),
            _ => (functions.register_companions)(context, &Companions { data: 0, left, stopped, rights_taken, report }),
        }
    }
}

/// An extension in its calls.
struct Tester<'a> {
    kernel: &'a mut Kernel,
    held: Held,
    supply: Supply,
    thread: ThreadId,
    purpose: Purpose,
    interrupted: Option<ThreadId>,
    diversion: Option<Diversion>,
}

impl Tester<'_> {
    fn new(kernel: &mut Kernel) -> Tester<'_> {
        let thread = process(kernel, Cpu(0));
        let supply = Supply::new([4, 2].into(), Some(0x8000));
        Tester {
            kernel,
            held: Held::new("tester".into(), 12),
            supply,
            thread,
            purpose: Purpose::Ioctl,
            interrupted: None,
            diversion: None,
        }
    }

    /// Asks for a service; returns its result, and what the caller is to wait for.
    fn ask_and_wait(&mut self, request: u32, argument: u64) -> (i64, Option<Channel>) {
        let Tester { kernel, held, supply, thread, purpose, interrupted, diversion } = self;
        let (process, container) = kernel.tasks.thread(*thread).map(|it| (it.process, it.container)).expect("a thread");
        let caller = Caller { thread: *thread, process, space: Space { container, cpu: Cpu(0) } };
        let mut loan = Loan {
            held,
            supply,
            memory: &mut kernel.memory,
            threads: if *purpose == Purpose::Start { None } else { Some(&mut kernel.tasks) },
            caller: Some(caller),
            purpose: *purpose,
            interrupted: *interrupted,
            diversion: None,
            wait: None,
        };
        let result = loan.ioctl((asks, 0), 0, request, argument);
        *diversion = loan.diversion;
        (result, loan.wait)
    }

    fn ask(&mut self, request: u32, argument: u64) -> i64 {
        self.ask_and_wait(request, argument).0
    }
}

#[test]
fn a_held_page_is_counted_and_needs_memory() {
    let kernel = &mut *machine();
    let mut tester = Tester::new(kernel);
    let held = tester.ask(HOLD, MEMORY);
    let frame = Frame::containing(PhysAddr::new(held as u64));
    assert_eq!((tester.kernel.memory.physical.references(frame), tester.held.frames), (2, 1));
    assert_eq!([0, MEMORY - 1, 1 << 47, u64::MAX].map(|bad| tester.ask(HOLD, bad)), [EFAULT; 4]);
    let physical = &mut tester.kernel.memory.physical;
    let taken: Vec<_> = core::iter::from_fn(|| physical.allocate().ok()).collect();
    assert_eq!(tester.ask(HOLD, MEMORY + 0x5000), ENOMEM, "a page that no program has touched");
    assert_eq!(tester.ask(HOLD, MEMORY), held, "a page that is there");
    taken.into_iter().for_each(|frame| tester.kernel.memory.physical.release(frame));
    assert_eq!([0; 2].map(|_| tester.ask(RELEASE, held as u64)), [0; 2]);
    assert_eq!((tester.kernel.memory.physical.references(frame), tester.held.frames), (1, 0));
}

/// However much a program has an extension allocate.
#[test]
fn allocated_frames_leave_the_kernel_its_reserve() {
    let kernel = &mut *machine();
    let mut tester = Tester::new(kernel);
    let taken: Vec<_> = core::iter::from_fn(|| Some(tester.ask(ALLOCATE, 0)).filter(|frame| *frame != 0)).collect();
    assert_eq!((tester.kernel.memory.physical.free_frames(), taken.is_empty()), (KERNEL_RESERVE, false));
    taken.into_iter().for_each(|frame| assert_eq!(tester.ask(RELEASE, frame as u64), 0));
}

#[test]
fn interrupts_are_taken_at_the_start_and_given_back() {
    let kernel = &mut *machine();
    let mut tester = Tester::new(kernel);
    assert_eq!(tester.ask(INTERRUPT, 0), EINVAL, "not at the start");
    tester.purpose = Purpose::Start;
    for _ in 0..2 {
        let taken: Vec<_> = vectors::EXTENSIONS.map(|_| tester.ask(INTERRUPT, 0)).collect();
        assert_eq!(taken, vectors::EXTENSIONS.map(i64::from).collect::<Vec<_>>());
        assert_eq!(tester.ask(INTERRUPT, 0), ENOSPC);
        let held = core::mem::replace(&mut tester.held, Held::new("tester".into(), 16));
        assert!(vectors::EXTENSIONS.into_iter().all(|vector| held.interrupt(vector).is_some()));
        tester.supply.take_back(&held, &mut tester.kernel.memory.physical);
    }
}

#[test]
fn a_caller_waits_for_a_number_of_its_extension() {
    let kernel = &mut *machine();
    let mut tester = Tester::new(kernel);
    assert_eq!(tester.ask_and_wait(WAITS, 7), (WAIT, Some(Channel::Extension(12 << 32 | 7))));
    assert_eq!(tester.ask(WAKE, 7), 0, "nobody waits");
    let thread = tester.thread;
    let numbers =
        tester.kernel.tasks.thread(thread).map(|it| u64::from(it.process.number()) << 32 | u64::from(it.number));
    assert_eq!(Some(tester.ask(CALLER, 0) as u64), numbers);
    tester.purpose = Purpose::Start;
    assert_eq!(tester.ask_and_wait(WAITS, 7), (EINVAL, None), "only an `ioctl` waits");
    assert_eq!(tester.ask(WAKE, 7), EINVAL, "no threads are at hand");
    assert_eq!(tester.ask(CALLER, 0), 0);
}

#[test]
fn the_machine_is_told_and_handed_out() {
    let kernel = &mut *machine();
    let mut tester = Tester::new(kernel);
    assert_eq!([0, 1, 2, u64::MAX].map(|index| tester.ask(CPU, index)), [4, 2, -1, -1]);
    assert_eq!([0; 2].map(|_| tester.ask(LOW, 0)), [0x8000, 0], "once");
    assert_eq!([1 << 40, (128 << 30) - 1, u64::MAX].map(|far| tester.ask(REGISTERS, far)), [0; 3]);
}

#[test]
fn one_extension_at_a_time_accompanies_threads() {
    let kernel = &mut *machine();
    let mut tester = Tester::new(kernel);
    assert_eq!(tester.ask(ACCOMPANY, 5), EINVAL, "it has no functions for that");
    assert_eq!(tester.ask(COMPANIONS, 0), EINVAL, "not at the start");
    tester.purpose = Purpose::Start;
    assert_eq!(tester.ask(COMPANIONS, 0), 0);
    assert_eq!(tester.ask(COMPANIONS, 0), EBUSY);
    assert_eq!(tester.ask(ACCOMPANY, 5), EINVAL, "only in an `ioctl`");
    tester.purpose = Purpose::Ioctl;
    assert!(tester.ask(ACCOMPANY, 5) > 0, "a page directory");
    assert_eq!(tester.ask(ACCOMPANY, 6), EEXIST);
    assert_eq!(
        tester.kernel.memory.physical.accompanied.threads.values().map(|companion| companion.value).collect::<Vec<_>>(),
        [5]
    );
    tester.supply.take_back(&tester.held, &mut tester.kernel.memory.physical);
    tester.purpose = Purpose::Start;
    tester.held = Held::new("other".into(), 16);
    assert_eq!(tester.ask(COMPANIONS, 0), 0, "the first has gone");
    tester.supply.take_back(&tester.held, &mut tester.kernel.memory.physical);
}

#[test]
fn a_thread_is_diverted_from_user_mode_alone() {
    let kernel = &mut *machine();
    let mut tester = Tester::new(kernel);
    let thread = tester.thread;
    let other = process(tester.kernel, Cpu(0));
    let comes_by = |tester: &mut Tester, vector| {
        let thread = tester.kernel.tasks.thread_mut(thread).expect("a thread");
        thread.context.registers = Registers { vector, ..Registers::for_user(0x5000, 0x6000) };
    };
    tester.purpose = Purpose::Start;
    assert_eq!(tester.ask(COMPANIONS, 0), 0);
    tester.purpose = Purpose::Ioctl;
    assert!(tester.ask(ACCOMPANY, 9) > 0, "a page directory");
    for (interrupted, expected) in [(None, ESRCH), (Some(other), ESRCH)] {
        tester.interrupted = interrupted;
        assert_eq!(tester.ask(FOUND, 0), expected);
    }
    tester.interrupted = Some(thread);
    for vector in [14, Registers::SYSTEM_CALL, Registers::SET] {
        comes_by(&mut tester, vector);
        assert_eq!((tester.ask(FOUND, 0), tester.ask(DIVERT, 0x1000)), (9 << 1, EBUSY), "by {vector:#x}");
    }
    comes_by(&mut tester, vectors::TIMER.into());
    assert_eq!((tester.ask(FOUND, 0), tester.ask(DIVERT, 0x1000)), (9 << 1 | 1, 0));
    let Some(Diversion { thread: diverted, registers, mask }) = tester.diversion else { panic!("no diversion") };
    assert_eq!((diverted, registers.rip, registers.rsp, mask), (thread, 0x1000, 0x7000, 5));
    let thread = tester.kernel.tasks.thread_mut(thread).expect("a thread");
    thread.saved_mask = Some(0);
    assert_eq!(tester.ask(DIVERT, 0x1000), EBUSY, "a call is to be made again");
    tester.supply.take_back(&tester.held, &mut tester.kernel.memory.physical);
}
