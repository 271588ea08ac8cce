//! Queues of threads, linked through the control blocks: joining and leaving allocate nothing and
//! take constant time.

use crate::tasks::{ThreadId, Threads};
use crate::thread::PRIORITIES;

/// A thread's neighbours in the queue that it is in.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Link {
    previous: Option<ThreadId>,
    pub(crate) next: Option<ThreadId>,
}

/// First in, first out, with leaving from anywhere.
#[derive(Clone, Copy, Default, Debug)]
pub struct Queue {
    first: Option<ThreadId>,
    last: Option<ThreadId>,
}

impl Queue {
    /// The queue without threads.
    pub const EMPTY: Queue = Queue { first: None, last: None };

    /// Whether no thread is in it.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The thread that has waited longest.
    pub fn first(&self) -> Option<ThreadId> {
        self.first
    }

    /// The thread after `id`.
    pub fn after<R>(&self, threads: &Threads<R>, id: ThreadId) -> Option<ThreadId> {
        threads.get(id)?.link.next
    }

    /// Joins at the end.
    pub fn push<R>(&mut self, threads: &mut Threads<R>, id: ThreadId) {
        let last = self.last.replace(id);
        threads.link_mut(id, |link| *link = Link { previous: last, next: None });
        match last {
            Some(last) => threads.link_mut(last, |link| link.next = Some(id)),
            None => self.first = Some(id),
        }
    }

    /// Joins at the front: who was interrupted before its slice was over.
    pub fn push_first<R>(&mut self, threads: &mut Threads<R>, id: ThreadId) {
        let first = self.first.replace(id);
        threads.link_mut(id, |link| *link = Link { previous: None, next: first });
        match first {
            Some(first) => threads.link_mut(first, |link| link.previous = Some(id)),
            None => self.last = Some(id),
        }
    }

    /// The thread that had this link leaves from wherever it is; it must be in this queue.
    pub fn remove<R>(&mut self, threads: &mut Threads<R>, Link { previous, next }: Link) {
        match previous {
            Some(previous) => threads.link_mut(previous, |link| link.next = next),
            None => self.first = next,
        }
        match next {
            Some(next) => threads.link_mut(next, |link| link.previous = previous),
            None => self.last = previous,
        }
    }
}

/// Ready threads: a queue per priority, and which of them have anybody.
pub(crate) struct Lane {
    queues: [Queue; PRIORITIES as usize],
    occupied: u64,
}

impl Lane {
    pub(crate) const fn new() -> Lane {
        Lane { queues: [Queue::EMPTY; PRIORITIES as usize], occupied: 0 }
    }

    /// A thread of that priority joins.
    pub(crate) fn push<R>(&mut self, threads: &mut Threads<R>, id: ThreadId, priority: u8, front: bool) {
        let priority = priority.min(PRIORITIES - 1);
        let queue = &mut self.queues[usize::from(priority)];
        if front {
            queue.push_first(threads, id)
        } else {
            queue.push(threads, id)
        }
        self.occupied |= 1 << priority;
    }

    /// The thread of that priority that had this link leaves.
    pub(crate) fn remove<R>(&mut self, threads: &mut Threads<R>, link: Link, priority: u8) {
        let priority = priority.min(PRIORITIES - 1);
        let queue = &mut self.queues[usize::from(priority)];
        queue.remove(threads, link);
        if queue.is_empty() {
            self.occupied &= !(1 << priority);
        }
    }

    /// The best priority that anybody in it has.
    #[inline]
    pub(crate) fn best(&self) -> Option<u8> {
        (self.occupied != 0).then(|| self.occupied.trailing_zeros() as u8)
    }

    /// The thread of the best priority that has waited longest.
    pub(crate) fn first(&self) -> Option<ThreadId> {
        self.queues[usize::from(self.best()?)].first()
    }
}
