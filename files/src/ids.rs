//! Names of inodes and open files, in a module that both can use without using each other.

use crate::slot_map::Key;

/// Names an inode in a [`Tree`](crate::Tree); finds nothing once the inode is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InodeId(pub(crate) Key);

impl InodeId {
    /// The inode number that programs see: 1 for the root, unique among all existing inodes.
    pub fn number(self) -> u64 {
        u64::from(self.0.index()) + 1
    }
}

/// Names an open file; finds nothing once the file is closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpenFileId(pub(crate) Key);
