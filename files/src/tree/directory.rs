//! The entries of one directory: found by name, listed by place.
//!
//! An entry gets a place number when it is made, higher than all before. A listing goes from the highest place down,
//! and the offset that `getdents64` returns is the place listed last. So a listing survives all changes meanwhile: an
//! entry that stays is listed exactly once, and an entry that is made or renamed meanwhile lies above the offset and is
//! not listed again. For example, a program that renames each file it lists comes to an end. Linux's tmpfs lists in
//! this order, for this reason.
//!
//! Names are found by their hashes: a search compares numbers and then, nearly always, a single name.

use crate::ids::InodeId;
use crate::word::{self, WORD};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry as Slot;
use alloc::rc::Rc;

/// The first place of an entry; the offsets of the start, `.` and `..` are below it.
pub(crate) const FIRST_PLACE: u64 = 3;

/// The contents of a directory.
pub struct Directory {
    /// The parent directory; the root is its own parent.
    pub(crate) parent: InodeId,
    /// This directory's own entry in `parent`.
    pub(crate) place: u64,
    /// Whether programs can neither make nor remove entries (`/proc`).
    pub(crate) sealed: bool,
    /// Whether the kernel makes entries when a program looks for them (those of processes in `/proc`).
    pub(crate) on_demand: bool,
    /// Entries by the hashes of their names.
    names: BTreeMap<u64, Bucket>,
    /// Entries by their places.
    entries: BTreeMap<u64, Rc<Entry>>,
    next: u64,
}

/// A name and the inode that it leads to.
pub(crate) struct Entry {
    pub(crate) name: Box<[u8]>,
    pub(crate) inode: InodeId,
    /// Whether the inode [is a link](crate::Inode::is_link), for as long as it lives: a walk that comes to the end of a
    /// path need not look at the inode.
    pub(crate) is_link: bool,
    place: u64,
}

/// The entries whose names have one hash: hardly ever more than one, unless a program contrives that. Then a tree of
/// names finds them in logarithmic time.
enum Bucket {
    One(Rc<Entry>),
    More(BTreeMap<Box<[u8]>, Rc<Entry>>),
}

/// A name to look for, and its hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'a> {
    pub(crate) bytes: &'a [u8],
    hash: u64,
}

impl<'a> Name<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Name::until(bytes, |_| WORD)
    }

    /// The part of a path before its first slash. A walk goes over a component only once.
    #[inline(always)]
    pub(crate) fn leading(path: &'a [u8]) -> Self {
        Name::until(path, word::slash)
    }

    /// The part before the end, which `end` finds in a word: it returns 8 for all words before that.
    #[inline(always)]
    fn until(bytes: &'a [u8], end: impl Fn(u64) -> usize) -> Self {
        let (mut hash, mut rest) = (HASH_OF_NOTHING, bytes);
        let (word, taken) = loop {
            let Some((word, behind)) = rest.split_first_chunk() else {
                let word = word::last(bytes, rest.len());
                break (word, end(word).min(rest.len()));
            };
            let word = u64::from_le_bytes(*word);
            let taken = end(word);
            if taken < WORD {
                break (word, taken);
            }
            hash = mix(hash, word);
            rest = behind;
        };
        let (bytes, _) = bytes.split_at(bytes.len() - rest.len() + taken);
        Name { bytes, hash: mix(hash, word & !(u64::MAX << (8 * taken))) }
    }

    /// Whether the two names are equal. Most names are too short for a call of `memcmp` to be worth while: they are
    /// compared as two words, which may overlap, or byte by byte.
    #[inline(always)]
    fn is(self, name: &[u8]) -> bool {
        let (ours, theirs) = (self.bytes, name);
        ours.len() == theirs.len()
            && match ours.len() {
                ..WORD => ours.iter().eq(theirs),
                WORD..=16 => {
                    ours.first_chunk::<WORD>() == theirs.first_chunk()
                        && ours.last_chunk::<WORD>() == theirs.last_chunk()
                }
                _ => ours == theirs,
            }
    }
}

/// The first digits of pi after the point: a number without special properties.
const HASH_OF_NOTHING: u64 = 0x243f_6a88_85a3_08d3;

/// The hash, extended by a word: each bit of the product's halves depends on all bits (the folded multiplication of
/// wyhash, by Wang Yi; the number is Knuth's, 2^64 divided by the golden ratio).
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15;
    product as u64 ^ (product >> u64::BITS) as u64
}

impl Directory {
    pub(crate) fn new(parent: InodeId) -> Self {
        Directory {
            parent,
            place: 0,
            sealed: false,
            on_demand: false,
            names: BTreeMap::new(),
            entries: BTreeMap::new(),
            next: FIRST_PLACE,
        }
    }

    /// The number of entries, without `.` and `..`.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry but `.` and `..`.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[inline]
    pub(crate) fn find(&self, name: Name) -> Option<&Entry> {
        match self.names.get(&name.hash)? {
            Bucket::One(entry) => name.is(&entry.name).then_some(entry),
            Bucket::More(entries) => entries.get(name.bytes).map(|entry| &**entry),
        }
    }

    pub(crate) fn get(&self, name: Name) -> Option<InodeId> {
        self.find(name).map(|entry| entry.inode)
    }

    /// Adds an entry under a vacant name, and returns its place.
    pub(crate) fn insert(&mut self, name: Name, inode: InodeId, is_link: bool) -> u64 {
        let place = self.next;
        self.next += 1;
        let entry = Rc::new(Entry { name: name.bytes.into(), inode, is_link, place });
        self.entries.insert(place, entry.clone());
        match self.names.entry(name.hash) {
            Slot::Vacant(vacant) => _ = vacant.insert(Bucket::One(entry)),
            Slot::Occupied(mut occupied) => {
                let same = occupied.get_mut();
                if let Bucket::One(one) = same {
                    *same = Bucket::More([(one.name.clone(), one.clone())].into());
                }
                if let Bucket::More(entries) = same {
                    entries.insert(name.bytes.into(), entry);
                }
            }
        }
        place
    }

    pub(crate) fn remove(&mut self, name: Name) -> Option<InodeId> {
        let Slot::Occupied(mut occupied) = self.names.entry(name.hash) else { return None };
        let (entry, is_last) = match occupied.get_mut() {
            Bucket::One(entry) => (Some(entry.clone()).filter(|entry| name.is(&entry.name))?, true),
            Bucket::More(entries) => (entries.remove(name.bytes)?, entries.is_empty()),
        };
        if is_last {
            occupied.remove();
        }
        self.entries.remove(&entry.place);
        Some(entry.inode)
    }

    pub(crate) fn name_at(&self, place: u64) -> Option<&[u8]> {
        self.entries.get(&place).map(|entry| &*entry.name)
    }

    /// The entries of a listing from `offset` on, with their places.
    pub(crate) fn after(&self, offset: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let end = if offset < FIRST_PLACE { u64::MAX } else { offset };
        self.entries.range(FIRST_PLACE..end).rev().map(|(place, entry)| (*place, &**entry))
    }
}

#[cfg(test)]
#[path = "../tests/directory.rs"]
mod tests;
