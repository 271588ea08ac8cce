//! How much of the kernel's memory names take, and the bound on it.
//!
//! Inodes and names live in the kernel's heap, which whoever makes many of them is not to fill. They are counted in
//! *places* of [`PLACE`] bytes, as large as an inode and a name together mostly are: a file or device with its first
//! name takes one, each further name one, a directory two, a link to a long path as many as the path needs. What has
//! no name (pipes and the like) takes none, for it is bounded by the number of open files.
//!
//! The bound is asked where programs make names ([`namespace`](crate::tree::namespace)). The names of the image are counted
//! and never refused; those of processes in `/proc` take none, being bounded by the number of processes.

use crate::tree::Tree;
use crate::tree::inode::Kind;
use crate::{Errno, Result};

/// Bytes of a place.
pub const PLACE: usize = 512;

/// Places in a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Places {
    /// How many are taken; more than `limit` if that was set late.
    pub used: usize,
    /// How many there are for programs to take.
    pub limit: usize,
}

impl Places {
    /// How many can still be taken.
    pub fn free(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }
}

/// Places of a directory.
pub(crate) const OF_DIRECTORY: usize = 2;

/// Places of a link to a path.
pub(crate) fn of_link(to: &[u8]) -> usize {
    1 + to.len() / PLACE
}

impl<C> Kind<C> {
    /// The places that a file of this kind takes with its first name.
    pub(crate) fn places(&self) -> usize {
        match self {
            Kind::Regular { .. } | Kind::Device(_) | Kind::Proc(..) => 1,
            Kind::Directory(_) => OF_DIRECTORY,
            Kind::Symlink(to) | Kind::Magic(_, to) => of_link(to),
            Kind::Pipe { .. } | Kind::Counter(..) | Kind::Epoll(_) => 0,
        }
    }
}

impl<C> Tree<C> {
    /// The places that its names take, and the bound on them.
    pub fn places(&self) -> Places {
        self.places
    }

    /// Bounds the places that programs may take.
    pub fn limit_places(&mut self, limit: usize) {
        self.places.limit = limit;
    }

    /// Whether so many more may be taken: `ENOSPC`.
    pub(crate) fn check_places(&self, more: usize) -> Result<()> {
        if more > self.places.free() { Err(Errno::ENOSPC) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "../tests/places.rs"]
mod tests;
