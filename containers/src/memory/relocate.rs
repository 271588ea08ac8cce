//! Moving pages to other addresses, for `mremap`. For example, when a region of 64 MiB must grow and there is no room behind
//! it, whole last-level tables move to the new addresses: 32 entries instead of 16,384 pages.

use crate::memory::container::ContainerId;
use crate::memory::directory::{Found, Root, WINDOW, Walk, slot, span, table_of, target};
use crate::memory::physical::{PhysicalMemory, Translation};
use crate::memory::region::Region;
use crate::memory::{KERNEL_RESERVE, Memory, NoMemory};
use core::ops::Range;
use cpulocal::Cpu;
use x86_64::structures::paging::page_table::PageTableEntry;

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Moves the pages and regions of `from` to a free range of equal length at `to`. The container leaves the window
    /// for that: one page table alone cannot take pages from elsewhere.
    pub fn relocate(&mut self, id: ContainerId, cpu: Cpu, from: Range<u64>, to: u64) -> Result<(), NoMemory> {
        self.leave_window(id, cpu)?;
        let length = from.end - from.start;
        let tables: u64 = (2..=4).map(|level| length / span(level) + 2).sum();
        let pages = self.containers.get(id).map_or(0, |container| container.pages);
        // Tables for at most all of the pages, so that nothing fails half-way.
        if (self.physical.free_frames() as u64) < tables.min(3 * u64::from(pages)) + KERNEL_RESERVE as u64 / 2 {
            return Err(NoMemory::Frames);
        }
        while let Some(part) = self.cut(id, from.clone(), 1)? {
            let start = part.start - from.start + to;
            self.put(id, Region { start, end: start + (part.end - part.start), ..part })?;
        }
        self.relocate_pages(id, from, to);
        Ok(())
    }

    fn relocate_pages(&mut self, id: ContainerId, from: Range<u64>, to: u64) {
        let Some(root) = self.containers.get(id).and_then(|container| container.root_for(from.start)) else { return };
        let by = to.wrapping_sub(from.start);
        let (made, moved) = relocate(&mut self.physical, root, root, from.clone(), by);
        if moved {
            self.forget(id, from);
        }
        if let Some(container) = self.containers.get_mut(id) {
            container.table_cache.forget();
            container.pages += made;
            container.tables += made;
        }
    }
}

/// Moves the pages below `at` in `range`, which is not empty, to an empty range `by` bytes further (wrapping); both
/// ranges are reached from `root`. A last-level table moves as a whole if all of its span moves and fits in the new
/// range. Returns the number of tables made, and whether anything was moved.
fn relocate(memory: &mut impl PhysicalMemory, root: Root, at: Root, range: Range<u64>, by: u64) -> (u32, bool) {
    let (mut made, mut moved) = (0, false);
    let mut walk = Walk::new(memory, at, range);
    while let Some(Found { slot: from, entry }) = walk.next(memory) {
        let part = walk.part(from);
        let to = part.start.wrapping_add(by);
        let holds_window = part.start < WINDOW.end && part.end > WINDOW.start;
        let is_unit = match at.level {
            1 => true,
            2 => part.end - part.start == span(2) && by.is_multiple_of(span(2)) && !holds_window,
            _ => false,
        };
        if is_unit && let Ok((table, new)) = table_of(memory, root, to, at.level) {
            made += new;
            if memory.entry(table, slot(to, at.level)).is_unused() {
                memory.set_entry(table, slot(to, at.level), entry);
                memory.set_entry(at.table, from, PageTableEntry::new());
                moved = true;
                continue;
            }
        }
        if let Some(table) = target(&entry).filter(|_| at.level > 1) {
            let below = relocate(memory, root, at.below(table), part, by);
            made += below.0;
            moved |= below.1;
        }
    }
    (made, moved)
}
