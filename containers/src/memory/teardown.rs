//! Taking apart what is gone: page tables of ended containers, and pages of objects that nobody refers to.
//!
//! Small things go at once. What is large is out of everybody's reach at once, and taken apart piece by piece
//! ([`Memory::take_apart`]): the CPU is told that there is something left ([`Translation::has_remains`]) and comes back
//! for it until there is none. What is still to be taken apart counts as used, so whoever finds no free frame takes it
//! apart before memory is declared full ([`Memory::make_room`]).
//!
//! **Invariant:** nothing leads to what is being taken apart but the two lists here: no region, no file, no CPU's page
//! directory.
//!
//! The lists go through the things themselves, because what gives memory back may find none to allocate.

use crate::budget::Budget;
use crate::memory::Memory;
use crate::memory::container::ContainerId;
use crate::memory::directory;
use crate::memory::object::ObjectId;
use crate::memory::physical::{PhysicalMemory, Translation};
use crate::memory::region::Regions;

/// Frames of a container, and regions, that are taken apart at once.
const FEW_PAGES: u32 = 256;
const FEW_REGIONS: usize = 128;

/// Instructions that it takes to release a frame or a region, or a chunk of an object besides its frames, roughly.
pub(crate) const COST_OF_A_FRAME: u64 = 50;
const COST_OF_A_REGION: u64 = 60;
const COST_OF_A_CHUNK: u64 = 300;

/// What is to be taken apart: the first of each kind, of which each knows the next.
#[derive(Default)]
pub(crate) struct Remains {
    containers: Option<ContainerId>,
    objects: Option<ObjectId>,
}

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Whether anything is left to be taken apart.
    #[inline]
    pub fn has_remains(&self) -> bool {
        self.remains.containers.is_some() || self.remains.objects.is_some()
    }

    /// A container to which nothing leads any more goes: at once if it is small.
    pub(crate) fn discard_container(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.pages <= FEW_PAGES && container.regions.len() <= FEW_REGIONS {
            self.take_container_apart(id, &mut Budget::unlimited());
            return;
        }
        container.next_of_remains = self.remains.containers.replace(id);
        self.physical.has_remains();
    }

    /// An object has no reference any more: its pages are given back, at once if they are few and piece by piece if not.
    pub(crate) fn discard_object(&mut self, id: ObjectId) {
        if self.add_to_remains(id) {
            self.physical.has_remains();
        }
    }

    /// Takes a small object apart; false if it was small.
    fn add_to_remains(&mut self, id: ObjectId) -> bool {
        let Some(object) = self.objects.get_mut(id) else { return false };
        if object.is_small() {
            self.take_object_apart(id, &mut Budget::unlimited());
            return false;
        }
        object.next_of_remains = self.remains.objects.replace(id);
        true
    }

    /// Takes apart as much as the budget allows.
    pub fn take_apart(&mut self, budget: &mut Budget) {
        while let Some(id) = self.remains.containers.filter(|_| !budget.is_spent()) {
            let next = self.containers.get(id).and_then(|container| container.next_of_remains);
            if self.take_container_apart(id, budget) {
                self.remains.containers = next;
            }
        }
        while let Some(id) = self.remains.objects.filter(|_| !budget.is_spent()) {
            let next = self.objects.get(id).and_then(|object| object.next_of_remains);
            if self.take_object_apart(id, budget) {
                self.remains.objects = next;
            }
        }
    }

    /// Takes apart what is left of others until so many frames are free, or as much as the budget allows. Whether they are.
    pub fn make_room(&mut self, frames: usize, budget: &mut Budget) -> bool {
        while self.physical.free_frames() < frames && self.has_remains() && !budget.is_spent() {
            let mut piece = Budget::of(budget.left().min(PIECE));
            budget.spend(piece.left());
            self.take_apart(&mut piece);
        }
        self.physical.free_frames() >= frames
    }

    /// Releases a container's tables with what hangs in them, then the objects of its regions, then itself. Whether that
    /// was all.
    fn take_container_apart(&mut self, id: ContainerId, budget: &mut Budget) -> bool {
        let Some(container) = self.containers.get_mut(id) else { return true };
        if let Some(root) = container.root() {
            let mut released = 0;
            let all = directory::release(&mut self.physical, root, budget, &mut released);
            container.pages -= released;
            if !all {
                return false;
            }
            (container.directory, container.window) = (None, None);
        }
        debug_assert_eq!(container.pages, 0, "frames of a container");
        while let Some(run) = self.containers.get_mut(id).and_then(|container| container.regions.take_run()) {
            for object in run.iter().filter_map(|region| region.backing.object()) {
                self.drop_reference(object);
            }
            budget.spend(COST_OF_A_REGION * run.len() as u64);
            if budget.is_spent() {
                return false;
            }
        }
        // What others have as well is few regions.
        let left = self.containers.remove(id).map(|container| container.regions);
        for object in left.iter().flat_map(Regions::iter).filter_map(|region| region.backing.object()) {
            self.drop_reference(object);
        }
        true
    }

    /// Counts one reference less, of a region that is being taken apart.
    fn drop_reference(&mut self, id: ObjectId) {
        if self.lose_reference(id) {
            self.add_to_remains(id);
        }
    }

    /// Releases an object's frames, then itself. Whether that was all.
    fn take_object_apart(&mut self, id: ObjectId, budget: &mut Budget) -> bool {
        let Some(object) = self.objects.get_mut(id) else { return true };
        while let Some(chunk) = object.take_chunk() {
            let frames = chunk.iter().flatten();
            frames.clone().for_each(|frame| self.physical.release(*frame));
            budget.spend(COST_OF_A_CHUNK + COST_OF_A_FRAME * frames.count() as u64);
            if budget.is_spent() {
                return false;
            }
        }
        self.objects.remove(id);
        true
    }
}

/// What [`Memory::make_room`] takes apart before it looks again, in instructions.
const PIECE: u64 = 20_000;

#[cfg(test)]
#[path = "../tests/teardown.rs"]
mod tests;
