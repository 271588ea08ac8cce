//! Preemption points: where a long call leaves the kernel, and later continues.
//!
//! While a CPU is in the kernel, no other CPU is, and deferred work of interrupts waits. So the length of a visit must
//! not be a program's choice. Work whose length a program chooses spends a [`Budget`](crate::Budget). When that is
//! spent, the work stops where it can continue later and notes how far it has come ([`Restart`]). The thread then makes
//! its call again, by way of user mode: so CPUs that wait for the kernel come first, signals are delivered and time
//! slices end. For example, `munmap` of a gigabyte unmaps some hundred pages in each visit.
//!
//! **Invariant:** at a preemption point everything is as if the call had asked for less, or had not begun; only the
//! note tells the difference. Between two visits other threads may change whatever the call works on, so each visit
//! checks the call's arguments anew.

use crate::budget::Point;
use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::thread::{AfterHandler, Restart, State};

impl Restart {
    /// Stands in the place of the instruction pointer while the thread's registers are not in the control block yet.
    const IN_THE_KERNEL: u64 = 0;
}

impl<R> Tasks<R> {
    /// Notes that the call of a running thread has come to a preemption point. The thread stays running, and makes the
    /// call again.
    pub fn preempt(&mut self, id: ThreadId, point: Point) {
        let Some(thread) = self.threads.get_mut(id) else { return };
        let after_handler = if point.ends_for_handlers { AfterHandler::Again } else { AfterHandler::Waits };
        let Point { progress, place, .. } = point;
        let rip = Restart::IN_THE_KERNEL;
        thread.restart = Some(Restart { rip, deadline: None, progress, place, after_handler });
        self.signals.expect_leaving();
        self.alert(id);
    }

    /// Called when a thread's registers are in its control block: if its call has come to a preemption point in this
    /// visit, sets them back onto the `syscall` instruction.
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
