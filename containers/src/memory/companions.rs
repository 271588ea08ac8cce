//! CPUs that the kernel does not know, and that run in a container all the same: those of an extension, which the kernel tells
//! when they must forget translations.
//!
//! For example, an extension accompanies a thread and has a CPU of its own run in the thread's page directory. A `munmap` of
//! the process then calls [`Translation::invalidate_companions`] before the frames are released.

use super::Memory;
use crate::frames::Frame;
use crate::memory::container::ContainerId;
use crate::memory::physical::{OutOfFrames, PhysicalMemory, Translation};
use cpulocal::Cpu;

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Lets CPUs that the kernel does not know run in a container, until it ends: from now on they are made to forget
    /// translations too. Returns the container's page directory, which it gets if it has none.
    pub fn accompany(&mut self, id: ContainerId, cpu: Cpu) -> Result<Frame, OutOfFrames> {
        self.leave_window(id, cpu)?;
        let container = self.containers.get_mut(id).ok_or(OutOfFrames)?;
        container.is_accompanied = true;
        container.directory.as_ref().map(|directory| directory.pml4).ok_or(OutOfFrames)
    }

    /// Makes the CPUs that the kernel does not know forget translations of an accompanied container.
    #[cold]
    pub(super) fn forget_accompanied(&mut self, id: ContainerId) {
        if let Some(directory) = self.containers.get(id).and_then(|container| container.directory.as_ref()) {
            self.physical.invalidate_companions(directory.pml4);
        }
    }
}
