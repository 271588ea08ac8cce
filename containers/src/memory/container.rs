//! Containers: protection domains. For example, a native program begins in a container of two frames, the window's page
//! table and one page of stack; a Linux program's container has a page directory from the start.

use crate::arena::Id;
use crate::frames::Frame;
use crate::ids::ThreadId;
use crate::memory::directory::{self, Root, WINDOW};
use crate::memory::fork::PartialFork;
use crate::memory::object::ObjectId;
use crate::memory::region::Regions;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Range;
use cpulocal::{Cpu, CpuSet};
use x86_64::PhysAddr;

/// Limits to which the [growing](crate::Traits::GROWS) regions of a container may grow, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Growth {
    /// The greatest size of the region that grows.
    pub region: u64,
    /// The greatest size of all regions together.
    pub all: u64,
}

/// A protection domain: an address space and what has been mapped in it.
///
/// A container starts with the window's page table alone and runs in its CPU's global page directory. A page outside
/// the window, or a second thread, gives it a page directory of its own (papers/001 section 2.3 and figure 4).
pub struct Container {
    /// The window's page table; `None` in a container that was made with a page directory.
    pub(crate) window: Option<Frame>,
    /// The container page directory, if there is one yet.
    pub(crate) directory: Option<PageDirectory>,
    /// Last-level tables that software page-table walks have found.
    pub(crate) table_cache: TableCache,
    /// The CPUs on which it is active, in whichever page directory.
    pub(crate) active: CpuSet,
    /// The regions of the address space. Containers that are made from the same package share them, until a container
    /// changes its regions ([`Container::regions_mut`]).
    pub regions: Rc<Regions>,
    /// Frames that the container uses: pages, page tables and page directories.
    pub(crate) pages: u32,
    /// Of these, page tables and page directories.
    pub(crate) tables: u32,
    /// The file of the program that its processes run, if it is a file.
    pub(crate) program: Option<ObjectId>,
    /// The number of processes in it; the container ends with the last one.
    pub processes: u32,
    /// The lowest and the current end of the heap that `brk` moves.
    pub heap: (u64, u64),
    /// The address below which new mappings look for room. A Linux program's stack lies above.
    pub mappings_end: u64,
    /// Limits of the growing regions.
    pub growth: Growth,
    /// The thread whose call is at a preemption point while it changes the address space. Calls of other threads wait
    /// until it is over.
    pub changed_by: Option<ThreadId>,
    /// The child of a fork that is not complete yet.
    pub(crate) partial_fork: Option<PartialFork>,
    /// Whether CPUs that the kernel does not know may run in its page directory.
    pub(crate) is_accompanied: bool,
    /// Whether the container has ended and is being torn down.
    pub(crate) is_gone: bool,
    /// The next container in the teardown queue.
    pub(crate) next_teardown: Option<ContainerId>,
}

/// Names a [`Container`].
pub type ContainerId = Id<Container>;

/// A container page directory, the CPU that owns it, and the copies of all other CPUs that run the container.
///
/// The owner's directory is authoritative. A copy has those of its user entries that its CPU has needed so far, and the
/// kernel's half of its own CPU.
#[derive(Debug)]
pub(crate) struct PageDirectory {
    pub(crate) pml4: Frame,
    /// The first CPU that ran on the directory; `None` before that.
    pub(crate) owner: Option<Cpu>,
    /// The CPU from whose global directory the kernel's half comes.
    pub(crate) kernel_half: Cpu,
    pub(crate) copies: Vec<(Cpu, Frame)>,
}

impl PageDirectory {
    /// The copy of a CPU that is not the owner.
    pub(crate) fn copy_of(&self, cpu: Cpu) -> Option<Frame> {
        self.copies.iter().find(|(owner, _)| *owner == cpu).map(|(_, copy)| *copy)
    }
}

/// A cache of last-level tables, indexed by the number of the 2 MiB that each spans: the software counterpart of a
/// CPU's paging-structure cache.
pub(crate) struct TableCache {
    numbers: [u32; TableCache::SLOTS],
    tables: [Frame; TableCache::SLOTS],
}

impl TableCache {
    /// An empty cache: no user address has this number.
    pub(crate) const EMPTY: TableCache = TableCache {
        numbers: [u32::MAX; TableCache::SLOTS],
        tables: [Frame::containing(PhysAddr::zero()); TableCache::SLOTS],
    };

    /// Slots; each number belongs to one of them (direct mapped).
    const SLOTS: usize = 8;

    /// The number of a user address's 2 MiB, and its slot. Stacks and mappings often end at multiples of 1 GiB, so bits
    /// of the number of the 1 GiB also select the slot: otherwise such tables would evict each other.
    #[inline]
    fn place(address: u64) -> (u32, usize) {
        let number = (address / directory::span(2)) as u32;
        (number, (number ^ number >> 9) as usize % TableCache::SLOTS)
    }

    /// The table for a user address, if it is cached.
    #[inline]
    pub(crate) fn table(&self, address: u64) -> Option<Frame> {
        let (number, place) = TableCache::place(address);
        (self.numbers[place] == number).then_some(self.tables[place])
    }

    /// Caches the table for a user address.
    pub(crate) fn keep(&mut self, address: u64, table: Frame) {
        let (number, place) = TableCache::place(address);
        (self.numbers[place], self.tables[place]) = (number, table);
    }

    /// Empties the cache: to be called when tables have been released.
    pub(crate) fn forget(&mut self) {
        self.numbers = [u32::MAX; TableCache::SLOTS];
    }
}

/// What a container uses, for statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Frames in all.
    pub pages: u32,
    /// Of these, page tables and page directories.
    pub tables: u32,
    /// Page directories, the CPUs' copies included: 0 while it runs in the global one.
    pub directories: u32,
    /// Processes in it.
    pub processes: u32,
    /// The CPU that owns the container page directory, once one has run on it.
    pub owner: Option<Cpu>,
}

impl Container {
    /// The root of a page-table walk through the whole container.
    #[inline]
    pub(crate) fn root(&self) -> Option<Root> {
        let directory = self.directory.as_ref().map(|directory| Root { table: directory.pml4, level: 4 });
        directory.or(self.window.map(|table| Root { table, level: 1 }))
    }

    /// The root of a page-table walk for `address`, if the container's tables reach it at all.
    #[inline]
    pub(crate) fn root_for(&self, address: u64) -> Option<Root> {
        self.root().filter(|root| root.level == 4 || WINDOW.contains(&address))
    }

    /// The root of a page-table walk through `range`, and the part of the range that the container's tables reach.
    #[inline]
    pub(crate) fn reach(&self, range: Range<u64>) -> Option<(Root, Range<u64>)> {
        let range = match &self.directory {
            Some(_) => range,
            None => range.start.max(WINDOW.start)..range.end.min(WINDOW.end),
        };
        self.root_for(range.start).filter(|_| !range.is_empty()).map(|root| (root, range))
    }

    /// The regions, to be changed: others that share them keep them as they are.
    #[inline]
    pub fn regions_mut(&mut self) -> &mut Regions {
        Rc::make_mut(&mut self.regions)
    }

    /// The start of the highest free range of `length` bytes, a multiple of the page size, for a mapping that does not
    /// ask for an address.
    pub fn room_for(&mut self, length: u64) -> Option<u64> {
        let end = self.mappings_end;
        self.regions_mut().gap_below(directory::PACKAGES.end..end, length)
    }

    /// The address to which a mapping of `length` bytes at `from` can move. A mapping of at least 2 MiB gets, if
    /// possible, an address with an unchanged distance from a multiple of 2 MiB: then whole last-level tables move
    /// instead of single pages.
    pub fn room_for_move(&mut self, from: u64, length: u64) -> Option<u64> {
        const SPAN: u64 = directory::span(2);
        let large = (length >= SPAN).then(|| self.room_for(length + SPAN)).flatten();
        large.map(|room| room + from.wrapping_sub(room) % SPAN).or_else(|| self.room_for(length))
    }

    /// What the container uses now.
    pub fn usage(&self) -> Usage {
        Usage {
            pages: self.pages,
            tables: self.tables,
            directories: self.directory.as_ref().map_or(0, |directory| 1 + directory.copies.len() as u32),
            processes: self.processes,
            owner: self.directory.as_ref().and_then(|directory| directory.owner),
        }
    }
}
