//! Containers: protection domains.

use crate::arena::Id;
use crate::frames::Frame;
use crate::ids::ThreadId;
use crate::memory::directory::{self, Root, WINDOW};
use crate::memory::fork::Begun;
use crate::memory::object::ObjectId;
use crate::memory::region::Regions;
use alloc::vec::Vec;
use core::ops::Range;
use cpulocal::{Cpu, CpuSet};
use x86_64::PhysAddr;

/// How far the regions of a container may [grow](crate::Traits::GROWS), in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Growth {
    /// What the one that grows may have then.
    pub region: u64,
    /// What all of them may have then.
    pub all: u64,
}

/// A protection domain: an address space and what has been mapped in it.
///
/// It starts with the window's page table alone and runs in its CPU's global page directory. What
/// lies outside the window, or a second thread, gives it a page directory of its own (papers/001
/// section 2.3 and figure 4).
pub struct Container {
    /// The window's page table; a container made with a directory has none.
    pub(crate) window: Option<Frame>,
    /// The container page directory, once there is one.
    pub(crate) directory: Option<PageDirectory>,
    /// Last-level tables that the kernel has walked to or made.
    pub(crate) walked: Walked,
    /// The CPUs that have it before them, in whichever page directory.
    pub(crate) active: CpuSet,
    /// What the address space promises.
    pub regions: Regions,
    /// Frames that the container has in use: pages, page tables and directories.
    pub(crate) pages: u32,
    /// Of these, page tables and page directories.
    pub(crate) tables: u32,
    /// The program that its processes run, as far as that is a file's.
    pub(crate) program: Option<ObjectId>,
    /// Processes in it; the last one's end is the container's.
    pub processes: u32,
    /// The heap's end as `brk` knows it: lowest and current.
    pub heap: (u64, u64),
    /// Below it, new mappings look for room; a Linux program's stack lies above.
    pub mappings_end: u64,
    /// How far regions grow.
    pub growth: Growth,
    /// The thread whose call has left the kernel while it changes the address space. Others wait until it is over.
    pub changed_by: Option<ThreadId>,
    /// A child that a fork has begun to make, and not ended yet.
    pub(crate) begun: Option<Begun>,
    /// It has ended, and is being taken apart.
    pub(crate) is_gone: bool,
    /// The next container that is being taken apart.
    pub(crate) next_of_remains: Option<ContainerId>,
}

/// Names a [`Container`].
pub type ContainerId = Id<Container>;

/// A container page directory, the CPU that owns it, and the other CPUs' copies.
///
/// The directory is the container's truth. A copy has the same user slots, as far as its CPU has needed
/// them, and the kernel's half of its CPU.
#[derive(Debug)]
pub(crate) struct PageDirectory {
    pub(crate) pml4: Frame,
    /// The first CPU that ran on it; none did before.
    pub(crate) owner: Option<Cpu>,
    /// The CPU from whose global directory the kernel's half comes.
    pub(crate) kernel_half: Cpu,
    pub(crate) copies: Vec<(Cpu, Frame)>,
}

impl PageDirectory {
    /// The copy that a CPU has, being not the owner.
    pub(crate) fn copy_of(&self, cpu: Cpu) -> Option<Frame> {
        self.copies.iter().find(|(owner, _)| *owner == cpu).map(|(_, copy)| *copy)
    }
}

/// Last-level tables that have been walked to, by the number of the 2 MiB that each spans: the kernel's own
/// paging-structure cache.
pub(crate) struct Walked {
    numbers: [u32; Walked::PLACES],
    tables: [Frame; Walked::PLACES],
}

impl Walked {
    /// A number has one place.
    const PLACES: usize = 8;

    /// The number of a user address's 2 MiB, and its place. Stacks and the like often end where 1 GiB does: so that they
    /// do not drive each other out, the number of that counts too.
    #[inline]
    fn place(address: u64) -> (u32, usize) {
        let number = (address / directory::span(2)) as u32;
        (number, (number ^ number >> 9) as usize % Walked::PLACES)
    }

    /// The table for a user address, if it is known.
    #[inline]
    pub(crate) fn table(&self, address: u64) -> Option<Frame> {
        let (number, place) = Walked::place(address);
        (self.numbers[place] == number).then_some(self.tables[place])
    }

    /// Keeps the table for a user address in mind.
    pub(crate) fn keep(&mut self, address: u64, table: Frame) {
        let (number, place) = Walked::place(address);
        (self.numbers[place], self.tables[place]) = (number, table);
    }

    /// Forgets them all: to be called when tables have been released.
    pub(crate) fn forget(&mut self) {
        self.numbers = [u32::MAX; Walked::PLACES];
    }
}

impl Default for Walked {
    /// None: no user address has this number.
    fn default() -> Self {
        Walked { numbers: [u32::MAX; Walked::PLACES], tables: [Frame::containing(PhysAddr::zero()); Walked::PLACES] }
    }
}

/// What a container uses, for statistics and for the curious.
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
    /// Where a walk through all of it starts.
    #[inline]
    pub(crate) fn root(&self) -> Option<Root> {
        let directory = self.directory.as_ref().map(|directory| Root { table: directory.pml4, level: 4 });
        directory.or(self.window.map(|table| Root { table, level: 1 }))
    }

    /// Where a walk for `address` starts, if the container's tables reach it at all.
    #[inline]
    pub(crate) fn root_for(&self, address: u64) -> Option<Root> {
        self.root().filter(|root| root.level == 4 || WINDOW.contains(&address))
    }

    /// Where a walk through `range` starts, and the part of it that the container's tables reach.
    #[inline]
    pub(crate) fn reach(&self, range: Range<u64>) -> Option<(Root, Range<u64>)> {
        let range = match &self.directory {
            Some(_) => range,
            None => range.start.max(WINDOW.start)..range.end.min(WINDOW.end),
        };
        self.root_for(range.start).filter(|_| !range.is_empty()).map(|root| (root, range))
    }

    /// The highest free range of so many bytes, a multiple of the page size, that a mapping may have without asking
    /// for an address.
    pub fn room_for(&mut self, length: u64) -> Option<u64> {
        self.regions.gap_below(directory::PACKAGES.end..self.mappings_end, length)
    }

    /// Where a mapping of `length` bytes at `from` can move to. A mapping of at least 2 MiB gets, if it can, an address
    /// at the same distance from a multiple of 2 MiB: then whole last-level tables move, and not each page by itself.
    pub fn room_for_move(&mut self, from: u64, length: u64) -> Option<u64> {
        const SPAN: u64 = directory::span(2);
        let large = (length >= SPAN).then(|| self.room_for(length + SPAN)).flatten();
        large.map(|room| room + from.wrapping_sub(room) % SPAN).or_else(|| self.room_for(length))
    }

    /// What it uses now.
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
