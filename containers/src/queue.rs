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

impl Link {
    /// Makes the neighbours of a thread that has [joined](Queue::join) a queue with this link its neighbours.
    #[inline]
    pub(crate) fn attach<R>(self, threads: &mut Threads<R>, id: ThreadId) {
        if let Some(previous) = self.previous {
            threads.link_mut(previous, |link| link.next = Some(id));
        }
        if let Some(next) = self.next {
            threads.link_mut(next, |link| link.previous = Some(id));
        }
    }
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

    /// Joins at the end, or in front: who was interrupted before its slice was over. Returns the link that the thread
    /// has from now on. It is still to be [attached](Link::attach), so that who has the thread's control block at hand
    /// need not look it up again here.
    #[inline]
    #[must_use = "the thread and its neighbours do not know yet"]
    pub(crate) fn join(&mut self, id: ThreadId, front: bool) -> Link {
        if front {
            let next = self.first.replace(id);
            self.last.get_or_insert(id);
            Link { previous: None, next }
        } else {
            let previous = self.last.replace(id);
            self.first.get_or_insert(id);
            Link { previous, next: None }
        }
    }

    /// The thread that has waited longest leaves.
    #[inline]
    pub(crate) fn take_first<R>(&mut self, threads: &mut Threads<R>) -> Option<ThreadId> {
        let first = self.first?;
        if self.last == Some(first) {
            *self = Queue::EMPTY;
        } else if let Some(link) = threads.get(first).map(|thread| thread.link) {
            self.remove(threads, link);
        }
        Some(first)
    }

    /// The thread that had this link leaves from wherever it is; it must be in this queue.
    #[inline]
    pub(crate) fn remove<R>(&mut self, threads: &mut Threads<R>, Link { previous, next }: Link) {
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

    /// A thread of that priority joins, as [`Queue::join`] has it.
    #[inline]
    #[must_use = "as of `Queue::join`"]
    pub(crate) fn join(&mut self, id: ThreadId, priority: u8, front: bool) -> Link {
        let priority = priority.min(PRIORITIES - 1);
        self.occupied |= 1 << priority;
        self.queues[usize::from(priority)].join(id, front)
    }

    /// The thread of that priority that had this link leaves.
    #[inline(always)]
    pub(crate) fn remove<R>(&mut self, threads: &mut Threads<R>, link: Link, priority: u8) {
        let priority = priority.min(PRIORITIES - 1);
        let queue = &mut self.queues[usize::from(priority)];
        queue.remove(threads, link);
        if queue.is_empty() {
            self.occupied &= !(1 << priority);
        }
    }

    /// The thread of the best priority that has waited longest leaves.
    #[inline]
    pub(crate) fn take_first<R>(&mut self, threads: &mut Threads<R>) -> Option<ThreadId> {
        let best = self.best()?;
        let queue = &mut self.queues[usize::from(best)];
        let first = queue.take_first(threads);
        if queue.is_empty() {
            self.occupied &= !(1 << best);
        }
        first
    }

    /// The best priority that anybody in it has.
    #[inline]
    pub(crate) fn best(&self) -> Option<u8> {
        best(self.occupied)
    }

    /// The same of two of them.
    #[inline]
    pub(crate) fn best_of_both(&self, other: &Lane) -> Option<u8> {
        best(self.occupied | other.occupied)
    }

    /// The thread of the best priority that has waited longest.
    pub(crate) fn first(&self) -> Option<ThreadId> {
        self.queues[usize::from(self.best()?)].first()
    }
}

/// The best of a set of priorities.
#[inline]
fn best(occupied: u64) -> Option<u8> {
    (occupied != 0).then(|| occupied.trailing_zeros() as u8)
}
