//! Fork: making a copy of a container. Private pages are shared until one of the two writes (copy on write).
//!
//! Both containers' page-table entries lose their write right. The first write to a page gives its container a copy,
//! and the last container that has the page gets the right back (`write_to_shared` in [`crate::memory::fault`], as for
//! pages of files). For example, after a fork the child writes to its stack: it gets a copy of that page, and the
//! parent's next write there finds the page its own again. Pages that were never touched cost nothing, and pages that
//! belong to objects, of shared mappings and of programs' code, are found in their objects again.
//!
//! A large container is copied in several visits to the kernel: first its regions, then its pages, each in the order of
//! addresses. In between the parent keeps the child ([`PartialFork`]), which is reachable from there alone; it has no
//! process, and no CPU runs it. The caller keeps threads of the parent out of user mode and other calls away from its
//! regions, so that the child is what the parent was at one moment. Pages that the kernel delivers meanwhile, for a
//! call of another process that completes one of the parent's, may be in the parent alone, as if that had happened
//! after the fork.

use crate::budget::Budget;
use crate::frames::Frame;
use crate::memory::container::ContainerId;
use crate::memory::directory::{Found, OBJECT, Root, USER_END, Walk, next_table};
use crate::memory::physical::{OutOfFrames, PhysicalMemory, Translation};
use crate::memory::region::{COST_OF_A_LOOK, Region, Regions, Traits};
use crate::memory::{KERNEL_RESERVE, Memory, NoMemory};
use alloc::rc::Rc;
use core::ops::Range;
use cpulocal::Cpu;
use x86_64::structures::paging::PageTableFlags as Flags;

/// Estimated instructions for copying a region, and for finding a range whose pages are shared.
const COST_OF_A_REGION: u64 = 100;
const COST_OF_A_RANGE: u64 = 500;

/// Estimated instructions for sharing a page, and for making a table.
const COST_OF_SHARING: u64 = 100;
const COST_OF_A_TABLE: u64 = 1_000;

/// The greatest number of regions that one step passes before it shares their pages.
const LOOKED_AT: u64 = 256;

/// A child that is being made, and how far it has come.
#[derive(Clone, Copy)]
pub(crate) struct PartialFork {
    pub(crate) child: ContainerId,
    /// The address up to which it has its regions.
    regions: u64,
    /// The address up to which it has its pages.
    pages: u64,
}

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Makes a container with the contents of `parent`, on `cpu`. The child of a container that lives in the window
    /// lives in the window; the child of any other has a page directory.
    ///
    /// `None` if the budget was spent before the end: then the fork is [incomplete](Memory::is_forking), no other CPU
    /// runs the parent, and the caller calls again or [gives up](Memory::abandon_fork).
    pub fn fork(
        &mut self,
        parent: ContainerId,
        cpu: Cpu,
        budget: &mut Budget,
    ) -> Result<Option<ContainerId>, NoMemory> {
        let mut begun = match self.containers.get_mut(parent).ok_or(NoMemory::Limit)?.partial_fork.take() {
            Some(begun) => begun,
            None => PartialFork { child: self.make_empty_child(parent, cpu)?, regions: 0, pages: 0 },
        };
        let copied = self.copy_regions(parent, &mut begun, budget);
        let copied = copied.and_then(|()| self.share_pages(parent, cpu, &mut begun, budget));
        copied.inspect_err(|_| self.destroy_container(begun.child, cpu))?;
        if begun.pages == USER_END {
            let program = self.containers.get(parent).and_then(|container| container.program);
            self.set_program(begun.child, program);
            return Ok(Some(begun.child));
        }
        if let Some(container) = self.containers.get_mut(parent) {
            container.partial_fork = Some(begun);
            let others = container.active.without(cpu);
            self.vacate(others);
        }
        Ok(None)
    }

    /// Whether a fork of a container is incomplete.
    pub fn is_forking(&self, id: ContainerId) -> bool {
        self.containers.get(id).is_some_and(|container| container.partial_fork.is_some())
    }

    /// Gives up an incomplete fork, if there is one.
    pub fn abandon_fork(&mut self, parent: ContainerId) {
        let begun = self.containers.get_mut(parent).and_then(|container| container.partial_fork.take());
        // No CPU runs the child, so any number will do.
        begun.into_iter().for_each(|begun| self.destroy_container(begun.child, Cpu(0)));
    }

    /// Makes an empty container of its parent's kind.
    fn make_empty_child(&mut self, parent: ContainerId, cpu: Cpu) -> Result<ContainerId, NoMemory> {
        let container = self.containers.get(parent).ok_or(NoMemory::Limit)?;
        let (heap, mappings_end, growth) = (container.heap, container.mappings_end, container.growth);
        let child = match container.directory {
            None => {
                self.leave_reserve(0)?;
                self.make_window(Rc::default(), 0)?.0
            }
            Some(_) => self.make_container_with_directory(cpu)?,
        };
        if let Some(container) = self.containers.get_mut(child) {
            (container.heap, container.mappings_end, container.growth) = (heap, mappings_end, growth);
        }
        Ok(child)
    }

    /// Copies the parent's regions to the child, except those that a child does not get.
    fn copy_regions(
        &mut self,
        parent: ContainerId,
        begun: &mut PartialFork,
        budget: &mut Budget,
    ) -> Result<(), NoMemory> {
        if begun.regions == USER_END {
            return Ok(());
        }
        let regions = self.containers.get(parent).ok_or(NoMemory::Limit)?.regions.clone();
        for run in regions.runs_from(begun.regions) {
            if budget.is_spent() {
                return Ok(());
            }
            // There may be many regions, and they take memory of the kernel's heap.
            self.leave_reserve(0)?;
            let inherited = || run.iter().filter(|region| !region.traits.contains(Traits::NOT_FORKED));
            inherited().filter_map(|region| region.backing.object()).for_each(|object| self.share_object(object));
            let to = &mut self.containers.get_mut(begun.child).ok_or(NoMemory::Limit)?.regions_mut();
            if run.iter().any(|region| region.traits.intersects(Traits::NOT_FORKED | Traits::LOCKED)) {
                let unlocked = |region: &Region| Region { traits: region.traits - Traits::LOCKED, ..*region };
                inherited().try_for_each(|region| to.insert(unlocked(region)))?;
            } else {
                to.append(run);
            }
            begun.regions = run.last().map_or(begun.regions, |last| last.end);
            budget.spend(COST_OF_A_REGION * run.len() as u64);
        }
        begun.regions = USER_END;
        Ok(())
    }

    /// Enters the parent's pages in the tables of the child, read-only in both.
    fn share_pages(
        &mut self,
        parent: ContainerId,
        cpu: Cpu,
        begun: &mut PartialFork,
        budget: &mut Budget,
    ) -> Result<(), NoMemory> {
        if begun.regions < USER_END {
            return Ok(());
        }
        let container = self.containers.get(parent).ok_or(NoMemory::Limit)?;
        let (regions, needed) = (container.regions.clone(), container.usage());
        if container.directory.is_some() {
            // The parent may have left the window since the child was begun.
            self.leave_window(begun.child, cpu)?;
        }
        // All tables that it needs must be available, so that the fork does not fail half-way.
        let there_are = self.containers.get(begun.child).map_or(0, |child| child.tables);
        let tables = needed.tables.saturating_sub(needed.directories.saturating_sub(1) + there_are);
        if self.physical.free_frames() < KERNEL_RESERVE + tables as usize {
            return Err(NoMemory::Frames);
        }
        while begun.pages < USER_END && !budget.is_spent() {
            let (range, next, looks) = next_to_share(&regions, begun.pages);
            let reached = self.share_range(parent, begun.child, range.clone(), budget)?;
            begun.pages = if reached == range.end { next } else { reached };
            budget.spend(COST_OF_A_RANGE + COST_OF_A_LOOK * looks);
        }
        Ok(())
    }

    /// Enters pages of a range in the child's tables until the budget is spent; returns the address that it has
    /// reached.
    fn share_range(
        &mut self,
        parent: ContainerId,
        child: ContainerId,
        range: Range<u64>,
        budget: &mut Budget,
    ) -> Result<u64, NoMemory> {
        let from = self.containers.get(parent).filter(|_| !range.is_empty()).and_then(|it| it.reach(range.clone()));
        let to = self.containers.get(child).and_then(|child| child.root());
        let (Some((from, part)), Some(to)) = (from, to) else { return Ok(range.end) };
        let mut shared = Shared::default();
        let result = share(&mut self.physical, (from, to.table), part.clone(), budget, &mut shared);
        if let Some(container) = self.containers.get_mut(child) {
            container.pages += shared.pages + shared.tables;
            container.tables += shared.tables;
        }
        if shared.lost {
            self.forget(parent, part.clone());
        }
        let reached = result?;
        Ok(if reached == part.end { range.end } else { reached })
    }
}

/// The next range, beginning at `from`, whose pages a child shares with its parent, and the address at which to
/// continue: between the two lie regions that the child does not get, or gets empty. The third value is the number of
/// regions that were looked at.
fn next_to_share(regions: &Regions, from: u64) -> (Range<u64>, u64, u64) {
    for (looks, region) in (1..).zip(regions.runs_from(from).flatten()) {
        if region.traits.intersects(Traits::NOT_FORKED | Traits::WIPED_BY_FORK) {
            return (from..region.start.max(from), region.end, looks);
        }
        if looks == LOOKED_AT {
            return (from..region.end, region.end, looks);
        }
    }
    (from..USER_END, USER_END, 0)
}

/// The result of [`share`].
#[derive(Default)]
struct Shared {
    /// Pages that got another reference.
    pages: u32,
    /// Tables made.
    tables: u32,
    /// Whether a write right was taken away.
    lost: bool,
}

/// Enters the pages of `range`, which is not empty, that hang in `from` and do not belong to objects at the same
/// addresses in `to`, an empty table of the same level; and removes the right to write in both.
///
/// Stops before a last-level table when the budget is spent. Returns the address of the stop, or the end of the range.
fn share(
    memory: &mut impl PhysicalMemory,
    (from, to): (Root, Frame),
    range: Range<u64>,
    budget: &mut Budget,
    shared: &mut Shared,
) -> Result<u64, OutOfFrames> {
    if from.level == 1 {
        let looks = share_table(memory, (from, to), range.clone(), shared);
        budget.spend(COST_OF_SHARING * looks);
        return Ok(range.end);
    }
    let end = range.end;
    let mut walk = Walk::new(memory, from, range);
    while let Some(Found { slot, entry }) = walk.next(memory) {
        let part = walk.part(slot);
        if budget.is_spent() {
            return Ok(part.start);
        }
        let (table, made) = next_table(memory, to, slot)?;
        shared.tables += made;
        let below = (from.below(Frame::containing(entry.addr())), table);
        let reached = share(memory, below, part.clone(), budget, shared)?;
        // Spent only now, so that each visit makes progress.
        budget.spend(COST_OF_A_TABLE);
        if reached < part.end {
            return Ok(reached);
        }
    }
    Ok(end)
}

/// Shares the pages of a last-level table, which is never divided; returns the number of entries that it has looked at.
fn share_table(
    memory: &mut impl PhysicalMemory,
    (from, to): (Root, Frame),
    range: Range<u64>,
    shared: &mut Shared,
) -> u64 {
    let mut looks = 0;
    let mut walk = Walk::new(memory, from, range);
    while let Some(Found { slot, mut entry }) = walk.next(memory) {
        looks += 1;
        let flags = entry.flags();
        if flags.contains(OBJECT) {
            continue;
        }
        let frame = Frame::containing(entry.addr());
        if flags.contains(Flags::WRITABLE) {
            entry.set_flags(flags - Flags::WRITABLE);
            memory.set_entry(from.table, slot, entry.clone());
            shared.lost |= flags.contains(Flags::PRESENT);
        }
        memory.share(frame);
        memory.set_entry(to, slot, entry);
        shared.pages += 1;
    }
    looks
}
