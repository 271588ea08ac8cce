//! Page directories: the four levels of page tables beneath a root, walked in software.
//!
//! papers/001 has two levels, x86-64 has four. The counterpart of the paper's *page directory* is the PML4; that of its
//! *page table* and 4 MiB region is the last-level table and the 2 MiB that it spans. The functions here start at any
//! level: so the same code walks the window's page table on its own (level 1) and a whole page directory (level 4). For
//! example, [`last`] takes no step from the window's table, and three from a PML4.

use crate::budget::Budget;
use crate::frames::{Frame, GROUP, PAGE_SIZE};
use crate::memory::physical::{OutOfFrames, PhysicalMemory};
use crate::memory::teardown::COST_OF_A_FRAME;
use core::ops::Range;
use x86_64::PhysAddr;
use x86_64::structures::paging::PageTableFlags as Flags;
use x86_64::structures::paging::page_table::PageTableEntry;

/// The end of user addresses. The last page of the lower half stays unmapped, so that a `syscall` at its end cannot
/// return to a non-canonical address (SDM volume 2, SYSRET).
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// The window: 2 MiB, the span of one last-level page table.
pub const WINDOW: Range<u64> = 0x3fff_ffe0_0000..0x4000_0000_0000;

/// The resident packages: the page-directory slot just above the window, so that code and data are within the 2 GiB
/// that rip-relative addressing reaches.
pub const PACKAGES: Range<u64> = 0x4000_0000_0000..0x4080_0000_0000;

/// The PML4 slot of the window, private to each page directory.
pub const WINDOW_SLOT: usize = slot(WINDOW.start, 4);

/// The PML4 slot of the packages, shared by all page directories.
pub const PACKAGES_SLOT: usize = slot(PACKAGES.start, 4);

/// First PML4 slot of the kernel's half, shared by all page directories.
pub const KERNEL_SLOT: usize = 256;

/// Estimated instructions for removing a page, and for changing the rights of one.
const COST_OF_A_PAGE: u64 = 200;
pub(crate) const COST_OF_A_CHANGE: u64 = 150;

/// The flags of an entry that points to another table: rights are decided at the last level.
pub const TABLE: Flags = Flags::PRESENT.union(Flags::WRITABLE).union(Flags::USER_ACCESSIBLE);

/// A flag of a last-level entry, one that the CPU ignores: the page belongs to an object, and can be found there again.
pub const OBJECT: Flags = Flags::BIT_9;

/// Bytes that one entry at `level` spans.
#[inline]
pub const fn span(level: u8) -> u64 {
    1 << (12 + 9 * (level as u64 - 1))
}

/// The index of an address in its table at `level`.
#[inline]
pub const fn slot(address: u64, level: u8) -> usize {
    (address / span(level)) as usize % 512
}

/// The root of a page-table walk: a table and its level, 4 for a PML4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root {
    /// The table.
    pub table: Frame,
    /// Its level, 1 to 4.
    pub level: u8,
}

impl Root {
    /// The root one level down, at a table to which an entry of this one points.
    pub(super) fn below(self, table: Frame) -> Root {
        Root { table, level: self.level - 1 }
    }
}

/// The frame that an entry points to, if it is present.
#[inline]
pub fn target(entry: &PageTableEntry) -> Option<Frame> {
    entry.flags().contains(Flags::PRESENT).then(|| Frame::containing(entry.addr()))
}

/// The last-level table for an address, if it exists.
#[inline]
pub fn last(memory: &impl PhysicalMemory, root: Root, address: u64) -> Option<Frame> {
    let mut at = root;
    while at.level > 1 {
        at = at.below(target(&memory.entry(at.table, slot(address, at.level)))?);
    }
    Some(at.table)
}

/// The last-level entry for an address; unused where tables are missing.
#[inline]
pub fn entry(memory: &impl PhysicalMemory, root: Root, address: u64) -> PageTableEntry {
    last(memory, root, address).map_or_else(PageTableEntry::new, |table| memory.entry(table, slot(address, 1)))
}

/// The last-level table for an address, made if it is missing, and the number of tables made.
#[inline]
pub fn last_table(memory: &mut impl PhysicalMemory, root: Root, address: u64) -> Result<(Frame, u32), OutOfFrames> {
    table_of(memory, root, address, 1)
}

/// The table of a level for an address, made if it is missing, and the number of tables made.
#[inline(always)]
pub(super) fn table_of(
    memory: &mut impl PhysicalMemory,
    root: Root,
    address: u64,
    level: u8,
) -> Result<(Frame, u32), OutOfFrames> {
    let mut at = root;
    let mut made = 0;
    while at.level > level {
        let (table, new) = next_table(memory, at.table, slot(address, at.level))?;
        made += new;
        at = at.below(table);
    }
    Ok((at.table, made))
}

/// The table that an entry of another one points to, made if it is missing, and the number of tables made.
#[inline(always)]
pub(super) fn next_table(
    memory: &mut impl PhysicalMemory,
    table: Frame,
    slot: usize,
) -> Result<(Frame, u32), OutOfFrames> {
    if let Some(next) = target(&memory.entry(table, slot)) {
        return Ok((next, 0));
    }
    let next = memory.allocate()?;
    set(memory, table, slot, next, TABLE);
    Ok((next, 1))
}

/// Points an entry of a table at a frame.
#[inline]
pub fn set(memory: &mut impl PhysicalMemory, table: Frame, slot: usize, frame: Frame, flags: Flags) {
    let mut entry = PageTableEntry::new();
    entry.set_addr(frame.address(), flags);
    memory.set_entry(table, slot, entry);
}

/// The lowest table that has all of `range`, which is not empty, and of which no entry spans just that; `None` if the
/// way there ends before. A walk that starts there passes no table with nothing to choose from.
#[inline]
pub fn lowest(memory: &impl PhysicalMemory, root: Root, range: &Range<u64>) -> Option<Root> {
    let mut at = root;
    while at.level > 1 {
        let first = slot(range.start, at.level);
        let is_common = at.level == 4 && first == PACKAGES_SLOT;
        if first != slot(range.end - 1, at.level) || range.end - range.start == span(at.level) || is_common {
            break;
        }
        at = at.below(target(&memory.entry(at.table, first))?);
    }
    Some(at)
}

/// A walk through the used entries of one table. It passes over the packages, which every page directory has.
pub(super) struct Walk {
    root: Root,
    /// The address of the table's first slot.
    base: u64,
    /// The addresses of interest, and their slots.
    range: Range<u64>,
    slots: Range<usize>,
    /// Groups of entries that the walk has still to visit, a bit each.
    groups: u32,
    /// The first slot of the present group, and a bit for each of its entries that is still to come.
    first: usize,
    entries: u32,
}

/// An entry that a walk has found, and its slot.
pub(super) struct Found {
    pub(super) slot: usize,
    pub(super) entry: PageTableEntry,
}

impl Walk {
    /// A walk through the entries for `range`, which is not empty and spanned by this one table.
    pub(super) fn new(memory: &impl PhysicalMemory, root: Root, range: Range<u64>) -> Walk {
        let slots = slot(range.start, root.level)..slot(range.end - 1, root.level) + 1;
        let base = range.start & !(512 * span(root.level) - 1);
        Walk::over(memory, root, base, range, slots)
    }

    /// A walk through all entries for user addresses: of a page directory, those of its lower half.
    fn all(memory: &impl PhysicalMemory, root: Root) -> Walk {
        let (slots, end) = if root.level == 4 { (KERNEL_SLOT, USER_END) } else { (512, 512 * span(root.level)) };
        Walk::over(memory, root, 0, 0..end, 0..slots)
    }

    #[inline(always)]
    fn over(memory: &impl PhysicalMemory, root: Root, base: u64, range: Range<u64>, slots: Range<usize>) -> Walk {
        let groups = u32::MAX << (slots.start / GROUP) & u32::MAX >> (31 - (slots.end - 1) / GROUP);
        Walk { root, base, range, slots, groups: memory.groups(root.table) & groups, first: 0, entries: 0 }
    }

    #[inline(always)]
    pub(super) fn next(&mut self, memory: &impl PhysicalMemory) -> Option<Found> {
        loop {
            while self.entries == 0 {
                if self.groups == 0 {
                    return None;
                }
                self.first = self.groups.trailing_zeros() as usize * GROUP;
                self.groups &= self.groups - 1;
                let used = memory.used(self.root.table, self.first / GROUP);
                let below = !(u32::MAX << (self.slots.end - self.first).min(GROUP));
                self.entries = used & below & u32::MAX << self.slots.start.saturating_sub(self.first);
            }
            let slot = self.first + self.entries.trailing_zeros() as usize;
            self.entries &= self.entries - 1;
            if self.root.level < 4 || slot != PACKAGES_SLOT {
                return Some(Found { slot, entry: memory.entry(self.root.table, slot) });
            }
        }
    }

    /// The part of the walk's range that an entry spans. Computed on demand, because entries of the last level, which
    /// are most of all, rarely need it.
    #[inline(always)]
    pub(super) fn part(&self, slot: usize) -> Range<u64> {
        let start = self.base + slot as u64 * span(self.root.level);
        start.max(self.range.start)..(start + span(self.root.level)).min(self.range.end)
    }
}

/// Calls `change` on each used last-level entry in `range`, which is not empty.
pub fn change_entries<M: PhysicalMemory>(
    memory: &mut M,
    root: Root,
    range: Range<u64>,
    change: &mut impl FnMut(&mut M, u64, PageTableEntry) -> PageTableEntry,
) {
    let mut walk = Walk::new(memory, root, range);
    while let Some(Found { slot, entry }) = walk.next(memory) {
        if root.level == 1 {
            let new = change(memory, walk.part(slot).start, entry);
            memory.set_entry(root.table, slot, new);
        } else if let Some(table) = target(&entry) {
            change_entries(memory, root.below(table), walk.part(slot), change);
        }
    }
}

/// Calls `look` on each used last-level entry in `range`, which is not empty.
pub fn each_entry(memory: &impl PhysicalMemory, root: Root, range: Range<u64>, look: &mut impl FnMut(&PageTableEntry)) {
    let mut walk = Walk::new(memory, root, range);
    while let Some(Found { slot, entry }) = walk.next(memory) {
        if root.level == 1 {
            look(&entry);
        } else if let Some(table) = target(&entry) {
            each_entry(memory, root.below(table), walk.part(slot), look);
        }
    }
}

/// The address up to which the budget allows to change each last-level entry of `range`, which is not empty: its end,
/// or the start of a last-level table.
pub fn affordable(memory: &impl PhysicalMemory, root: Root, range: Range<u64>, budget: &mut Budget) -> u64 {
    let end = range.end;
    let mut walk = Walk::new(memory, root, range);
    while let Some(Found { slot, entry }) = walk.next(memory) {
        if root.level == 1 {
            budget.spend(COST_OF_A_CHANGE);
        } else if let Some(table) = target(&entry) {
            let part = walk.part(slot);
            if budget.is_spent() {
                return part.start;
            }
            let reached = affordable(memory, root.below(table), part.clone(), budget);
            if reached < part.end {
                return reached;
            }
        }
    }
    end
}

/// Retires all entries in `range`, which is not empty: the first step of taking pages away. Returns whether any was
/// present.
///
/// Entries of the second and third level are retired with all beneath them, if they lie wholly in the range. Entries of
/// the top level stay, because other CPUs' copies of the page directory contain them, and so do those on the way to the
/// window's page table, because a global directory may point at that.
///
/// Stops before a last-level table when the budget is spent. `reached` becomes the address of the stop, or the end of
/// the range.
pub fn retire(
    memory: &mut impl PhysicalMemory,
    root: Root,
    range: Range<u64>,
    budget: &mut Budget,
    reached: &mut u64,
) -> bool {
    let mut found = false;
    *reached = range.end;
    let mut walk = Walk::new(memory, root, range);
    while let Some(Found { slot, entry }) = walk.next(memory) {
        let Some(below) = target(&entry) else { continue };
        let mut goes = true;
        if root.level == 1 {
            budget.spend(COST_OF_A_PAGE);
        } else {
            let part = walk.part(slot);
            let mut end = part.start;
            if !budget.is_spent() {
                found |= retire(memory, root.below(below), part.clone(), budget, &mut end);
            }
            if end < part.end {
                *reached = end;
                return found;
            }
            let holds_window = part.start < WINDOW.end && part.end > WINDOW.start;
            goes = root.level <= 3 && part.end - part.start == span(root.level) && !holds_window;
        }
        if goes {
            memory.set_entry(root.table, slot, retired(&entry));
            found = true;
        }
    }
    found
}

/// Releases the frames and tables that retired entries in `range` name: the last step of taking pages away, when no CPU
/// can reach them any more. Returns the numbers of pages and tables.
pub fn release_retired(memory: &mut impl PhysicalMemory, root: Root, range: Range<u64>) -> (u32, u32) {
    let (mut pages, mut tables) = (0, 0);
    let mut walk = Walk::new(memory, root, range);
    while let Some(Found { slot, entry }) = walk.next(memory) {
        let Some(frame) = frame_of(&entry) else { continue };
        if root.level > 1 {
            let below = release_retired(memory, root.below(frame), walk.part(slot));
            pages += below.0;
            tables += below.1;
        }
        if target(&entry).is_none() {
            memory.set_entry(root.table, slot, PageTableEntry::new());
            if root.level == 1 {
                memory.release(frame);
                pages += 1;
            } else {
                memory.release_table(frame);
                tables += 1;
            }
        }
    }
    (pages, tables)
}

/// Releases a table that no CPU uses any more, with the pages and tables beneath it; of a page directory, those beneath
/// its user slots. Stops between two tables when the budget is spent, and can be called again. Adds the frames to
/// `released`, and returns whether it is done.
pub fn release(memory: &mut impl PhysicalMemory, root: Root, budget: &mut Budget, released: &mut u32) -> bool {
    let (mut walk, mut frames) = (Walk::all(memory, root), 1);
    while let Some(Found { slot, entry, .. }) = walk.next(memory) {
        let frame = Frame::containing(entry.addr());
        if root.level == 1 {
            memory.release(frame);
            frames += 1;
        } else if !budget.is_spent() && release(memory, root.below(frame), budget, released) {
            memory.set_entry(root.table, slot, PageTableEntry::new());
        } else {
            return false;
        }
    }
    budget.spend(COST_OF_A_FRAME * u64::from(frames));
    *released += frames;
    // Entries that all page directories have were copied, not set, so the table is not all zero.
    if root.level == 4 {
        memory.release(root.table)
    } else {
        memory.release_table(root.table)
    }
    true
}

/// Half a page directory, in bytes: the user's slots, or the kernel's.
const HALF: usize = PAGE_SIZE / 2;

/// Makes a page directory that has the common entries of `global`: the kernel's half and the packages.
pub fn copy_of_global(memory: &mut impl PhysicalMemory, global: Frame) -> Result<Frame, OutOfFrames> {
    let copy = memory.allocate()?;
    copy_kernel_half(memory, global, copy);
    let packages = memory.entry(global, PACKAGES_SLOT);
    memory.set_entry(copy, PACKAGES_SLOT, packages);
    Ok(copy)
}

/// Copies the kernel's half of a CPU's global page directory into another one: that CPU's own pages are reached through
/// it.
pub fn copy_kernel_half(memory: &mut impl PhysicalMemory, global: Frame, to: Frame) {
    memory.copy((global, HALF), (to, HALF), HALF);
}

/// Makes another CPU's copy of a container page directory: its user slots, and that CPU's kernel half.
pub fn copy_for(memory: &mut impl PhysicalMemory, pml4: Frame, global: Frame) -> Result<Frame, OutOfFrames> {
    let copy = memory.duplicate(pml4, HALF)?;
    copy_kernel_half(memory, global, copy);
    Ok(copy)
}

/// A not-present entry that still names its frame. An unmapped page has one until its TLB entries are gone and the
/// frame is released.
#[inline]
pub fn retired(entry: &PageTableEntry) -> PageTableEntry {
    let mut retired = entry.clone();
    retired.set_flags(entry.flags() - Flags::PRESENT);
    retired
}

/// The frame of a [`retired`] or present entry.
#[inline]
pub fn frame_of(entry: &PageTableEntry) -> Option<Frame> {
    (entry.addr() != PhysAddr::zero()).then(|| Frame::containing(entry.addr()))
}
