//! A share of each CPU for threads that more urgent ones pass over.
//!
//! Priorities are fixed, and any program may set the best one for its own threads. So a thread that waits while more
//! urgent ones have its CPU would wait for as long as these please. A thread that has been ready for [`STARVED_AFTER`]
//! without having used its slice up competes with the best priority for one slice, in front of those that have it. Of
//! several threads the one goes first that has been ready for longest, and a CPU does this for one thread in
//! [`STARVED_AFTER`]: for example, a thread of the best priority that computes leaves the others 10 ms of each 200.
//!
//! A thread that is displaced keeps its place in time, so short pauses of the more urgent ones put nothing off.
//! All of this is looked at when a CPU's timer goes off, which is set while anybody waits there.

use crate::cpus::Cpu;
use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::scheduling::SLICE;

/// How long a ready thread may be passed over by more urgent ones, in nanoseconds. Up to a slice of these and one of its
/// own come after that: together they are twenty slices, of which one is 5 %.
pub const STARVED_AFTER: u64 = 18 * SLICE;

/// The best priority.
const BEST: u8 = 0;

impl<R> Tasks<R> {
    /// The timer of a CPU has gone off: gives a slice to a thread that has been passed over for too long there.
    pub(crate) fn boost_starved(&mut self, cpu: Cpu, now: u64) {
        let state = self.schedule.cpu(cpu);
        if now < state.next_boost {
            return;
        }
        let Some(id) = self.starved(cpu, now) else { return };
        self.schedule.cpu(cpu).next_boost = now + STARVED_AFTER;
        let runs = self.thread(id).is_some_and(|thread| thread.runs_on() == Some(cpu));
        if !runs {
            self.dequeue(id);
        }
        let Some(thread) = self.threads.get_mut(id) else { return };
        (thread.rank, thread.slice) = (BEST, SLICE);
        if runs {
            self.schedule.cpu(cpu).running = Some((id, BEST));
        } else {
            self.place(id, |schedule, thread| schedule.enqueue(id, thread, true));
        }
    }

    /// The thread that has been ready at a CPU for longest, and too long, of those that run there or that the
    /// running one goes before. It runs itself where the timer goes off in a pause of the more urgent ones.
    fn starved(&self, cpu: Cpu, now: u64) -> Option<ThreadId> {
        let state = &self.schedule.cpus[usize::from(cpu.0)];
        // A thread that nobody disturbs has used its slice up, though it is not charged for that yet.
        let running = state.running.filter(|_| state.slice_end > now).map(|(id, _)| id);
        let running = running.filter(|id| self.thread(*id).is_some_and(|own| own.runs_on() == Some(cpu)));
        let firsts = state.firsts_behind(state.priority()).chain(running);
        let since = |id: &ThreadId| self.thread(*id).map_or(now, |thread| thread.since);
        firsts.min_by_key(since).filter(|id| since(id) + STARVED_AFTER <= now)
    }
}
