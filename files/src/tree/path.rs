//! Path resolution: finding an inode by its path, by the rules of Linux's `path_resolution(7)`.
//!
//! The rest of the path and those of the links on the way form a short stack of slices; without links, resolution
//! allocates nothing. For example, where `/a` is a link to `b/c`, the walk of `/a/d` continues with `b/c` on top of the
//! stack and `d` below. The first component that fails determines the error.

use crate::ids::InodeId;
use crate::tree::Tree;
use crate::tree::directory::Name;
use crate::tree::inode::{Inode, Kind, ProcFile};
use crate::{Errno, LINKS_MAX, NAME_MAX, PATH_MAX, Result};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// The start of a resolution, and its caller.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// The root directory; `..` leads no higher.
    pub root: InodeId,
    /// The directory where a relative path starts: the working directory, or that of a `dirfd`.
    pub start: InodeId,
    /// The target of `/proc/self`: the caller's directory in `/proc`, if it exists.
    pub own: Option<InodeId>,
    /// Whether directories that are filled on demand ([`Tree::fill_on_demand`]) have been filled for this walk. If not,
    /// a walk that comes to such a directory stops with [`UNREVEALED`].
    pub revealed: bool,
}

/// The error of a walk that must be repeated once the kernel has filled a directory; see [`Walk::revealed`]. No program
/// ever sees this number.
pub const UNREVEALED: Errno = Errno::ERESTARTNOINTR;

/// The last component of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Last<'a> {
    Name(&'a [u8]),
    Dot,
    DotDot,
    Root,
}

/// Whether a link in the last component is followed. Links before it always are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Follow {
    /// Always.
    Links,
    /// If a slash follows it.
    Slash,
    /// Never: the name itself is wanted.
    Never,
    /// Always, but a name with a slash behind it is `EISDIR`: what `O_CREAT` would make is no directory.
    Create,
}

/// The result of a walk: the last component and the directory that it is in.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) directory: InodeId,
    pub(crate) last: Last<'a>,
    /// The inode at the last component, if there is one.
    pub(crate) inode: Option<InodeId>,
    /// Whether a slash follows the last component, so that only a directory is acceptable.
    pub(crate) slash: bool,
}

/// The target of a link.
enum LeadsTo<'a> {
    /// The path that resolution continues with.
    Path(&'a [u8]),
    /// An inode, whatever its name is.
    Inode(InodeId),
}

/// The rest of a walk: the rest of the path or, after links, that of the last link's target, and below it the rests of
/// the links before and of the path. None begins with a slash.
struct Rest<'a> {
    top: &'a [u8],
    /// None of these is empty.
    below: Vec<&'a [u8]>,
    links: usize,
    /// Whether a slash follows the last name of all.
    slash: bool,
}

/// One part of a path.
struct Component<'a> {
    name: Name<'a>,
    /// Whether another component follows.
    more: bool,
    /// Whether at least a slash follows.
    slash: bool,
}

impl<'a> Rest<'a> {
    fn new(path: &'a [u8]) -> Self {
        Rest { top: without_slashes(path), below: Vec::new(), links: 0, slash: false }
    }

    /// Counts a link that is followed: `ELOOP` if it is one too many.
    fn count_link(&mut self) -> Result<()> {
        if self.links == LINKS_MAX {
            return Err(Errno::ELOOP);
        }
        self.links += 1;
        Ok(())
    }

    /// Continues with the target of a link; `slash` tells whether a slash followed the link.
    fn push(&mut self, target: &'a [u8], slash: bool) {
        self.slash |= slash && self.is_empty();
        if !self.top.is_empty() {
            self.below.push(self.top);
        }
        self.top = without_slashes(target);
    }

    fn is_empty(&self) -> bool {
        self.top.is_empty() && self.below.is_empty()
    }

    /// The next component, or `None` at the end.
    #[inline(always)]
    fn next(&mut self) -> Option<Component<'a>> {
        if self.top.is_empty() {
            self.top = self.below.pop()?;
        }
        let name = Name::leading(self.top);
        let behind = self.top.get(name.bytes.len()..).unwrap_or_default();
        self.top = match behind {
            [_slash, rest @ ..] => without_slashes(rest),
            [] => behind,
        };
        let slash = self.slash || !behind.is_empty();
        Some(Component { name, more: !self.is_empty(), slash })
    }
}

fn without_slashes(mut path: &[u8]) -> &[u8] {
    while let [b'/', rest @ ..] = path {
        path = rest;
    }
    path
}

impl<C: Copy> Tree<C> {
    /// The inode that a path leads to, with a link in the last component followed or not.
    ///
    /// Errors: `ENOENT` (also for the empty path), `ENOTDIR` (also for a slash behind a file),
    /// `ENAMETOOLONG`, `ELOOP` (more than 40 links).
    pub fn resolve(&self, walk: &Walk, path: &[u8], follow: bool) -> Result<InodeId> {
        let follow = if follow { Follow::Links } else { Follow::Slash };
        self.inode_of(&self.walk(walk, path, follow)?)
    }

    /// The inode that a walk has led to: `ENOENT`, `ENOTDIR`.
    fn inode_of(&self, found: &Found) -> Result<InodeId> {
        let id = found.inode.ok_or(Errno::ENOENT)?;
        if found.slash && !self.get(id)?.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        Ok(id)
    }

    /// The inode that a path leads to, with links followed, and its absolute path, free of links. If the last of them
    /// is magic ([`Kind::Magic`]), that is the path that the link shows.
    pub fn locate(&self, walk: &Walk, path: &[u8]) -> Result<(InodeId, Vec<u8>)> {
        let found = self.walk(walk, path, Follow::Links)?;
        let id = self.inode_of(&found)?;
        let Last::Name(name) = found.last else {
            return Ok((id, self.path_of(walk.root, id)?));
        };
        let link = self.lookup(found.directory, name).and_then(|link| self.get(link));
        if let Ok(Inode { kind: Kind::Magic(_, called), .. }) = link
            && called.first() == Some(&b'/')
        {
            return Ok((id, called.to_vec()));
        }
        let mut absolute = self.path_of(walk.root, found.directory)?;
        if absolute != b"/" {
            absolute.push(b'/');
        }
        absolute.extend_from_slice(name);
        Ok((id, absolute))
    }

    /// The absolute path of a directory below `root`, as `getcwd` gives it (without NUL): `ENOENT` if it
    /// has been removed or is not below `root`, `ENAMETOOLONG`, `ENOTDIR`.
    pub fn path_of(&self, root: InodeId, directory: InodeId) -> Result<Vec<u8>> {
        let up = |id: InodeId| -> Result<(InodeId, &[u8])> {
            let entries = self.directory(id)?;
            if id == entries.parent || self.get(id)?.links == 0 {
                return Err(Errno::ENOENT);
            }
            let name = self.directory(entries.parent)?.name_at(entries.place).ok_or(Errno::ENOENT)?;
            Ok((entries.parent, name))
        };
        // A first pass for the length, which is usually far below the limit.
        let (mut id, mut length) = (directory, 0);
        while id != root {
            let (above, name) = up(id)?;
            length += 1 + name.len();
            if length >= PATH_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            id = above;
        }
        self.directory(root)?;
        if length == 0 {
            return Ok(b"/".to_vec());
        }
        let mut path = alloc::vec![b'/'; length];
        let mut left = &mut path[..];
        id = directory;
        while id != root {
            let (above, name) = up(id)?;
            let (rest, place) = left.split_at_mut(left.len() - name.len());
            place.copy_from_slice(name);
            (left, _) = rest.split_at_mut(rest.len() - 1);
            id = above;
        }
        Ok(path)
    }

    /// The text that `readlink` returns for a link, marked if it is a path that has been removed: `EINVAL` if it is no
    /// link, `ENOENT` for `/proc/self` without a caller.
    pub fn link_target(&self, own: Option<InodeId>, id: InodeId) -> Result<Cow<'_, [u8]>> {
        match &self.get(id)?.kind {
            Kind::Magic(to, called) if called.first() == Some(&b'/') && self.get(*to)?.links == 0 => {
                Ok([called, &b" (deleted)"[..]].concat().into())
            }
            Kind::Symlink(target) | Kind::Magic(_, target) => Ok((&**target).into()),
            Kind::Proc(ProcFile::SelfLink, _) => {
                let own = self.directory(own.ok_or(Errno::ENOENT)?)?;
                self.directory(own.parent)?.name_at(own.place).map(Cow::from).ok_or(Errno::ENOENT)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// The target of a link.
    fn leads_to(&self, walk: &Walk, link: InodeId) -> Result<LeadsTo<'_>> {
        match &self.get(link)?.kind {
            Kind::Symlink(target) => Ok(LeadsTo::Path(target)),
            Kind::Magic(to, _) => Ok(LeadsTo::Inode(*to)),
            _proc_self => walk.own.map(LeadsTo::Inode).ok_or(Errno::ENOENT),
        }
    }

    /// Walks a path to its last component, which need not exist.
    pub(crate) fn walk<'a>(&'a self, walk: &Walk, path: &'a [u8], follow: Follow) -> Result<Found<'a>> {
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut directory = match path.first() {
            None => return Err(Errno::ENOENT),
            Some(b'/') => walk.root,
            Some(_) => walk.start,
        };
        let mut rest = Rest::new(path);
        let mut at = self.get(directory)?;
        loop {
            let entries = at.directory().ok_or(Errno::ENOTDIR)?;
            if entries.on_demand && !walk.revealed {
                return Err(UNREVEALED);
            }
            let Some(Component { name, more, slash }) = rest.next() else {
                let inode = Some(directory);
                return Ok(Found { directory, last: Last::Root, inode, slash: true });
            };
            let (last, inode, is_link) = match name.bytes {
                b"." => (Last::Dot, Some(directory), false),
                b".." if directory == walk.root => (Last::DotDot, Some(directory), false),
                b".." => (Last::DotDot, Some(entries.parent), false),
                bytes if bytes.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
                bytes => {
                    let entry = entries.find(name);
                    (Last::Name(bytes), entry.map(|entry| entry.inode), entry.is_some_and(|entry| entry.is_link))
                }
            };
            if more && !is_link {
                directory = inode.ok_or(Errno::ENOENT)?;
                at = self.get(directory)?;
                continue;
            }
            let follows = match follow {
                _ if more => true,
                Follow::Create if slash && matches!(last, Last::Name(_)) => return Err(Errno::EISDIR),
                Follow::Links | Follow::Create => true,
                Follow::Slash => slash,
                Follow::Never => false,
            };
            let id = match inode {
                Some(id) if is_link && follows => id,
                _ => return Ok(Found { directory, last, inode, slash }),
            };
            rest.count_link()?;
            match self.leads_to(walk, id)? {
                LeadsTo::Inode(to) if !more => return Ok(Found { directory, last, inode: Some(to), slash }),
                LeadsTo::Inode(to) => directory = to,
                LeadsTo::Path(target) => {
                    rest.push(target, slash);
                    if target.first() == Some(&b'/') {
                        directory = walk.root;
                    }
                }
            }
            at = self.get(directory)?;
        }
    }
}
