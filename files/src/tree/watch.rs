//! Events of files: the `epoll`s that watch a file, and the threads that poll it.
//!
//! A file that a thread can wait for keeps a list of *interests*. Each is the interest of one `epoll` in one open file,
//! under the descriptor that named the file. An event puts the interests that it concerns into the *ready lists* of
//! their `epoll`s, and `epoll_wait` looks only at those, however many files are watched. For example, a server watches
//! 1,000 connections; a byte on one of them puts one interest into the ready list, and `epoll_wait` looks at that one.
//! An event may be over when a thread asks for it. So `epoll_wait` checks each interest in the ready list, and one that
//! has nothing to report leaves the list.
//!
//! The kernel manages the threads that poll: a file keeps only the name of its poll queue.
//!
//! **Invariant: an interest that has something to report is in the ready list of its `epoll`.** It joins the list at
//! each event, and when it is added or changed while its file is ready; it leaves when it has nothing to report, or
//! with [`Tree::reported`].

use crate::ids::{InodeId, OpenFileId};
use crate::list::{Link, List};
use crate::pipe::event;
use crate::slot_map::{Key, SlotMap};
use crate::tree::Tree;
use crate::tree::inode::{Inode, Kind};
use crate::{Errno, Result};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::num::NonZeroU64;
use linux_raw_sys::general as linux;

/// The greatest number of interests of all programs together: `ENOSPC` beyond. They take some megabytes of the kernel's
/// memory.
pub(crate) const INTERESTS_MAX: usize = 65_536;

/// The greatest length of a chain of `epoll`s of which each watches the next.
const CHAIN_MAX: u32 = 5;

/// The greatest number of chains that another interest may be in: an event goes along all of them.
const CHAINS_MAX: u32 = 1000;

/// A source of events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// A pipe, an event counter, an `epoll`.
    Inode(InodeId),
    /// The console, whatever name it was opened by.
    Console,
}

/// The watchers of a file.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Watchers {
    /// The interests in the file; exclusive ones come last.
    interests: List,
    /// The name of the poll queue, if a thread has ever polled the file.
    pub poll_queue: Option<NonZeroU64>,
}

/// An `epoll`: its interests by name, and the list of those that may have something to report.
#[derive(Default, Debug)]
pub struct Epoll {
    interests: BTreeMap<Name, InterestId>,
    ready: List,
    pub(crate) watchers: Option<Box<Watchers>>,
}

/// The name of an interest within its `epoll`: descriptor and open file. Interests in other `epoll`s are sorted first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Name {
    plain: bool,
    fd: u32,
    file: OpenFileId,
}

/// Names an interest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct InterestId(Key);

/// The interest of an `epoll` in one open file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interest {
    /// The `epoll`.
    pub epoll: InodeId,
    /// The descriptor by which the file was named.
    pub fd: u32,
    /// The open file.
    pub file: OpenFileId,
    /// The source of its events.
    pub source: Source,
    /// The events that are wanted, and how they are reported.
    pub subscription: Subscription,
    /// Its links in the list of its source and in the ready list of its `epoll`.
    links: [Link; 2],
    ready: bool,
}

/// The arguments of `epoll_ctl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// The events that are wanted, and how they are reported: bits of `epoll_event`.
    pub events: u32,
    /// A word of the program that is reported with them.
    pub data: u64,
}

/// Threads to wake up for an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiters {
    /// The threads that poll a file, with the bits of [`event`].
    PollQueue(NonZeroU64, u32),
    /// The threads that wait in `epoll_wait`.
    Epoll(InodeId),
}

impl Subscription {
    /// Each event is reported once (`EPOLLET`).
    pub const EDGE: u32 = linux::EPOLLET;
    /// One event is reported, and no other until the subscription is changed (`EPOLLONESHOT`).
    pub const ONCE: u32 = linux::EPOLLONESHOT;
    /// Only one of all exclusive waiters is told of an event (`EPOLLEXCLUSIVE`).
    pub const EXCLUSIVE: u32 = linux::EPOLLEXCLUSIVE;
    /// Bits that say how events are reported.
    const HOW: u32 = linux::EPOLLET | linux::EPOLLONESHOT | linux::EPOLLWAKEUP | linux::EPOLLEXCLUSIVE;
    /// Events that reading waits for.
    const INPUT: u32 = linux::EPOLLIN | linux::EPOLLPRI | linux::EPOLLRDNORM | linux::EPOLLRDBAND | linux::EPOLLRDHUP;
    /// Events that writing waits for.
    const OUTPUT: u32 = linux::EPOLLOUT | linux::EPOLLWRNORM | linux::EPOLLWRBAND;

    /// The events to report of a file that is ready for `ready`; 0 if there is none.
    pub fn report(&self, ready: u32) -> u32 {
        ready & self.events & !Subscription::HOW
    }

    /// Whether events of these bits of [`event`] may be reported.
    fn is_for(&self, bits: u32) -> bool {
        self.events & !Subscription::HOW != 0 && concerns(self.events) & bits != 0
    }

    fn is_exclusive(&self) -> bool {
        self.events & Subscription::EXCLUSIVE != 0
    }
}

/// The bits of [`event`] that can make a file ready for one of `events` (`poll` and `epoll` have equal bits).
pub fn concerns(events: u32) -> u32 {
    let input = if events & Subscription::INPUT != 0 { event::READABLE } else { 0 };
    let output = if events & Subscription::OUTPUT != 0 { event::WRITABLE } else { 0 };
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
    inodes: &'a mut SlotMap<Inode<C>>,
    console: &'a mut Watchers,
    source: Source,
) -> Option<&'a mut List> {
    let watchers = match source {
        Source::Inode(inode) => inodes.get_mut(inode.0)?.kind.watchers_mut()?.as_deref_mut()?,
        Source::Console => console,
    };
    Some(&mut watchers.interests)
}

/// An `epoll`'s ready list.
fn ready_list<C>(inodes: &mut SlotMap<Inode<C>>, epoll: InodeId) -> Option<&mut List> {
    match &mut inodes.get_mut(epoll.0)?.kind {
        Kind::Epoll(epoll) => Some(&mut epoll.ready),
        _ => None,
    }
}

impl<C: Copy> Tree<C> {
    /// The watchers of a source, if it has ever had one.
    fn watchers(&self, source: Source) -> Option<&Watchers> {
        match source {
            Source::Inode(inode) => self.get(inode).ok()?.kind.watchers()?.as_deref(),
            Source::Console => Some(&self.console),
        }
    }

    /// The watchers of a source, to be changed; made if it has never had one. `EPERM` for a file that is always ready.
    pub fn watchers_mut(&mut self, source: Source) -> Result<&mut Watchers> {
        match source {
            Source::Inode(inode) => {
                let kind = &mut self.inodes.get_mut(inode.0).ok_or(Errno::ENOENT)?.kind;
                Ok(kind.watchers_mut().ok_or(Errno::EPERM)?.get_or_insert_default())
            }
            Source::Console => Ok(&mut self.console),
        }
    }

    /// Whether the console has ever had watchers.
    pub fn console_is_watched(&self) -> bool {
        self.console != Watchers::default()
    }

    /// The `epoll` of an inode: `EINVAL` if it is none.
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

    /// The name of an interest, and the interest if it exists.
    fn named(&self, epoll: InodeId, fd: u32, file: OpenFileId, source: Source) -> Result<(Name, Option<InterestId>)> {
        let plain = source.inode().is_none_or(|inode| self.epoll(inode).is_err());
        let name = Name { plain, fd, file };
        Ok((name, self.epoll(epoll)?.interests.get(&name).copied()))
    }

    /// Makes an `epoll` watch an open file: `EEXIST`, `ELOOP` (it would watch itself, or be in too long a chain),
    /// `ENOSPC`, `EINVAL` (an exclusive interest in an `epoll`).
    pub fn add_interest(
        &mut self,
        epoll: InodeId,
        (fd, file): (u32, OpenFileId),
        source: Source,
        subscription: Subscription,
    ) -> Result<InterestId> {
        let (name, known) = self.named(epoll, fd, file, source)?;
        if known.is_some() {
            return Err(Errno::EEXIST);
        }
        if let Some(inner) = source.inode().filter(|_| !name.plain) {
            if subscription.is_exclusive() {
                return Err(Errno::EINVAL);
            }
            self.check_chains(epoll, inner)?;
        }
        self.watchers_mut(source)?;
        let links = [Link::default(); 2];
        let interest = Interest { epoll, fd, file, source, subscription, links, ready: false };
        let key = self.interests.insert(interest).ok_or(Errno::ENOSPC)?;
        if let Some(list) = source_list(&mut self.inodes, &mut self.console, source) {
            list.join(&mut self.interests, key, !subscription.is_exclusive(), at_source);
        }
        self.epoll_mut(epoll)?.interests.insert(name, InterestId(key));
        Ok(InterestId(key))
    }

    /// Changes a subscription: `ENOENT`, `EINVAL` (an exclusive interest cannot change).
    pub fn change_interest(
        &mut self,
        epoll: InodeId,
        (fd, file): (u32, OpenFileId),
        source: Source,
        subscription: Subscription,
    ) -> Result<InterestId> {
        let id = self.named(epoll, fd, file, source)?.1.ok_or(Errno::ENOENT)?;
        let interest = self.interests.get_mut(id.0).ok_or(Errno::ENOENT)?;
        if interest.subscription.is_exclusive() || subscription.is_exclusive() {
            return Err(Errno::EINVAL);
        }
        interest.subscription = subscription;
        Ok(id)
    }

    /// Makes an `epoll` cease to watch an open file: `ENOENT`.
    pub fn remove_interest(&mut self, epoll: InodeId, (fd, file): (u32, OpenFileId), source: Source) -> Result<()> {
        let id = self.named(epoll, fd, file, source)?.1.ok_or(Errno::ENOENT)?;
        self.drop_interest(id);
        Ok(())
    }

    /// Removes an interest from all lists.
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

    /// Removes all interests in an open file that is closed.
    pub(crate) fn forget(&mut self, source: Source, file: OpenFileId) {
        let mut next = self.watchers(source).and_then(|watchers| watchers.interests.first);
        while let Some(interest) = next.and_then(|key| self.interests.get(key)) {
            let (id, of) = (next.map(InterestId), interest.file);
            next = interest.links[0].next;
            id.into_iter().filter(|_| of == file).for_each(|id| self.drop_interest(id));
        }
    }

    /// Removes all interests of an `epoll` that is gone.
    pub(crate) fn give_up(&mut self, epoll: &Epoll) {
        epoll.interests.values().for_each(|id| self.drop_interest(*id));
    }

    /// Notifies the watchers of a file of an event with these bits of [`event`]. `tell` wakes threads and returns
    /// whether it woke any. Exclusive interests come last, and the first of them that wakes a thread ends the
    /// notification.
    pub fn notify(&mut self, source: Source, bits: u32, tell: &mut dyn FnMut(Waiters) -> bool) -> bool {
        let Some(watchers) = self.watchers(source) else { return false };
        let (poll_queue, mut next) = (watchers.poll_queue, watchers.interests.first);
        let mut woken = poll_queue.is_some_and(|poll_queue| tell(Waiters::PollQueue(poll_queue, bits)));
        while let Some((id, interest)) = next.and_then(|key| Some((InterestId(key), self.interests.get(key)?))) {
            next = interest.links[0].next;
            let subscription = interest.subscription;
            if subscription.is_for(bits) {
                let one = self.make_ready(id, tell);
                woken |= one;
                if one && subscription.is_exclusive() {
                    break;
                }
            }
        }
        woken
    }

    /// Puts an interest that may have something to report into its `epoll`'s ready list, and wakes the threads that
    /// wait there. The recursion is as deep as a chain of `epoll`s is long, which is bounded.
    pub fn make_ready(&mut self, id: InterestId, tell: &mut dyn FnMut(Waiters) -> bool) -> bool {
        let Some(interest) = self.interests.get_mut(id.0) else { return false };
        let (epoll, known) = (interest.epoll, core::mem::replace(&mut interest.ready, true));
        if !known {
            self.join_ready(epoll, id);
        }
        let woken = tell(Waiters::Epoll(epoll));
        self.notify(Source::Inode(epoll), event::READABLE, tell) | woken
    }

    fn join_ready(&mut self, epoll: InodeId, id: InterestId) {
        if let Some(list) = ready_list(&mut self.inodes, epoll) {
            list.join(&mut self.interests, id.0, false, at_epoll);
        }
    }

    /// Takes an interest that has nothing to report out of the ready list.
    pub fn not_ready(&mut self, id: InterestId) {
        let Some(interest) = self.interests.get_mut(id.0).filter(|interest| interest.ready) else { return };
        interest.ready = false;
        if let Some(list) = ready_list(&mut self.inodes, interest.epoll) {
            list.leave(&mut self.interests, id.0, at_epoll);
        }
    }

    /// Notes that an interest has been reported. It goes to the end of the ready list, so that all have their turn.
    /// With [`Subscription::EDGE`] it leaves the list, and with [`Subscription::ONCE`] it also waits for no more
    /// events.
    pub fn reported(&mut self, id: InterestId) {
        self.not_ready(id);
        let Some(interest) = self.interests.get_mut(id.0) else { return };
        let subscription = &mut interest.subscription;
        if subscription.events & Subscription::ONCE != 0 {
            subscription.events &= Subscription::HOW;
        } else if subscription.events & Subscription::EDGE == 0 {
            interest.ready = true;
            let epoll = interest.epoll;
            self.join_ready(epoll, id);
        }
    }

    /// The first and the last interest in an `epoll`'s ready list: `EINVAL` if the inode is no `epoll`.
    pub fn ready(&self, epoll: InodeId) -> Result<Option<(InterestId, InterestId)>> {
        let List { first, last } = self.epoll(epoll)?.ready;
        Ok(first.map(InterestId).zip(last.map(InterestId)))
    }

    /// The interest with this name.
    pub fn interest(&self, id: InterestId) -> Option<&Interest> {
        self.interests.get(id.0)
    }

    /// Whether an `epoll` may watch another one: `ELOOP` if that one watches it, or if a chain would become too long or
    /// there would be too many.
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
        let mut next = self.watchers(Source::Inode(from)).and_then(|watchers| watchers.interests.first);
        while let Some(interest) = next.and_then(|key| self.interests.get(key)) {
            self.chains_above(interest.epoll, length + 1, chains)?;
            next = interest.links[0].next;
        }
        Ok(())
    }
}

/// The chains of `epoll`s that begin at one of them: their number, and the length of the longest.
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
