//! A share of each CPU for starved threads: ready threads that more urgent ones have passed over for too long.
//!
//! Priorities are fixed, and any program may set the best one for its own threads. So threads of the best priority
//! could keep a CPU for as long as they please. To prevent that, a thread that has been ready for [`STARVED_AFTER`]
//! without having used up its slice competes for one slice with the best priority, in front of the threads that have
//! it. If several threads are starved, the one that has been ready for longest goes first, and a CPU does this for one
//! thread in [`STARVED_AFTER`]. For example, a thread of the best priority that computes leaves the less urgent ones 10
//! ms of each 200.
//!
//! A thread that is preempted keeps its place in time, so short pauses of the more urgent threads do not put the slice
//! off. The scheduler looks for starved threads when a CPU's timer goes off, and the timer is set while any thread
//! waits there.

use crate::ids::ThreadId;
use crate::tasks::Tasks;
use crate::tasks::scheduling::SLICE;
use cpulocal::Cpu;

/// How long a ready thread may be passed over by more urgent ones, in nanoseconds. Up to one slice of theirs and one of
/// its own follow. Together these are twenty slices, of which one is 5 %.
pub const STARVED_AFTER: u64 = 18 * SLICE;

/// The best priority.
const BEST: u8 = 0;

impl<R> Tasks<R> {
    /// Gives a slice to a starved thread of a CPU whose timer has gone off, if there is one.
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

    /// The thread that has been starved for longest at a CPU, among the running thread and those that it is more urgent
    /// than. The running thread itself can be the one: when the timer goes off in a pause of the more urgent threads.
    fn starved(&self, cpu: Cpu, now: u64) -> Option<ThreadId> {
        let state = &self.schedule.cpus[usize::from(cpu.0)];
        // If the slice is over, the running thread has had it, though it is not charged for it yet.
        let running = state.running.filter(|_| state.slice_end > now).map(|(id, _)| id);
        let running = running.filter(|id| self.thread(*id).is_some_and(|own| own.runs_on() == Some(cpu)));
        let firsts = state.firsts_behind(state.priority()).chain(running);
        let since = |id: &ThreadId| self.thread(*id).map_or(now, |thread| thread.since);
        firsts.min_by_key(since).filter(|id| since(id) + STARVED_AFTER <= now)
    }
}
