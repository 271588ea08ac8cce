//! Page directories: the four levels of page tables beneath a root, walked in software.
//!
//! papers/001 has two levels, x86-64 has four. The counterpart of the paper's *page directory* is the
//! PML4, of its *page table* and 4 MiB region the last-level table and the 2 MiB it spans. The
//! functions here start at any level, so the window's page table on its own (level 1) and a whole
//! page directory (level 4) are walked by the same code.

use crate::frames::{Frame, PAGE_SIZE};
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

/// The address of the first entry in `range` that is not unused; the range lies in the one table.
fn next_used(memory: &impl PhysicalMemory, root: Root, range: Range<u64>) -> Option<u64> {
    if range.is_empty() {
        return None;
    }
    let table = memory.table(root.table);
    let first = slot(range.start, root.level);
    let used = (first..=slot(range.end - 1, root.level)).find(|&index| !table[index].is_unused())?;
    let start = range.start & !(span(root.level) - 1);
    Some((start + (used - first) as u64 * span(root.level)).max(range.start))
}

/// Where the entry that spans an address ends.
fn end_of_entry(address: u64, level: u8) -> u64 {
    (address / span(level) + 1) * span(level)
}

/// Calls `change` on every last-level entry in `range` that is not unused, skipping what is absent.
pub fn change_entries<M: PhysicalMemory>(
    memory: &mut M,
    root: Root,
    range: Range<u64>,
    change: &mut impl FnMut(&mut M, u64, PageTableEntry) -> PageTableEntry,
) {
    let mut at = range.start;
    while let Some(address) = next_used(memory, root, at..range.end) {
        at = end_of_entry(address, root.level).min(range.end);
        let index = slot(address, root.level);
        let old = memory.table(root.table)[index].clone();
        if root.level == 1 {
            memory.table_mut(root.table)[index] = change(memory, address, old);
        } else if let Some(table) = target(&old) {
            change_entries(memory, Root { table, level: root.level - 1 }, address..at, change);
        }
    }
}

/// Parks all entries in `range`: first step of taking pages away. Tells whether any was present.
///
/// Entries of the second and third level go with what is beneath them if they lie wholly in the range.
/// The top level stays, for other CPUs' copies of the page directory have its entries, and so does the
/// way to the window's page table, at which a global directory may be pointing.
pub fn park(memory: &mut impl PhysicalMemory, root: Root, range: Range<u64>) -> bool {
    let mut found = false;
    let mut at = range.start;
    while let Some(address) = next_used(memory, root, at..range.end) {
        at = end_of_entry(address, root.level).min(range.end);
        let index = slot(address, root.level);
        let old = memory.table(root.table)[index].clone();
        let Some(below) = target(&old) else { continue };
        let mut goes = true;
        if root.level > 1 {
            found |= park(memory, Root { table: below, level: root.level - 1 }, address..at);
            let holds_window = address < WINDOW.end && at > WINDOW.start;
            goes = root.level <= 3 && at - address == span(root.level) && !holds_window;
        }
        if goes {
            memory.table_mut(root.table)[index] = parked(&old);
            found = true;
        }
    }
    found
}

/// Releases the frames and tables that parked entries in `range` name: last step of taking pages away,
/// when no CPU knows the way to them any more. Returns how many pages and tables there were.
pub fn release_parked(memory: &mut impl PhysicalMemory, root: Root, range: Range<u64>) -> (u32, u32) {
    let (mut pages, mut tables) = (0, 0);
    let mut at = range.start;
    while let Some(address) = next_used(memory, root, at..range.end) {
        at = end_of_entry(address, root.level).min(range.end);
        let index = slot(address, root.level);
        let old = memory.table(root.table)[index].clone();
        let Some(frame) = frame_of(&old) else { continue };
        if root.level > 1 {
            let below = release_parked(memory, Root { table: frame, level: root.level - 1 }, address..at);
            pages += below.0;
            tables += below.1;
        }
        if target(&old).is_none() {
            memory.table_mut(root.table)[index].set_unused();
            memory.release(frame);
            *if root.level == 1 { &mut pages } else { &mut tables } += 1;
        }
    }
    (pages, tables)
}

/// Releases the pages in `range` of tables that no CPU uses any more, until `left` of them are found.
pub fn release_pages(memory: &mut impl PhysicalMemory, root: Root, range: Range<u64>, left: &mut u32) {
    let mut at = range.start;
    while *left > 0
        && let Some(address) = next_used(memory, root, at..range.end)
    {
        at = end_of_entry(address, root.level).min(range.end);
        let index = slot(address, root.level);
        let old = memory.table(root.table)[index].clone();
        let Some(frame) = frame_of(&old) else { continue };
        if root.level > 1 {
            release_pages(memory, Root { table: frame, level: root.level - 1 }, address..at, left);
        } else {
            memory.table_mut(root.table)[index].set_unused();
            memory.release(frame);
            *left -= 1;
        }
    }
}

/// Releases the tables beneath the user slots of a page directory, of which there are `tables`, and the
/// directory itself.
///
/// The packages' slot is everybody's and stays. Last-level entries must have been cleared before.
pub fn release(memory: &mut impl PhysicalMemory, pml4: Frame, mut tables: u32) {
    for index in (0..KERNEL_SLOT).filter(|&index| index != PACKAGES_SLOT) {
        if tables == 0 {
            break;
        }
        if let Some(table) = target(&memory.table(pml4)[index]) {
            release_tables(memory, table, 3, &mut tables);
        }
    }
    memory.release(pml4);
}

fn release_tables(memory: &mut impl PhysicalMemory, table: Frame, level: u8, left: &mut u32) {
    *left = left.saturating_sub(1);
    if level > 1 {
        for index in 0..512 {
            if *left == 0 {
                break;
            }
            if let Some(below) = target(&memory.table(table)[index]) {
                release_tables(memory, below, level - 1, left);
            }
        }
    }
    memory.release(table);
}

/// Half a page directory, in bytes: the user's slots, or the kernel's.
const HALF: usize = PAGE_SIZE / 2;

/// A new page directory that shares with `global` what all share: the kernel's half and the packages.
pub fn copy_of_global(memory: &mut impl PhysicalMemory, global: Frame) -> Result<Frame, OutOfFrames> {
    let copy = memory.allocate()?;
    copy_kernel_half(memory, global, copy);
    let packages = memory.table(global)[PACKAGES_SLOT].clone();
    memory.table_mut(copy)[PACKAGES_SLOT] = packages;
    Ok(copy)
}

/// Makes the kernel's half of a page directory that of a CPU's global one: the way to that CPU's own
/// pages is in it.
pub fn copy_kernel_half(memory: &mut impl PhysicalMemory, global: Frame, to: Frame) {
    memory.copy((global, HALF), (to, HALF), HALF);
}

/// Another CPU's copy of a container page directory: its user slots, and that CPU's kernel half.
pub fn copy_for(memory: &mut impl PhysicalMemory, pml4: Frame, global: Frame) -> Result<Frame, OutOfFrames> {
    let copy = memory.allocate()?;
    memory.copy((pml4, 0), (copy, 0), HALF);
    copy_kernel_half(memory, global, copy);
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
