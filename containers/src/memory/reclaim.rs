//! What the end of a container would give back: for the choice of the process to kill when memory is exhausted. For
//! example, a process with a large file mapping gives back little, because the file's pages stay; one with as much
//! private memory gives back all of it.

use crate::budget::Budget;
use crate::memory::Memory;
use crate::memory::container::ContainerId;
use crate::memory::directory::{self, OBJECT, Root, frame_of};
use crate::memory::object::Purpose;
use crate::memory::physical::{PhysicalMemory, Translation};
use crate::memory::region::{Backing, COST_OF_A_LOOK, Region};
use core::ops::Range;

/// A count of frames that may take several visits.
#[derive(Clone, Copy, Debug)]
pub struct ReclaimCount {
    container: ContainerId,
    /// The address at which the count continues.
    next: u64,
    frames: usize,
}

impl ReclaimCount {
    /// The container whose frames are counted.
    pub fn container(&self) -> ContainerId {
        self.container
    }

    /// The frames counted so far.
    pub fn frames(&self) -> usize {
        self.frames
    }
}

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Begins to count the frames that would be free if a container ended: its page tables, the pages that it shares
    /// with no other container, and those of shared memory that no other has entered. Pages of files do not count,
    /// because the files stay. The regions' share of the kernel's heap counts as well.
    pub fn begin_reclaim_count(&self, id: ContainerId) -> Option<ReclaimCount> {
        let container = self.container(id)?;
        let frames = container.usage().tables as usize + container.regions.frames();
        Some(ReclaimCount { container: id, next: 0, frames })
    }

    /// Continues the count until the budget is spent; returns whether it is complete, which it also is if the container
    /// has ended.
    pub fn count_reclaimable(&self, count: &mut ReclaimCount, budget: &mut Budget) -> bool {
        let id = count.container;
        let Some(container) = self.container(id) else { return true };
        for region in container.regions.runs_from(count.next).flatten() {
            if budget.is_spent() {
                return false;
            }
            budget.spend(COST_OF_A_LOOK);
            let reached = self.reach(id, region.start.max(count.next)..region.end).and_then(|(root, range)| {
                let end = directory::affordable(&self.physical, root, range.clone(), budget);
                count.frames += self.sole_frames(region, root, range.start..end);
                (end < range.end).then_some(end)
            });
            count.next = reached.unwrap_or(region.end);
            if reached.is_some() {
                return false;
            }
        }
        true
    }

    /// The frames in a range of a region, not empty, that its container shares with no other.
    fn sole_frames(&self, region: &Region, root: Root, range: Range<u64>) -> usize {
        let shared = self.is_shared_memory(region);
        let mut frames = 0;
        directory::each_entry(&self.physical, root, range, &mut |entry| {
            // An object has a reference of its own to each of its pages.
            let alone = match entry.flags().contains(OBJECT) {
                true if shared => 2,
                true => return,
                false => 1,
            };
            let references = frame_of(entry).map(|frame| self.physical.references(frame));
            frames += usize::from(references == Some(alone));
        });
        frames
    }

    fn is_shared_memory(&self, region: &Region) -> bool {
        let Backing::Object { object, .. } = region.backing else { return false };
        self.objects.get(object).is_some_and(|object| object.purpose() == Purpose::Shared)
    }
}

#[cfg(test)]
#[path = "../tests/reclaim.rs"]
mod tests;
