//! The file subsystem: the tree of names, the open files, and where their bytes are.
//!
//! For example, `open("/etc/motd")` looks the path up in the tree, which yields an inode with a memory object; the open
//! file gets a place in the table and a descriptor, and `read` copies from the object.
//!
//! The rules of names and descriptors are the crate `files`'s; the bytes of regular files are memory
//! objects. Here the two meet: an inode's size and its object's agree, and a content that the tree
//! gives back is released. Files of `/proc` are written out into an object of their own when they are
//! read ([`proc`]). Nothing here waits, and nothing here reaches user memory.

mod devices;
pub mod proc;
mod setup;

pub use ::files::Descriptors;
use proc::Writing;
pub use setup::UnpackError;

use super::extensions::Extensions;
pub use super::process::SIZE_MAX;
use super::process::Tasks;
use crate::arch::physical::Memory;
use ::files::inode::{Inode, Kind};
use ::files::locks::Owner;
use ::files::{
    Device, Errno, Freed, InodeId, Locks, OpenFile, OpenFileId, OpenFiles, OpenFlags, Pipe, ProcFile, Source, Tree,
    Waiters, Walk,
};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use containers::{Channel, ObjectId, ProcessId, Purpose};
use core::ops::Range;
use hardware::clock;

/// The most open files of all processes together.
const OPEN_FILES_MAX: usize = 262_144;

/// How many descriptors a process may have until it raises the limit.
const DESCRIPTORS: u32 = 1024;

/// Names, inodes, open files.
pub struct Files {
    /// The file system.
    pub tree: Tree<ObjectId>,
    /// All open files.
    pub open: OpenFiles,
    /// Advisory locks.
    pub locks: Locks,
    /// Descriptors 0, 1 and 2 on the console, for processes that are given no others.
    standard: Descriptors,
    /// What some open files keep until they are closed; most keep nothing.
    kept: BTreeMap<OpenFileId, Kept>,
    /// Extensions of the kernel, which have devices.
    pub extensions: Extensions,
    /// The processes that have a directory in `/proc`, by number, with that directory and the directory of the
    /// process's descriptors. A process gets them when a program first looks for it.
    revealed: BTreeMap<u32, [InodeId; 2]>,
}

/// What an open file keeps until it is closed.
#[derive(Clone, Copy)]
enum Kept {
    /// A file of `/proc`: the text, written out when it was last read from the start.
    Text(Writing),
    /// A device of an extension: the device's number, and the extension's name for the open file.
    Device(u32, u64),
}

/// The place of an open file's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bytes {
    /// In a regular file.
    Regular(ObjectId),
    /// In a file of `/proc`, as soon as it is read; the number is that of the process that it describes, 0 for the
    /// process that reads.
    Proc(ProcFile, u32),
    /// In a file of `/proc` that has been read.
    WrittenOut(ObjectId),
    /// In a pipe's ring.
    Pipe(ObjectId),
    /// In an event counter.
    Counter,
    /// In a device.
    Device(Device),
    /// In a device of an extension, by its number.
    Extension(u32),
    /// Nowhere: an `epoll`.
    Epoll,
    /// Nowhere: a directory.
    Directory,
    /// Nowhere: only the name was opened.
    Nowhere,
}

/// An open file, as a call finds it.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Its name.
    pub id: OpenFileId,
    /// Its offset and flags at this moment.
    pub file: OpenFile,
    /// The bytes that can be read and written.
    pub bytes: Bytes,
}

impl Opened {
    /// The view of an open file and its inode.
    pub fn new(id: OpenFileId, file: &OpenFile, inode: &Inode<ObjectId>) -> Opened {
        let bytes = match &inode.kind {
            _ if file.flags.contains(OpenFlags::PATH) => Bytes::Nowhere,
            Kind::Regular { content, .. } => Bytes::Regular(*content),
            Kind::Directory(_) => Bytes::Directory,
            Kind::Device(device) => Bytes::Device(*device),
            Kind::Extension(number) => Bytes::Extension(*number),
            Kind::Pipe { content, .. } => Bytes::Pipe(*content),
            Kind::Counter(..) => Bytes::Counter,
            Kind::Epoll(_) => Bytes::Epoll,
            Kind::Proc(file, process) => Bytes::Proc(*file, *process),
            Kind::Symlink(_) | Kind::Magic(..) => Bytes::Nowhere,
        };
        Opened { id, file: *file, bytes }
    }

    /// The source of events that a call waits for if the file is not ready; `None` if it is always ready.
    pub fn source(&self) -> Option<Source> {
        match self.bytes {
            Bytes::Device(Device::Console | Device::Tty) => Some(Source::Console),
            Bytes::Pipe(_) | Bytes::Counter | Bytes::Epoll => Some(Source::Inode(self.file.inode)),
            _ => None,
        }
    }
}

/// Events of a pipe, a counter or locks, for the threads that wait for them.
#[must_use = "somebody may be waiting"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileEvents {
    /// The pipe or counter.
    inode: Option<InodeId>,
    /// The events that concern threads whose reads or writes wait.
    events: u32,
    /// The events that concern threads that poll it and `epoll`s that watch it; none if there are none of these.
    edges: u32,
    /// Whether a lock has been given up.
    unlocked: bool,
}

impl FileEvents {
    /// No event.
    pub const NONE: FileEvents = FileEvents { inode: None, events: 0, edges: 0, unlocked: false };

    /// The event that a lock has been given up, if one has.
    pub fn of_locks(unlocked: bool) -> FileEvents {
        FileEvents { unlocked, ..FileEvents::NONE }
    }

    /// Wakes the threads that wait for these events.
    pub fn notify(self, tasks: &mut Tasks, files: &mut Files) {
        if self.unlocked {
            tasks.wake_all(Channel::Locks);
        }
        let Some(inode) = self.inode else { return };
        if self.events != 0 {
            tasks.wake(Channel::Pipe(inode.number()), usize::MAX, self.events);
        }
        if self.edges != 0 {
            files.notify(tasks, Source::Inode(inode), self.edges);
        }
    }
}

/// The part of an open file that `mmap` may map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mappable {
    /// A regular file's bytes.
    Object {
        /// The bytes; the caller of [`Files::mappable`] has no reference of its own.
        object: ObjectId,
        /// The file was opened for reading.
        readable: bool,
        /// The file was opened for writing.
        writable: bool,
    },
    /// Zeroes: `/dev/zero`.
    Zero,
}

/// The time for time stamps: nanoseconds since 1970.
pub fn now() -> i64 {
    clock::wall_clock() as i64
}

impl Files {
    /// The root directory.
    pub fn root(&self) -> InodeId {
        self.tree.root()
    }

    /// Descriptors 0, 1 and 2 of a process that has inherited none: all on the console.
    pub fn standard_descriptors(&self) -> Descriptors {
        self.standard.share()
    }

    /// Closes a process's whole descriptor table. Descriptors that another process shares stay, but this process's
    /// locks do not.
    #[inline]
    pub fn close_all(&mut self, memory: &mut Memory, tasks: &mut Tasks, descriptors: Descriptors, process: ProcessId) {
        if !self.locks.is_empty() {
            self.unlock_each(tasks, &descriptors, process);
        }
        if !descriptors.is_shared() {
            self.close_each(memory, tasks, &descriptors, process);
        }
    }

    #[inline(never)]
    fn close_each(&mut self, memory: &mut Memory, tasks: &mut Tasks, descriptors: &Descriptors, process: ProcessId) {
        descriptors.own_open_files().for_each(|id| self.release(memory, process, id).notify(tasks, self));
    }

    #[cold]
    fn unlock_each(&mut self, tasks: &mut Tasks, descriptors: &Descriptors, process: ProcessId) {
        descriptors.open_files().for_each(|id| FileEvents::of_locks(self.unlock(process, id)).notify(tasks, self));
    }

    /// Closes a descriptor of a process that ends. If another process shares it, only the ending process's locks go.
    pub fn give_up(
        &mut self,
        memory: &mut Memory,
        tasks: &mut Tasks,
        process: ProcessId,
        id: OpenFileId,
        is_own: bool,
    ) {
        let events = match is_own {
            true => self.release(memory, process, id),
            false => FileEvents::of_locks(!self.locks.is_empty() && self.unlock(process, id)),
        };
        events.notify(tasks, self);
    }

    /// Gives up a process's locks of an open file; returns whether there were any.
    fn unlock(&mut self, process: ProcessId, id: OpenFileId) -> bool {
        let inode = self.open.get(id).map(|file| file.inode);
        inode.is_ok_and(|inode| self.locks.release(inode, Owner::Process(process.number())))
    }

    /// Closes a descriptor of a process.
    pub fn close(
        &mut self,
        memory: &mut Memory,
        descriptors: &mut Descriptors,
        fd: u32,
        process: ProcessId,
    ) -> Result<FileEvents, Errno> {
        let id = descriptors.close(fd, &mut self.open)?;
        Ok(self.release(memory, process, id))
    }

    /// Finishes closing a descriptor: gives up its reference to the open file, the process's locks of the file, and
    /// what the open file held if this was its last reference.
    #[inline(always)]
    pub fn release(&mut self, memory: &mut Memory, process: ProcessId, id: OpenFileId) -> FileEvents {
        let locked = !self.locks.is_empty();
        let mut unlocked = locked && self.unlock(process, id);
        let Some(file) = self.open.release(id) else { return FileEvents::of_locks(unlocked) };
        if locked {
            unlocked |= self.locks.release(file.inode, Owner::OpenFile(id));
            unlocked |= self.locks.release(file.inode, Owner::Whole(id));
        }
        if !self.kept.is_empty()
            && let Some(kept) = self.kept.remove(&id)
        {
            self.give_up_kept(memory, kept);
        }
        FileEvents { unlocked, ..self.close_file(memory, &file, Some(id)) }
    }

    /// Gives back what an open file holds that is not in the table, or not any more.
    #[inline(always)]
    pub fn give_back(&mut self, memory: &mut Memory, file: &OpenFile) -> FileEvents {
        self.close_file(memory, file, None)
    }

    #[inline(always)]
    fn close_file(&mut self, memory: &mut Memory, file: &OpenFile, id: Option<OpenFileId>) -> FileEvents {
        let (freed, events) = self.tree.close(file.inode, file.flags, id);
        self.free(memory, freed);
        FileEvents { inode: Some(file.inode), events, edges: events, ..FileEvents::NONE }
    }

    /// Wakes the threads that poll a file, or wait in an `epoll` that watches it, for events given as bits of
    /// [`::files::pipe::event`].
    pub fn notify(&mut self, tasks: &mut Tasks, source: Source, bits: u32) {
        self.tree.notify(source, bits, &mut |waiters| Files::wake(tasks, waiters));
    }

    /// Wakes a thread that is to be told; returns whether there was one.
    pub fn wake(tasks: &mut Tasks, waiters: Waiters) -> bool {
        match waiters {
            Waiters::PollQueue(poll_queue, bits) => tasks.wake_pollers(poll_queue, bits) > 0,
            // Wakes one of the threads that wait there; if it leaves an event, it wakes the next.
            Waiters::Epoll(epoll) => tasks.wake(Channel::Epoll(epoll.number()), 1, u32::MAX) > 0,
        }
    }

    /// A pipe's state, if the open file is a pipe: for [`Files::pipe_events`].
    pub fn pipe(&self, opened: &Opened) -> Option<Pipe> {
        match opened.bytes {
            Bytes::Pipe(_) => self.tree.pipe(opened.file.inode).ok().copied(),
            _ => None,
        }
    }

    /// The events of an event counter of which `done` bytes have been read or written: it may be written, or read.
    pub fn counter_events(&self, opened: &Opened, done: u64, events: u32) -> FileEvents {
        match opened.bytes {
            Bytes::Counter if done > 0 => {
                FileEvents { inode: Some(opened.file.inode), events, edges: events, ..FileEvents::NONE }
            }
            _ => FileEvents::NONE,
        }
    }

    /// The events of a pipe since its state was `before`.
    pub fn pipe_events(&self, inode: InodeId, before: Option<Pipe>) -> FileEvents {
        let (Some(before), Ok(now)) = (before, self.tree.get(inode)) else { return FileEvents::NONE };
        let Kind::Pipe { pipe, watchers, .. } = &now.kind else { return FileEvents::NONE };
        let edges = if watchers.is_some() { pipe.edges_since(&before) } else { 0 };
        FileEvents { inode: Some(inode), events: pipe.events_since(&before), edges, ..FileEvents::NONE }
    }

    /// Makes a pipe; returns its read end and its write end. `ENFILE`
    pub fn make_pipe(&mut self, memory: &mut Memory, flags: OpenFlags) -> Result<[OpenFile; 2], Errno> {
        let object = memory.make_object(Purpose::Buffer).map_err(|_| Errno::ENFILE)?;
        let inode = self.tree.make_pipe(object, now()).inspect_err(|_| memory.release_object(object))?;
        Ok([flags, flags | OpenFlags::WRITE_ONLY].map(|flags| OpenFile::new(inode, flags)))
    }

    /// Releases a content that has lost its last name and its last open file.
    pub fn free(&mut self, memory: &mut Memory, freed: Freed<ObjectId>) {
        if let Some(object) = freed.0 {
            memory.release_object(object);
        }
    }

    /// Keeps the directory that a process works in, or the program that it runs, even if its last name is removed. `ENFILE`
    pub fn enter(&mut self, inode: InodeId) -> Result<(), Errno> {
        // The root stays anyway, and most processes never leave it.
        if inode == self.root() { Ok(()) } else { self.tree.hold(inode) }
    }

    /// Takes back one [`Files::enter`].
    #[inline]
    pub fn leave(&mut self, memory: &mut Memory, inode: Option<InodeId>) {
        if let Some(inode) = inode.filter(|inode| *inode != self.root()) {
            let freed = self.tree.release(inode);
            self.free(memory, freed);
        }
    }

    /// The inode that an absolute path leads to, links followed.
    pub fn lookup(&self, path: &[u8]) -> Result<InodeId, Errno> {
        let root = self.root();
        self.tree.resolve(&Walk { root, start: root, own: None, revealed: true }, path, true)
    }

    /// The names in a directory.
    pub fn names(&self, path: &[u8]) -> Vec<Box<[u8]>> {
        let Ok(entries) = self.lookup(path).and_then(|directory| self.tree.list(directory, 0)) else {
            return Vec::new();
        };
        entries.filter(|entry| !matches!(entry.name, b"." | b"..")).map(|entry| entry.name.into()).collect()
    }

    /// A regular file's bytes, their number, and whether it may be executed.
    pub fn content(&self, inode: InodeId) -> Option<(ObjectId, u64, bool)> {
        let inode = self.tree.get(inode).ok()?;
        match inode.kind {
            Kind::Regular { content, size } => Some((content, size, inode.mode & 0o111 != 0)),
            _ => None,
        }
    }

    /// The open file behind a descriptor: `EBADF`.
    pub fn opened(&self, descriptors: &Descriptors, fd: i32) -> Result<Opened, Errno> {
        self.opened_by_id(descriptors.get(fd as u32)?)
    }

    /// The open file with an id: `EBADF` if it is closed.
    pub fn opened_by_id(&self, id: OpenFileId) -> Result<Opened, Errno> {
        let file = self.open.get(id)?;
        Ok(Opened::new(id, file, self.tree.get(file.inode)?))
    }

    /// References to an open file and its inode: `EBADF`.
    #[inline(always)]
    pub fn find(&self, descriptors: &Descriptors, fd: i32) -> Result<(OpenFileId, &OpenFile, &Inode<ObjectId>), Errno> {
        let id = descriptors.get(fd as u32)?;
        let file = self.open.get(id)?;
        Ok((id, file, self.tree.get(file.inode)?))
    }

    /// The range of a pipe's ring that takes up to `most` bytes: `EPIPE` if the pipe has no reader.
    pub fn pipe_room(&self, inode: InodeId, most: u64) -> Result<Range<u64>, Errno> {
        let pipe = self.tree.pipe(inode)?;
        if pipe.has_readers() { Ok(pipe.vacant(most)) } else { Err(Errno::EPIPE) }
    }

    /// Makes an open file of an inode that the tree has opened, and gives it a descriptor.
    pub fn install(
        &mut self,
        memory: &mut Memory,
        descriptors: &mut Descriptors,
        file: OpenFile,
        close_on_exec: bool,
    ) -> Result<u32, Errno> {
        let fd = descriptors.lowest_free(0).inspect_err(|_| _ = self.give_back(memory, &file))?;
        self.install_at(memory, descriptors, fd, file, close_on_exec)
    }

    /// Makes an open file of an inode that the tree has opened, at a descriptor that is known to be free.
    #[inline(never)]
    pub fn install_at(
        &mut self,
        memory: &mut Memory,
        descriptors: &mut Descriptors,
        fd: u32,
        file: OpenFile,
        close_on_exec: bool,
    ) -> Result<u32, Errno> {
        let installed = self.open.insert(file).and_then(|id| {
            let inserted = descriptors.insert_at(fd, id, close_on_exec, &mut self.open);
            inserted.inspect_err(|_| _ = self.open.release(id))
        });
        // No thread waits yet for a file that has just been opened, so there is no event to tell.
        installed.inspect_err(|_| _ = self.give_back(memory, &file))?;
        Ok(fd)
    }

    /// The text of an open file of `/proc` about `process`. It is written out anew when it is read from the start, and
    /// in portions: the next one is written when the reader has come to the end of the last. `None`: the next portion
    /// still ends before `position`, and this visit has done enough.
    pub fn written_out(
        &mut self,
        memory: &mut Memory,
        tasks: &Tasks,
        process: ProcessId,
        (id, file): (OpenFileId, ProcFile),
        position: u64,
    ) -> Result<Option<ObjectId>, Errno> {
        let mut writing = match self.kept.remove(&id) {
            Some(Kept::Text(writing)) if position > 0 => writing,
            old => {
                old.into_iter().for_each(|old| self.give_up_kept(memory, old));
                proc::begin(memory)?
            }
        };
        if position >= memory.object_size(writing.object)
            && let Err(error) = proc::go_on(&mut writing, file, memory, (tasks, &self.extensions), process)
        {
            // Part of a portion may have been written already, so the next read begins anew.
            memory.release_object(writing.object);
            return Err(error);
        }
        self.kept.insert(id, Kept::Text(writing));
        let is_there = writing.goes_on.is_none() || position < memory.object_size(writing.object);
        Ok(is_there.then_some(writing.object))
    }

    /// Checks that a file may be written to, because it is not a running program. `ETXTBSY`
    pub fn check_idle(&self, memory: &Memory, inode: InodeId) -> Result<(), Errno> {
        let runs = self.content(inode).is_some_and(|(object, ..)| memory.is_program(object));
        if runs { Err(Errno::ETXTBSY) } else { Ok(()) }
    }

    /// Sets the size of a regular file and of its object.
    pub fn resize(&mut self, memory: &mut Memory, inode: InodeId, size: u64) -> Result<(), Errno> {
        if size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        self.tree.set_size(inode, size, now())?;
        if let Some((object, ..)) = self.content(inode) {
            memory.resize_object(object, size);
        }
        Ok(())
    }

    /// The part of a descriptor's file that `mmap` may map: `EBADF`, `EACCES` (not open for reading), `ENODEV` (none).
    pub fn mappable(&self, descriptors: &Descriptors, fd: i32) -> Result<Mappable, Errno> {
        let Opened { file, bytes, .. } = self.opened(descriptors, fd)?;
        match bytes {
            Bytes::Regular(object) => {
                let (readable, writable) = (file.flags.readable(), file.flags.writable());
                Ok(Mappable::Object { object, readable, writable })
            }
            Bytes::Device(Device::Zero) => Ok(Mappable::Zero),
            Bytes::Nowhere if file.flags.contains(OpenFlags::PATH) => Err(Errno::EBADF),
            _ if !file.flags.readable() => Err(Errno::EACCES),
            _ => Err(Errno::ENODEV),
        }
    }
}
