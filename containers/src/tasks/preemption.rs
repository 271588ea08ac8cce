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

use crate::budget::Point;
use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::thread::{AfterHandler, Restart, State};

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
#[path = "../tests/preemption.rs"]
mod tests;
