//! Queues of threads and of processes, linked through the control blocks: joining and leaving allocate nothing and
//! take constant time.
//!
//! A control block has a [`Link`] for each queue that it can be in at once. [`Links`] says which of them a queue uses.

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

/// Finds the links of the queues of one kind by the names of what is in them.
pub(crate) trait Links<K> {
    /// Changes the link of that name, if there is one.
    fn link_mut(&mut self, id: K, change: impl FnOnce(&mut Link<K>));
}

impl<K: Copy> Link<K> {
    /// Makes the neighbours of a thread that has [joined](Queue::join) a queue with this link its neighbours.
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

/// First in, first out, with leaving from anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Queue<K = ThreadId> {
    first: Option<K>,
    last: Option<K>,
}

impl<K> Queue<K> {
    /// The queue with nothing in it.
    pub const EMPTY: Queue<K> = Queue { first: None, last: None };
}

impl<K: Copy> Queue<K> {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The thread that has waited longest.
    pub fn first(&self) -> Option<K> {
        self.first
    }

    /// Joins at the end, or in front: who was interrupted before its slice was over. Returns the link that the thread
    /// has from now on. It is still to be [attached](Link::attach), so that who has the thread's control block at hand
    /// need not look it up again here.
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

    /// The thread that had this link leaves from wherever it is; it must be in this queue.
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

    /// Those in it, in the order in which their turns come.
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

    /// The first thread of each priority that is worse than this.
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

/// The best of a set of priorities.
#[inline]
fn best(occupied: u64) -> Option<u8> {
    (occupied != 0).then(|| occupied.trailing_zeros() as u8)
}
