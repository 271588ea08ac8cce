//! Advisory locks: locks of `fcntl` on ranges of a file, and locks of `flock` on whole files.
//!
//! The ranges of one owner on a file do not overlap: a new lock replaces what it covers, and adjacent ranges of one
//! kind are merged. For example, a process that locks bytes 0 to 9 and then 10 to 19, both exclusively, has one lock of
//! bytes 0 to 19. Locks of two owners conflict if they overlap and at least one is exclusive; locks of `fcntl` never
//! conflict with those of `flock`. A caller that has to wait for a lock asks again after each release.

use crate::ids::{InodeId, OpenFileId};
use crate::{Errno, Result};
use alloc::collections::BTreeMap;

/// The greatest number of locks of all owners together: beyond is `ENOLCK`.
pub const LOCKS_MAX: usize = 8192;

/// The last byte of a lock that extends to the end of the file, wherever that is.
pub const END: u64 = i64::MAX as u64;

/// The owner of a lock.
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
    /// Its owner.
    pub owner: Owner,
    /// Its first byte.
    pub first: u64,
    /// Its last byte, perhaps [`END`].
    pub last: u64,
    /// Whether it excludes all other locks, and not only exclusive ones.
    pub exclusive: bool,
}

/// All locks, by file, owner and first byte.
#[derive(Default)]
pub struct Locks {
    held: BTreeMap<(InodeId, Owner, u64), (u64, bool)>,
}

impl Locks {
    /// Whether there is no lock.
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

    /// The lock with the lowest range that conflicts with `wanted`, if there is one.
    pub fn obstacle(&self, inode: InodeId, wanted: &Lock) -> Option<Lock> {
        let in_the_way = |held: &Lock| {
            held.owner.conflicts(wanted.owner)
                && held.first <= wanted.last
                && wanted.first <= held.last
                && (held.exclusive || wanted.exclusive)
        };
        self.on(inode).filter(in_the_way).min_by_key(|held| held.first)
    }

    /// Sets a lock: `EAGAIN` if another one conflicts, `ENOLCK`. Returns whether it replaced a lock of the owner, so
    /// that a waiting caller may succeed now.
    pub fn set(&mut self, inode: InodeId, new: Lock) -> Result<bool> {
        if self.obstacle(inode, &new).is_some() {
            return Err(Errno::EAGAIN);
        }
        // The new lock may cut an old one in two.
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

    /// Releases what an owner has locked between two bytes: `ENOLCK` if that would cut a lock in two and there are too
    /// many. Returns whether there was anything.
    pub fn clear(&mut self, inode: InodeId, owner: Owner, first: u64, last: u64) -> Result<bool> {
        let cuts = |lock: Lock| lock.first < first && last < lock.last;
        if self.held.len() >= LOCKS_MAX && self.touching(inode, owner, first, last).is_some_and(cuts) {
            return Err(Errno::ENOLCK);
        }
        Ok(self.cut(inode, owner, first, last))
    }

    /// Releases all locks of an owner on a file; returns whether there was any.
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

    /// The lowest lock of an owner that covers a byte of a range.
    fn touching(&self, inode: InodeId, owner: Owner, first: u64, last: u64) -> Option<Lock> {
        let key = |byte| (inode, owner, byte);
        let below = self.held.range(key(0)..key(first)).next_back().filter(|(_, (last, _))| *last >= first);
        let (&(.., first), &(last, exclusive)) = below.or_else(|| self.held.range(key(first)..=key(last)).next())?;
        Some(Lock { owner, first, last, exclusive })
    }
}
