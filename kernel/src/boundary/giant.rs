//! The strategy of papers/001: one CPU at a time in the kernel. The giant lock is requested when the level
//! rises and given back when it falls.

use super::stop;
use crate::arch::accounts::{self, Cause, WAITS, waited};
use crate::arch::deferred::{self, Notes};
use crate::arch::patience::{self, Patience};
use crate::arch::remote::{self, Answer};
use crate::arch::{apic, clock, devices, idt, interrupts, trace};
use crate::core::schedule;
use ::trace::Event;
use containers::CpuSet;
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst, fence};
use cpulocal::{InKernel, cpu_local};
use giantlock::{Cpu, GiantLock, QueueLock, Wait};

#[cfg(any(
    all(feature = "lock-mcs", feature = "lock-clh"),
    all(feature = "lock-mcs", feature = "lock-tas"),
    all(feature = "lock-clh", feature = "lock-tas"),
))]
compile_error!(
    "the giant lock has one queue algorithm: choose one of lock-mcs, lock-clh, lock-tas, or none for ticket"
);

#[cfg(feature = "lock-clh")]
use giantlock::Clh as Algorithm;
#[cfg(feature = "lock-mcs")]
use giantlock::Mcs as Algorithm;
#[cfg(feature = "lock-tas")]
use giantlock::Tas as Algorithm;
#[cfg(not(any(feature = "lock-mcs", feature = "lock-clh", feature = "lock-tas")))]
use giantlock::Ticket as Algorithm;

/// The giant lock.
static LOCK: GiantLock<Algorithm> = GiantLock::new(Algorithm::new());

/// CPUs that wait for it and are about to halt, or have.
static HALTED: AtomicU64 = AtomicU64::new(0);

/// How long a CPU spins before it halts, in cycles: longer than the kernel is usually held. Where a host
/// plays more CPUs than it has, the one whose turn it is would else be kept from running by those that spin.
const SPIN: u64 = 1 << 17;

cpu_local! {
    /// This CPU, as the lock knows it.
    static ME: Cell<Cpu> = Cell::new(numbered(0));
    /// The patience of the wait that this CPU is in, if it has lasted for longer than [`SPIN`].
    static PATIENCE: Cell<Patience> = Cell::new(Patience::new());
    /// When this CPU will have spun for long enough.
    static SPIN_UNTIL: Cell<u64> = Cell::new(0);
    /// Whether the wait that this CPU is in has been more than a spin: it has halted, or has left what it ran.
    static EVENTFUL: Cell<bool> = Cell::new(false);
    /// Requests that this CPU has answered while it waited.
    pub static ANSWERED_WAITING: Cell<u64> = Cell::new(0);
    /// Times that this CPU has halted while it waited.
    pub static HALTS: Cell<u64> = Cell::new(0);
}

const fn numbered(number: u8) -> Cpu {
    Cpu::new(number).expect("as many CPUs as the lock has room for")
}

/// Makes this CPU known, which has got its number; before it enters for the first time.
pub(super) fn init(cpu: &InKernel) {
    ME.get(cpu).set(numbered(schedule::this_cpu(cpu).0));
}

/// A place in the queue of those who wait to be let in.
pub(super) type Place = <Algorithm as QueueLock>::Place;

/// The level has risen: asks to be let in. `Err`: another CPU is in the kernel, and [`wait`] comes next.
#[inline(always)]
pub(super) fn enter(cpu: &InKernel) -> Result<(), Place> {
    LOCK.ask(ME.get(cpu).get()).map(|_depth| ())
}

/// Waits until no other CPU is in the kernel. Returns whether anything may have changed under the thread that runs here,
/// or an interrupt has left a note.
///
/// From the moment when this CPU is let in, all others wait for what stands here after the wait.
#[inline(always)]
pub(super) fn wait(cpu: &InKernel, place: Place, cause: Cause) -> bool {
    let waits = WAITS.get(cpu);
    let time = &waits.cycles[cause as usize];
    accounts::count(&waits.count[cause as usize]);
    SPIN_UNTIL.get(cpu).set(accounts::begin(time).wrapping_add(SPIN));
    trace::here(cpu, Event::Requested);
    LOCK.wait(ME.get(cpu).get(), place, &mut Waiter);
    accounts::end(time);
    let eventful = EVENTFUL.get(cpu).get();
    if eventful {
        end_of_eventful(cpu);
    }
    eventful
}

#[cold]
fn end_of_eventful(cpu: &InKernel) {
    EVENTFUL.get(cpu).set(false);
    PATIENCE.get(cpu).set(Patience::new());
    HALTED.fetch_and(!(1 << ME.get(cpu).get().id()), Relaxed);
}

/// The level is about to fall to 0.
#[inline(always)]
pub(super) fn leave(cpu: &InKernel) {
    LOCK.release(ME.get(cpu).get());
    // A CPU that halts says so first and then looks whether its turn has come; this one does the opposite in
    // the opposite order, so one of the two sees the other: `GiantLock::release` says why.
    if HALTED.load(SeqCst) != 0 {
        wake_next();
    }
}

/// The level falls from 2 to 1: the lock stays.
#[inline(always)]
pub(super) fn leave_level2(cpu: &InKernel) {
    LOCK.release(ME.get(cpu).get());
}

/// Wakes the CPU that has been given the lock, if it has halted; all that have, where there is no queue and it
/// is nobody's turn.
///
/// It makes its own proof, so that no register is kept for it throughout each visit.
#[cold]
#[inline(never)]
fn wake_next() {
    // SAFETY: only `leave` calls this, on a CPU that is still in the kernel, and the proof ends here.
    let cpu = &unsafe { InKernel::new() };
    let halted = CpuSet(HALTED.load(Relaxed));
    let wanted = match LOCK.next(ME.get(cpu).get()) {
        Some(next) => halted.intersection(CpuSet(1 << next.id())),
        None if Algorithm::FAIR => CpuSet::NONE,
        None => halted,
    };
    if !wanted.is_empty() {
        remote::wake(cpu, wanted);
        trace::here(cpu, Event::Woken);
    }
}

/// Whether an interrupt at level 1 came while this CPU had halted, waiting for the lock: it does not have it
/// although the level has risen. The interrupt is acknowledged, and seen to when it has.
pub(super) fn is_postponed(cpu: &InKernel, vector: u64) -> bool {
    let waits = !PATIENCE.get(cpu).get().is_fresh();
    if waits {
        deferred::note(cpu, devices::acknowledge(vector as u8));
    }
    waits
}

/// What a CPU does while it waits for the lock. It holds nothing, so that who need not wait prepares nothing.
///
/// Interrupts are off but while it halts, and who holds the lock may be waiting for it.
struct Waiter;

impl Wait for Waiter {
    /// So that a CPU mostly looks, and sees to its duties now and then: hand-overs last as long as whatever it does
    /// when its turn has come.
    const LOOKS: u32 = 32;

    /// From the moment that it has halted, or is about to: each time that it wakes up, others would be quicker.
    #[inline(always)]
    fn is_tired(&self) -> bool {
        // SAFETY: as in `round`.
        let cpu = unsafe { InKernel::new() };
        !PATIENCE.get(&cpu).get().is_fresh()
    }

    #[inline(always)]
    fn round(&mut self) {
        // SAFETY: a CPU that asks for the lock is entering the kernel, and the proof ends with the round.
        let cpu = unsafe { InKernel::new() };
        if remote::is_asked(&cpu) {
            answer(&cpu);
        }
        if clock::rdtsc() > SPIN_UNTIL.get(&cpu).get() {
            tire(&cpu);
        }
    }
}

/// Answers another CPU's request, for which this one need not be let in.
#[cold]
#[inline(never)]
fn answer(cpu: &InKernel) {
    if remote::answer(cpu) == Answer::Left {
        EVENTFUL.get(cpu).set(true);
    }
    ANSWERED_WAITING.get(cpu).set(ANSWERED_WAITING.get(cpu).get() + 1);
    trace::here(cpu, Event::Answered);
}

/// This CPU has spun for long enough: it says that it halts, and does in the next round.
#[cold]
#[inline(never)]
fn tire(cpu: &InKernel) {
    EVENTFUL.get(cpu).set(true);
    let me = 1 << ME.get(cpu).get().id();
    let mut patience = PATIENCE.get(cpu).get();
    if patience.is_over() {
        report(cpu);
    }
    PATIENCE.get(cpu).set(patience);
    if HALTED.load(Relaxed) & me == 0 {
        HALTED.fetch_or(me, SeqCst);
        // Between that and the look at the lock that follows this round: see `leave`. If the turn has not come
        // by then, whoever gives it to this CPU sends an interrupt, which stays pending until the halt.
        fence(SeqCst);
        return;
    }
    // Said in an earlier round, and its turn had not come since.
    HALTS.get(cpu).set(HALTS.get(cpu).get() + 1);
    // Who has the lock may never give it back, and that is to be told. What the timer was set to before
    // is found out anew at level 1.
    deferred::note(cpu, Notes::TIMER);
    apic::arm(clock::ticks(patience.left()));
    interrupts::wait();
    apic::disarm();
    HALTED.fetch_and(!me, Relaxed);
    SPIN_UNTIL.get(cpu).set(clock::rdtsc().wrapping_add(SPIN));
}

/// Whether an interrupt is another CPU's request.
#[inline(always)]
pub(super) fn is_request(vector: u64) -> bool {
    vector == u64::from(idt::REQUEST)
}

/// Whether an interrupt at level 0 was another CPU's request, and has been answered without the lock. A CPU
/// that has been taken out of what it ran must go in all the same.
#[inline(always)]
pub(super) fn is_answered_outside(cpu: &InKernel, vector: u64) -> bool {
    is_request(vector) && answered_outside(cpu)
}

#[inline(never)]
fn answered_outside(cpu: &InKernel) -> bool {
    // At once: while it is in service, no other request could reach this CPU.
    apic::end_of_interrupt();
    let left = remote::answer(cpu) == Answer::Left;
    if left {
        deferred::note(cpu, Notes::LOOK);
    }
    !left
}

/// Makes other CPUs choose anew who they run.
pub(super) fn make_look(cpu: &InKernel, others: CpuSet) {
    remote::reschedule(cpu, others);
}

/// Tells of a lock that is held or waited for too long: who has it, and who waits.
#[cold]
fn report(cpu: &InKernel) {
    let Some(holder) = LOCK.holder() else { return };
    if patience::may_report() {
        log::warn!(
            "CPU {} has waited {} ms for the giant lock; CPU {} holds it, depth {}; waiting: {:?}",
            ME.get(cpu).get().id(),
            patience::bound() / 1_000_000,
            holder.cpu.id(),
            holder.depth,
            waiting(),
        );
        stop::ask_for_report(containers::Cpu(holder.cpu.id()));
    }
}

/// The CPUs that wait for the lock.
fn waiting() -> CpuSet {
    let mut cpus = CpuSet::NONE;
    let waits = |cpu: &containers::Cpu| waited(*cpu).iter().any(|cycles| (*cycles as i64) < 0);
    remote::online().iter().filter(waits).for_each(|cpu| cpus.insert(cpu));
    cpus
}
