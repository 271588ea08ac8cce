//! What a CPU does while it waits to be let in, whichever lock it waits for: it counts and times the wait, answers
//! requests in each round of its spin, and halts when it has spun for long enough.
//!
//! A strategy that is a lock of its own calls [`wait`] with the lock's loop, calls [`any_has_halted`] and [`wake`] in
//! its `leave`, and forwards `nested`, `request` and `prod` to [`nested`], [`request`] and [`prod`].
//!
//! For example, CPU 1 waits while CPU 0 forks a large process. CPU 1 answers CPU 0's TLB shootdown as it spins, then
//! says that it halts, looks at the lock once more, and halts. CPU 0 releases the lock, finds CPU 1 among the halted
//! CPUs and interrupts it.
//!
//! A CPU that halts first says so and then looks at the lock once more. The CPU that gives the lock away first writes
//! the lock and then looks for halted CPUs, so one of the two sees the other (`GiantLock::release` says why). The types
//! keep the order: to say that it halts a CPU needs one [`Looked`], to halt it needs another, and the lock's loop makes
//! one for each look.

use super::{Nested, Request, Waited};
use crate::arch::accounts::{self, WAITS, waited};
use crate::arch::cpulocal::number;
use crate::arch::deferred::{self, Notes};
use crate::arch::patience::{self, Patience};
use crate::arch::remote::{self, Requested};
use crate::arch::{devices, report, trace};
use ::trace::{Class, Event};
use abi::vectors;
use containers::{Cpu, CpuSet};
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst, fence};
use cpulocal::{InKernel, cpu_local};
use giantlock::{Looked, Wait};
use hardware::{apic, clock, interrupts};

/// The waiting CPUs that have halted or are about to.
static HALTED: AtomicU64 = AtomicU64::new(0);

/// How long a CPU spins before it halts, in cycles: longer than the kernel is usually held. On a host that emulates
/// more CPUs than it has, CPUs that spin for ever would keep the CPU whose turn it is from running.
const SPIN: u64 = 1 << 17;

cpu_local! {
    /// The patience of the wait that this CPU is in, if it has lasted for longer than [`SPIN`].
    static PATIENCE: Cell<Patience> = Cell::new(Patience::new());
    /// The time-stamp at which this CPU will have spun for long enough.
    static SPIN_UNTIL: Cell<u64> = Cell::new(0);
    /// Whether the wait that this CPU is in has been more than a spin: the CPU has halted, or a request has taken it
    /// off its thread.
    static DISTURBED: Cell<bool> = Cell::new(false);
    /// How many requests this CPU has answered while it waited.
    pub static ANSWERED: Cell<u64> = Cell::new(0);
    /// How many times this CPU has halted while it waited.
    pub static HALTS: Cell<u64> = Cell::new(0);
}

/// The CPU that is in the kernel, and how often it has entered, as far as another CPU can find out.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    /// The CPU.
    pub cpu: Cpu,
    /// One, and one more for each level above 1.
    pub depth: u32,
}

/// Waits by running `until`, the lock's loop, which performs a waiter's duties in each round. `holder` names the CPU
/// that is in, for the log.
///
/// The code after the loop runs when this CPU has been let in, so it lengthens every other CPU's wait.
#[inline(always)]
pub fn wait(
    cpu: &InKernel,
    class: Class,
    holder: fn() -> Option<Holder>,
    until: impl FnOnce(&mut Waiter<'_>),
) -> Waited {
    let waits = WAITS.get(cpu);
    let time = &waits.cycles[class as usize];
    accounts::count(&waits.count[class as usize]);
    SPIN_UNTIL.get(cpu).set(accounts::begin(time).wrapping_add(SPIN));
    trace::record(cpu, Event::Requested);
    until(&mut Waiter { cpu, said: None, holder });
    accounts::end(time);
    if DISTURBED.get(cpu).get() {
        end_of_disturbed(cpu);
        return Waited::Disturbed;
    }
    Waited::Undisturbed
}

#[cold]
fn end_of_disturbed(cpu: &InKernel) {
    DISTURBED.get(cpu).set(false);
    PATIENCE.get(cpu).set(Patience::new());
    HALTED.fetch_and(!CpuSet::only(number(cpu)).0, Relaxed);
}

/// Whether a waiting CPU has halted, or is about to. To be asked after the write that gives the lock away.
#[inline(always)]
pub fn any_has_halted() -> bool {
    HALTED.load(SeqCst) != 0
}

/// Wakes the halted CPUs among those that may be let in now, which `next` returns.
///
/// It makes its own proof of being in the kernel, so that no visit keeps a register for it.
#[cold]
#[inline(never)]
pub fn wake(next: fn(&InKernel) -> CpuSet) {
    // SAFETY: only the `leave` of a strategy calls this, on a CPU that is still in the kernel, and the proof ends here.
    let cpu = &unsafe { InKernel::new() };
    let halted = CpuSet(HALTED.load(Relaxed)).intersection(next(cpu));
    if !halted.is_empty() {
        remote::wake(cpu, halted);
        trace::record(cpu, Event::Woken);
    }
}

/// Proof that this CPU has said that it halts.
struct Said(());

/// The duties of a CPU that waits. Interrupts are off except while it halts, and the CPU in the kernel may be waiting
/// for its answer.
pub struct Waiter<'a> {
    cpu: &'a InKernel,
    said: Option<Said>,
    holder: fn() -> Option<Holder>,
}

impl Wait for Waiter<'_> {
    /// A CPU mostly looks at the lock and performs its duties now and then: a hand-over lasts until the CPU has
    /// finished the duty that it is at when its turn comes.
    const LOOKS: u32 = 32;

    /// A CPU is tired once it has halted, or is about to: each time that it wakes up, CPUs that spin would be quicker.
    #[inline(always)]
    fn is_tired(&self) -> bool {
        !PATIENCE.get(self.cpu).get().is_fresh()
    }

    #[inline(always)]
    fn round(&mut self, looked: Looked) {
        if remote::is_asked(self.cpu) {
            answer(self.cpu);
        }
        if clock::rdtsc() > SPIN_UNTIL.get(self.cpu).get() {
            self.tire(looked);
        }
    }
}

impl Waiter<'_> {
    /// Called when this CPU has spun for long enough: the CPU says that it halts, and halts in the next round.
    #[cold]
    #[inline(never)]
    fn tire(&mut self, looked: Looked) {
        let cpu = self.cpu;
        DISTURBED.get(cpu).set(true);
        let mut patience = PATIENCE.get(cpu).get();
        if patience.is_over() {
            tell(cpu, self.holder);
        }
        PATIENCE.get(cpu).set(patience);
        match self.said.take() {
            None => self.said = Some(say(cpu, looked)),
            Some(said) => halt(cpu, said, looked, patience),
        }
    }
}

/// Says that this CPU halts. The lock's loop looks at the lock again before the halt: if the turn has not come by then,
/// the CPU that gives it to this one sends an interrupt, which stays pending until the halt.
fn say(cpu: &InKernel, _: Looked) -> Said {
    HALTED.fetch_or(CpuSet::only(number(cpu)).0, SeqCst);
    fence(SeqCst);
    Said(())
}

/// Halts until an interrupt comes.
fn halt(cpu: &InKernel, _: Said, _: Looked, patience: Patience) {
    HALTS.get(cpu).set(HALTS.get(cpu).get() + 1);
    // The timer ends the halt: the CPU that has the lock may never release it, and that is to be reported. What the
    // timer was set to before is found out anew at level 1.
    deferred::note(cpu, Notes::TIMER);
    apic::arm(clock::ticks(patience.left()));
    interrupts::wait();
    apic::disarm();
    HALTED.fetch_and(!CpuSet::only(number(cpu)).0, Relaxed);
    SPIN_UNTIL.get(cpu).set(clock::rdtsc().wrapping_add(SPIN));
}

/// Answers another CPU's request; this CPU need not be let in for that.
#[cold]
#[inline(never)]
fn answer(cpu: &InKernel) {
    if remote::answer(cpu) == Requested::Departure {
        DISTURBED.get(cpu).set(true);
    }
    ANSWERED.get(cpu).set(ANSWERED.get(cpu).get() + 1);
    trace::record(cpu, Event::Answered);
}

/// [`Strategy::nested`](super::Strategy::nested) for a lock: a CPU that has halted in a wait is not in, although its
/// level has risen, so its interrupt is postponed.
pub fn nested(cpu: &InKernel, vector: u64) -> Nested {
    if PATIENCE.get(cpu).get().is_fresh() {
        return Nested::Taken;
    }
    deferred::note(cpu, devices::acknowledge(vector as u8));
    Nested::Postponed
}

/// [`Strategy::request`](super::Strategy::request) for a lock: answers a request. A CPU that the request has taken off
/// its thread must enter the kernel all the same, to choose another.
#[inline(always)]
pub fn request(cpu: &InKernel, vector: u64) -> Request {
    if vector == u64::from(vectors::REQUEST) { answer_outside(cpu) } else { Request::ComesIn }
}

#[inline(never)]
fn answer_outside(cpu: &InKernel) -> Request {
    // The interrupt ends before the answer: while it is in service, no other request could reach this CPU.
    apic::end_of_interrupt();
    if remote::answer(cpu) == Requested::Departure {
        deferred::note(cpu, Notes::LOOK);
        return Request::ComesIn;
    }
    Request::Answered
}

/// [`Strategy::prod`](super::Strategy::prod) for a lock: interrupts each CPU.
pub fn prod(cpu: &InKernel, cpus: CpuSet) {
    remote::reschedule(cpu, cpus);
}

/// Logs that a CPU has waited too long for the lock: the CPU that has it, and the CPUs that wait.
#[cold]
fn tell(cpu: &InKernel, holder: fn() -> Option<Holder>) {
    let Some(holder) = holder() else { return };
    if patience::may_report() {
        log::warn!(
            "CPU {} has waited {} ms for the giant lock; CPU {} holds it, depth {}; waiting: {:?}",
            number(cpu).0,
            patience::bound() / 1_000_000,
            holder.cpu.0,
            holder.depth,
            waiting(),
        );
        report::ask(holder.cpu);
    }
}

/// The CPUs that wait to be let in.
fn waiting() -> CpuSet {
    let mut cpus = CpuSet::NONE;
    let waits = |cpu: &Cpu| waited(*cpu).iter().any(|cycles| (*cycles as i64) < 0);
    remote::online().iter().filter(waits).for_each(|cpu| cpus.insert(cpu));
    cpus
}
