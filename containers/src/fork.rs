//! Fork: a container like another one. Private pages are shared until one of the two writes.
//!
//! Both containers' entries lose their write right; who writes first gets a copy, and the last one that
//! has the page gets the right back (`write_to_shared` in [`crate::fault`], as for pages of files).
//! What was never touched costs nothing, and objects' own pages, of shared mappings and of programs' code, are
//! found in their objects again.

use crate::container::{ContainerId, Cpu};
use crate::directory::{self, Shared, USER_END};
use crate::memory::{KERNEL_RESERVE, Memory, NoMemory};
use crate::physical::{PhysicalMemory, Translation};
use crate::region::{Region, Regions, Traits};

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Makes a container with the contents of `parent`, from `cpu`. One that lives in the window has a child
    /// that lives in the window; any other one's has a page directory.
    pub fn fork(&mut self, parent: ContainerId, cpu: Cpu) -> Result<ContainerId, NoMemory> {
        let container = self.containers.get(parent).ok_or(NoMemory::Limit)?;
        let (in_window, regions) = (container.directory.is_none(), container.regions.clone());
        let child = match in_window {
            true => self.make_window(Regions::default(), 0).map(|(child, _)| child),
            false => self.make_container_with_directory(cpu),
        };
        child.and_then(|child| {
            let copied = self.copy_regions(&regions, child).and_then(|()| self.share_pages(parent, child));
            copied.inspect_err(|_| self.destroy_container(child, cpu))?;
            self.leave_out(&regions, child);
            Ok(child)
        })
    }

    fn copy_regions(&mut self, regions: &Regions, child: ContainerId) -> Result<(), NoMemory> {
        for run in regions.runs() {
            // There may be many regions, and they take some of the kernel's heap.
            self.leave_reserve(0)?;
            run.iter().filter_map(|region| region.backing.object()).for_each(|object| self.share_object(object));
            self.containers.get_mut(child).ok_or(NoMemory::Limit)?.regions.append(run);
        }
        Ok(())
    }

    /// Takes from a child what its parent has asked to keep from it: regions, what is in them, or what `mlock` has said.
    fn leave_out(&mut self, regions: &Regions, child: ContainerId) {
        const KEPT: Traits = Traits::NOT_FORKED.union(Traits::WIPED_BY_FORK).union(Traits::LOCKED);
        for region in regions.iter().filter(|region| region.traits.intersects(KEPT)) {
            let range = region.start..region.end;
            // They are whole regions, so none is split, and nothing can fail.
            let _ = match region.traits {
                traits if traits.contains(Traits::NOT_FORKED) => self.unmap(child, range.clone()),
                _ => self.change(child, range.clone(), |it| Region { traits: it.traits - Traits::LOCKED, ..it }),
            };
            if region.traits.contains(Traits::WIPED_BY_FORK) {
                self.discard(child, range);
            }
        }
    }

    /// Enters the pages of `parent` in the tables of `child`, read-only in both.
    fn share_pages(&mut self, parent: ContainerId, child: ContainerId) -> Result<(), NoMemory> {
        let container = self.containers.get(parent).ok_or(NoMemory::Limit)?;
        let (from, usage) = (container.root(), container.usage());
        let (heap, mappings_end, growth) = (container.heap, container.mappings_end, container.growth);
        let to = self.containers.get(child).and_then(|child| child.root());
        let (Some(from), Some(to)) = (from, to) else { return Ok(()) };
        // None of the tables that it needs must be missing half-way.
        let tables = usage.tables - usage.directories.max(1);
        if self.physical.free_frames() < KERNEL_RESERVE + tables as usize {
            return Err(NoMemory::Frames);
        }
        let mut shared = Shared::default();
        let result = directory::share(&mut self.physical, from, to.table, &mut shared);
        if let Some(container) = self.containers.get_mut(child) {
            (container.heap, container.mappings_end, container.growth) = (heap, mappings_end, growth);
            container.pages += shared.pages + shared.tables;
            container.tables += shared.tables;
        }
        if shared.lost {
            self.forget(parent, 0..USER_END);
        }
        Ok(result?)
    }
}
