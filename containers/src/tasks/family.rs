//! Families: the lists of a process's children, of its threads, and of the members of a process group. For example,
//! `wait4` walks the children of its caller, and Ctrl-C walks the members of the terminal's foreground group.
//!
//! Each list is a queue through the control blocks. So finding a child that has ended, the threads of a process or the
//! members of a group costs as much as the list is long, however many other processes there are.

use crate::arena::{Arena, Id};
use crate::ids::ThreadId;
use crate::ids::{AnyProcess, ProcessId};
use crate::tasks::process::Process;
use crate::tasks::queue::{Link, Links, Queue};
use crate::tasks::thread::{State, Thread};
use crate::tasks::{MAX_PROCESSES, Tasks};
use alloc::collections::BTreeMap;
use core::iter::successors;

/// A process's queues and links. Its queues hold the older entries before the younger ones.
pub(crate) struct Family {
    /// The children that have not been waited for.
    children: Queue<ProcessId>,
    /// Its neighbours among its parent's children.
    siblings: Link<ProcessId>,
    /// The further threads.
    threads: Queue<Id<Thread>>,
    /// Its process group; [`Id::NONE`] until the process has been made.
    group: Id<Group>,
    /// Its neighbours among the members of its group.
    mates: Link<ProcessId>,
}

impl Family {
    /// Whether there are children that have not been waited for.
    pub(crate) fn has_children(&self) -> bool {
        self.children.first().is_some()
    }
}

impl Default for Family {
    fn default() -> Family {
        Family {
            children: Queue::EMPTY,
            siblings: Link::default(),
            threads: Queue::EMPTY,
            group: Id::NONE,
            mates: Link::default(),
        }
    }
}

/// A process group with at least one member. A member may have ended, if it is still to be waited for.
struct Group {
    number: u32,
    members: Queue<ProcessId>,
}

/// The process groups, by name and by number.
pub(crate) struct Groups {
    all: Arena<Group>,
    by_number: BTreeMap<u32, Id<Group>>,
}

impl Default for Groups {
    fn default() -> Groups {
        Groups { all: Arena::new(MAX_PROCESSES), by_number: BTreeMap::new() }
    }
}

impl Groups {
    /// The group with this number, which is made if there is none. There are never more groups than processes.
    fn get_or_make(&mut self, number: u32) -> Id<Group> {
        let make = || self.all.insert(Group { number, members: Queue::EMPTY }).unwrap_or(Id::NONE);
        *self.by_number.entry(number).or_insert_with(make)
    }

    /// Lets a process join a group. Returns the link of the new member, which the caller stores and attaches.
    fn join(&mut self, group: Id<Group>, member: ProcessId) -> Link<ProcessId> {
        self.all.get_mut(group).map_or(Link::default(), |group| group.members.join(member, false))
    }

    /// Removes a group that has no member any more.
    fn remove(&mut self, id: Id<Group>) {
        if let Some(group) = self.all.remove(id) {
            self.by_number.remove(&group.number);
        }
    }
}

/// The links of the queues of children.
struct Siblings<'a, R>(&'a mut Arena<Process<R>>);

impl<R> Links<ProcessId> for Siblings<'_, R> {
    fn link_mut(&mut self, id: ProcessId, change: impl FnOnce(&mut Link<ProcessId>)) {
        if let Some(process) = self.0.get_mut(id.cast()) {
            change(&mut process.family.siblings);
        }
    }
}

/// The links of the queues of members.
struct Mates<'a, R>(&'a mut Arena<Process<R>>);

impl<R> Links<ProcessId> for Mates<'_, R> {
    fn link_mut(&mut self, id: ProcessId, change: impl FnOnce(&mut Link<ProcessId>)) {
        if let Some(process) = self.0.get_mut(id.cast()) {
            change(&mut process.family.mates);
        }
    }
}

/// The links of the queues of threads.
struct Peers<'a>(&'a mut Arena<Thread>);

impl Links<Id<Thread>> for Peers<'_> {
    fn link_mut(&mut self, id: Id<Thread>, change: impl FnOnce(&mut Link<Id<Thread>>)) {
        if let Some(thread) = self.0.get_mut(id) {
            change(&mut thread.peers);
        }
    }
}

impl<R> Tasks<R> {
    /// The children of a process that have not been waited for, the oldest first.
    pub fn children(&self, parent: ProcessId) -> impl Iterator<Item = ProcessId> + '_ {
        let first = self.process(parent).and_then(|parent| parent.family.children.first());
        successors(first, |id| self.process(*id)?.family.siblings.next)
    }

    /// The processes of a group, including ended ones that are still to be waited for.
    pub fn members(&self, group: u32) -> impl Iterator<Item = ProcessId> + '_ {
        let group = self.groups.by_number.get(&group).and_then(|id| self.groups.all.get(*id));
        successors(group.and_then(|group| group.members.first()), |id| self.process(*id)?.family.mates.next)
    }

    /// Calls `act` for each process of a group; `act` must not take the process out of the group.
    pub fn each_member(&mut self, group: u32, mut act: impl FnMut(&mut Self, ProcessId)) {
        let mut next = self.members(group).next();
        while let Some(id) = next {
            act(self, id);
            next = self.process(id).and_then(|process| process.family.mates.next);
        }
    }

    /// The threads of a process that have not ended, the main one first.
    pub fn threads_of(&self, id: ProcessId) -> impl Iterator<Item = ThreadId> + '_ {
        let process = self.process(id);
        let main = process.filter(|process| process.main.state != State::Ended).map(|_| ThreadId::main(id));
        main.into_iter().chain(self.further_of(id))
    }

    /// The further threads of a process.
    fn further_of(&self, id: ProcessId) -> impl Iterator<Item = ThreadId> + '_ {
        let first = self.process(id).and_then(|process| process.family.threads.first());
        successors(first, |id| self.threads.further.get(*id)?.peers.next).map(ThreadId::further)
    }

    /// Calls `act` for each further thread of a process; `act` must not end the thread.
    pub(crate) fn each_further(&mut self, process: ProcessId, mut act: impl FnMut(&mut Self, ThreadId)) {
        let mut next = self.process(process).and_then(|process| process.family.threads.first());
        while let Some(id) = next {
            act(self, ThreadId::further(id));
            next = self.threads.further.get(id).and_then(|thread| thread.peers.next);
        }
    }

    /// Enters a new process into its parent's children and its parent's group; without a parent it leads a group of its
    /// own.
    #[inline]
    pub(crate) fn join_family(&mut self, id: ProcessId, parent: Option<ProcessId>) {
        let (siblings, group) = match parent.and_then(|parent| self.process_mut(parent)) {
            Some(parent) => (parent.family.children.join(id, false), parent.family.group),
            None => (Link::default(), self.groups.get_or_make(id.number())),
        };
        let mates = self.groups.join(group, id);
        if let Some(process) = self.process_mut(id) {
            let family = &mut process.family;
            (family.siblings, family.group, family.mates) = (siblings, group, mates);
        }
        siblings.attach(&mut Siblings(&mut self.threads.processes), id);
        mates.attach(&mut Mates(&mut self.threads.processes), id);
    }

    /// Takes a process that is about to be removed out of its parent's children and out of its group.
    pub(crate) fn leave_family(&mut self, id: ProcessId) {
        let Some(process) = self.process(id) else { return };
        let (parent, Family { siblings, group, mates, .. }) = (process.parent, &process.family);
        let (siblings, group, mates) = (*siblings, *group, *mates);
        self.leave_siblings(parent, siblings);
        self.leave_mates(group, mates);
    }

    /// Separates a process from its parent, which is gone: no process will wait for it.
    pub fn disown(&mut self, id: ProcessId) {
        let Some(process) = self.process_mut(id) else { return };
        process.parent_number = 1;
        let (parent, siblings) = (process.parent.take(), process.family.siblings);
        self.leave_siblings(parent, siblings);
    }

    fn leave_siblings(&mut self, parent: Option<ProcessId>, link: Link<ProcessId>) {
        let Some((parent, of)) = parent.and_then(|id| Some((self.process(id)?, id))) else { return };
        let mut children = parent.family.children;
        children.remove(&mut Siblings(&mut self.threads.processes), link);
        self.process_mut(of).into_iter().for_each(|parent| parent.family.children = children);
    }

    /// Moves a process to another group, or to a new one.
    pub fn set_group(&mut self, id: ProcessId, number: u32) {
        let Some(Family { group, mates, .. }) = self.process(id).map(|process| &process.family) else { return };
        let (group, mates) = (*group, *mates);
        self.leave_mates(group, mates);
        let group = self.groups.get_or_make(number);
        let mates = self.groups.join(group, id);
        if let Some(process) = self.process_mut(id) {
            process.group = number;
            (process.family.group, process.family.mates) = (group, mates);
        }
        mates.attach(&mut Mates(&mut self.threads.processes), id);
    }

    /// Takes the process with this link out of its group; the last member's leaving ends the group.
    fn leave_mates(&mut self, group: Id<Group>, link: Link<ProcessId>) {
        let Some(of) = self.groups.all.get_mut(group) else { return };
        of.members.remove(&mut Mates(&mut self.threads.processes), link);
        if of.members.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Passes over numbers for the next process in a slot: those that a group or session still bears, because its
    /// leader, which is gone, had them.
    pub(crate) fn pass_over_groups(&mut self, slot: u32) {
        while let Some(name) = self.threads.processes.next_name(slot)
            && self.is_borne(name.cast::<AnyProcess>().number())
        {
            self.threads.processes.pass_over(name);
        }
    }

    /// Whether a group or session has this number. All members of a group are of one session.
    fn is_borne(&self, number: u32) -> bool {
        let groups = self.groups.all.ids().filter_map(|id| self.groups.all.get(id)?.members.first());
        let mut members = groups.filter_map(|member| self.process(member));
        members.any(|member| member.group == number || member.session == number)
    }

    /// Enters a further thread into its process.
    pub(crate) fn join_threads(&mut self, process: ProcessId, id: Id<Thread>) {
        let Some(process) = self.process_mut(process) else { return };
        process.threads += 1;
        let link = process.family.threads.join(id, false);
        if let Some(thread) = self.threads.further.get_mut(id) {
            thread.peers = link;
        }
        link.attach(&mut Peers(&mut self.threads.further), id);
    }

    /// Takes a further thread, which is about to be freed, out of its process.
    pub(crate) fn leave_threads(&mut self, id: Id<Thread>) {
        let Some(thread) = self.threads.further.get(id) else { return };
        let (of, link) = (thread.process, thread.peers);
        let Some(process) = self.threads.processes.get_mut(of.cast()) else { return };
        process.family.threads.remove(&mut Peers(&mut self.threads.further), link);
    }
}

#[cfg(test)]
#[path = "../tests/family.rs"]
mod tests;
