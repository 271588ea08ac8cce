//! The memory subsystem: frames, memory objects and containers in one owner.
//!
//! [`Memory`] makes and destroys containers and activates them on a CPU; [`crate::memory::fault`] delivers pages,
//! [`crate::memory::mapping`] changes regions, [`crate::memory::user`] reaches user memory. For example, a context
//! switch on CPU 1 calls [`Memory::activate`], which loads the page directory that CPU 1 has for the thread's
//! container. The subsystem is generic over the machine, so all of it runs on the host.

mod companions;
pub mod container;
pub mod directory;
pub mod fault;
pub mod fork;
mod gaps;
pub mod mapping;
mod max_tree;
pub mod object;
pub mod physical;
pub mod reclaim;
pub mod region;
mod relocate;
pub mod teardown;
pub mod user;

use self::directory::{Root, TABLE, WINDOW, slot};
use crate::arena::{Arena, Full};
use crate::budget::Budget;
use crate::frames::Frame;
use crate::memory::container::{Container, ContainerId, Growth, PageDirectory, TableCache, Usage};
use crate::memory::object::{Account, Object};
use crate::memory::physical::{OutOfFrames, PhysicalMemory, Translation};
use crate::memory::region::Regions;
use crate::memory::teardown::TeardownQueue;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;
use cpulocal::{Cpu, CpuSet};
use x86_64::structures::paging::PageTableFlags as Flags;
use x86_64::structures::paging::page_table::PageTableEntry;

/// Frames that user pages leave to the kernel, so that page tables and control blocks can still be made when programs
/// have used up the rest.
pub const KERNEL_RESERVE: usize = 128;

/// The greatest numbers of containers and memory objects.
const MAX_CONTAINERS: u32 = 16_384;
const MAX_OBJECTS: u32 = 131_072;

/// A CPU's global page directory, made at boot.
#[derive(Clone, Copy, Debug)]
pub struct GlobalDirectory {
    /// The page directory.
    pub pml4: Frame,
    /// The third-level table whose entry for the window is changed at a context switch.
    pub window_directory: Frame,
}

/// The address space of a CPU: the container that is active there, and how.
///
/// **Invariant:** while a CPU runs on its global directory, the window in it is that of `container`, or empty. So a CPU
/// that is not in a container's `active` set cannot reach the container's pages.
pub(crate) struct CpuSpace {
    pub(crate) global: GlobalDirectory,
    /// The page directory that it runs on.
    loaded: Frame,
    /// The window's page table that the global directory points at.
    window: Option<Frame>,
    /// The container whose page directory (or window) is loaded.
    container: Option<ContainerId>,
}

impl CpuSpace {
    fn new(global: GlobalDirectory) -> CpuSpace {
        CpuSpace { global, loaded: global.pml4, window: None, container: None }
    }

    /// Points the window of the CPU's global directory at a page table, or at nothing.
    #[inline]
    fn set_window(&mut self, physical: &mut impl PhysicalMemory, window: Option<Frame>) {
        self.window = window;
        let (table, index) = (self.global.window_directory, slot(WINDOW.start, 2));
        match window {
            Some(window) => directory::set(physical, table, index, window, TABLE),
            None => physical.set_entry(table, index, PageTableEntry::new()),
        }
    }

    /// Loads a container's page tables on this CPU, `cpu`. Returns the container that it has left.
    #[inline(always)]
    fn load(
        &mut self,
        (id, container): (ContainerId, &mut Container),
        cpu: Cpu,
        Prepared(directory): Prepared,
        physical: &mut (impl PhysicalMemory + Translation),
        counts: &mut Counts,
    ) -> Option<ContainerId> {
        container.active.insert(cpu);
        if directory.is_none() && self.window != container.window {
            counts.window_switches += 1;
            self.set_window(physical, container.window);
        }
        self.loaded = directory.unwrap_or(self.global.pml4);
        physical.load(self.loaded);
        self.container.replace(id).filter(|before| *before != id)
    }

    /// Whether the CPU runs this container in its global directory.
    pub(crate) fn runs_in_window(&self, id: ContainerId) -> bool {
        self.container == Some(id) && self.loaded == self.global.pml4
    }
}

/// Counts since boot (DESIGN: every count of the page-directory rules is a statistic).
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    /// Containers made.
    pub containers_made: u64,
    /// Container page directories made.
    pub directories_made: u64,
    /// Container page directories that exist.
    pub directories_live: u64,
    /// How often the window's entry of a global directory was changed.
    pub window_switches: u64,
    /// Page faults that delivered or copied a page.
    pub faults_resolved: u64,
    /// Copies of container page directories made for a CPU.
    pub copies_made: u64,
    /// Such copies that exist.
    pub copies_live: u64,
    /// Page faults that only had to bring an entry of the container's page directory into the CPU's copy of it.
    pub spurious_directory: u64,
    /// Page faults whose page was mapped with the rights needed: a stale TLB entry.
    pub spurious_tlb: u64,
    /// How often CPUs were interrupted because rights or a container had been taken away.
    pub shootdowns: u64,
    /// The sum of CPUs interrupted for that.
    pub shootdown_cpus: u64,
    /// Pages copied on write.
    pub pages_copied: u64,
    /// Sums of what containers used when they ended: pages of programs, page tables, page directories.
    pub used_at_end: [u64; 3],
}

/// Frames, memory objects and containers.
pub struct Memory<P> {
    /// The machine's memory.
    pub physical: P,
    pub(crate) objects: Arena<Object>,
    /// The pages of objects, by [`Purpose`](crate::memory::object::Purpose).
    pub(crate) accounts: [Account; 3],
    pub(crate) containers: Arena<Container>,
    pub(crate) cpus: Vec<CpuSpace>,
    /// Frames that are reserved for small containers; [`KERNEL_RESERVE`] of them for the kernel.
    pub(crate) reserve: usize,
    /// Containers and objects that are still to be torn down.
    pub(crate) teardown: TeardownQueue,
    /// Statistics.
    pub counts: Counts,
}

/// The reason why a container or a mapping could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoMemory {
    /// No frame is left.
    Frames,
    /// The number of containers, objects or regions has reached its limit.
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
impl From<region::TooMany> for NoMemory {
    fn from(_: region::TooMany) -> NoMemory {
        NoMemory::Limit
    }
}

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// Takes over the machine's memory; `globals` are the global page directories of the CPUs that are up, by number.
    pub fn new(physical: P, globals: impl IntoIterator<Item = GlobalDirectory>) -> Memory<P> {
        Memory {
            physical,
            objects: Arena::new(MAX_OBJECTS),
            accounts: [Account::UNBOUNDED; 3],
            containers: Arena::new(MAX_CONTAINERS),
            cpus: globals.into_iter().map(CpuSpace::new).collect(),
            reserve: KERNEL_RESERVE,
            teardown: TeardownQueue::default(),
            counts: Counts::default(),
        }
    }

    /// Adds a CPU, which runs on this global page directory. Allocates.
    pub fn add_cpu(&mut self, global: GlobalDirectory) {
        self.cpus.push(CpuSpace::new(global));
    }

    /// The number of CPUs that are up.
    pub fn cpu_count(&self) -> usize {
        self.cpus.len()
    }

    /// Reserves this number of frames for small containers, so that a user can still log in and look around when memory
    /// is used up: see [`Memory::leave_reserve`].
    pub fn keep_reserve(&mut self, frames: usize) {
        self.reserve = frames.max(KERNEL_RESERVE);
    }

    /// Free frames outside of the reserve.
    pub fn available(&self) -> usize {
        self.physical.free_frames().saturating_sub(self.reserve)
    }

    /// Allocates a zeroed frame for user data, for a container that has `holder` pages already.
    pub fn allocate_user(&mut self, holder: u32) -> Result<Frame, OutOfFrames> {
        self.leave_reserve(holder)?;
        self.physical.allocate()
    }

    /// Checks that a container with `holder` pages may take a frame. Outside of the reserve any may. A frame of the
    /// reserve goes only to a container with fewer pages than there are free frames: the fewer are free, the smaller a
    /// container must be. The last [`KERNEL_RESERVE`] are the kernel's own. Teardown work is done first if that frees
    /// frames.
    pub(crate) fn leave_reserve(&mut self, holder: u32) -> Result<(), OutOfFrames> {
        if self.physical.free_frames() <= self.reserve {
            self.make_room(self.reserve + 1, &mut Budget::unlimited());
        }
        let free = self.physical.free_frames();
        let enough = free > self.reserve || free > KERNEL_RESERVE && (holder as usize) < free;
        if enough && self.physical.has_room_for_bookkeeping() { Ok(()) } else { Err(OutOfFrames) }
    }

    /// Makes a container of two frames: the window's page table and the writable page at the window's top, the first of
    /// its stack. Its regions are `regions`, shared with their other owners until it changes them; it takes references
    /// to their objects.
    pub fn make_container(&mut self, regions: &Rc<Regions>) -> Result<ContainerId, NoMemory> {
        let stack = self.allocate_user(0)?;
        let (id, table) = self.make_window(Rc::clone(regions), 1).inspect_err(|_| self.physical.release(stack))?;
        let flags = Flags::PRESENT | Flags::WRITABLE | Flags::USER_ACCESSIBLE | Flags::NO_EXECUTE;
        directory::set(&mut self.physical, table, 511, stack, flags);
        regions.iter().filter_map(|region| region.backing.object()).for_each(|object| self.share_object(object));
        Ok(id)
    }

    /// Makes a container with a page table for the window, which it returns too, and counts `pages`, which the caller
    /// enters in the table. The regions have their references already. Like every page table, this one may come out of
    /// the kernel's reserve, so the caller has checked that user pages have left it ([`Memory::leave_reserve`]).
    #[inline]
    pub(crate) fn make_window(&mut self, regions: Rc<Regions>, pages: u32) -> Result<(ContainerId, Frame), NoMemory> {
        let table = self.physical.allocate()?;
        let made = self.insert_container(Some(table), 1 + pages, regions);
        made.map(|id| (id, table)).inspect_err(|_| self.physical.release(table))
    }

    /// Makes a container with a page directory from the start, for programs that choose addresses outside the window.
    /// The first CPU that runs it will own the directory, whichever made it.
    pub fn make_container_with_directory(&mut self, cpu: Cpu) -> Result<ContainerId, NoMemory> {
        if self.physical.free_frames() <= KERNEL_RESERVE {
            return Err(NoMemory::Frames);
        }
        let id = self.insert_container(None, 0, Rc::default())?;
        match self.make_directory(id, cpu) {
            Ok(()) => Ok(id),
            Err(error) => {
                self.containers.remove(id);
                Err(error.into())
            }
        }
    }

    #[inline]
    fn insert_container(
        &mut self,
        window: Option<Frame>,
        pages: u32,
        regions: Rc<Regions>,
    ) -> Result<ContainerId, NoMemory> {
        let id = self.containers.insert_named(|_| Container {
            window,
            directory: None,
            table_cache: TableCache::EMPTY,
            active: CpuSet::NONE,
            regions,
            pages,
            tables: u32::from(window.is_some()),
            program: None,
            processes: 0,
            heap: (0, 0),
            mappings_end: directory::USER_END,
            growth: Growth::default(),
            changed_by: None,
            partial_fork: None,
            is_accompanied: false,
            is_gone: false,
            next_teardown: None,
        })?;
        self.counts.containers_made += 1;
        Ok(id)
    }

    /// Gives the container a page directory if it has none (papers/001 figure 4c). Called on `cpu` when it touches a
    /// page outside the window or gets a second thread. A CPU that runs the container owns the directory from now on;
    /// if there is none, the first one that will.
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
                    let root = Root { table: pml4, level: 4 };
                    directory::release(&mut self.physical, root, &mut Budget::unlimited(), &mut 0);
                    return Err(error);
                }
            }
        }
        if let Some(container) = self.containers.get_mut(id) {
            container.directory = Some(PageDirectory { pml4, owner: None, kernel_half: cpu, copies: Vec::new() });
            container.pages += made;
            container.tables += made;
        }
        self.counts.directories_made += 1;
        self.counts.directories_live += 1;
        if self.cpus[usize::from(cpu.0)].container == Some(id) {
            self.switch(id, cpu)?;
        }
        Ok(())
    }

    /// Makes the two tables above the window's page table in a container page directory; returns their number.
    fn link_window(&mut self, pml4: Frame, table: Frame) -> Result<u32, OutOfFrames> {
        let third = self.physical.allocate()?;
        directory::set(&mut self.physical, pml4, slot(WINDOW.start, 4), third, TABLE);
        let second = self.physical.allocate()?;
        directory::set(&mut self.physical, third, slot(WINDOW.start, 3), second, TABLE);
        directory::set(&mut self.physical, second, slot(WINDOW.start, 2), table, TABLE);
        Ok(2)
    }

    /// The container with this name.
    pub fn container(&self, id: ContainerId) -> Option<&Container> {
        self.containers.get(id)
    }

    /// The container with this name, to be changed.
    pub fn container_mut(&mut self, id: ContainerId) -> Option<&mut Container> {
        self.containers.get_mut(id)
    }

    /// The number of containers.
    pub fn containers_live(&self) -> u32 {
        self.containers.live()
    }

    /// Activates a container on this CPU, `cpu`, unless it is active there: [prepares](Memory::prepare) its page tables
    /// for the CPU and [loads](Memory::load) them.
    #[inline]
    pub fn activate(&mut self, id: ContainerId, cpu: Cpu) -> Result<(), OutOfFrames> {
        if self.cpus[usize::from(cpu.0)].container != Some(id) { self.switch(id, cpu) } else { Ok(()) }
    }

    /// [Prepares](Memory::prepare) and [loads](Memory::load), with one search for the container.
    pub(crate) fn switch(&mut self, id: ContainerId, cpu: Cpu) -> Result<(), OutOfFrames> {
        let Some(container) = self.containers.get_mut(id) else { return Ok(()) };
        let space = &mut self.cpus[usize::from(cpu.0)];
        let prepared = prepare(container, cpu, space.global.pml4, &mut self.physical, &mut self.counts)?;
        let before = space.load((id, container), cpu, prepared, &mut self.physical, &mut self.counts);
        self.is_left(before, cpu);
        Ok(())
    }

    /// Makes a container's page tables ready for a CPU, which need not be the one that asks.
    ///
    /// A second CPU needs a frame for its copy of the directory, from the kernel's reserve. If there is none, the
    /// container's threads cannot run on that CPU.
    pub fn prepare(&mut self, id: ContainerId, cpu: Cpu) -> Result<Prepared, OutOfFrames> {
        let Some(container) = self.containers.get_mut(id) else { return Ok(Prepared(None)) };
        let global = self.cpus[usize::from(cpu.0)].global.pml4;
        prepare(container, cpu, global, &mut self.physical, &mut self.counts)
    }

    /// Loads a container's page tables on this CPU, `cpu`, for which they are prepared: the page directory that the CPU
    /// has for the container or, while the container has none, the CPU's global directory, whose window then points at
    /// the container's page table.
    pub fn load(&mut self, id: ContainerId, cpu: Cpu, prepared: Prepared) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let space = &mut self.cpus[usize::from(cpu.0)];
        let before = space.load((id, container), cpu, prepared, &mut self.physical, &mut self.counts);
        self.is_left(before, cpu);
    }

    /// Notes that a CPU has left a container.
    #[inline(always)]
    fn is_left(&mut self, container: Option<ContainerId>, cpu: Cpu) {
        if let Some(container) = container.and_then(|id| self.containers.get_mut(id)) {
            container.active.remove(cpu);
        }
    }

    /// Notes that a CPU runs no container, on its global directory with an empty window. The caller makes the CPU load
    /// it.
    fn detach(&mut self, cpu: Cpu) {
        let space = &mut self.cpus[usize::from(cpu.0)];
        space.loaded = space.global.pml4;
        space.set_window(&mut self.physical, None);
        if let Some(container) = space.container.take().and_then(|id| self.containers.get_mut(id)) {
            container.active.remove(cpu);
        }
    }

    /// Takes this CPU off its container.
    fn deactivate(&mut self, cpu: Cpu) {
        self.detach(cpu);
        self.physical.load(self.cpus[usize::from(cpu.0)].global.pml4);
    }

    /// Called when this CPU becomes idle. If there are other CPUs, it leaves its container, so that a shootdown need
    /// not wake it. A single CPU keeps the container, and a thread that comes back finds it active.
    pub fn rest(&mut self, cpu: Cpu) {
        if self.cpus.len() > 1 && self.cpus[usize::from(cpu.0)].container.is_some() {
            self.deactivate(cpu);
        }
    }

    /// Takes other CPUs out of user mode and off their containers, before this CPU ends threads that run there. They
    /// must activate anew what they run afterwards.
    #[inline]
    pub fn vacate(&mut self, cpus: CpuSet) {
        if !cpus.is_empty() {
            self.vacate_some(cpus);
        }
    }

    #[cold]
    fn vacate_some(&mut self, cpus: CpuSet) {
        cpus.iter().for_each(|cpu| self.detach(cpu));
        self.physical.vacate(cpus);
        self.counts.shootdowns += 1;
        self.counts.shootdown_cpus += u64::from(cpus.len());
    }

    /// Makes the CPUs that run a container forget translations (a TLB shootdown); returns when all have. The caller
    /// works for the container on one of them, if there are any; the rest are interrupted.
    pub(crate) fn forget(&mut self, id: ContainerId, range: Range<u64>) {
        let Some(container) = self.containers.get(id) else { return };
        let active = container.active;
        if container.is_accompanied {
            self.forget_accompanied(id);
        }
        if active.is_empty() {
            return;
        }
        self.physical.invalidate(active, range);
        if active.len() > 1 {
            self.counts.shootdowns += 1;
            self.counts.shootdown_cpus += u64::from(active.len() - 1);
        }
    }

    /// Ends a container, on `cpu`: releases its pages, tables and directories, at once or later. A CPU that still runs
    /// it is taken off it.
    pub fn destroy_container(&mut self, id: ContainerId, cpu: Cpu) {
        let Some(container) = self.containers.get(id) else { return };
        let (active, window) = (container.active, container.window);
        self.vacate(active.without(cpu));
        if active.contains(cpu) {
            self.deactivate(cpu);
        }
        // The window of a global directory that its CPU does not run on may still point at the container.
        for space in self.cpus.iter_mut().filter(|space| window.is_some() && space.window == window) {
            space.set_window(&mut self.physical, None);
        }
        let Some(container) = self.containers.get_mut(id) else { return };
        container.is_gone = true;
        object::set_program(&mut self.objects, container, None);
        let Usage { pages, tables, directories, .. } = container.usage();
        let [programs, of_tables, of_directories] = &mut self.counts.used_at_end;
        *programs += u64::from(pages - tables);
        *of_tables += u64::from(tables - directories);
        *of_directories += u64::from(directories);
        if let Some(PageDirectory { copies, .. }) = &mut container.directory {
            container.pages -= copies.len() as u32;
            self.counts.directories_live -= 1;
            self.counts.copies_live -= copies.len() as u64;
            copies.drain(..).for_each(|(_, copy)| self.physical.release(copy));
        }
        self.discard_container(id);
    }
}

/// The page directory that is ready for a container on a CPU; `None` while the container is in the window. What changes
/// a container's directories needs the same [`Memory`], so this is loaded before anything can come in between.
#[must_use = "page tables that are prepared are to be loaded"]
pub struct Prepared(Option<Frame>);

/// Makes ready the page directory on which a CPU, whose global one is `global`, runs a container. The owner uses the
/// container's directory, any other CPU a copy, which is made at its first visit.
#[inline]
fn prepare(
    container: &mut Container,
    cpu: Cpu,
    global: Frame,
    physical: &mut impl PhysicalMemory,
    counts: &mut Counts,
) -> Result<Prepared, OutOfFrames> {
    let Some(directory) = &mut container.directory else { return Ok(Prepared(None)) };
    if directory.owner.is_none() && directory.kernel_half != cpu {
        directory::copy_kernel_half(physical, global, directory.pml4);
        directory.kernel_half = cpu;
    }
    if *directory.owner.get_or_insert(cpu) == cpu {
        return Ok(Prepared(Some(directory.pml4)));
    }
    if let Some(copy) = directory.copy_of(cpu) {
        return Ok(Prepared(Some(copy)));
    }
    directory.copies.try_reserve(1).map_err(|_| OutOfFrames)?;
    let copy = directory::copy_for(physical, directory.pml4, global)?;
    directory.copies.push((cpu, copy));
    container.pages += 1;
    container.tables += 1;
    counts.copies_made += 1;
    counts.copies_live += 1;
    Ok(Prepared(Some(copy)))
}
