//! Strategies: how several CPUs share one kernel. Each is a file, or a folder, behind the trait [`Strategy`].
//!
//! The boundary asks the strategy when a CPU's level rises to 1 and tells it when the level falls. For example, with the giant
//! lock [`enter`](Strategy::enter) asks for the lock, and [`leave`](Strategy::leave) gives it back. Calls are static: of
//! a strategy that has nothing to do, nothing is left in the image.
//!
//! [`Chosen`] is the strategy of this kernel. `docs/strategies.md` shows how one more is added.

#[cfg(all(feature = "smp", feature = "baton"))]
mod baton;
#[cfg(all(feature = "smp", not(feature = "baton")))]
mod giant;
#[cfg(all(feature = "smp", feature = "subsystems"))]
mod subsystems;
#[cfg(not(feature = "smp"))]
mod up;
#[cfg(feature = "smp")]
#[expect(unsafe_code, reason = "a CPU that waits proves where it is")]
pub mod waiting;

#[cfg(all(feature = "smp", feature = "baton"))]
pub use baton::Baton as Chosen;
#[cfg(all(feature = "smp", not(any(feature = "baton", feature = "subsystems"))))]
pub use giant::Giant as Chosen;
#[cfg(all(feature = "smp", feature = "subsystems"))]
pub use subsystems::Subsystems as Chosen;
#[cfg(not(feature = "smp"))]
pub use up::Up as Chosen;

use ::trace::Class;
use containers::CpuSet;
use cpulocal::InKernel;

/// What has happened to a CPU during a wait to be let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// The CPU has only spun: its thread and its notes are as they were.
    Undisturbed,
    /// The CPU has halted, or another CPU's request has taken it off its thread: the current thread may be gone, and an
    /// interrupt may have left a note.
    Disturbed,
}

/// Whether an interrupt at level 1 is handled at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nested {
    /// It has interrupted the kernel's code: the boundary handles it, at level 2.
    Taken,
    /// It came while the CPU had halted in a wait, and has been acknowledged. The CPU handles it once it has been let
    /// in.
    Postponed,
}

/// Whether an interrupt at level 0 needs the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// The CPU has to come in for it.
    ComesIn,
    /// It was another CPU's request and has been answered: the CPU goes on with what it did.
    Answered,
}

/// The contract between the boundary and a strategy. Only the boundary calls these functions; interrupts are off in all
/// of them, except while a CPU halts in a wait.
///
/// # What a strategy owes
/// - **Exclusion.** From the moment when [`enter`](Strategy::enter) returns `Ok`, or [`wait`](Strategy::wait) returns,
///   until [`leave`](Strategy::leave), no other CPU is between these points. The boundary hands out the kernel's state
///   on the strength of this, so a strategy that breaks it is unsound, not merely wrong.
/// - **Progress of every waiter.** A CPU in `wait` gets in after a bounded number of visits of other CPUs. An unfair lock
///   hangs programs: the test `late_signal` on eight CPUs does not end with a plain test-and-set lock.
/// - **Answers.** The CPU in the kernel may wait for every other CPU to answer a request (`arch::remote`). A CPU in
///   `wait` answers in each round of its spin; [`waiting`] does that.
///
/// # Order at boot
/// The boot CPU calls `start` and `enter` in `boundary::enter_boot`, before any other CPU is started. The level has
/// been 1 since the first instruction, and an entry on another CPU has to wait until the boot is over. A choice between
/// strategies at run time has to be made before that.
pub trait Strategy {
    /// The name in the registry of strategies, `abi::strategies`.
    const NAME: &'static str;

    /// Whether calls that need nothing of the kernel's state are made on a CPU that has not been let in.
    const LOCKLESS: bool = false;

    /// A place in the queue of CPUs that wait to be let in; uninhabited where no CPU waits.
    type Turn;

    /// Introduces this CPU to the strategy. Each CPU calls it once, at level 1, before it enters for the first time; it
    /// has its number by then.
    fn start(cpu: &InKernel);

    /// Asks for this CPU to be let in; its level has just risen from 0 to 1. `Err`: another CPU comes first, and
    /// [`wait`](Strategy::wait) is this CPU's next call. Every system call pays for each instruction here.
    fn enter(cpu: &InKernel) -> Result<(), Self::Turn>;

    /// Waits until this CPU is let in. What this function does after that moment lengthens every other CPU's wait.
    fn wait(cpu: &InKernel, turn: Self::Turn, class: Class) -> Waited;

    /// Lets the next CPU in, and wakes it if it has halted; this CPU's level is about to fall from 1 to 0.
    fn leave(cpu: &InKernel);

    /// Decides whether an interrupt at level 1 has interrupted the kernel's code or a wait.
    fn nested(cpu: &InKernel, vector: u64) -> Nested;

    /// Notes that the level has risen from 1 to 2. This CPU is in, so it need not wait.
    fn enter_nested(_cpu: &InKernel) {}

    /// Notes that the level falls from 2 to 1. This CPU stays in.
    fn leave_nested(_cpu: &InKernel) {}

    /// Answers an interrupt at level 0 if that is possible without the kernel's state; the CPU has not been let in.
    fn request(cpu: &InKernel, vector: u64) -> Request;

    /// Makes other CPUs enter the kernel soon and reschedule. Called at level 1, by a CPU that is in; it does not wait
    /// for the effect.
    fn prod(cpu: &InKernel, cpus: CpuSet);
}
