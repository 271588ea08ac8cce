//! Fork: a container like another one. Private pages are shared until one of the two writes.
//!
//! Both containers' entries lose their write right; who writes first gets a copy, and the last one that
//! has the page gets the right back (`write_to_shared` in [`crate::fault`], as for pages of files).
//! What was never touched costs nothing, and pages of shared mappings are found in their objects.

use crate::container::{ContainerId, Cpu};
use crate::directory::{self, USER_END, frame_of, slot, span};
use crate::frames::Frame;
use crate::memory::{KERNEL_RESERVE, Memory, NoMemory};
use crate::physical::{OutOfFrames, PhysicalMemory, Translation};
use crate::region::{Backing, Region};
use x86_64::structures::paging::PageTableFlags as Flags;

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Makes a container with the contents of `parent`, from `cpu`. One that lives in the window has a child
    /// that lives in the window; any other one's has a page directory.
    pub fn fork(&mut self, parent: ContainerId, cpu: Cpu) -> Result<ContainerId, NoMemory> {
        let container = self.containers.get(parent).ok_or(NoMemory::Limit)?;
        let (in_window, heap) = (container.directory.is_none(), container.heap);
        let child = match in_window {
            true => self.make_empty_container()?,
            false => self.make_container_with_directory(cpu)?,
        };
        if let Some(container) = self.containers.get_mut(child) {
            container.heap = heap;
        }
        let mut lost = false;
        let shared = self.share_regions(parent, child, &mut lost);
        if lost {
            self.forget(parent, 0..USER_END);
        }
        match shared {
            Ok(()) => Ok(child),
            Err(error) => {
                self.destroy_container(child, cpu);
                Err(error)
            }
        }
    }

    /// Gives `child` the regions and the private pages of `parent`; tells whether a write right was taken away.
    fn share_regions(&mut self, parent: ContainerId, child: ContainerId, lost: &mut bool) -> Result<(), NoMemory> {
        let mut at = 0;
        while let Some(region) = self.containers.get(parent).and_then(|it| it.regions.within(at..USER_END).next()) {
            at = region.end;
            // There may be many regions, and each takes some of the kernel's heap.
            if self.physical.free_frames() <= KERNEL_RESERVE || !self.physical.has_room_for_bookkeeping() {
                return Err(NoMemory::Frames);
            }
            if let Some(object) = region.backing.object() {
                self.share_object(object);
            }
            self.map_fresh(child, region)?;
            if !matches!(region.backing, Backing::Object { shared: true, .. }) {
                self.share_pages(parent, child, &region, lost)?;
            }
        }
        Ok(())
    }

    /// Enters the pages of a private region in the tables of `child`, read-only in both.
    fn share_pages(
        &mut self,
        parent: ContainerId,
        child: ContainerId,
        region: &Region,
        lost: &mut bool,
    ) -> Result<(), OutOfFrames> {
        let reach = |id| self.containers.get(id).and_then(|it| it.reach(region.start..region.end));
        let (Some((root, range)), Some((to, _))) = (reach(parent), reach(child)) else { return Ok(()) };
        let (mut pages, mut tables, mut result) = (0, 0, Ok(()));
        let mut last: Option<(u64, Frame)> = None;
        directory::change_entries(&mut self.physical, root, range, &mut |memory, at, mut entry| {
            let table = match last.filter(|(number, _)| *number == at / span(2)) {
                Some((_, table)) => Ok((table, 0)),
                None if memory.free_frames() <= KERNEL_RESERVE => Err(OutOfFrames),
                None => directory::last_table(memory, to, at),
            };
            match (table, frame_of(&entry)) {
                (Ok((table, made)), Some(frame)) => {
                    last = Some((at / span(2), table));
                    let before = entry.flags();
                    *lost |= before.contains(Flags::PRESENT | Flags::WRITABLE);
                    entry.set_flags(before - Flags::WRITABLE);
                    memory.share(frame);
                    memory.table_mut(table)[slot(at, 1)] = entry.clone();
                    pages += 1;
                    tables += made;
                }
                (Err(error), _) => result = Err(error),
                _ => {}
            }
            entry
        });
        if let Some(container) = self.containers.get_mut(child) {
            container.pages += pages + tables;
            container.tables += tables;
        }
        result
    }
}
