//! A slot map: a table whose elements are found by keys that stay valid until the element is removed. Inodes, open
//! files and interests each have one.
//!
//! A [`Key`] consists of a slot and a generation. For example, if file 7 is closed and its slot reused, the old key
//! finds nothing instead of the wrong file.
//!
//! The table is made of chunks of 64 slots: a large table never needs a large allocation, an insertion allocates only
//! once in 64, and an empty chunk is freed. The kernel's arena of control blocks is made for objects that never move,
//! with an allocation each; here the elements are small, and many.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU32;

/// Slots in a chunk, one for each bit of its map.
const CHUNK: usize = 64;

/// Names an element until that is removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    index: u32,
    generation: NonZeroU32,
}

impl Key {
    /// The slot's number. No two elements of a table have the same one at any one time, but it is used again later.
    pub fn index(self) -> u32 {
        self.index
    }
}

struct Chunk<T> {
    /// Bit n is set if slot n is taken.
    used: u64,
    slots: [Option<(NonZeroU32, T)>; CHUNK],
}

/// A table of at most `limit` elements.
pub(crate) struct SlotMap<T> {
    chunks: Vec<Option<Box<Chunk<T>>>>,
    /// No chunk before this one has a free slot.
    first_free: usize,
    next_generation: NonZeroU32,
    len: usize,
    limit: usize,
}

impl<T> SlotMap<T> {
    /// An empty table. `limit` is a multiple of 64 and at most 262,144, so that the list of chunks is a
    /// single allocation of at most 32 KiB.
    pub(crate) const fn new(limit: usize) -> Self {
        assert!(limit.is_multiple_of(CHUNK) && limit <= 262_144);
        SlotMap { chunks: Vec::new(), first_free: 0, next_generation: NonZeroU32::MIN, len: 0, limit }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len >= self.limit
    }

    /// Inserts an element into the lowest free slot; `None` if the table is full.
    pub(crate) fn insert(&mut self, value: T) -> Option<Key> {
        self.insert_with(|_| value)
    }

    /// Inserts an element that holds its own key, which `make` receives; `None` if the table is full.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Option<Key> {
        if self.is_full() {
            return None;
        }
        let has_room = |chunk: &Option<Box<Chunk<T>>>| chunk.as_ref().is_some_and(|chunk| chunk.used != u64::MAX);
        if !self.chunks.get(self.first_free).is_some_and(has_room) {
            self.make_room();
        }
        let at = self.first_free;
        let chunk = self.chunks.get_mut(at)?.as_mut()?;
        let slot = chunk.used.trailing_ones() as usize;
        let generation = self.next_generation;
        let key = Key { index: (at * CHUNK + slot) as u32, generation };
        *chunk.slots.get_mut(slot)? = Some((generation, make(key)));
        chunk.used |= 1 << slot;
        self.next_generation = generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.len += 1;
        Some(key)
    }

    /// Finds the first chunk that has a free slot, or makes one.
    #[cold]
    fn make_room(&mut self) {
        let free = |chunk: &Option<Box<Chunk<T>>>| chunk.as_ref().is_none_or(|chunk| chunk.used != u64::MAX);
        let at = self.chunks.iter().skip(self.first_free).position(free);
        self.first_free = at.map_or(self.chunks.len(), |skipped| self.first_free + skipped);
        if self.first_free == self.chunks.len() {
            self.chunks.push(None);
        }
        if let Some(chunk) = self.chunks.get_mut(self.first_free) {
            chunk.get_or_insert_with(|| Box::new(Chunk { used: 0, slots: [const { None }; CHUNK] }));
        }
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten().flat_map(|chunk| chunk.slots.iter().flatten()).map(|(_, value)| value)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let (chunk, slot) = place(key);
        match self.chunks.get(chunk)?.as_ref()?.slots.get(slot)? {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (chunk, slot) = place(key);
        match self.chunks.get_mut(chunk)?.as_mut()?.slots.get_mut(slot)? {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// Removes an element if `is_last`, which may change it, returns true: for elements that count their users.
    #[inline]
    pub(crate) fn remove_if(&mut self, key: Key, is_last: impl FnOnce(&mut T) -> bool) -> Option<T> {
        let (at, slot) = place(key);
        let chunk = self.chunks.get_mut(at)?.as_mut()?;
        let tenant = chunk.slots.get_mut(slot)?;
        let (generation, value) = tenant.as_mut()?;
        if *generation != key.generation || !is_last(value) {
            return None;
        }
        let (_, value) = tenant.take()?;
        chunk.used &= !(1 << slot);
        let empty = chunk.used == 0;
        self.len -= 1;
        self.first_free = self.first_free.min(at);
        if empty {
            self.drop_chunk(at);
        }
        Some(value)
    }

    #[cold]
    fn drop_chunk(&mut self, at: usize) {
        if let Some(chunk) = self.chunks.get_mut(at) {
            *chunk = None;
        }
        while let Some(None) = self.chunks.last() {
            self.chunks.pop();
        }
        if self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(2 * self.chunks.len());
        }
    }
}

fn place(key: Key) -> (usize, usize) {
    (key.index as usize / CHUNK, key.index as usize % CHUNK)
}

#[cfg(test)]
#[path = "tests/slot_map.rs"]
mod tests;
