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
#[cfg(not(feature = "smp"))]
mod up;
#[cfg(feature = "smp")]
#[expect(unsafe_code, reason = "a CPU that waits proves where it is")]
pub mod waiting;

#[cfg(all(feature = "smp", feature = "baton"))]
pub use baton::Baton as Chosen;
#[cfg(all(feature = "smp", not(feature = "baton")))]
pub use giant::Giant as Chosen;
#[cfg(not(feature = "smp"))]
pub use up::Up as Chosen;

use crate::arch::accounts::Cause;
use containers::CpuSet;
use cpulocal::InKernel;

/// What a wait to be let in came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// This CPU has spun, and nothing has happened to it.
    Undisturbed,
    /// This CPU has halted, or has left what it ran: the thread that was current may be gone, and an interrupt may have
    /// left a note.
    Disturbed,
}

/// Whose an interrupt at level 1 is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nested {
    /// The kernel's: the boundary takes it, at level 2.
    Taken,
    /// It came while this CPU had halted in a wait, and is acknowledged. It is seen to when the CPU has been let in.
    Postponed,
}

/// What an interrupt at level 0 was to the strategy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// The CPU has to come in for it.
    ComesIn,
    /// Another CPU's request, which is answered: the CPU goes on with what it did.
    Answered,
}

/// The contract between the boundary and a strategy. Only the boundary calls these functions; interrupts are off in all of
/// them, but where a wait lets them in.
///
/// # What a strategy owes
/// - **Exclusion.** Between [`enter`](Strategy::enter) that returned `Ok`, or [`wait`](Strategy::wait), and
///   [`leave`](Strategy::leave) no other CPU is between its own two. The kernel's state is handed out on the strength
///   of this, so a strategy that breaks it is unsound, not merely wrong.
/// - **Progress of every waiter.** A CPU in `wait` gets in after a bounded number of visits of other CPUs. An unfair lock
///   hangs programs: the test `late_signal` on eight CPUs does not end with a plain test-and-set lock.
/// - **Answers.** The CPU that is in may wait for all others to answer a request (`arch::remote`). A CPU in `wait` answers in
///   each round of its spin; [`waiting`] does that.
///
/// # Order at boot
/// The boot CPU calls `start` and `enter` in `boundary::enter_boot`, before any other CPU is started: the level has been 1
/// since the first instruction, and whatever brings another CPU in has to wait until the boot is over. A choice between
/// strategies at run time has to be made before that.
pub trait Strategy {
    /// The name in the registry of strategies, `abi::strategies`.
    const NAME: &'static str;

    /// A place in the queue of CPUs that wait to be let in; uninhabited where no CPU waits.
    type Turn;

    /// Makes this CPU known. Called once by each CPU, at level 1, before it enters for the first time; it has its number.
    fn start(cpu: &InKernel);

    /// The level has risen from 0 to 1: asks for this CPU to be let in. `Err`: another CPU comes first, and
    /// [`wait`](Strategy::wait) is this CPU's next call. Every system call pays for each instruction here.
    fn enter(cpu: &InKernel) -> Result<(), Self::Turn>;

    /// Waits until this CPU is let in. From the moment when it is, all other CPUs wait for what this function still does.
    fn wait(cpu: &InKernel, turn: Self::Turn, cause: Cause) -> Waited;

    /// The level is about to fall from 1 to 0: lets the next CPU in, and wakes it if it has halted.
    fn leave(cpu: &InKernel);

    /// An interrupt has come at level 1: whether the kernel's code was interrupted, or a wait.
    fn nested(cpu: &InKernel, vector: u64) -> Nested;

    /// The level has risen from 1 to 2. This CPU is in, so it need not wait.
    fn enter_nested(_cpu: &InKernel) {}

    /// The level falls from 2 to 1. This CPU stays in.
    fn leave_nested(_cpu: &InKernel) {}

    /// An interrupt has come at level 0, and the CPU has not been let in: answers what can be answered without the kernel's
    /// state.
    fn request(cpu: &InKernel, vector: u64) -> Request;

    /// Makes other CPUs come in soon and choose anew what they run. Called at level 1, by a CPU that is in; no CPU waits for
    /// the effect.
    fn prod(cpu: &InKernel, cpus: CpuSet);
}
