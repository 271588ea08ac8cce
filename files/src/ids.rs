//! Names of inodes and open files, which know nothing of what they name.

use crate::arena::Key;

/// The name of an inode in a [`Tree`](crate::Tree); finds nothing once the inode is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InodeId(pub(crate) Key);

impl InodeId {
    /// The inode number that programs see: 1 for the root, unique among the inodes there are.
    pub fn number(self) -> u64 {
        u64::from(self.0.index()) + 1
    }
}

/// The name of an open file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpenFileId(pub(crate) Key);
