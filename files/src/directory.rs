//! The entries of one directory: found by name, listed by place.
//!
//! An entry gets a place number when it is made, higher than all before. A listing goes from the
//! highest place down, and the offset that `getdents64` hands out is the place last listed. So a
//! listing survives any change in between: an entry that stays is listed exactly once, and one that is
//! made or renamed meanwhile lies above the cursor and is not met again, so that a program renaming
//! each file it reads comes to an end. Linux's tmpfs lists in this order for this reason.

use crate::inode::InodeId;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;

/// The first place given to an entry; below lie the offsets of the start, `.` and `..`.
pub(crate) const FIRST_PLACE: u64 = 3;

/// What a directory's inode holds.
pub struct Directory {
    /// The directory above; the root's is itself.
    pub(crate) parent: InodeId,
    /// This directory's own entry in `parent`.
    pub(crate) place: u64,
    /// Entries are neither made nor removed by programs (`/proc`).
    pub(crate) sealed: bool,
    names: BTreeMap<Box<[u8]>, (u64, InodeId)>,
    entries: BTreeMap<u64, Entry>,
    next: u64,
}

/// A name and what it stands for.
pub(crate) struct Entry {
    pub(crate) name: Box<[u8]>,
    pub(crate) inode: InodeId,
}

impl Directory {
    pub(crate) fn new(parent: InodeId) -> Self {
        Directory {
            parent,
            place: 0,
            sealed: false,
            names: BTreeMap::new(),
            entries: BTreeMap::new(),
            next: FIRST_PLACE,
        }
    }

    /// Entries, not counting `.` and `..`.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no entry but `.` and `..`.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<InodeId> {
        self.names.get(name).map(|(_, inode)| *inode)
    }

    /// Adds an entry under a name that is not there yet, and returns its place.
    pub(crate) fn insert(&mut self, name: &[u8], inode: InodeId) -> u64 {
        let place = self.next;
        self.next += 1;
        self.names.insert(name.into(), (place, inode));
        self.entries.insert(place, Entry { name: name.into(), inode });
        place
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<InodeId> {
        let (place, inode) = self.names.remove(name)?;
        self.entries.remove(&place);
        Some(inode)
    }

    pub(crate) fn name_at(&self, place: u64) -> Option<&[u8]> {
        self.entries.get(&place).map(|entry| &*entry.name)
    }

    /// The entries that a listing standing at `offset` has still to give, with their places.
    pub(crate) fn after(&self, offset: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let end = if offset < FIRST_PLACE { u64::MAX } else { offset };
        self.entries.range(FIRST_PLACE..end).rev().map(|(place, entry)| (*place, entry))
    }
}
