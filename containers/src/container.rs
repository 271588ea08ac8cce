//! Containers: protection domains.

use crate::arena::Id;
use crate::directory::{Root, WINDOW};
use crate::frames::Frame;
use crate::region::Regions;
use core::ops::Range;

/// A CPU's number, counted from 0 in the order in which they came up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Cpu(pub u8);

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
    /// What the address space promises.
    pub regions: Regions,
    /// Frames that the container has in use: pages, page tables and directories.
    pub(crate) pages: u32,
    /// Of these, page tables and page directories.
    pub(crate) tables: u32,
    /// Processes in it; the last one's end is the container's.
    pub processes: u32,
    /// The heap's end as `brk` knows it: lowest and current.
    pub heap: (u64, u64),
}

/// Names a [`Container`].
pub type ContainerId = Id<Container>;

/// A container page directory and the CPU that owns it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageDirectory {
    pub(crate) pml4: Frame,
    pub(crate) owner: Cpu,
}

/// What a container uses, for statistics and for the curious.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Frames in all.
    pub pages: u32,
    /// Of these, page tables and page directories.
    pub tables: u32,
    /// Page directories: 0 while it runs in the global one.
    pub directories: u32,
    /// Processes in it.
    pub processes: u32,
    /// The CPU that owns the container page directory.
    pub owner: Option<Cpu>,
}

impl Container {
    /// Where a walk for `address` starts, if the container's tables reach it at all.
    pub(crate) fn root_for(&self, address: u64) -> Option<Root> {
        match (&self.directory, self.window) {
            (Some(directory), _) => Some(Root { table: directory.pml4, level: 4 }),
            (None, Some(table)) if WINDOW.contains(&address) => Some(Root { table, level: 1 }),
            _ => None,
        }
    }

    /// Where a walk through `range` starts, and the part of it that the container's tables reach.
    pub(crate) fn reach(&self, range: Range<u64>) -> Option<(Root, Range<u64>)> {
        let range = match self.directory {
            Some(_) => range,
            None => range.start.max(WINDOW.start)..range.end.min(WINDOW.end),
        };
        self.root_for(range.start).filter(|_| !range.is_empty()).map(|root| (root, range))
    }

    /// What it uses now.
    pub fn usage(&self) -> Usage {
        Usage {
            pages: self.pages,
            tables: self.tables,
            directories: u32::from(self.directory.is_some()),
            processes: self.processes,
            owner: self.directory.map(|directory| directory.owner),
        }
    }
}
