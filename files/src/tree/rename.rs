//! Renaming: the operation with two directories, and with most of the rules. For example, `rename("a", "b")` removes an
//! old file `b` and returns its content in [`Freed`].

use crate::ids::InodeId;
use crate::tree::{Freed, Tree};
use crate::{Errno, Result};

impl<C: Copy> Tree<C> {
    /// Moves the file that `from` names to `to`, each a directory and a name in it; a file at `to` is removed.
    ///
    /// If both are names of one file, nothing happens, as in POSIX. Errors: `ENOENT`, `ENOTDIR` (also a directory over
    /// something else), `EISDIR` (something else over a directory), `ENOTEMPTY` (over a directory with entries, or over
    /// an ancestor), `EINVAL` (a directory into itself or below), `EEXIST` (`no_replace` and the name is taken),
    /// `EBUSY` (`.` or `..`, or a sealed directory), `EXDEV` into or out of a sealed directory and `EPERM` within,
    /// `ENAMETOOLONG`, `EMLINK`.
    pub fn rename(
        &mut self,
        from: (InodeId, &[u8]),
        to: (InodeId, &[u8]),
        no_replace: bool,
        now: i64,
    ) -> Result<Freed<C>> {
        match (self.directory(from.0)?.sealed, self.directory(to.0)?.sealed) {
            (false, false) => {}
            (true, true) => return Err(Errno::EPERM),
            _ => return Err(Errno::EXDEV),
        }
        let dots = |name: &[u8]| matches!(name, b"." | b"..");
        if dots(from.1) || dots(to.1) {
            return Err(Errno::EBUSY);
        }
        let source = self.lookup(from.0, from.1)?;
        if self.get(source)?.directory().is_some_and(|directory| directory.sealed) {
            return Err(Errno::EBUSY);
        }
        let target = match self.lookup(to.0, to.1) {
            Ok(target) => Some(target),
            Err(Errno::ENOENT) => None,
            Err(error) => return Err(error),
        };
        if no_replace && target.is_some() {
            return Err(Errno::EEXIST);
        }
        if self.is_within(to.0, source) {
            return Err(Errno::EINVAL);
        }
        match target {
            // Both are names of one file: there is nothing to do.
            Some(target) if target == source => return Ok(Freed(None)),
            Some(target) => self.check_replaceable(from.0, source, target)?,
            None => self.check_vacant(to.0, to.1)?,
        }
        self.relocate(source, from, to, target, now)
    }

    /// Whether `target` may give its name to `source`, which lies in `above`.
    fn check_replaceable(&self, above: InodeId, source: InodeId, target: InodeId) -> Result<()> {
        if self.is_within(above, target) {
            return Err(Errno::ENOTEMPTY);
        }
        match (self.get(source)?.is_directory(), self.get(target)?.directory()) {
            (true, None) => Err(Errno::ENOTDIR),
            (false, Some(_)) => Err(Errno::EISDIR),
            (true, Some(entries)) if entries.sealed => Err(Errno::EPERM),
            (true, Some(entries)) if !entries.is_empty() => Err(Errno::ENOTEMPTY),
            _ => Ok(()),
        }
    }

    /// Does the move, after all checks.
    fn relocate(
        &mut self,
        source: InodeId,
        from: (InodeId, &[u8]),
        to: (InodeId, &[u8]),
        target: Option<InodeId>,
        now: i64,
    ) -> Result<Freed<C>> {
        let is_directory = self.get(source)?.is_directory();
        if is_directory && from.0 != to.0 {
            let above = self.get_mut(to.0)?;
            above.links = above.links.checked_add(1).ok_or(Errno::EMLINK)?;
            let above = self.get_mut(from.0)?;
            above.links = above.links.saturating_sub(1);
        }
        let mut freed = Freed(None);
        if let Some(target) = target {
            self.leave(to.0, to.1, now)?;
            if is_directory {
                self.drop_directory(to.0, target, now)?;
            } else {
                freed = self.drop_link(target, now)?;
            }
        }
        self.leave(from.0, from.1, now)?;
        self.enter(to.0, to.1, source, now)?;
        self.get_mut(source)?.ctime = now;
        Ok(freed)
    }

    /// Whether `id` is the directory `top` or lies below it.
    fn is_within(&self, mut id: InodeId, top: InodeId) -> bool {
        // A chain of parents is never longer than the number of inodes.
        for _ in 0..self.len() {
            match self.directory(id) {
                _ if id == top => return true,
                Ok(directory) if directory.parent != id => id = directory.parent,
                _ => return false,
            }
        }
        false
    }
}
