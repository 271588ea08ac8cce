//! The boundary: how a CPU enters and leaves the kernel.
//!
//! The execution level rises on every entry and falls on every exit (papers/001 section 3.1): **0** in
//! user mode and in the idle loop, **1** in a system call, exception or interrupt that came from
//! level 0, **2** when the kernel itself was interrupted.
//!
//! | level | may touch |
//! | --- | --- |
//! | 0 | nothing of the kernel's |
//! | 1 | everything, through the one `&mut Kernel` that this module hands out |
//! | 2 | the device that interrupted, and this CPU's notes (`arch::deferred`) |
//!
//! The [strategy](Strategy) is asked when the level rises to 1 and told when it falls to 0. It decides which CPUs may
//! be in the kernel at the same time. With one CPU (`up`) there is nothing to decide; with several, the giant lock
//! (`giant`) lets in one CPU at a time.
//!
//! For example, a thread calls `read` while another CPU is in the kernel. Its CPU rises to level 1, asks for the giant
//! lock and spins. When it has the lock it makes the call; a timer interrupt in the middle of that is level 2, which
//! only leaves a note. On the way out the CPU works off the note, may choose another thread, gives the lock back and
//! falls to level 0.

mod entry;
#[cfg(feature = "smp")]
pub mod stop;

use crate::arch::accounts::{COUNTS, begin, count, end, trap_began, trap_ended};
use crate::arch::fault::{self, EXCEPTIONS, Fault};
use crate::arch::frame::{self, IDLE_TIME, LEVEL, Progress, SystemCall, USER_TIME};
use crate::arch::{deferred, devices, trace};
use crate::calls;
use crate::core::kernel::Kernel;
use crate::core::schedule::{self, Choice};
use crate::core::{delivery, shortage, signals, trap, work};
use crate::strategies::{Chosen, Nested, Request, Strategy, Waited};
use ::trace::{Class, Event, From, To};
use containers::{CpuSet, Registers};
use cpulocal::{AtLevel1, Guarded, InKernel};
use hardware::{clock, interrupts};

/// A place in the queue of CPUs that wait to be let in.
type Turn = <Chosen as Strategy>::Turn;

// SAFETY: a `Kernel` is not `Send` by itself because of its counted references (`Rc`), of processes to what they share
// and of files to their names. All references to one value are part of this object, or of the visit that has it; no
// static and no CPU-local variable holds one. So the CPU that has the kernel's state has all references.
unsafe impl Send for Kernel {}

/// The kernel's state.
static KERNEL: Guarded<Kernel> = Guarded::new();

/// A visit to the kernel, by the kind of its entry.
trait Visit: Copy {
    /// What brought the CPU in.
    const CLASS: Class;
    /// What the entry code goes on with.
    type End;

    /// The proof that this CPU is in the kernel.
    fn cpu(&self) -> &InKernel;

    /// Does what the CPU has come for, and lowers the level again.
    fn work(self, level: AtLevel1) -> Self::End;

    /// Lowers the level when another CPU has ended or stopped the thread that ran here while this CPU waited. The registers
    /// that it entered with belong to no thread then, and the CPU [leaves](exit_kernel) by choosing another thread.
    fn gone(self, level: AtLevel1) -> Self::End;
}

/// Raises the level from 0 to 1, waits until the strategy lets this CPU in, and makes the visit.
///
/// A visit that has to wait goes on in a function of its own. So an entry keeps nothing in registers over the wait, and a
/// CPU that need not wait saves no registers for it.
///
/// # Safety
/// Called by the entry functions below and nowhere else, once per visit, at level 0. The visit keeps the proof no longer
/// than until it calls [`fall`].
#[inline(always)]
unsafe fn enter<V: Visit>(visit: V) -> V::End {
    let cpu = visit.cpu();
    LEVEL.get(cpu).set(1);
    // System calls are counted by number, where they are found.
    if V::CLASS != Class::SystemCall {
        count(&COUNTS.get(cpu).traps[V::CLASS as usize - 1]);
    }
    match Chosen::enter(cpu) {
        Ok(()) => {
            if cfg!(feature = "smp") {
                trace::record(cpu, Event::Acquired { depth: 1, contended: false });
            }
            // SAFETY: the level was 0, so there is no other proof on this CPU, and the strategy has let this CPU in and
            // keeps other CPUs out. The boot has put the kernel's state in place before the first entry.
            visit.work(unsafe { AtLevel1::new() })
        }
        // SAFETY: the caller's promise, and the turn is this visit's.
        Err(turn) => unsafe { enter_after_wait(visit, turn) },
    }
}

/// The rest of [`enter`] on a CPU that must wait to be let in.
///
/// # Safety
/// As for [`enter`], which has got the `turn`.
#[cold]
#[inline(never)]
unsafe fn enter_after_wait<V: Visit>(visit: V, turn: Turn) -> V::End {
    let cpu = visit.cpu();
    let waited = Chosen::wait(cpu, turn, V::CLASS);
    trace::record(cpu, Event::Acquired { depth: 1, contended: true });
    // SAFETY: this visit has no other proof, and the strategy has let this CPU in by now and keeps other CPUs out.
    let mut level = unsafe { AtLevel1::new() };
    // An interrupt may have been the very request to stop running this thread; it has left a note to look.
    debug_assert!(
        waited == Waited::Disturbed || V::CLASS == Class::Interrupt || !schedule::is_gone(KERNEL.get(&mut level), cpu),
        "a thread ended under a CPU unasked"
    );
    if waited == Waited::Undisturbed || still_runs(KERNEL.get(&mut level), cpu) {
        visit.work(level)
    } else {
        visit.gone(level)
    }
}

/// Whether the current thread, if there is one, may still run here; asked after a wait that was disturbed. If it may
/// not, the CPU chooses another thread before it leaves. Notes that the wait has left make the CPU choose too, so that
/// a call that goes straight back does not leave them lying.
#[cold]
#[inline(never)]
fn still_runs(kernel: &mut Kernel, cpu: &InKernel) -> bool {
    let gone = schedule::is_gone(kernel, cpu);
    if gone || deferred::any(cpu) {
        kernel.tasks.needs_reschedule.insert(schedule::this_cpu(cpu));
    }
    !gone
}

/// Tells the strategy that this CPU leaves, and lowers the level from 1 to 0.
#[inline(always)]
fn fall(cpu: &InKernel, to: To) {
    trace::exit(cpu, to);
    Chosen::leave(cpu);
    LEVEL.get(cpu).set(0);
}

/// Works off the notes, chooses the thread to run next and returns its registers, through which the entry code returns
/// to user mode; or goes idle. `cause` has brought the CPU into the kernel.
#[inline(always)]
fn exit_kernel(kernel: &mut Kernel, cpu: &InKernel, class: Class) -> *const Registers {
    if deferred::any(cpu) || !kernel.tasks.needs_reschedule.is_empty() {
        exit_work(kernel, cpu);
    }
    match schedule::current(cpu) {
        Some(_) => {
            trap_ended(cpu, class, begin(USER_TIME.get(cpu)));
            fall(cpu, To::User);
            frame::frame(cpu)
        }
        None => {
            trap_ended(cpu, class, begin(IDLE_TIME.get(cpu)));
            fall(cpu, To::Idle);
            entry::idle()
        }
    }
}

/// The slow part of [`exit_kernel`]: works off notes, reschedules and delivers signals until a thread may return to user mode
/// or the CPU is idle.
#[inline(never)]
fn exit_work(kernel: &mut Kernel, cpu: &InKernel) {
    /// The most chosen threads in one visit that may turn out unable to run, for example because their process is
    /// ending.
    const MOST: u32 = 4;
    let here = schedule::this_cpu(cpu);
    let mut gone = 0;
    loop {
        interrupts::disable();
        if gone == MOST {
            schedule::pause(kernel, cpu);
            break;
        }
        if deferred::any(cpu) {
            work::work_off(kernel, cpu, deferred::take(cpu));
        } else if !kernel.tasks.needs_reschedule.contains(here) {
            break;
        }
        let goes_on = match schedule::choose(kernel, cpu) {
            Choice::Runs(chosen) => delivery::deliver(kernel, cpu, &chosen),
            Choice::Idle => {
                delivery::tell_companions(kernel);
                true
            }
            Choice::LacksDirectory(thread) => {
                shortage::relieve_directory(kernel, cpu, thread);
                false
            }
        };
        if !goes_on {
            kernel.tasks.needs_reschedule.insert(here);
            gone += 1;
        }
    }
    let others = core::mem::replace(&mut kernel.tasks.needs_reschedule, CpuSet::NONE);
    if !others.is_empty() {
        Chosen::prod(cpu, others);
    }
}

/// Lets the boot CPU, which is at level 1 from the start, into the kernel before there is another CPU. An entry on
/// another CPU waits until [`start`] leaves; by then the kernel's state is in place.
pub fn enter_boot() {
    // SAFETY: the boot is in the kernel, CPU-local data is mapped, and the proof ends here.
    let cpu = unsafe { InKernel::new() };
    hardware::cpu::set_system_call_entry(entry::syscall_entry());
    log::info!("strategy: {}", Chosen::NAME);
    Chosen::start(&cpu);
    assert!(Chosen::enter(&cpu).is_ok(), "a CPU in the kernel before the boot");
}

/// Takes the level-1 kernel over at the end of the boot and goes to user mode or idle.
pub fn start(kernel: Kernel, cpu: InKernel) -> ! {
    interrupts::disable();
    COUNTS.get(&cpu).since.set(clock::rdtsc());
    trace::start(&cpu);
    // SAFETY: the boot has been let in by `enter_boot`, so no other CPU is in the kernel, and the state is put in place
    // before it is looked at.
    let mut level = unsafe { AtLevel1::new() };
    KERNEL.set(&mut level, kernel);
    let kernel = KERNEL.get(&mut level);
    kernel.tasks.needs_reschedule.insert(schedule::this_cpu(&cpu));
    let registers = exit_kernel(kernel, &cpu, Class::SystemCall);
    // SAFETY: these are the registers of the thread chosen, and interrupts are off.
    unsafe { entry::return_to_user(registers) }
}

/// The last step of a further CPU's boot: it goes idle until there is a thread for it.
#[cfg(feature = "smp")]
pub fn start_further(cpu: &InKernel) -> ! {
    COUNTS.get(cpu).since.set(clock::rdtsc());
    hardware::cpu::set_system_call_entry(entry::syscall_entry());
    Chosen::start(cpu);
    begin(IDLE_TIME.get(cpu));
    LEVEL.get(cpu).set(0);
    entry::idle()
}

/// Makes a system call of the current thread. With [`Progress::Returns`] the thread goes straight back to user mode;
/// else [`finish_system_call`] goes on from there. The entry code keeps the time.
pub extern "C" fn enter_system_call(call: &SystemCall) -> Progress {
    trace::entry(&call.cpu, Class::SystemCall, call.number, From::User);
    if Chosen::LOCKLESS
        && let Some(progress) = lockless(call)
    {
        return progress;
    }
    // SAFETY: a system call comes from user mode, which is level 0.
    unsafe { enter(call) }
}

/// Makes a system call on a CPU that has not been let in, if the call needs nothing of the kernel's state. This CPU
/// answers requests again once it has left: what another CPU wants of it meanwhile comes as an interrupt then.
#[inline(always)]
fn lockless(call: &SystemCall) -> Option<Progress> {
    let level = LEVEL.get(&call.cpu);
    level.set(1);
    let progress = calls::make_lockless(call)?;
    trace::exit(&call.cpu, To::User);
    level.set(0);
    Some(progress)
}

impl Visit for &SystemCall {
    const CLASS: Class = Class::SystemCall;
    type End = Progress;

    fn cpu(&self) -> &InKernel {
        &self.cpu
    }

    #[inline(always)]
    fn work(self, level: AtLevel1) -> Progress {
        system_call(self, level)
    }

    fn gone(self, mut level: AtLevel1) -> Progress {
        calls::enter(&self.cpu, self.number);
        let registers = exit_kernel(KERNEL.get(&mut level), &self.cpu, Class::SystemCall);
        // SAFETY: these are the registers of the thread just chosen, and interrupts are off: no call has been made that
        // switches them on. The thread that called is gone, and nothing of its visit is needed.
        unsafe { entry::return_to_user(registers) }
    }
}

/// Finds a system call and makes it.
#[inline(always)]
fn system_call(call: &SystemCall, mut level: AtLevel1) -> Progress {
    let kernel = KERNEL.get(&mut level);
    let entry = calls::enter(&call.cpu, call.number);
    if entry.is_simple() { settle(call, kernel, entry.make) } else { less_simple(call, kernel, entry) }
}

/// Makes a system call that needs work before it and after it, or the registers in the control block.
#[inline(never)]
fn less_simple(call: &SystemCall, kernel: &mut Kernel, entry: calls::Entry) -> Progress {
    if entry.wants_registers() {
        return Progress::Unmade;
    }
    settle(call, kernel, |call, kernel| calls::make(call, kernel, entry))
}

/// Makes a system call, and leaves the kernel if nothing keeps the thread from returning to user mode.
#[inline(always)]
fn settle(call: &SystemCall, kernel: &mut Kernel, make: impl FnOnce(&SystemCall, &mut Kernel) -> Progress) -> Progress {
    let progress = make(call, kernel);
    if !kernel.tasks.needs_reschedule.is_empty() {
        return progress.held();
    }
    fall(&call.cpu, To::User);
    progress
}

/// Finishes a system call whose thread does not return to user mode at once; its registers are in its control block by
/// now. Returns the registers of the thread just chosen, with which the CPU returns to user mode.
pub extern "C" fn finish_system_call(call: &SystemCall, progress: Progress) -> *const Registers {
    let cpu = &call.cpu;
    // SAFETY: the visit goes on, and the proof of `enter_system_call` went when it returned.
    let mut level = unsafe { AtLevel1::new() };
    let kernel = KERNEL.get(&mut level);
    debug_assert!(schedule::is_framed(kernel, cpu), "a thread that is not there any more has been given registers");
    let progress = match progress {
        Progress::Unmade => calls::make(call, kernel, calls::find(call.number)),
        made => made,
    };
    match progress {
        Progress::Returns(value) | Progress::Held(value) => set_result(kernel, cpu, value),
        Progress::Stays | Progress::Unmade => {
            if let Some(thread) = schedule::current(cpu) {
                signals::has_parked(&mut kernel.tasks, thread);
            }
        }
    }
    exit_kernel(kernel, cpu, Class::SystemCall)
}

/// Puts a call's result into the current thread's registers, if the thread is still there.
fn set_result(kernel: &mut Kernel, cpu: &InKernel, result: u64) {
    if let Some(thread) = schedule::current(cpu).and_then(|id| kernel.tasks.thread_mut(id)) {
        thread.context.registers.rax = result;
    }
}

/// Handles an exception or interrupt that came in user mode.
pub extern "C" fn enter_trap() -> *const Registers {
    // SAFETY: only the entry code calls this, on the kernel stack of this CPU, with CPU-local data mapped.
    let cpu = unsafe { InKernel::new() };
    let now = end(USER_TIME.get(&cpu));
    let (vector, _) = frame::cause(&cpu);
    if vector < EXCEPTIONS {
        trap_began(&cpu, Class::Exception, now);
        trace::entry(&cpu, Class::Exception, vector, From::User);
        // SAFETY: the exception came in user mode, which is level 0.
        unsafe { enter(Exception(&cpu)) }
    } else {
        interrupt_from_user(&cpu, vector, now)
    }
}

/// Handles an interrupt that came in user mode. It is a function of its own, so that an exception saves no registers
/// for it.
#[inline(never)]
fn interrupt_from_user(cpu: &InKernel, vector: u64, now: u64) -> *const Registers {
    trap_began(cpu, Class::Interrupt, now);
    if Chosen::request(cpu, vector) == Request::Answered {
        answered_outside(cpu, now, begin(USER_TIME.get(cpu)));
        return frame::frame(cpu);
    }
    interrupt(cpu, vector, From::User)
}

/// An exception of the current thread.
#[derive(Clone, Copy)]
struct Exception<'a>(&'a InKernel);

impl Visit for Exception<'_> {
    const CLASS: Class = Class::Exception;
    type End = *const Registers;

    fn cpu(&self) -> &InKernel {
        self.0
    }

    /// Handles the exception. Vector and error code are in the thread's registers, and a page fault's address is still in
    /// CR2, because the kernel itself never faults.
    #[inline(always)]
    fn work(self, mut level: AtLevel1) -> *const Registers {
        let kernel = KERNEL.get(&mut level);
        let (vector, code) = frame::cause(self.0);
        trap::exception(kernel, self.0, vector, code, trap::fault_address());
        exit_kernel(kernel, self.0, Class::Exception)
    }

    fn gone(self, mut level: AtLevel1) -> *const Registers {
        exit_kernel(KERNEL.get(&mut level), self.0, Class::Exception)
    }
}

/// An interrupt that came at level 0 and has been acknowledged.
#[derive(Clone, Copy)]
struct Interrupt<'a>(&'a InKernel);

impl Visit for Interrupt<'_> {
    const CLASS: Class = Class::Interrupt;
    type End = *const Registers;

    fn cpu(&self) -> &InKernel {
        self.0
    }

    /// Leaves again: the interrupt's note is worked off on the way.
    #[inline(always)]
    fn work(self, mut level: AtLevel1) -> *const Registers {
        exit_kernel(KERNEL.get(&mut level), self.0, Class::Interrupt)
    }

    fn gone(self, level: AtLevel1) -> *const Registers {
        self.work(level)
    }
}

/// Handles an interrupt that ended the idle loop. The interrupted frame has been dropped.
pub extern "C" fn enter_from_idle(vector: u64) -> *const Registers {
    // SAFETY: only the entry code calls this, on the kernel stack of this CPU, with CPU-local data mapped.
    let cpu = unsafe { InKernel::new() };
    let counts = COUNTS.get(&cpu);
    let now = end(IDLE_TIME.get(&cpu));
    trap_began(&cpu, Class::Interrupt, now);
    count(&counts.from_idle);
    if Chosen::request(&cpu, vector) == Request::Answered {
        answered_outside(&cpu, now, begin(IDLE_TIME.get(&cpu)));
        entry::idle()
    }
    interrupt(&cpu, vector, From::Idle)
}

/// Keeps the time of an interrupt at level 0 that has been answered without the kernel's state.
fn answered_outside(cpu: &InKernel, since: u64, until: u64) {
    trap_ended(cpu, Class::Interrupt, until);
    trace::record(cpu, Event::AnsweredOutside { cycles: u32::try_from(until - since).unwrap_or(u32::MAX) });
}

/// Handles an interrupt that came at level 0, in user mode or idle.
#[inline(always)]
fn interrupt(cpu: &InKernel, vector: u64, from: From) -> *const Registers {
    trace::entry(cpu, Class::Interrupt, vector, from);
    // Acknowledged before this CPU waits to be let in: if it halts in the wait, its timer must reach it, and while an
    // interrupt is in service, none of the same priority class or a lower one does (SDM volume 3, section 11.8.4).
    deferred::note(cpu, devices::acknowledge(vector as u8));
    // SAFETY: both callers are entries for interrupts at level 0.
    unsafe { enter(Interrupt(cpu)) }
}

/// Handles an interrupt at level 1, which raises the level to 2. The strategy is told as of every rise of the level;
/// this CPU is in the kernel already, so it need not wait.
///
/// It must not touch the [`Kernel`]: the code that was interrupted is using it.
pub extern "C" fn interrupted(registers: &Registers) {
    // SAFETY: only the entry code calls this, on the kernel stack of a CPU that is in the kernel; the proof serves the
    // counters and the notes only.
    let cpu = unsafe { InKernel::new() };
    if Chosen::nested(&cpu, registers.vector) == Nested::Postponed {
        return;
    }
    let level = LEVEL.get(&cpu);
    trace::record(
        &cpu,
        Event::Enter { cause: ::trace::Cause::new(Class::Interrupt, registers.vector), from: From::Kernel },
    );
    level.set(level.get() + 1);
    Chosen::enter_nested(&cpu);
    count(&COUNTS.get(&cpu).level2);
    deferred::note(&cpu, devices::interrupt(registers.vector as u8));
    Chosen::leave_nested(&cpu);
    trace::record(&cpu, Event::Leave { to: To::Kernel });
    level.set(level.get() - 1);
}

/// Reports an exception that the kernel's own code made, and stops. The kernel dereferences no user address and divides
/// by nothing unchecked, so the exception is a bug of its own.
extern "C" fn in_kernel(registers: &Registers) -> ! {
    let Registers { vector, code, rip, rsp, .. } = *registers;
    fault::kernel_fault(Fault { vector: vector as u8, error: code, rip, rsp })
}
