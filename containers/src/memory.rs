//! The memory subsystem: frames, memory objects and containers in one owner.
//!
//! [`Memory`] makes and destroys containers and puts them before a CPU; [`crate::fault`] delivers
//! pages, [`crate::mapping`] changes regions, [`crate::user`] reaches user memory. It is generic over
//! the machine, so all of it runs on the host.

use crate::arena::{Arena, Full};
use crate::container::{Container, ContainerId, Cpu, PageDirectory};
use crate::directory::{self, PACKAGES, Root, TABLE, USER_END, WINDOW, slot};
use crate::frames::Frame;
use crate::object::Object;
use crate::physical::{OutOfFrames, PhysicalMemory, Translation};
use crate::region::Regions;
use alloc::vec::Vec;
use x86_64::structures::paging::PageTableFlags as Flags;

/// Frames that user pages leave to the kernel: page tables and control blocks can still be made
/// when programs have eaten the rest.
pub const KERNEL_RESERVE: usize = 128;

/// Most containers and memory objects at once.
const MAX_CONTAINERS: u32 = 16_384;
const MAX_OBJECTS: u32 = 131_072;

/// A CPU's global page directory, made at boot.
#[derive(Clone, Copy, Debug)]
pub struct GlobalDirectory {
    /// The page directory.
    pub pml4: Frame,
    /// The third-level table whose entry for the window is changed at a switch.
    pub window_directory: Frame,
}

/// What a CPU has before it.
pub(crate) struct CpuSpace {
    pub(crate) global: GlobalDirectory,
    /// The window's page table that the global directory points at.
    window: Option<Frame>,
    /// Whose page directory (or window) is loaded.
    container: Option<ContainerId>,
}

/// Counts since boot (DESIGN: every count of the page-directory rules is a statistic).
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    /// Containers made.
    pub containers_made: u64,
    /// Container page directories made.
    pub directories_made: u64,
    /// Container page directories there are.
    pub directories_live: u64,
    /// Times that the window's entry of a global directory was pointed elsewhere.
    pub window_switches: u64,
    /// Page faults that delivered or copied a page.
    pub faults_resolved: u64,
    /// Page faults whose page was there with the rights needed: a stale TLB entry.
    pub spurious_tlb: u64,
    /// Pages copied because two had shared them.
    pub pages_copied: u64,
}

/// Frames, memory objects and containers.
pub struct Memory<P> {
    /// The machine's memory.
    pub physical: P,
    pub(crate) objects: Arena<Object>,
    pub(crate) containers: Arena<Container>,
    pub(crate) cpus: Vec<CpuSpace>,
    /// Statistics.
    pub counts: Counts,
}

/// Why a container or a mapping could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoMemory {
    /// No frames.
    Frames,
    /// A limit on the number of containers, objects or regions.
    Limit,
}

impl From<OutOfFrames> for NoMemory {
    fn from(_: OutOfFrames) -> NoMemory {
        NoMemory::Frames
    }
}
impl From<Full> for NoMemory {
    fn from(_: Full) -> NoMemory {
        NoMemory::Limit
    }
}
impl From<crate::region::TooMany> for NoMemory {
    fn from(_: crate::region::TooMany) -> NoMemory {
        NoMemory::Limit
    }
}

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Takes the machine's memory over; `globals` are the CPUs' global page directories.
    pub fn new(physical: P, globals: impl IntoIterator<Item = GlobalDirectory>) -> Memory<P> {
        let space = |global| CpuSpace { global, window: None, container: None };
        Memory {
            physical,
            objects: Arena::new(MAX_OBJECTS),
            containers: Arena::new(MAX_CONTAINERS),
            cpus: globals.into_iter().map(space).collect(),
            counts: Counts::default(),
        }
    }

    /// A zeroed frame for user data, which leaves the kernel its reserve.
    pub(crate) fn allocate_user(&mut self) -> Result<Frame, OutOfFrames> {
        if self.physical.free_frames() <= KERNEL_RESERVE || !self.physical.has_room_for_bookkeeping() {
            return Err(OutOfFrames);
        }
        self.physical.allocate()
    }

    /// A container on two pages: the window's page table and the page at the window's top, the first
    /// of its stack, writable.
    pub fn make_container(&mut self) -> Result<ContainerId, NoMemory> {
        let table = self.allocate_user()?;
        let stack = self.allocate_user().inspect_err(|_| self.physical.release(table))?;
        let flags = Flags::PRESENT | Flags::WRITABLE | Flags::USER_ACCESSIBLE | Flags::NO_EXECUTE;
        directory::set(&mut self.physical, table, 511, stack, flags);
        self.insert_container(Some(table), 2).inspect_err(|_| {
            self.physical.release(stack);
            self.physical.release(table);
        })
    }

    /// A container that has left the window before it began: for programs whose addresses are not
    /// Jotun's to choose.
    pub fn make_container_with_directory(&mut self, cpu: Cpu) -> Result<ContainerId, NoMemory> {
        let id = self.insert_container(None, 0)?;
        match self.make_directory(id, cpu) {
            Ok(()) => Ok(id),
            Err(error) => {
                self.containers.remove(id);
                Err(error.into())
            }
        }
    }

    fn insert_container(&mut self, window: Option<Frame>, pages: u32) -> Result<ContainerId, NoMemory> {
        let container = Container {
            window,
            directory: None,
            regions: Regions::default(),
            pages,
            tables: u32::from(window.is_some()),
            processes: 0,
            heap: (0, 0),
        };
        let id = self.containers.insert(container)?;
        self.counts.containers_made += 1;
        Ok(id)
    }

    /// Gives the container a page directory of its own, owned by `cpu`, if it has none: papers/001
    /// figure 4c. Called when it touches something outside the window or gets a second thread.
    pub fn leave_window(&mut self, id: ContainerId, cpu: Cpu) -> Result<(), OutOfFrames> {
        match self.containers.get(id) {
            Some(container) if container.directory.is_none() => self.make_directory(id, cpu),
            _ => Ok(()),
        }
    }

    fn make_directory(&mut self, id: ContainerId, cpu: Cpu) -> Result<(), OutOfFrames> {
        let global = self.cpus[usize::from(cpu.0)].global.pml4;
        let pml4 = directory::copy_of_global(&mut self.physical, global)?;
        let window = self.containers.get(id).and_then(|container| container.window);
        let mut made = 1;
        if let Some(table) = window {
            match self.link_window(pml4, table) {
                Ok(tables) => made += tables,
                Err(error) => {
                    directory::release(&mut self.physical, pml4);
                    return Err(error);
                }
            }
        }
        if let Some(container) = self.containers.get_mut(id) {
            container.directory = Some(PageDirectory { pml4, owner: cpu });
            container.pages += made;
            container.tables += made;
        }
        self.counts.directories_made += 1;
        self.counts.directories_live += 1;
        if self.cpus[usize::from(cpu.0)].container == Some(id) {
            self.switch(id, cpu);
        }
        Ok(())
    }

    /// Makes the two tables above the window's page table in a container page directory.
    fn link_window(&mut self, pml4: Frame, table: Frame) -> Result<u32, OutOfFrames> {
        let third = self.physical.allocate()?;
        directory::set(&mut self.physical, pml4, slot(WINDOW.start, 4), third, TABLE);
        let second = self.physical.allocate()?;
        directory::set(&mut self.physical, third, slot(WINDOW.start, 3), second, TABLE);
        directory::set(&mut self.physical, second, slot(WINDOW.start, 2), table, TABLE);
        Ok(2)
    }

    /// The container of that name.
    pub fn container(&self, id: ContainerId) -> Option<&Container> {
        self.containers.get(id)
    }

    /// The container of that name, to be changed.
    pub fn container_mut(&mut self, id: ContainerId) -> Option<&mut Container> {
        self.containers.get_mut(id)
    }

    /// Containers there are.
    pub fn containers_live(&self) -> u32 {
        self.containers.live()
    }

    /// Puts a container before a CPU: loads its page directory or, while it has none, points the
    /// window of the CPU's global directory at its page table.
    #[inline]
    pub fn activate(&mut self, id: ContainerId, cpu: Cpu) {
        if self.cpus[usize::from(cpu.0)].container != Some(id) {
            self.switch(id, cpu);
        }
    }

    fn switch(&mut self, id: ContainerId, cpu: Cpu) {
        let Some(container) = self.containers.get(id) else { return };
        let (directory, window) = (container.directory, container.window);
        let space = &mut self.cpus[usize::from(cpu.0)];
        space.container = Some(id);
        match directory {
            Some(directory) => self.physical.load(directory.pml4),
            None => {
                let (global, changed) = (space.global, space.window != window);
                space.window = window;
                if changed {
                    self.counts.window_switches += 1;
                    let index = slot(WINDOW.start, 2);
                    match window {
                        Some(table) => directory::set(&mut self.physical, global.window_directory, index, table, TABLE),
                        None => self.physical.table_mut(global.window_directory)[index].set_unused(),
                    }
                }
                self.physical.load(global.pml4);
            }
        }
    }

    /// Puts no container before a CPU: it runs on its global directory with an empty window.
    fn deactivate(&mut self, cpu: usize) {
        let space = &mut self.cpus[cpu];
        space.container = None;
        space.window = None;
        let global = space.global;
        self.physical.table_mut(global.window_directory)[slot(WINDOW.start, 2)].set_unused();
        self.physical.load(global.pml4);
    }

    /// Ends a container: everything that it had mapped is released, and its tables and directory.
    pub fn destroy_container(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get(id) else { return };
        let window = container.window;
        for cpu in 0..self.cpus.len() {
            let space = &self.cpus[cpu];
            if space.container == Some(id) || (window.is_some() && space.window == window) {
                self.deactivate(cpu);
            }
        }
        let Some(container) = self.containers.remove(id) else { return };
        let clear = |memory: &mut P, root, range| {
            directory::change_entries(memory, root, range, false, &mut |memory, _, entry| {
                if let Some(frame) = directory::frame_of(&entry) {
                    memory.release(frame);
                }
                x86_64::structures::paging::page_table::PageTableEntry::new()
            });
        };
        match container.directory {
            Some(PageDirectory { pml4, .. }) => {
                let root = Root { table: pml4, level: 4 };
                clear(&mut self.physical, root, 0..PACKAGES.start);
                clear(&mut self.physical, root, PACKAGES.end..USER_END);
                // The window's page table hangs in the directory and goes with it.
                directory::release(&mut self.physical, pml4);
                self.counts.directories_live -= 1;
            }
            None => {
                if let Some(table) = container.window {
                    clear(&mut self.physical, Root { table, level: 1 }, WINDOW);
                    self.physical.release(table);
                }
            }
        }
        for region in container.regions.iter() {
            if let Some(object) = region.backing.object() {
                self.release_object(object);
            }
        }
    }
}
