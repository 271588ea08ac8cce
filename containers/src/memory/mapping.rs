//! Changing regions: map, unmap, protect, move. For example, `munmap` of a page on CPU 0 while CPU 1 runs another
//! thread of the container: CPU 0 makes the entry not present, CPU 1 invalidates its translation, and only then is the
//! frame released.
//!
//! Taking pages away works in three steps, on any number of CPUs: the entries become not-present but keep naming their
//! frames and tables ([`retired`]), the CPUs that run the container forget their translations (a TLB shootdown), and
//! only then are the frames released. Taking a right away needs a shootdown too. Granting one needs none, because a
//! translation that grants too little ends in a spurious fault.

use crate::budget::Budget;
use crate::frames::PAGE_SIZE;
use crate::memory::container::ContainerId;
use crate::memory::directory::{self, COST_OF_A_CHANGE, Root, USER_END, retired};
use crate::memory::fault::flags;
use crate::memory::object::ObjectId;
use crate::memory::physical::{PhysicalMemory, Translation};
use crate::memory::region::{Backing, MAX_REGIONS, Region, Rights};
use crate::memory::{Memory, NoMemory};
use core::ops::Range;
use x86_64::structures::paging::PageTableFlags as Flags;

/// Estimated instructions for removing or changing a region.
const COST_OF_A_REGION: u64 = 1_300;

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Adds a region in place of whatever was in its range. The region takes over a reference to its object, which is
    /// dropped if the call fails.
    pub fn map(&mut self, id: ContainerId, region: Region) -> Result<(), NoMemory> {
        let result = match self.has_room_over(id, region.start..region.end) {
            true => self.unmap(id, region.start..region.end).and_then(|()| self.put(id, region)),
            false => Err(NoMemory::Limit),
        };
        if let (Err(_), Some(object)) = (result, region.backing.object()) {
            self.release_object(object);
        }
        result
    }

    /// Whether a region can still be added in place of what is in the range: asked before that is removed.
    pub fn has_room_over(&self, id: ContainerId, range: Range<u64>) -> bool {
        self.containers.get(id).is_some_and(|container| {
            let room = MAX_REGIONS.saturating_sub(container.regions.len());
            // One region may be split in two.
            room > 1 || room == 1 && container.regions.first(range).is_none()
        })
    }

    /// Adds a region where none is, keeping the pages that are there already.
    pub fn map_fresh(&mut self, id: ContainerId, region: Region) -> Result<(), NoMemory> {
        let result = self.put(id, region);
        if let (Err(_), Some(object)) = (result, region.backing.object()) {
            self.release_object(object);
        }
        result
    }

    /// Removes the regions in a range, and their pages.
    pub fn unmap(&mut self, id: ContainerId, range: Range<u64>) -> Result<(), NoMemory> {
        self.unmap_some(id, range, &mut Budget::unlimited()).map(drop)
    }

    /// Removes regions in a range and their pages until the budget is spent; returns whether the whole range is done.
    /// If not, the caller repeats the call with the range unchanged, and keeps other changes of the regions out until
    /// then.
    pub fn unmap_some(&mut self, id: ContainerId, range: Range<u64>, budget: &mut Budget) -> Result<bool, NoMemory> {
        let regions = &self.containers.get(id).ok_or(NoMemory::Limit)?.regions;
        // Where there is no region, there is no page.
        let Some(first) = regions.at(range.start).copied().or_else(|| regions.first(range.clone())) else {
            return Ok(true);
        };
        // Splitting a region in two makes one more. No later cut can fail.
        if first.start < range.start && range.end < first.end && regions.len() >= MAX_REGIONS {
            return Err(NoMemory::Limit);
        }
        if !self.discard_some(id, range.clone(), budget) {
            return Ok(false);
        }
        let mut left = range;
        while let Some(part) = self.cut(id, left.clone(), 0)? {
            left.start = part.end;
            if let Some(object) = part.backing.object() {
                self.release_object(object);
            }
            budget.spend(COST_OF_A_REGION);
            if budget.is_spent() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Cuts the first part in `range` out of the container's regions, with its references, such that `more` regions can
    /// be inserted afterwards.
    pub(super) fn cut(&mut self, id: ContainerId, range: Range<u64>, more: usize) -> Result<Option<Region>, NoMemory> {
        let container = self.containers.get_mut(id).ok_or(NoMemory::Limit)?;
        let Some((part, rests)) = container.regions_mut().cut(range, more)? else { return Ok(None) };
        self.share_with_rests(&part, rests);
        Ok(Some(part))
    }

    /// Adds a reference to the object of a part for each rest of the region that the part was cut from.
    fn share_with_rests(&mut self, part: &Region, rests: u32) {
        if let Some(object) = part.backing.object() {
            (0..rests).for_each(|_| self.share_object(object));
        }
    }

    /// Inserts a part that was cut out and changed.
    pub(super) fn put(&mut self, id: ContainerId, part: Region) -> Result<(), NoMemory> {
        Ok(self.containers.get_mut(id).ok_or(NoMemory::Limit)?.regions_mut().insert(part)?)
    }

    /// Drops the pages of a range and keeps its regions: the next access finds new pages (`madvise`).
    pub fn discard(&mut self, id: ContainerId, range: Range<u64>) {
        self.discard_some(id, range, &mut Budget::unlimited());
    }

    /// Drops pages of a range until the budget is spent; returns whether the whole range is done.
    pub fn discard_some(&mut self, id: ContainerId, range: Range<u64>, budget: &mut Budget) -> bool {
        let Some((root, range)) = self.reach(id, range) else { return true };
        let mut reached = range.start;
        if directory::retire(&mut self.physical, root, range.clone(), budget, &mut reached) {
            self.forget(id, range.start..reached);
        }
        if range.start < reached {
            let (pages, tables) = directory::release_retired(&mut self.physical, root, range.start..reached);
            if let Some(container) = self.containers.get_mut(id) {
                container.table_cache.forget();
                container.pages -= pages + tables;
                container.tables -= tables;
            }
        }
        reached == range.end
    }

    /// Drops the pages of an object beyond `size` wherever it is mapped, private copies too: the next access finds what
    /// the object has there then. Programs' segments keep theirs.
    pub(crate) fn discard_beyond(&mut self, object: ObjectId, size: u64) {
        let end = size.next_multiple_of(PAGE_SIZE as u64);
        for index in 0..self.containers.slots() {
            let Some(id) = self.containers.id_at(index) else { continue };
            let mut at = 0;
            while let Some(region) = self.containers.get(id).and_then(|it| it.regions.first(at..USER_END)) {
                at = region.end;
                match region.backing {
                    Backing::Object { object: mapped, offset, .. } if mapped == object => {
                        let first = region.start + end.saturating_sub(offset);
                        self.discard(id, first.min(region.end)..region.end);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Changes the rights of a range.
    pub fn protect(&mut self, id: ContainerId, range: Range<u64>, rights: Rights) -> Result<(), NoMemory> {
        self.change(id, range, |region| Region { rights, ..region })
    }

    /// Gives the parts of regions that lie in a range the rights and traits that `change` returns.
    pub fn change(
        &mut self,
        id: ContainerId,
        range: Range<u64>,
        change: impl Fn(Region) -> Region,
    ) -> Result<(), NoMemory> {
        let mut at = range.start;
        while at < range.end {
            let container = self.containers.get_mut(id).ok_or(NoMemory::Limit)?;
            let Some((part, rests)) = container.regions_mut().alter(at..range.end, &change)? else { break };
            at = part.end;
            self.share_with_rests(&part, rests);
            let rights = change(part).rights;
            if part.rights != rights {
                self.protect_pages(id, part.start..part.end, rights);
            }
        }
        Ok(())
    }

    /// The end of the part of a range, from its start on, that the budget allows to be changed: regions, and pages in
    /// them.
    pub fn affordable(&self, id: ContainerId, range: Range<u64>, budget: &mut Budget) -> u64 {
        let Some(container) = self.containers.get(id) else { return range.end };
        let pages = (range.end - range.start) / PAGE_SIZE as u64;
        let most = COST_OF_A_CHANGE * pages + COST_OF_A_REGION * pages.min(container.regions.len() as u64);
        if most <= budget.left() {
            // This is enough for all that can be in the range.
            budget.spend(most);
            return range.end;
        }
        let mut end = range.end;
        for region in container.regions.within(range.clone()) {
            if budget.is_spent() {
                end = region.start;
                break;
            }
            budget.spend(COST_OF_A_REGION);
        }
        let Some((root, part)) = self.reach(id, range.start..end) else { return end };
        // Each visit makes progress.
        let budget = if budget.is_spent() { &mut Budget::of(1) } else { budget };
        let reached = directory::affordable(&self.physical, root, part.clone(), budget);
        if reached == part.end { end } else { reached }
    }

    /// The root of a page-table walk through `range`, and the part of the range that the container's tables reach;
    /// `None` if there is nothing.
    pub(crate) fn reach(&self, id: ContainerId, range: Range<u64>) -> Option<(Root, Range<u64>)> {
        let (root, range) = self.containers.get(id)?.reach(range)?;
        Some((directory::lowest(&self.physical, root, &range)?, range))
    }

    fn protect_pages(&mut self, id: ContainerId, range: Range<u64>, rights: Rights) {
        let Some((root, range)) = self.reach(id, range) else { return };
        let mut lost = false;
        directory::change_entries(&mut self.physical, root, range.clone(), &mut |_, _, mut entry| {
            let before = entry.flags();
            if rights.is_empty() {
                lost |= before.contains(Flags::PRESENT);
                return retired(&entry);
            }
            // The next fault gives a write right back, as it knows whether to copy.
            let now = flags(rights, before);
            lost |= before.contains(Flags::PRESENT) && takes_away(before, now);
            entry.set_flags(now);
            entry
        });
        // A fault corrects a translation that grants too little, but nothing corrects one that grants too much.
        if lost {
            self.forget(id, range);
        }
    }
}

/// Whether a translation with the flags `before` grants what the flags `now` do not.
fn takes_away(before: Flags, now: Flags) -> bool {
    before.contains(Flags::WRITABLE) && !now.contains(Flags::WRITABLE)
        || !before.contains(Flags::NO_EXECUTE) && now.contains(Flags::NO_EXECUTE)
}
