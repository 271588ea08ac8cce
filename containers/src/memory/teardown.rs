//! Teardown: releasing the page tables of ended containers, and the pages of objects without references.
//!
//! A small container or object is torn down at once. A large one becomes unreachable at once and is torn down piece by
//! piece ([`Memory::tear_down`]): the CPU is notified that there is work ([`Translation::note_teardown_work`]) and
//! returns to it until it is done. For example, the end of a process with a gigabyte of memory takes some hundred
//! visits to the kernel, and between them interrupts and other CPUs have their turns. Frames that are still to be
//! released count as used, so an allocation that finds no free frame tears down first ([`Memory::make_room`]).
//!
//! **Invariant:** a container or object in the teardown queue is reachable from that queue alone: from no region, no
//! file and no CPU's page directory.
//!
//! The queue is linked through its members, because work that gives memory back may find none to allocate.

use crate::budget::Budget;
use crate::memory::Memory;
use crate::memory::container::{Container, ContainerId};
use crate::memory::directory;
use crate::memory::object::ObjectId;
use crate::memory::physical::{PhysicalMemory, Translation};
use alloc::rc::Rc;

/// A container with at most these numbers of frames and regions is torn down at once.
const FEW_PAGES: u32 = 256;
const FEW_REGIONS: usize = 128;

/// Estimated instructions for releasing a frame or a region, or a chunk of an object besides its frames.
pub(crate) const COST_OF_A_FRAME: u64 = 50;
const COST_OF_A_REGION: u64 = 60;
const COST_OF_A_CHUNK: u64 = 300;

/// The teardown queue: the first container and the first object, each of which names the next one.
#[derive(Default)]
pub(crate) struct TeardownQueue {
    containers: Option<ContainerId>,
    objects: Option<ObjectId>,
}

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Whether the teardown queue has members.
    #[inline]
    pub fn has_teardown_work(&self) -> bool {
        self.teardown.containers.is_some() || self.teardown.objects.is_some()
    }

    /// Tears down a container to which nothing leads any more: at once if it is small.
    pub(crate) fn discard_container(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.pages <= FEW_PAGES && container.regions.len() <= FEW_REGIONS {
            self.tear_container_down(id, &mut Budget::unlimited());
            return;
        }
        container.next_teardown = self.teardown.containers.replace(id);
        self.physical.note_teardown_work();
    }

    /// Tears down an object that has no reference any more: at once if it is small.
    pub(crate) fn discard_object(&mut self, id: ObjectId) {
        if self.add_to_teardown(id) {
            self.physical.note_teardown_work();
        }
    }

    /// Tears a small object down, or puts a large one into the queue; returns whether it did the latter.
    fn add_to_teardown(&mut self, id: ObjectId) -> bool {
        let Some(object) = self.objects.get_mut(id) else { return false };
        if object.is_small() {
            self.tear_object_down(id, &mut Budget::unlimited());
            return false;
        }
        object.next_teardown = self.teardown.objects.replace(id);
        true
    }

    /// Tears down as much as the budget allows.
    pub fn tear_down(&mut self, budget: &mut Budget) {
        while let Some(id) = self.teardown.containers.filter(|_| !budget.is_spent()) {
            let next = self.containers.get(id).and_then(|container| container.next_teardown);
            if self.tear_container_down(id, budget) {
                self.teardown.containers = next;
            }
        }
        while let Some(id) = self.teardown.objects.filter(|_| !budget.is_spent()) {
            let next = self.objects.get(id).and_then(|object| object.next_teardown);
            if self.tear_object_down(id, budget) {
                self.teardown.objects = next;
            }
        }
    }

    /// Tears down until this number of frames is free, or as much as the budget allows; returns whether they are free.
    pub fn make_room(&mut self, frames: usize, budget: &mut Budget) -> bool {
        while self.physical.free_frames() < frames && self.has_teardown_work() && !budget.is_spent() {
            let mut piece = Budget::of(budget.left().min(PIECE));
            budget.spend(piece.left());
            self.tear_down(&mut piece);
        }
        self.physical.free_frames() >= frames
    }

    /// Releases a container's tables and pages, then the objects of its regions, then the container itself; returns
    /// whether it is done.
    fn tear_container_down(&mut self, id: ContainerId, budget: &mut Budget) -> bool {
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
        let own = |container: &mut Container| Rc::get_mut(&mut container.regions)?.take_run();
        while let Some(run) = self.containers.get_mut(id).and_then(own) {
            for object in run.iter().filter_map(|region| region.backing.object()) {
                self.drop_reference(object);
            }
            budget.spend(COST_OF_A_REGION * run.len() as u64);
            if budget.is_spent() {
                return false;
            }
        }
        // Regions that containers share are few.
        if let Some(Container { regions, .. }) = self.containers.remove(id) {
            regions.iter().filter_map(|region| region.backing.object()).for_each(|object| self.drop_reference(object));
        }
        true
    }

    /// Drops the reference of a region that is being torn down.
    fn drop_reference(&mut self, id: ObjectId) {
        if self.lose_reference(id) {
            self.add_to_teardown(id);
        }
    }

    /// Releases an object's frames, then the object itself; returns whether it is done.
    fn tear_object_down(&mut self, id: ObjectId, budget: &mut Budget) -> bool {
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

/// The budget, in instructions, after which [`Memory::make_room`] checks again whether it has torn down enough.
const PIECE: u64 = 20_000;

#[cfg(test)]
#[path = "../tests/teardown.rs"]
mod tests;
