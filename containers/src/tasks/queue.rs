//! Queues of threads and of processes, linked through the control blocks: joining and leaving allocate nothing and take
//! constant time. For example, a thread that is killed while it waits leaves the middle of its wait queue at once.
//!
//! A control block has one [`Link`] for each queue that it can be in at the same time. An implementation of [`Links`]
//! selects the link that a queue uses.

use crate::ids::ThreadId;
use crate::tasks::Threads;
use crate::tasks::thread::{PRIORITIES, Thread};

/// The neighbours of a thread or process in the queue that it is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link<K = ThreadId> {
    previous: Option<K>,
    pub(crate) next: Option<K>,
}

impl<K> Default for Link<K> {
    fn default() -> Link<K> {
        Link { previous: None, next: None }
    }
}

/// Finds the link of an object, for one kind of queue.
pub(crate) trait Links<K> {
    /// Changes the link of the object with this name, if there is one.
    fn link_mut(&mut self, id: K, change: impl FnOnce(&mut Link<K>));
}

impl<K: Copy> Link<K> {
    /// Completes [`Queue::join`]: makes the neighbours that this link names point to `id`.
    #[inline]
    pub(crate) fn attach(self, links: &mut impl Links<K>, id: K) {
        if let Some(previous) = self.previous {
            links.link_mut(previous, |link| link.next = Some(id));
        }
        if let Some(next) = self.next {
            links.link_mut(next, |link| link.previous = Some(id));
        }
    }
}

/// A first-in, first-out queue that its members can leave from anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Queue<K = ThreadId> {
    first: Option<K>,
    last: Option<K>,
}

impl<K> Queue<K> {
    /// The empty queue.
    pub const EMPTY: Queue<K> = Queue { first: None, last: None };
}

impl<K: Copy> Queue<K> {
    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The object that has waited longest.
    pub fn first(&self) -> Option<K> {
        self.first
    }

    /// Joins the queue at its end, or in front for a thread that was preempted before its slice was over. Returns the
    /// new link of the object. The caller stores it and then [attaches](Link::attach) it: so a caller that has the
    /// control block at hand spares a second search for it.
    #[inline]
    #[must_use = "the thread and its neighbours do not know yet"]
    pub(crate) fn join(&mut self, id: K, front: bool) -> Link<K> {
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

    /// Removes the object that has this link, wherever it is; it must be in this queue.
    #[inline]
    pub(crate) fn remove(&mut self, links: &mut impl Links<K>, Link { previous, next }: Link<K>) {
        match previous {
            Some(previous) => links.link_mut(previous, |link| link.next = next),
            None => self.first = next,
        }
        match next {
            Some(next) => links.link_mut(next, |link| link.previous = previous),
            None => self.last = previous,
        }
    }
}

impl Queue {
    /// Removes the thread that has waited longest and returns it.
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
}

/// Ready threads: a queue for each priority, and a bit for each queue that is not empty.
pub(crate) struct Lane {
    queues: [Queue; PRIORITIES as usize],
    occupied: u64,
}

impl Lane {
    pub(crate) const fn new() -> Lane {
        Lane { queues: [Queue::EMPTY; PRIORITIES as usize], occupied: 0 }
    }

    /// Lets a thread of this priority join, as [`Queue::join`] has it.
    #[inline]
    #[must_use = "as of `Queue::join`"]
    pub(crate) fn join(&mut self, id: ThreadId, priority: u8, front: bool) -> Link {
        let priority = priority.min(PRIORITIES - 1);
        self.occupied |= 1 << priority;
        self.queues[usize::from(priority)].join(id, front)
    }

    /// Removes the thread of this priority that has this link.
    #[inline(always)]
    pub(crate) fn remove<R>(&mut self, threads: &mut Threads<R>, link: Link, priority: u8) {
        let priority = priority.min(PRIORITIES - 1);
        let queue = &mut self.queues[usize::from(priority)];
        queue.remove(threads, link);
        if queue.is_empty() {
            self.occupied &= !(1 << priority);
        }
    }

    /// Removes the thread of the best priority that has waited longest and returns it.
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

    /// The best priority of all threads in the lane.
    #[inline]
    pub(crate) fn best(&self) -> Option<u8> {
        best(self.occupied)
    }

    /// The best priority of all threads in this lane and another one.
    #[inline]
    pub(crate) fn best_of_both(&self, other: &Lane) -> Option<u8> {
        best(self.occupied | other.occupied)
    }

    /// The threads in the lane, in the order in which their turns come.
    pub(crate) fn threads<'a, R>(&'a self, threads: &'a Threads<R>) -> impl Iterator<Item = (ThreadId, &'a Thread)> {
        let mut left = self.occupied;
        let mut next = None;
        core::iter::from_fn(move || {
            let id = next.take().or_else(|| {
                let priority = best(left)?;
                left &= left - 1;
                self.queues[usize::from(priority)].first()
            })?;
            let thread = threads.get(id)?;
            next = thread.link.next;
            Some((id, thread))
        })
    }

    /// The first thread of each priority that is worse than this one.
    pub(crate) fn firsts_behind(&self, priority: u8) -> impl Iterator<Item = ThreadId> {
        let worse = u64::MAX.checked_shl(u32::from(priority) + 1).unwrap_or(0);
        (0..PRIORITIES)
            .filter(move |own| self.occupied & worse & 1 << own != 0)
            .filter_map(|own| self.queues[usize::from(own)].first())
    }

    /// The thread of the best priority that has waited longest.
    pub(crate) fn first(&self) -> Option<ThreadId> {
        self.queues[usize::from(self.best()?)].first()
    }
}

/// The best priority of a set of them: the lowest bit.
#[inline]
fn best(occupied: u64) -> Option<u8> {
    (occupied != 0).then(|| occupied.trailing_zeros() as u8)
}
