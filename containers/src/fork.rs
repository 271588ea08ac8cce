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
use crate::region::Regions;

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
            copied.map(|()| child).inspect_err(|_| self.destroy_container(child, cpu))
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

    /// Enters the pages of `parent` in the tables of `child`, read-only in both.
    fn share_pages(&mut self, parent: ContainerId, child: ContainerId) -> Result<(), NoMemory> {
        let container = self.containers.get(parent).ok_or(NoMemory::Limit)?;
        let (from, usage) = (container.root(), container.usage());
        let (heap, mappings_end) = (container.heap, container.mappings_end);
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
            (container.heap, container.mappings_end) = (heap, mappings_end);
            container.pages += shared.pages + shared.tables;
            container.tables += shared.tables;
        }
        if shared.lost {
            self.forget(parent, 0..USER_END);
        }
        Ok(result?)
    }
}
