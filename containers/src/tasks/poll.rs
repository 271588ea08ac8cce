//! Waiting for several files at once (`poll`): a thread has an *entry* in the *poll queue* of each file that it asks
//! about.
//!
//! The call adds the entries before its thread parks, and they go with the wait, however that ends: so an event on a
//! file wakes exactly the threads that wait for it. For example, a shell that polls its terminal and a pipe is in two
//! poll queues; a write to the pipe wakes it, and both entries go.
//!
//! A call may need more entries than one visit can add. Then the thread keeps its entries at a preemption point
//! ([`Tasks::preempt_polling`]), and does not park if an event has come meanwhile.
//!
//! **Invariant: a thread has poll entries exactly while it is parked on [`Channel::Poll`], or is about to be.**

use crate::arena::{Arena, Full, Id};
use crate::budget::Point;
use crate::ids::ThreadId;
use crate::tasks::thread::Restart;
use crate::tasks::wait::{Channel, Wait};
use crate::tasks::{MAX_PROCESSES, MAX_THREADS, Tasks};
use alloc::vec::Vec;
use core::num::NonZeroU64;

/// The greatest number of poll queues: as many as open files.
const POLL_QUEUES: u32 = 131_072;

/// Entries that are allocated together: so few that the heap finds the memory without a search.
pub const ROW: usize = 16;

/// The threads that poll a file, as a list of their entries.
pub(crate) struct PollQueue {
    first: Option<Position>,
    last: Option<Position>,
}

/// One thread's `poll`: the thread and its entries.
pub struct Poll {
    thread: ThreadId,
    /// Whether there has been an event at one of its entries.
    is_told: bool,
    /// Its entries in rows of [`ROW`], so that many entries need no large piece of memory.
    rows: Vec<Vec<Entry>>,
}

/// Names a [`Poll`].
pub type PollId = Id<Poll>;

/// The position of an entry: its poll, and its number there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Position {
    poll: PollId,
    entry: u32,
}

struct Entry {
    queue: Id<PollQueue>,
    /// The events that it waits for.
    bits: u32,
    previous: Option<Position>,
    next: Option<Position>,
}

/// All poll queues, and all polls.
pub(crate) struct Polls {
    polls: Arena<Poll>,
    queues: Arena<PollQueue>,
}

impl Poll {
    fn entry_mut(&mut self, entry: usize) -> Option<&mut Entry> {
        self.rows.get_mut(entry / ROW)?.get_mut(entry % ROW)
    }
}

impl Polls {
    pub(crate) const fn new() -> Polls {
        Polls { polls: Arena::new(MAX_PROCESSES + MAX_THREADS), queues: Arena::new(POLL_QUEUES) }
    }

    fn entry_mut(&mut self, position: Position) -> Option<&mut Entry> {
        self.polls.get_mut(position.poll)?.entry_mut(position.entry as usize)
    }

    /// Adds an entry at the end of a poll queue. If the last entry there is of this poll, it only adds the events to
    /// that one.
    fn join(&mut self, poll: PollId, queue: Id<PollQueue>, bits: u32) {
        let previous = self.queues.get(queue).and_then(|queue| queue.last);
        if let Some(last) = previous.filter(|last| last.poll == poll) {
            self.entry_mut(last).into_iter().for_each(|entry| entry.bits |= bits);
            return;
        }
        let Some(Poll { rows, .. }) = self.polls.get_mut(poll) else { return };
        if rows.last().is_none_or(|row| row.len() == ROW) {
            rows.push(Vec::with_capacity(ROW));
        }
        let entry = ((rows.len() - 1) * ROW) as u32;
        let Some(row) = rows.last_mut() else { return };
        let position = Position { poll, entry: entry + row.len() as u32 };
        row.push(Entry { queue, bits, previous, next: None });
        self.connect(queue, (previous, Some(position)), (Some(position), None));
    }

    /// Makes the second position of each pair follow the first. Where one of a pair is missing, the second is the first
    /// of the queue, or the first the last.
    fn connect(
        &mut self,
        queue: Id<PollQueue>,
        before: (Option<Position>, Option<Position>),
        after: (Option<Position>, Option<Position>),
    ) {
        match before.0 {
            Some(position) => self.entry_mut(position).into_iter().for_each(|entry| entry.next = before.1),
            None => self.queues.get_mut(queue).into_iter().for_each(|queue| queue.first = before.1),
        }
        match after.1 {
            Some(position) => self.entry_mut(position).into_iter().for_each(|entry| entry.previous = after.0),
            None => self.queues.get_mut(queue).into_iter().for_each(|queue| queue.last = after.0),
        }
    }

    /// Removes all entries of a poll, and the queues that have none left.
    pub(crate) fn end(&mut self, poll: PollId) {
        let Some(Poll { rows, .. }) = self.polls.remove(poll) else { return };
        for Entry { queue, previous, next, .. } in rows.into_iter().flatten() {
            self.connect(queue, (previous, next), (previous, next));
            if self.queues.get(queue).is_some_and(|queue| queue.first.is_none()) {
                self.queues.remove(queue);
            }
        }
    }
}

impl<R> Tasks<R> {
    /// Begins a poll without entries.
    pub fn begin_poll(&mut self, thread: ThreadId) -> Result<PollId, Full> {
        self.polls.polls.insert(Poll { thread, is_told: false, rows: Vec::new() })
    }

    /// Adds an entry for these events to a file's poll queue. `queue` is the name that the file has kept from the last
    /// time; the file must keep the name that is returned. A poll queue goes with its last entry, and then its name
    /// finds nothing.
    pub fn join_poll_queue(&mut self, poll: PollId, queue: Option<NonZeroU64>, bits: u32) -> Result<NonZeroU64, Full> {
        let known = queue.map(Id::from_name).filter(|id| self.polls.queues.get(*id).is_some());
        let queue = match known {
            Some(queue) => queue,
            None => self.polls.queues.insert(PollQueue { first: None, last: None })?,
        };
        self.polls.join(poll, queue, bits);
        Ok(queue.name())
    }

    /// Parks a thread until an event at one of its entries or the deadline.
    pub fn park_polling(&mut self, thread: ThreadId, poll: PollId, deadline: Option<u64>) {
        self.park(thread, Wait::restart(Channel::Poll(poll), deadline));
    }

    /// Notes that a call that polls has come to a preemption point before it could park: the thread keeps its entries.
    /// The call continues at `place`, with the deadline unchanged.
    pub fn preempt_polling(&mut self, id: ThreadId, place: u64, deadline: Option<u64>, poll: Option<PollId>) {
        self.preempt(id, Point { progress: 0, place, ends_for_handlers: false });
        let Some(thread) = self.threads.get_mut(id) else { return };
        thread.kept_poll = poll;
        thread.restart = thread.restart.map(|call| Restart { deadline, ..call });
    }

    /// The poll that a thread's call has kept at a preemption point. It is the call's again.
    pub fn kept_poll(&mut self, id: ThreadId) -> Option<PollId> {
        self.threads.get_mut(id)?.kept_poll.take()
    }

    /// Whether there has been an event at one of the poll's entries.
    pub fn is_told(&self, poll: PollId) -> bool {
        self.polls.polls.get(poll).is_none_or(|poll| poll.is_told)
    }

    /// Removes the entries of a thread that does not park after all.
    pub fn end_poll(&mut self, poll: PollId) {
        self.polls.end(poll);
    }

    /// Wakes the threads of a poll queue that wait for one of these events; returns how many.
    pub fn wake_pollers(&mut self, queue: NonZeroU64, bits: u32) -> usize {
        let mut woken = 0;
        let mut next = self.polls.queues.get(Id::from_name(queue)).and_then(|queue| queue.first);
        while let Some(position) = next {
            // A thread has one entry in a queue, so the next entry remains when those of this thread go.
            let Some(entry) = self.polls.entry_mut(position) else { break };
            next = entry.next;
            if entry.bits & bits == 0 {
                continue;
            }
            let Some(poll) = self.polls.polls.get_mut(position.poll) else { break };
            poll.is_told = true;
            let thread = poll.thread;
            self.resume(thread, crate::tasks::wait::Resume::Restart);
            woken += 1;
        }
        woken
    }

    /// The number of poll entries and that of poll queues.
    pub fn poll_entries(&self) -> (usize, u32) {
        let polls = self.polls.polls.ids().filter_map(|id| self.polls.polls.get(id));
        (polls.flat_map(|poll| &poll.rows).map(Vec::len).sum(), self.polls.queues.live())
    }
}
