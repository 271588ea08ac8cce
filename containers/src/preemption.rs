//! Preemption points: where work that may be long leaves the kernel and comes back.
//!
//! While a CPU is in the kernel, no other CPU is, and no interrupt is worked off. So no visit may take as long as a
//! program likes. Work whose length a program chooses spends a [`Budget`]; when that is used up, the work stops where
//! it can go on later, notes how far it has come ([`Restart`]), and the thread makes the same call again: through user
//! mode, so that whoever waits for the kernel comes first, signals are delivered and time slices end.
//!
//! **Invariant:** at a preemption point everything is as if the call had asked for less, or for nothing yet; only the
//! note tells the two apart. Between two visits others may change whatever the call works on, so each visit looks at
//! its arguments anew.

use crate::tasks::{Tasks, ThreadId};
use crate::thread::{AfterHandler, Restart, State};

/// What one visit may still do, in instructions, roughly.
#[derive(Debug)]
pub struct Budget(u64);

impl Budget {
    /// Of one visit. Twice as much is the bound for the longest one: what is spent is an estimate, and the last step
    /// may begin with little left.
    pub const VISIT: u64 = 100_000;

    /// That of a visit which begins.
    pub const fn of_a_visit() -> Budget {
        Budget(Budget::VISIT)
    }

    /// For work whose length no program chooses.
    pub const fn unlimited() -> Budget {
        Budget(u64::MAX)
    }

    /// So many instructions.
    pub const fn of(instructions: u64) -> Budget {
        Budget(instructions)
    }

    /// So many instructions are being done.
    #[inline]
    pub const fn spend(&mut self, instructions: u64) {
        self.0 = self.0.saturating_sub(instructions);
    }

    /// How many are left.
    #[inline]
    pub const fn left(&self) -> u64 {
        self.0
    }

    /// Whether the work is to stop at the next preemption point.
    #[inline]
    pub const fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

/// How far a call has come at a preemption point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    /// What it returns if it ends here: bytes moved.
    pub progress: u64,
    /// Where it goes on, in whatever it counts.
    pub place: u64,
    /// Whether a signal's handler may end it here. If not, handlers wait until it is over; what ends or stops the process
    /// does not.
    pub ends_for_handlers: bool,
}

impl Restart {
    /// In place of the instruction pointer: the registers are not in the control block yet.
    const IN_THE_KERNEL: u64 = 0;
}

impl<R> Tasks<R> {
    /// The call of a running thread has come to a preemption point. The thread goes on running, and makes the call again.
    pub fn preempt(&mut self, id: ThreadId, point: Point) {
        let Some(thread) = self.threads.get_mut(id) else { return };
        let after_handler = if point.ends_for_handlers { AfterHandler::Again } else { AfterHandler::Waits };
        let Point { progress, place, .. } = point;
        let rip = Restart::IN_THE_KERNEL;
        thread.restart = Some(Restart { rip, deadline: None, progress, place, after_handler });
        self.signals.expect_leaving();
        self.alert(id);
    }

    /// The registers of a thread are in its control block: if its call has come to a preemption point in this visit, they
    /// are set back onto the `syscall` instruction.
    pub fn settle_preempted(&mut self, id: ThreadId) {
        let Some(thread) = self.threads.get_mut(id).filter(|thread| thread.state == State::Running) else { return };
        if thread.restart.is_some_and(|call| call.rip == Restart::IN_THE_KERNEL) {
            let rip = thread.set_back();
            thread.restart = thread.restart.map(|call| Restart { rip, ..call });
            self.signals.has_left();
        }
    }
}

#[cfg(test)]
#[path = "tests/preemption.rs"]
mod tests;
