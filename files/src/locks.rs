//! Advisory locks: those of `fcntl` on ranges of a file, and those of `flock` on the whole of it.
//!
//! An owner's ranges on a file do not overlap: a new one takes the place of what it covers, and ranges of
//! one kind that touch become one. Locks of two owners conflict if they overlap and one is exclusive;
//! `fcntl`'s and `flock`'s never do. Whoever has to wait for a lock asks again when one has been given back.

use crate::ids::{InodeId, OpenFileId};
use crate::{Errno, Result};
use alloc::collections::BTreeMap;

/// The most locks there are, of all owners together: beyond is `ENOLCK`.
pub const LOCKS_MAX: usize = 8192;

/// The last byte of a lock that goes on to wherever the file ends.
pub const END: u64 = i64::MAX as u64;

/// Who has a lock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Owner {
    /// A process, by its number (`F_SETLK`): until it closes any descriptor of the file.
    Process(u32),
    /// An open file (`F_OFD_SETLK`): until it is closed.
    OpenFile(OpenFileId),
    /// An open file, on the whole of its file (`flock`): until it is closed.
    Whole(OpenFileId),
}

impl Owner {
    fn conflicts(self, other: Owner) -> bool {
        let whole = |owner| matches!(owner, Owner::Whole(_));
        self != other && whole(self) == whole(other)
    }
}

/// A lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lock {
    /// Whose it is.
    pub owner: Owner,
    /// Its first byte.
    pub first: u64,
    /// Its last byte, perhaps [`END`].
    pub last: u64,
    /// It keeps everybody else away, not only who wants to be alone.
    pub exclusive: bool,
}

/// All locks, by file, owner and first byte.
#[derive(Default)]
pub struct Locks {
    held: BTreeMap<(InodeId, Owner, u64), (u64, bool)>,
}

impl Locks {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The locks on a file.
    pub fn on(&self, inode: InodeId) -> impl Iterator<Item = Lock> {
        let from = (inode, Owner::Process(0), 0);
        let all = self.held.range(from..).take_while(move |((of, ..), _)| *of == inode);
        all.map(|((_, owner, first), (last, exclusive))| Lock {
            owner: *owner,
            first: *first,
            last: *last,
            exclusive: *exclusive,
        })
    }

    /// What keeps `wanted` from being had, the lowest of it.
    pub fn obstacle(&self, inode: InodeId, wanted: &Lock) -> Option<Lock> {
        let in_the_way = |held: &Lock| {
            held.owner.conflicts(wanted.owner)
                && held.first <= wanted.last
                && wanted.first <= held.last
                && (held.exclusive || wanted.exclusive)
        };
        self.on(inode).filter(in_the_way).min_by_key(|held| held.first)
    }

    /// Sets a lock: `EAGAIN` if another is in the way, `ENOLCK`. Tells whether it took the place of one that the
    /// owner had there before, so that others may find room now.
    pub fn set(&mut self, inode: InodeId, new: Lock) -> Result<bool> {
        if self.obstacle(inode, &new).is_some() {
            return Err(Errno::EAGAIN);
        }
        // It may cut one lock in two.
        if self.held.len() + 2 > LOCKS_MAX {
            return Err(Errno::ENOLCK);
        }
        let Lock { owner, mut first, mut last, exclusive } = new;
        let replaced = self.cut(inode, owner, first, last);
        let before = first.checked_sub(1).and_then(|byte| self.touching(inode, owner, byte, byte));
        let after = last.checked_add(1).and_then(|byte| self.touching(inode, owner, byte, byte));
        for neighbour in [before, after].into_iter().flatten().filter(|lock| lock.exclusive == exclusive) {
            self.held.remove(&(inode, owner, neighbour.first));
            (first, last) = (first.min(neighbour.first), last.max(neighbour.last));
        }
        self.held.insert((inode, owner, first), (last, exclusive));
        Ok(replaced)
    }

    /// Gives up what an owner has locked between two bytes: `ENOLCK` if that would cut a lock in two and there
    /// are too many. Tells whether there was anything.
    pub fn clear(&mut self, inode: InodeId, owner: Owner, first: u64, last: u64) -> Result<bool> {
        let cuts = |lock: Lock| lock.first < first && last < lock.last;
        if self.held.len() >= LOCKS_MAX && self.touching(inode, owner, first, last).is_some_and(cuts) {
            return Err(Errno::ENOLCK);
        }
        Ok(self.cut(inode, owner, first, last))
    }

    /// Gives up all that an owner has locked of a file; tells whether there was anything.
    pub fn release(&mut self, inode: InodeId, owner: Owner) -> bool {
        !self.held.is_empty() && self.cut(inode, owner, 0, END)
    }

    fn cut(&mut self, inode: InodeId, owner: Owner, first: u64, last: u64) -> bool {
        let mut any = false;
        while let Some(lock) = self.touching(inode, owner, first, last) {
            any = true;
            self.held.remove(&(inode, owner, lock.first));
            if lock.first < first {
                self.held.insert((inode, owner, lock.first), (first - 1, lock.exclusive));
            }
            if last < lock.last {
                self.held.insert((inode, owner, last + 1), (lock.last, lock.exclusive));
            }
        }
        any
    }

    /// An owner's lowest lock that has a byte between two.
    fn touching(&self, inode: InodeId, owner: Owner, first: u64, last: u64) -> Option<Lock> {
        let key = |byte| (inode, owner, byte);
        let below = self.held.range(key(0)..key(first)).next_back().filter(|(_, (last, _))| *last >= first);
        let (&(.., first), &(last, exclusive)) = below.or_else(|| self.held.range(key(first)..=key(last)).next())?;
        Some(Lock { owner, first, last, exclusive })
    }
}
