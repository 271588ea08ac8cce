//! What the end of a container would give back: for whoever has to choose one when memory ends.

use crate::memory::Memory;
use crate::memory::container::ContainerId;
use crate::memory::directory::{self, OBJECT, frame_of};
use crate::memory::object::Purpose;
use crate::memory::physical::{PhysicalMemory, Translation};
use crate::memory::region::{Backing, Region};

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Frames that would be free if a container ended: its page tables, the pages that it shares with no other, and
    /// those of shared memory that nobody else has entered. Pages of files stay, for the files do. What its regions take
    /// of the kernel's heap counts as well.
    pub fn gives_back(&self, id: ContainerId) -> usize {
        let Some(container) = self.container(id) else { return 0 };
        let mut frames = container.usage().tables as usize + container.regions.frames();
        for region in container.regions.iter() {
            let Some((root, range)) = self.reach(id, region.start..region.end) else { continue };
            let shared = self.is_shared_memory(region);
            directory::each_entry(&self.physical, root, range, &mut |entry| {
                // An object has a reference of its own to each of its pages.
                let alone = match entry.flags().contains(OBJECT) {
                    true if shared => 2,
                    true => return,
                    false => 1,
                };
                let references = frame_of(entry).map(|frame| self.physical.references(frame));
                frames += usize::from(references == Some(alone));
            });
        }
        frames
    }

    fn is_shared_memory(&self, region: &Region) -> bool {
        let Backing::Object { object, .. } = region.backing else { return false };
        self.objects.get(object).is_some_and(|object| object.purpose() == Purpose::Shared)
    }
}

#[cfg(test)]
#[path = "../tests/weight.rs"]
mod tests;
