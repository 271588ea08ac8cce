//! Page directories: the four levels of page tables beneath a root, walked in software.
//!
//! papers/001 has two levels, x86-64 has four. The counterpart of the paper's *page directory* is the
//! PML4, of its *page table* and 4 MiB region the last-level table and the 2 MiB it spans. The
//! functions here start at any level, so the window's page table on its own (level 1) and a whole
//! page directory (level 4) are walked by the same code.

use crate::frames::Frame;
use crate::physical::{OutOfFrames, PhysicalMemory};
use core::ops::Range;
use x86_64::PhysAddr;
use x86_64::structures::paging::PageTableFlags as Flags;
use x86_64::structures::paging::page_table::PageTableEntry;

/// First user address that is none: the last page of the lower half stays unmapped, so that a
/// `syscall` at its end cannot come back to a non-canonical address (SDM volume 2, SYSRET).
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// Where the window lies: 2 MiB, the span of one last-level page table.
pub const WINDOW: Range<u64> = 0x3fff_ffe0_0000..0x4000_0000_0000;

/// Where the resident packages lie: the page-directory slot just above the window, so that code and
/// data are within the 2 GiB that rip-relative addressing reaches.
pub const PACKAGES: Range<u64> = 0x4000_0000_0000..0x4080_0000_0000;

/// The PML4 slot of the window, private to each page directory.
pub const WINDOW_SLOT: usize = slot(WINDOW.start, 4);

/// The PML4 slot of the packages, shared by all page directories.
pub const PACKAGES_SLOT: usize = slot(PACKAGES.start, 4);

/// First PML4 slot of the kernel's half, shared by all page directories.
pub const KERNEL_SLOT: usize = 256;

/// The flags of an entry that points to a further table: rights are decided at the last level.
pub const TABLE: Flags = Flags::PRESENT.union(Flags::WRITABLE).union(Flags::USER_ACCESSIBLE);

/// Bytes that one entry at `level` spans.
pub const fn span(level: u8) -> u64 {
    1 << (12 + 9 * (level as u64 - 1))
}

/// The index of an address in its table at `level`.
pub const fn slot(address: u64, level: u8) -> usize {
    (address / span(level)) as usize % 512
}

/// Where a walk starts: a table and its level, 4 for a PML4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root {
    /// The table.
    pub table: Frame,
    /// Its level, 1 to 4.
    pub level: u8,
}

/// The frame that an entry points to, if it is present.
pub fn target(entry: &PageTableEntry) -> Option<Frame> {
    entry.flags().contains(Flags::PRESENT).then(|| Frame::containing(entry.addr()))
}

/// The last-level entry for an address; unused where tables are missing.
pub fn entry(memory: &impl PhysicalMemory, root: Root, address: u64) -> PageTableEntry {
    let mut at = root;
    loop {
        let entry = &memory.table(at.table)[slot(address, at.level)];
        match target(entry) {
            Some(table) if at.level > 1 => at = Root { table, level: at.level - 1 },
            _ if at.level == 1 => return entry.clone(),
            _ => return PageTableEntry::new(),
        }
    }
}

/// The last-level table for an address, made if it is missing; tells how many tables were made.
pub fn last_table(memory: &mut impl PhysicalMemory, root: Root, address: u64) -> Result<(Frame, u32), OutOfFrames> {
    let mut at = root;
    let mut made = 0;
    while at.level > 1 {
        let table = match target(&memory.table(at.table)[slot(address, at.level)]) {
            Some(table) => table,
            None => {
                let table = memory.allocate()?;
                set(memory, at.table, slot(address, at.level), table, TABLE);
                made += 1;
                table
            }
        };
        at = Root { table, level: at.level - 1 };
    }
    Ok((at.table, made))
}

/// Points an entry of a table at a frame.
pub fn set(memory: &mut impl PhysicalMemory, table: Frame, slot: usize, frame: Frame, flags: Flags) {
    memory.table_mut(table)[slot].set_addr(frame.address(), flags);
}

/// Calls `change` on every entry in `range` that is not unused, skipping whole absent tables.
///
/// With `prune`, tables up to the third level that lie wholly in the range are unlinked and released
/// after their entries have been changed; the number of those is returned. The top two levels stay,
/// for other CPUs' copies of the page directory point at them.
pub fn change_entries<M: PhysicalMemory>(
    memory: &mut M,
    root: Root,
    range: Range<u64>,
    prune: bool,
    change: &mut impl FnMut(&mut M, u64, PageTableEntry) -> PageTableEntry,
) -> u32 {
    let mut pruned = 0;
    let mut address = range.start;
    while address < range.end {
        let next = ((address / span(root.level) + 1) * span(root.level)).min(range.end);
        let index = slot(address, root.level);
        let old = memory.table(root.table)[index].clone();
        if root.level == 1 {
            if !old.is_unused() {
                memory.table_mut(root.table)[index] = change(memory, address, old);
            }
        } else if let Some(table) = target(&old) {
            pruned += change_entries(memory, Root { table, level: root.level - 1 }, address..next, prune, change);
            if prune && root.level <= 3 && next - address == span(root.level) {
                memory.table_mut(root.table)[index].set_unused();
                memory.release(table);
                pruned += 1;
            }
        }
        address = next;
    }
    pruned
}

/// Releases the tables beneath the user slots of a page directory, and the directory itself.
///
/// The packages' slot is everybody's and stays. Last-level entries must have been cleared before.
pub fn release(memory: &mut impl PhysicalMemory, pml4: Frame) {
    for index in (0..KERNEL_SLOT).filter(|&index| index != PACKAGES_SLOT) {
        if let Some(table) = target(&memory.table(pml4)[index]) {
            release_tables(memory, table, 3);
        }
    }
    memory.release(pml4);
}

fn release_tables(memory: &mut impl PhysicalMemory, table: Frame, level: u8) {
    if level > 1 {
        for index in 0..512 {
            if let Some(below) = target(&memory.table(table)[index]) {
                release_tables(memory, below, level - 1);
            }
        }
    }
    memory.release(table);
}

/// A new page directory that shares with `global` what all share: the kernel's half and the packages.
pub fn copy_of_global(memory: &mut impl PhysicalMemory, global: Frame) -> Result<Frame, OutOfFrames> {
    let copy = memory.allocate()?;
    for index in core::iter::once(PACKAGES_SLOT).chain(KERNEL_SLOT..512) {
        let entry = memory.table(global)[index].clone();
        memory.table_mut(copy)[index] = entry;
    }
    Ok(copy)
}

/// A not-present entry that still names its frame: how an unmapped page waits for its TLB entries
/// to be gone before the frame is released.
pub fn parked(entry: &PageTableEntry) -> PageTableEntry {
    let mut parked = entry.clone();
    parked.set_flags(entry.flags() - Flags::PRESENT);
    parked
}

/// The frame of a [`parked`] or present entry.
pub fn frame_of(entry: &PageTableEntry) -> Option<Frame> {
    (entry.addr() != PhysAddr::zero()).then(|| Frame::containing(entry.addr()))
}
