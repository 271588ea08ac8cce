//! Tables of control blocks, named by generation.
//!
//! An [`Arena`] keeps objects of one type, each in a heap allocation of its own: an object never moves, and its memory
//! is freed with it. What remains is its slot in the table, two words, which the next object uses. Free slots form a
//! list, so inserting and removing take constant time. An [`Id`] names an object by slot and generation. For example, a
//! parent may keep the [`Id`] of a child that has ended: a new process in the child's slot has a later generation, so
//! looking up the old name finds nothing instead of the wrong process.
//!
//! Looking an object up by its name is the kernel's most frequent search. A table of pointers makes it eight
//! instructions.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::marker::PhantomData;
use core::num::NonZeroU64;

/// The arena holds as many objects as its limit allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Names an object of an [`Arena<T>`]. The lower 32 bits hold the slot's number plus 1, the upper ones its generation:
/// how often the slot has been used before. A name is one word, so it travels in a register and is compared in one
/// instruction.
pub struct Id<T> {
    name: NonZeroU64,
    of: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// A name that no object has.
    pub(crate) const NONE: Id<T> = Id::from_name(NonZeroU64::MAX);

    const fn new(index: u32, generation: u32) -> Id<T> {
        let number = NonZeroU64::MIN.saturating_add(index as u64);
        Id::from_name(number.saturating_add((generation as u64) << 32))
    }

    /// The name that [`Id::name`] has turned into this word.
    pub(crate) const fn from_name(name: NonZeroU64) -> Id<T> {
        Id { name, of: PhantomData }
    }

    /// The name as a word.
    pub(crate) const fn name(self) -> NonZeroU64 {
        self.name
    }

    /// The slot's number. It is small, and used again once the object is gone.
    pub fn index(self) -> u32 {
        self.name.get() as u32 - 1
    }

    /// This name as one of an arena of another type.
    pub(crate) fn cast<U>(self) -> Id<U> {
        Id::from_name(self.name)
    }

    /// How often the slot has been used before.
    pub fn generation(self) -> u32 {
        (self.name.get() >> 32) as u32
    }
}

// Written out, because derived implementations would require the trait of `T`.
impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index(), self.generation())
    }
}

struct Named<T> {
    name: Id<T>,
    object: T,
}

/// The state of a slot that outlives the object in it.
struct Slot {
    /// The generation of the object in the slot, or of the next one if the slot is free.
    generation: u32,
    /// The next free slot, if this slot is free.
    next_free: u32,
}

const END: u32 = u32::MAX;

/// Slots that the table grows by: a caller that needs one more will soon need more of them.
const STEP: u32 = 8;

/// Objects of one type, found by their [`Id`].
pub struct Arena<T> {
    objects: Vec<Option<Box<Named<T>>>>,
    slots: Vec<Slot>,
    first_free: u32,
    live: u32,
    limit: u32,
}

impl<T> Arena<T> {
    /// An empty arena for at most `limit` objects.
    pub const fn new(limit: u32) -> Arena<T> {
        Arena { objects: Vec::new(), slots: Vec::new(), first_free: END, live: 0, limit }
    }

    /// The number of objects in the arena.
    pub fn live(&self) -> u32 {
        self.live
    }

    /// Inserts an object and returns its name.
    #[inline(always)]
    pub fn insert(&mut self, object: T) -> Result<Id<T>, Full> {
        self.insert_named(|_| object)
    }

    /// Inserts an object that holds its own name, which `make` receives. Inlined, so that a large object is made in its
    /// slot instead of being copied there.
    #[inline(always)]
    pub fn insert_named(&mut self, make: impl FnOnce(Id<T>) -> T) -> Result<Id<T>, Full> {
        if self.first_free == END {
            self.grow()?;
        }
        let index = self.first_free;
        let slot = self.slots.get(index as usize).ok_or(Full)?;
        let place = self.objects.get_mut(index as usize).ok_or(Full)?;
        let name = Id::new(index, slot.generation);
        let object = Box::write(Box::new_uninit(), Named { name, object: make(name) });
        self.first_free = slot.next_free;
        // A free slot is empty, so there is nothing to drop; `forget` spares the code that would.
        core::mem::forget(place.replace(object));
        self.live += 1;
        Ok(name)
    }

    /// Removes an object; its name finds nothing from now on. Inlined, so that only those parts of a large object are
    /// moved that the caller uses.
    #[inline(always)]
    pub fn remove(&mut self, id: Id<T>) -> Option<T> {
        let index = id.index();
        let there = self.objects.get_mut(index as usize)?.take_if(|there| there.name == id)?;
        let slot = self.slots.get_mut(index as usize)?;
        *slot = Slot { generation: id.generation().wrapping_add(1), next_free: self.first_free };
        self.first_free = index;
        self.live -= 1;
        Some(there.object)
    }

    /// The name that the next object in a slot will have, if the slot is empty.
    pub fn next_name(&self, index: u32) -> Option<Id<T>> {
        let slot = self.slots.get(index as usize)?;
        self.objects.get(index as usize)?.is_none().then(|| Id::new(index, slot.generation))
    }

    /// Marks the name of a future object as used: no object will have it. For example, a process number that is still
    /// the number of a process group must not be given to a new process.
    pub fn pass_over(&mut self, name: Id<T>) {
        let index = name.index() as usize;
        if let (Some(None), Some(slot)) = (self.objects.get(index), self.slots.get_mut(index)) {
            slot.generation = name.generation().wrapping_add(1);
        }
    }

    /// The object with this name.
    #[inline]
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        let there = self.objects.get(id.index() as usize)?.as_ref()?;
        if there.name == id { Some(&there.object) } else { None }
    }

    /// The object with this name, to be changed.
    #[inline]
    pub fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        let there = self.objects.get_mut(id.index() as usize)?.as_mut()?;
        if there.name == id { Some(&mut there.object) } else { None }
    }

    /// The name of the object in a slot, if there is one.
    pub fn id_at(&self, index: u32) -> Option<Id<T>> {
        self.objects.get(index as usize)?.as_ref().map(|there| there.name)
    }

    /// The number of slots, taken or free; [`Arena::id_at`] tells which of them is taken.
    pub fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The names of all objects, in the order of their slots.
    pub fn ids(&self) -> impl Iterator<Item = Id<T>> + '_ {
        (0..self.slots()).filter_map(|index| self.id_at(index))
    }

    /// Adds [`STEP`] free slots, or fewer if the limit is reached.
    #[cold]
    fn grow(&mut self) -> Result<(), Full> {
        let first = self.slots();
        let end = self.limit.min(first + STEP);
        if first == end {
            return Err(Full);
        }
        let next_free = |index| if index + 1 == end { END } else { index + 1 };
        self.slots.extend((first..end).map(|index| Slot { generation: 0, next_free: next_free(index) }));
        self.objects.resize_with(end as usize, || None);
        self.first_free = first;
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests/arena.rs"]
mod tests;
