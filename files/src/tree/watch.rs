//! Who is told of events on a file: every `epoll` that watches it, and the threads that poll it.
//!
//! A file that can be waited for keeps a list of *interests*. Each is one `epoll`'s interest in one open file, under the
//! descriptor by which it was named. An event puts the interests that it concerns into the *ready lists* of their `epoll`s,
//! and `epoll_wait` looks at no others, however many files are watched. An event may be over when somebody asks, so whether
//! an interest in a ready list has anything to tell is found out then, and one that has not leaves the list.
//!
//! Threads that poll are the kernel's business: a file keeps only the name of its poll queue.
//!
//! **Invariant: what an `epoll` is to be told of is in its ready list.** An interest joins it at each event, and when it is
//! added or changed while its file is ready; it leaves when there is nothing to tell, or with [`Tree::told`].

use crate::arena::{Arena, Key};
use crate::ids::{InodeId, OpenFileId};
use crate::list::{Link, List};
use crate::pipe::event;
use crate::tree::Tree;
use crate::tree::inode::{Inode, Kind};
use crate::{Errno, Result};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::num::NonZeroU64;

/// Interests there can be, of all programs together: `ENOSPC` beyond. They take some megabytes of the kernel's memory.
pub(crate) const INTERESTS_MAX: usize = 65_536;

/// How many `epoll`s may be in a chain of which each watches the next.
const CHAIN_MAX: u32 = 5;

/// How many chains of `epoll`s one more interest may be in: an event goes along all of them.
const CHAINS_MAX: u32 = 1000;

/// What can be waited for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// A pipe, an event counter, an `epoll`.
    Inode(InodeId),
    /// The console, by whichever name it was opened.
    Console,
}

/// Who is told of events on a file.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Watched {
    /// The exclusive ones come last.
    interests: List,
    /// The name of the threads that poll it, if any have.
    pub poll_queue: Option<NonZeroU64>,
}

/// An `epoll`: its interests by name, and those that may have something to tell.
#[derive(Default, Debug)]
pub struct Epoll {
    interests: BTreeMap<Name, InterestId>,
    ready: List,
    pub(crate) watched: Option<Box<Watched>>,
}

/// The name of an interest within its `epoll`: descriptor and open file. Those in other `epoll`s come first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Name {
    plain: bool,
    fd: u32,
    file: OpenFileId,
}

/// The name of an interest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct InterestId(Key);

/// What an `epoll` wants to be told of one open file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interest {
    /// The `epoll`.
    pub epoll: InodeId,
    /// The descriptor by which the file was named.
    pub fd: u32,
    /// The open file.
    pub file: OpenFileId,
    /// What it is of.
    pub source: Source,
    /// The events that are wanted, and how.
    pub wish: Wish,
    /// In the list of its source, and in the ready list of its `epoll`.
    links: [Link; 2],
    ready: bool,
}

/// What is asked for by `epoll_ctl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    /// The events that are wanted, and how: bits of `epoll_event`.
    pub events: u32,
    /// What the program wants to be told with them.
    pub data: u64,
}

/// Somebody to be told of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// The threads that poll a file, with the bits of [`event`].
    PollQueue(NonZeroU64, u32),
    /// The threads that wait in `epoll_wait`.
    Epoll(InodeId),
}

impl Wish {
    /// Each event is told once (`EPOLLET`).
    pub const EDGE: u32 = 1 << 31;
    /// One event is told, and no more until the wish is changed (`EPOLLONESHOT`).
    pub const ONCE: u32 = 1 << 30;
    /// One of all that wait for the file is told of an event (`EPOLLEXCLUSIVE`).
    pub const EXCLUSIVE: u32 = 1 << 28;
    /// Bits that are no events.
    const HOW: u32 = 0xf << 28;
    /// Events of what can be read: `EPOLLIN`, `EPOLLPRI`, `EPOLLRDNORM`, `EPOLLRDBAND`, `EPOLLRDHUP`.
    const INPUT: u32 = 0x20c3;
    /// Events of what can be written: `EPOLLOUT`, `EPOLLWRNORM`, `EPOLLWRBAND`.
    const OUTPUT: u32 = 0x0304;

    /// What is to be told of a file that is ready for `ready`: 0 if nothing is.
    pub fn news(&self, ready: u32) -> u32 {
        ready & self.events & !Wish::HOW
    }

    /// Whether events of these bits of [`event`] may be news.
    fn is_for(&self, bits: u32) -> bool {
        self.events & !Wish::HOW != 0 && concerns(self.events) & bits != 0
    }

    fn is_exclusive(&self) -> bool {
        self.events & Wish::EXCLUSIVE != 0
    }
}

/// The bits of [`event`] that can make a file ready for one of `events` (`poll`'s and `epoll`'s are the same).
pub fn concerns(events: u32) -> u32 {
    let input = if events & Wish::INPUT != 0 { event::READABLE } else { 0 };
    let output = if events & Wish::OUTPUT != 0 { event::WRITABLE } else { 0 };
    input | output | event::CLOSED
}

impl Source {
    fn inode(self) -> Option<InodeId> {
        match self {
            Source::Inode(inode) => Some(inode),
            Source::Console => None,
        }
    }
}

fn at_source(interest: &mut Interest) -> &mut Link {
    &mut interest.links[0]
}

fn at_epoll(interest: &mut Interest) -> &mut Link {
    &mut interest.links[1]
}

/// The list of a source's interests.
fn source_list<'a, C>(
    inodes: &'a mut Arena<Inode<C>>,
    console: &'a mut Watched,
    source: Source,
) -> Option<&'a mut List> {
    let watched = match source {
        Source::Inode(inode) => inodes.get_mut(inode.0)?.kind.watched_mut()?.as_deref_mut()?,
        Source::Console => console,
    };
    Some(&mut watched.interests)
}

/// An `epoll`'s ready list.
fn ready_list<C>(inodes: &mut Arena<Inode<C>>, epoll: InodeId) -> Option<&mut List> {
    match &mut inodes.get_mut(epoll.0)?.kind {
        Kind::Epoll(epoll) => Some(&mut epoll.ready),
        _ => None,
    }
}

impl<C: Copy> Tree<C> {
    /// Who is told of events on a file, if anybody has ever asked.
    fn watched(&self, source: Source) -> Option<&Watched> {
        match source {
            Source::Inode(inode) => self.get(inode).ok()?.kind.watched()?.as_deref(),
            Source::Console => Some(&self.console),
        }
    }

    /// The same, to be changed: from now on somebody has. `EPERM` if it is no file that can be waited for.
    pub fn watched_mut(&mut self, source: Source) -> Result<&mut Watched> {
        match source {
            Source::Inode(inode) => {
                let kind = &mut self.inodes.get_mut(inode.0).ok_or(Errno::ENOENT)?.kind;
                Ok(kind.watched_mut().ok_or(Errno::EPERM)?.get_or_insert_default())
            }
            Source::Console => Ok(&mut self.console),
        }
    }

    /// Whether anybody is to be told of events on the console.
    pub fn console_is_watched(&self) -> bool {
        self.console != Watched::default()
    }

    /// An `epoll`: `EINVAL` if the inode is none.
    fn epoll(&self, id: InodeId) -> Result<&Epoll> {
        match &self.get(id)?.kind {
            Kind::Epoll(epoll) => Ok(epoll),
            _ => Err(Errno::EINVAL),
        }
    }

    fn epoll_mut(&mut self, id: InodeId) -> Result<&mut Epoll> {
        match &mut self.get_mut(id)?.kind {
            Kind::Epoll(epoll) => Ok(epoll),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The name of an interest, and which it is, if there is one.
    fn named(&self, epoll: InodeId, fd: u32, file: OpenFileId, source: Source) -> Result<(Name, Option<InterestId>)> {
        let plain = source.inode().is_none_or(|inode| self.epoll(inode).is_err());
        let name = Name { plain, fd, file };
        Ok((name, self.epoll(epoll)?.interests.get(&name).copied()))
    }

    /// Has an `epoll` watch an open file: `EEXIST`, `ELOOP` (it would watch itself, or be in too long a chain),
    /// `ENOSPC`, `EINVAL` (an exclusive interest in an `epoll`).
    pub fn add_interest(
        &mut self,
        epoll: InodeId,
        (fd, file): (u32, OpenFileId),
        source: Source,
        wish: Wish,
    ) -> Result<InterestId> {
        let (name, known) = self.named(epoll, fd, file, source)?;
        if known.is_some() {
            return Err(Errno::EEXIST);
        }
        if let Some(inner) = source.inode().filter(|_| !name.plain) {
            if wish.is_exclusive() {
                return Err(Errno::EINVAL);
            }
            self.check_chains(epoll, inner)?;
        }
        self.watched_mut(source)?;
        let links = [Link::default(); 2];
        let interest = Interest { epoll, fd, file, source, wish, links, ready: false };
        let key = self.interests.insert(interest).ok_or(Errno::ENOSPC)?;
        if let Some(list) = source_list(&mut self.inodes, &mut self.console, source) {
            list.join(&mut self.interests, key, !wish.is_exclusive(), at_source);
        }
        self.epoll_mut(epoll)?.interests.insert(name, InterestId(key));
        Ok(InterestId(key))
    }

    /// Changes what is wanted: `ENOENT`, `EINVAL` (an exclusive interest stays as it is).
    pub fn change_interest(
        &mut self,
        epoll: InodeId,
        (fd, file): (u32, OpenFileId),
        source: Source,
        wish: Wish,
    ) -> Result<InterestId> {
        let id = self.named(epoll, fd, file, source)?.1.ok_or(Errno::ENOENT)?;
        let interest = self.interests.get_mut(id.0).ok_or(Errno::ENOENT)?;
        if interest.wish.is_exclusive() || wish.is_exclusive() {
            return Err(Errno::EINVAL);
        }
        interest.wish = wish;
        Ok(id)
    }

    /// Has an `epoll` watch an open file no more: `ENOENT`.
    pub fn remove_interest(&mut self, epoll: InodeId, (fd, file): (u32, OpenFileId), source: Source) -> Result<()> {
        let id = self.named(epoll, fd, file, source)?.1.ok_or(Errno::ENOENT)?;
        self.drop_interest(id);
        Ok(())
    }

    /// Takes an interest out of all that know of it.
    fn drop_interest(&mut self, id: InterestId) {
        self.not_ready(id);
        let Some(Interest { epoll, fd, file, source, .. }) = self.interests.get(id.0).copied() else { return };
        if let Some(list) = source_list(&mut self.inodes, &mut self.console, source) {
            list.leave(&mut self.interests, id.0, at_source);
        }
        if let Ok((name, _)) = self.named(epoll, fd, file, source)
            && let Ok(epoll) = self.epoll_mut(epoll)
        {
            epoll.interests.remove(&name);
        }
        self.interests.remove_if(id.0, |_| true);
    }

    /// An open file is closed: nobody watches it any more.
    pub(crate) fn forget(&mut self, source: Source, file: OpenFileId) {
        let mut next = self.watched(source).and_then(|watched| watched.interests.first);
        while let Some(interest) = next.and_then(|key| self.interests.get(key)) {
            let (id, of) = (next.map(InterestId), interest.file);
            next = interest.links[0].next;
            id.into_iter().filter(|_| of == file).for_each(|id| self.drop_interest(id));
        }
    }

    /// An `epoll` that is gone watches nothing any more.
    pub(crate) fn give_up(&mut self, epoll: &Epoll) {
        epoll.interests.values().for_each(|id| self.drop_interest(*id));
    }

    /// Something has happened to a file, of which these bits of [`event`] tell. `tell` says whether anybody has been woken:
    /// one that waits exclusively is told last, and the first that wakes somebody is the last that is told.
    pub fn rouse(&mut self, source: Source, bits: u32, tell: &mut dyn FnMut(Told) -> bool) -> bool {
        let Some(watched) = self.watched(source) else { return false };
        let (poll_queue, mut next) = (watched.poll_queue, watched.interests.first);
        let mut woken = poll_queue.is_some_and(|poll_queue| tell(Told::PollQueue(poll_queue, bits)));
        while let Some((id, interest)) = next.and_then(|key| Some((InterestId(key), self.interests.get(key)?))) {
            next = interest.links[0].next;
            let wish = interest.wish;
            if wish.is_for(bits) {
                let one = self.make_ready(id, tell);
                woken |= one;
                if one && wish.is_exclusive() {
                    break;
                }
            }
        }
        woken
    }

    /// An interest may have something to tell: puts it into its `epoll`'s ready list, and tells those who wait there. This
    /// goes no deeper than a chain of `epoll`s may be long.
    pub fn make_ready(&mut self, id: InterestId, tell: &mut dyn FnMut(Told) -> bool) -> bool {
        let Some(interest) = self.interests.get_mut(id.0) else { return false };
        let (epoll, known) = (interest.epoll, core::mem::replace(&mut interest.ready, true));
        if !known {
            self.join_ready(epoll, id);
        }
        let woken = tell(Told::Epoll(epoll));
        self.rouse(Source::Inode(epoll), event::READABLE, tell) | woken
    }

    fn join_ready(&mut self, epoll: InodeId, id: InterestId) {
        if let Some(list) = ready_list(&mut self.inodes, epoll) {
            list.join(&mut self.interests, id.0, false, at_epoll);
        }
    }

    /// An interest has nothing to tell.
    pub fn not_ready(&mut self, id: InterestId) {
        let Some(interest) = self.interests.get_mut(id.0).filter(|interest| interest.ready) else { return };
        interest.ready = false;
        if let Some(list) = ready_list(&mut self.inodes, interest.epoll) {
            list.leave(&mut self.interests, id.0, at_epoll);
        }
    }

    /// An interest in a ready list has been told. It goes to the end of the list, so that all have their turn; for edges it
    /// leaves the list, and if it was to be told once its wish is fulfilled.
    pub fn told(&mut self, id: InterestId) {
        self.not_ready(id);
        let Some(interest) = self.interests.get_mut(id.0) else { return };
        let wish = &mut interest.wish;
        if wish.events & Wish::ONCE != 0 {
            wish.events &= Wish::HOW;
        } else if wish.events & Wish::EDGE == 0 {
            interest.ready = true;
            let epoll = interest.epoll;
            self.join_ready(epoll, id);
        }
    }

    /// First and last of an `epoll`'s ready list: `EINVAL` if the inode is none.
    pub fn ready(&self, epoll: InodeId) -> Result<Option<(InterestId, InterestId)>> {
        let List { first, last } = self.epoll(epoll)?.ready;
        Ok(first.map(InterestId).zip(last.map(InterestId)))
    }

    /// An interest.
    pub fn interest(&self, id: InterestId) -> Option<&Interest> {
        self.interests.get(id.0)
    }

    /// Whether an `epoll` may watch another: `ELOOP` if that watches it, or the chain becomes too long, or there are too many.
    fn check_chains(&self, outer: InodeId, inner: InodeId) -> Result<()> {
        let mut below = Chains { ends: 0, longest: 0 };
        self.chains_below(inner, outer, 1, &mut below)?;
        let mut above = Chains { ends: 0, longest: 0 };
        self.chains_above(outer, 1, &mut above)?;
        let fits = below.longest + above.longest <= CHAIN_MAX && below.ends * above.ends <= CHAINS_MAX;
        if fits { Ok(()) } else { Err(Errno::ELOOP) }
    }

    fn chains_below(&self, from: InodeId, not: InodeId, length: u32, chains: &mut Chains) -> Result<()> {
        if from == not {
            return Err(Errno::ELOOP);
        }
        chains.count(length)?;
        for id in self.epoll(from)?.interests.range(..).take_while(|(name, _)| !name.plain).map(|(_, id)| id) {
            if let Some(inner) = self.interest(*id).and_then(|interest| interest.source.inode()) {
                self.chains_below(inner, not, length + 1, chains)?;
            }
        }
        Ok(())
    }

    fn chains_above(&self, from: InodeId, length: u32, chains: &mut Chains) -> Result<()> {
        chains.count(length)?;
        let mut next = self.watched(Source::Inode(from)).and_then(|watched| watched.interests.first);
        while let Some(interest) = next.and_then(|key| self.interests.get(key)) {
            self.chains_above(interest.epoll, length + 1, chains)?;
            next = interest.links[0].next;
        }
        Ok(())
    }
}

/// Chains of `epoll`s from one of them on.
struct Chains {
    ends: u32,
    longest: u32,
}

impl Chains {
    fn count(&mut self, length: u32) -> Result<()> {
        self.ends += 1;
        self.longest = self.longest.max(length);
        if length > CHAIN_MAX || self.ends > CHAINS_MAX { Err(Errno::ELOOP) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "../tests/watch.rs"]
mod tests;
