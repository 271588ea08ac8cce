//! Page directories: the four levels of page tables beneath a root, walked in software.
//!
//! papers/001 has two levels, x86-64 has four. The counterpart of the paper's *page directory* is the
//! PML4, of its *page table* and 4 MiB region the last-level table and the 2 MiB it spans. The
//! functions here start at any level, so the window's page table on its own (level 1) and a whole
//! page directory (level 4) are walked by the same code.

use crate::frames::{Frame, GROUP, PAGE_SIZE};
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

impl Root {
    /// A table to which one of its entries leads.
    fn below(self, table: Frame) -> Root {
        Root { table, level: self.level - 1 }
    }

    /// The slots for user addresses.
    fn user_slots(self) -> Range<usize> {
        0..if self.level == 4 { KERNEL_SLOT } else { 512 }
    }
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
            Some(table) if at.level > 1 => at = at.below(table),
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
        at = at.below(table);
    }
    Ok((at.table, made))
}

/// Points an entry of a table at a frame.
pub fn set(memory: &mut impl PhysicalMemory, table: Frame, slot: usize, frame: Frame, flags: Flags) {
    let mut entry = PageTableEntry::new();
    entry.set_addr(frame.address(), flags);
    memory.set_entry(table, slot, entry);
}

/// An entry that a walk has come to: its place in its table, the part of the walk's range that it spans, and
/// what it is.
struct Found {
    slot: usize,
    part: Range<u64>,
    entry: PageTableEntry,
}

/// The first entry for `left` that is not unused, whose part is taken off `left`. All of `left` lies in the one
/// table.
fn next_used(memory: &impl PhysicalMemory, root: Root, left: &mut Range<u64>) -> Option<Found> {
    if left.is_empty() {
        return None;
    }
    let span = span(root.level);
    let first = slot(left.start, root.level);
    let slot = next_slot(memory, root.table, first..slot(left.end - 1, root.level) + 1)?;
    let start = (left.start & !(span - 1)) + (slot - first) as u64 * span;
    let part = start.max(left.start)..(start + span).min(left.end);
    left.start = part.end;
    Some(Found { slot, part, entry: memory.table(root.table)[slot].clone() })
}

/// The first of some slots of a table whose entry is not unused: looked for where there may be any.
fn next_slot(memory: &impl PhysicalMemory, table: Frame, slots: Range<usize>) -> Option<usize> {
    let (groups, entries) = (memory.groups(table), memory.table(table));
    let mut at = slots.start;
    while at < slots.end {
        let group = at / GROUP + (groups >> (at / GROUP)).trailing_zeros() as usize;
        at = at.max(group * GROUP);
        let end = ((group + 1) * GROUP).min(slots.end);
        match entries.get(at..end)?.iter().position(|entry| !entry.is_unused()) {
            Some(after) => return Some(at + after),
            None => at = end,
        }
    }
    None
}

/// The next entry for the user's own in what is left of a table's slots, which it is taken off: the slot, and the
/// page or table that the entry names. What every page directory has is passed over.
fn next_own(memory: &impl PhysicalMemory, root: Root, left: &mut Range<usize>) -> Option<(usize, Frame)> {
    loop {
        let slot = next_slot(memory, root.table, left.clone())?;
        left.start = slot + 1;
        if root.level < 4 || slot != PACKAGES_SLOT {
            return Some((slot, Frame::containing(memory.table(root.table)[slot].addr())));
        }
    }
}

/// Calls `change` on every last-level entry in `range` that is not unused, skipping what is absent.
pub fn change_entries<M: PhysicalMemory>(
    memory: &mut M,
    root: Root,
    mut range: Range<u64>,
    change: &mut impl FnMut(&mut M, u64, PageTableEntry) -> PageTableEntry,
) {
    while let Some(Found { slot, part, entry }) = next_used(memory, root, &mut range) {
        if root.level == 1 {
            let new = change(memory, part.start, entry);
            memory.set_entry(root.table, slot, new);
        } else if let Some(table) = target(&entry) {
            change_entries(memory, root.below(table), part, change);
        }
    }
}

/// Parks all entries in `range`: first step of taking pages away. Tells whether any was present.
///
/// Entries of the second and third level go with what is beneath them if they lie wholly in the range.
/// The top level stays, for other CPUs' copies of the page directory have its entries, and so does the
/// way to the window's page table, at which a global directory may be pointing.
pub fn park(memory: &mut impl PhysicalMemory, root: Root, mut range: Range<u64>) -> bool {
    let mut found = false;
    while let Some(Found { slot, part, entry }) = next_used(memory, root, &mut range) {
        let Some(below) = target(&entry) else { continue };
        let mut goes = true;
        if root.level > 1 {
            found |= park(memory, root.below(below), part.clone());
            let holds_window = part.start < WINDOW.end && part.end > WINDOW.start;
            goes = root.level <= 3 && part.end - part.start == span(root.level) && !holds_window;
        }
        if goes {
            memory.set_entry(root.table, slot, parked(&entry));
            found = true;
        }
    }
    found
}

/// Releases the frames and tables that parked entries in `range` name: last step of taking pages away,
/// when no CPU knows the way to them any more. Returns how many pages and tables there were.
pub fn release_parked(memory: &mut impl PhysicalMemory, root: Root, mut range: Range<u64>) -> (u32, u32) {
    let (mut pages, mut tables) = (0, 0);
    while let Some(Found { slot, part, entry }) = next_used(memory, root, &mut range) {
        let Some(frame) = frame_of(&entry) else { continue };
        if root.level > 1 {
            let below = release_parked(memory, root.below(frame), part);
            pages += below.0;
            tables += below.1;
        }
        if target(&entry).is_none() {
            memory.set_entry(root.table, slot, PageTableEntry::new());
            memory.release(frame);
            *if root.level == 1 { &mut pages } else { &mut tables } += 1;
        }
    }
    (pages, tables)
}

/// Releases a table that no CPU uses any more with all that hangs in it: pages and further tables, of a page
/// directory what is beneath its user slots. Returns how many frames there were.
pub fn release(memory: &mut impl PhysicalMemory, root: Root) -> u32 {
    let (mut left, mut frames) = (root.user_slots(), 1);
    while let Some((_, frame)) = next_own(memory, root, &mut left) {
        if root.level > 1 {
            frames += release(memory, root.below(frame));
        } else {
            memory.release(frame);
            frames += 1;
        }
    }
    memory.release(root.table);
    frames
}

/// What [`share`] has done.
#[derive(Default)]
pub struct Shared {
    /// Pages that have got a reference more.
    pub pages: u32,
    /// Tables made.
    pub tables: u32,
    /// Whether a write right was taken away.
    pub lost: bool,
}

/// Enters all pages that hang in `from` in the same way in `to`, an empty table of the same level, and takes the
/// right to write away from both.
pub fn share(memory: &mut impl PhysicalMemory, from: Root, to: Frame, shared: &mut Shared) -> Result<(), OutOfFrames> {
    let mut left = from.user_slots();
    while let Some((slot, frame)) = next_own(memory, from, &mut left) {
        if from.level > 1 {
            let table = memory.allocate()?;
            set(memory, to, slot, table, TABLE);
            shared.tables += 1;
            share(memory, from.below(frame), table, shared)?;
            continue;
        }
        let mut entry = memory.table(from.table)[slot].clone();
        let flags = entry.flags();
        if flags.contains(Flags::WRITABLE) {
            entry.set_flags(flags - Flags::WRITABLE);
            memory.set_entry(from.table, slot, entry.clone());
            shared.lost |= flags.contains(Flags::PRESENT);
        }
        memory.share(frame);
        memory.set_entry(to, slot, entry);
        shared.pages += 1;
    }
    Ok(())
}

/// Half a page directory, in bytes: the user's slots, or the kernel's.
const HALF: usize = PAGE_SIZE / 2;

/// A new page directory that shares with `global` what all share: the kernel's half and the packages.
pub fn copy_of_global(memory: &mut impl PhysicalMemory, global: Frame) -> Result<Frame, OutOfFrames> {
    let copy = memory.allocate()?;
    copy_kernel_half(memory, global, copy);
    let packages = memory.table(global)[PACKAGES_SLOT].clone();
    memory.set_entry(copy, PACKAGES_SLOT, packages);
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
