//! The quota of names: how much of the kernel's heap inodes and names may take.
//!
//! Inodes and names are in the kernel's heap, which a program must not be able to exhaust. They are counted in *units*
//! of [`UNIT`] bytes, about the size of an inode and a name together. For example, a file or device with its first name
//! takes one unit, each further name one, a directory two, and a link to a path of 1,000 bytes two. Inodes without
//! names (pipes and the like) take none, because the number of open files limits them.
//!
//! The quota is checked where programs make names ([`namespace`](crate::tree::namespace)). The names of the image are
//! counted and never refused; those of processes in `/proc` take none, because the number of processes limits them.

use crate::tree::Tree;
use crate::tree::inode::Kind;
use crate::{Errno, Result};

/// Bytes in a unit.
pub const UNIT: usize = 512;

/// The units of a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameQuota {
    /// The units taken; more than `limit` if the limit was set later.
    pub used: usize,
    /// The units that programs may take.
    pub limit: usize,
}

impl NameQuota {
    /// The units that are left.
    pub fn free(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }
}

/// The units of a directory.
pub(crate) const OF_DIRECTORY: usize = 2;

/// The units of a link to a path.
pub(crate) fn of_link(to: &[u8]) -> usize {
    1 + to.len() / UNIT
}

impl<C> Kind<C> {
    /// The units that a file of this kind takes with its first name.
    pub(crate) fn quota_units(&self) -> usize {
        match self {
            Kind::Regular { .. } | Kind::Device(_) | Kind::Extension(_) | Kind::Proc(..) => 1,
            Kind::Directory(_) => OF_DIRECTORY,
            Kind::Symlink(to) | Kind::Magic(_, to) => of_link(to),
            Kind::Pipe { .. } | Kind::Counter(..) | Kind::Epoll(_) => 0,
        }
    }
}

impl<C> Tree<C> {
    /// The units that the names take, and their limit.
    pub fn name_quota(&self) -> NameQuota {
        self.quota
    }

    /// Limits the units.
    pub fn set_name_limit(&mut self, limit: usize) {
        self.quota.limit = limit;
    }

    /// Whether `more` units are left: `ENOSPC`.
    pub(crate) fn check_quota(&self, more: usize) -> Result<()> {
        if more > self.quota.free() { Err(Errno::ENOSPC) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "../tests/quota.rs"]
mod tests;
