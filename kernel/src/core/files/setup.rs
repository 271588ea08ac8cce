//! Filling the file system at boot: devices, `/proc`, and the archives that the boot loader brought.

use super::{Bytes, Descriptors, Files, OPEN_FILES_MAX, Opened, now};
use crate::arch::heap;
use crate::arch::physical::Memory;
use crate::core::extensions::Extensions;
use crate::core::process::{Invocation, Resources};
use ::files::cpio::Reader;
use ::files::inode::Kind;
use ::files::unpack::{self, Store};
use ::files::{Device, Errno, InodeId, Locks, New, OpenFile, OpenFiles, OpenFlags, ProcFile, Tree};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use containers::{ObjectId, Purpose};

/// Why an archive could not be unpacked.
pub use ::files::unpack::Error as UnpackError;

/// The most kernel heap that an archive's entry needs for its inode and names, in bytes.
const HEAP_PER_ENTRY: usize = 512;

/// Bytes written to an object before the heap is topped up again.
pub const CHUNK: usize = 1 << 20;

/// Directories that exist whatever the archives contain, with their modes.
const DIRECTORIES: [(&[u8], u32); 4] = [(b"dev", 0o755), (b"proc", 0o555), (b"tmp", 0o1777), (b"etc", 0o755)];

/// The files in a process's directory in `/proc`, besides the link to its program.
const OWN: [(&[u8], ProcFile); 5] = [
    (b"maps", ProcFile::SelfMaps),
    (b"stat", ProcFile::SelfStat),
    (b"status", ProcFile::SelfStatus),
    (b"cmdline", ProcFile::SelfCmdline),
    (b"comm", ProcFile::SelfComm),
];

/// Names in `/dev` for a process's descriptors, and where they lead.
const DESCRIPTORS: [(&[u8], &[u8]); 4] = [
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
];

/// The memory objects that take the bytes of regular files while an archive is unpacked.
struct Objects<'a>(&'a mut Memory);

impl Store<ObjectId> for Objects<'_> {
    fn make(&mut self, bytes: &[u8]) -> Result<ObjectId, Errno> {
        let object = self.0.make_object(Purpose::File).map_err(|_| Errno::ENOMEM)?;
        let mut position = 0;
        for chunk in bytes.chunks(CHUNK) {
            let room = heap::reserve(&mut self.0.physical);
            if !room || self.0.write_object(object, position, chunk) != Ok(chunk.len()) {
                self.0.release_object(object);
                return Err(Errno::ENOMEM);
            }
            position += chunk.len() as u64;
        }
        Ok(object)
    }

    fn free(&mut self, content: ObjectId) {
        self.0.release_object(content);
    }
}

impl Files {
    /// A file system with the devices and `/proc`.
    pub fn new(memory: &mut Memory) -> Files {
        heap::reserve(&mut memory.physical);
        let mut files = Files {
            tree: Tree::new(now()),
            open: OpenFiles::new(OPEN_FILES_MAX),
            locks: Locks::default(),
            standard: Descriptors::new(super::DESCRIPTORS),
            kept: BTreeMap::new(),
            extensions: Extensions::default(),
            revealed: BTreeMap::new(),
        };
        files.furnish().expect("an empty tree has room for devices");
        files
    }

    fn furnish(&mut self) -> Result<(), Errno> {
        let root = self.root();
        let [dev, proc, ..] = DIRECTORIES.map(|(name, mode)| self.tree.add(root, name, New::Directory, mode, now()));
        let (dev, proc) = (dev?, proc?);
        self.tree.fill_on_demand(proc)?;
        for (name, device) in Device::ALL {
            self.tree.add(dev, name.as_bytes(), New::Device(device), 0o666, now())?;
        }
        for (name, target) in DESCRIPTORS {
            self.tree.add(dev, name, New::Symlink(target), 0o777, now())?;
        }
        self.tree.add(proc, b"self", New::Proc(ProcFile::SelfLink, 0), 0o777, now())?;
        self.fill(
            proc,
            &[
                (b"cpuinfo", ProcFile::Cpuinfo),
                (b"meminfo", ProcFile::Meminfo),
                (b"stat", ProcFile::Stat),
                (b"uptime", ProcFile::Uptime),
                (b"loadavg", ProcFile::Loadavg),
                (b"modules", ProcFile::Modules),
                (b"mounts", ProcFile::Mounts),
                (b"version", ProcFile::Version),
            ],
            0,
        )
    }

    /// Seals `/dev`: from now on no process can remove a device that other processes rely on. Opens the console for
    /// processes that start with it.
    pub fn keep_devices(&mut self) {
        // The directory exists, unless an archive has put something else in its place.
        let _ = self.lookup(b"/dev").and_then(|directory| self.tree.seal(directory));
        // Without a console, processes start with nothing open.
        let _ = self.open_console();
    }

    fn open_console(&mut self) -> Result<(), Errno> {
        let inode = self.lookup(b"/dev/console")?;
        self.tree.hold(inode)?;
        let file = self.open.insert(OpenFile::new(inode, OpenFlags::READ_WRITE))?;
        let first = self.standard.insert(file, false, &mut self.open)?;
        (0..2).try_for_each(|_| self.standard.duplicate(first, 0, false, &mut self.open).map(drop))
    }

    /// Puts files about a process into a directory, and seals it.
    fn fill(&mut self, directory: InodeId, entries: &[(&[u8], ProcFile)], process: u32) -> Result<(), Errno> {
        for (name, file) in entries {
            self.tree.add(directory, name, New::Proc(*file, process), 0o444, now())?;
        }
        self.tree.seal(directory)
    }

    /// Puts the directory of a process into `/proc`, if it is not there yet.
    pub fn reveal(&mut self, number: u32, resources: &Resources) -> Result<(), Errno> {
        if self.revealed.contains_key(&number) {
            return Ok(());
        }
        self.make_own(number, resources.invocation.as_deref()).inspect_err(|_| self.conceal(number))
    }

    /// Points the link `cwd` in a process's directory in `/proc` at the process's working directory.
    pub fn point_directory(&mut self, number: u32, resources: &Resources) -> Result<(), Errno> {
        let Some([own, _]) = self.revealed.get(&number).copied() else { return Ok(()) };
        let directory = resources.directory;
        // A directory that has been removed has no path.
        let target = self.tree.path_of(self.root(), directory).ok();
        self.point(own, b"cwd", target.map(|name| (directory, name)))
    }

    /// The directory of a process in `/proc`, if the process has one.
    pub fn revealed(&self, number: u32) -> Option<InodeId> {
        self.revealed.get(&number).map(|[own, _]| *own)
    }

    fn make_own(&mut self, number: u32, invocation: Option<&Invocation>) -> Result<(), Errno> {
        let proc = self.lookup(b"/proc")?;
        self.tree.unseal(proc)?;
        let own = self.tree.add(proc, format!("{number}").as_bytes(), New::Directory, 0o555, now());
        self.tree.seal(proc)?;
        let own = own?;
        self.tree.fill_on_demand(own)?;
        self.revealed.insert(number, [own; 2]);
        let descriptors = self.tree.add(own, b"fd", New::Directory, 0o500, now())?;
        self.tree.seal(descriptors)?;
        self.tree.fill_on_demand(descriptors)?;
        self.revealed.insert(number, [own, descriptors]);
        if let Some(Invocation { executable, inode, .. }) = invocation {
            let nameless = format!("file:[{}]", inode.number());
            let called = if executable.is_empty() { nameless.as_bytes() } else { executable };
            self.tree.add(own, b"exe", New::Magic(*inode, called), 0o777, now())?;
        }
        self.fill(own, &OWN, number)
    }

    /// Makes a name in a sealed directory a link to an inode and its path, or removes it.
    fn point(&mut self, directory: InodeId, name: &[u8], target: Option<(InodeId, Vec<u8>)>) -> Result<(), Errno> {
        let there = self.tree.lookup(directory, name).and_then(|link| self.tree.get(link));
        let is = match (there.map(|inode| &inode.kind), &target) {
            (Ok(Kind::Magic(to, called)), Some((inode, name))) => to == inode && **called == **name,
            (Err(_), None) => true,
            _ => false,
        };
        if is {
            return Ok(());
        }
        self.tree.unseal(directory)?;
        // There need not be a link; a link has no content.
        let _ = self.tree.unlink(directory, name, now());
        let made =
            target.map(|(inode, called)| self.tree.add(directory, name, New::Magic(inode, &called), 0o700, now()));
        self.tree.seal(directory)?;
        made.transpose().map(drop)
    }

    /// Brings the link for a process's descriptor in `/proc` up to date. The process has been revealed.
    pub fn point_descriptor(&mut self, number: u32, descriptors: &Descriptors, fd: u32) -> Result<(), Errno> {
        let Some([_, directory]) = self.revealed.get(&number).copied() else { return Ok(()) };
        let opened = i32::try_from(fd).map_err(|_| Errno::EBADF).and_then(|fd| self.opened(descriptors, fd)).ok();
        let target = opened.map(|opened| (opened.file.inode, self.name_of(&opened)));
        self.point(directory, format!("{fd}").as_bytes(), target)
    }

    /// The process whose descriptors a directory of `/proc` lists, by number.
    pub fn lists_descriptors_of(&self, directory: InodeId) -> Option<u32> {
        let found = self.revealed.iter().find(|(_, [_, descriptors])| *descriptors == directory);
        found.map(|(number, _)| *number)
    }

    /// The next descriptor that a directory of descriptors in `/proc` lists from an offset on, and the offset behind
    /// it.
    pub fn listed_descriptor(&self, directory: InodeId, offset: u64) -> Option<(u32, u64)> {
        let number = |name: &[u8]| core::str::from_utf8(name).ok()?.parse().ok();
        self.tree.list(directory, offset).ok()?.find_map(|entry| Some((number(entry.name)?, entry.next)))
    }

    /// A name for an open file, as far as the kernel knows one: a file may have several, and they are not kept.
    fn name_of(&self, opened: &Opened) -> Vec<u8> {
        let number = opened.file.inode.number();
        match opened.bytes {
            bytes if bytes.is_console() => b"/dev/console".to_vec(),
            Bytes::Device(device) => {
                let name = Device::ALL.iter().find(|(_, other)| *other == device).map_or("", |(name, _)| name);
                format!("/dev/{name}").into_bytes()
            }
            Bytes::Extension(device) => self.device_path(device),
            Bytes::Directory => self.tree.path_of(self.root(), opened.file.inode).unwrap_or_default(),
            Bytes::Pipe(_) => format!("pipe:[{number}]").into_bytes(),
            Bytes::Counter => b"anon_inode:[eventfd]".to_vec(),
            Bytes::Epoll => b"anon_inode:[eventpoll]".to_vec(),
            _ => format!("file:[{number}]").into_bytes(),
        }
    }

    /// Removes a process's directory from `/proc`: the process has ended, or has become another program. Most processes
    /// have none.
    #[inline]
    pub fn conceal(&mut self, number: u32) {
        if !self.revealed.is_empty() {
            self.conceal_revealed(number);
        }
    }

    #[cold]
    fn conceal_revealed(&mut self, number: u32) {
        if let Some([own, _]) = self.revealed.remove(&number)
            && let Ok(proc) = self.lookup(b"/proc")
        {
            // The names exist, unless there was no room for them: no program can remove them.
            let _ = self.tree.prune(own, b"fd", now());
            let _ = self.tree.prune(proc, format!("{number}").as_bytes(), now());
        }
    }

    /// Lays an archive over the tree.
    pub fn unpack(&mut self, memory: &mut Memory, archive: &[u8]) -> Result<(), UnpackError> {
        let entries = Reader::new(archive).count();
        if !heap::reserve_bytes(&mut memory.physical, heap::RESERVE + entries * HEAP_PER_ENTRY) {
            return Err(UnpackError::Entry((*b"/").into(), Errno::ENOMEM));
        }
        let unpacked = unpack::unpack(&mut self.tree, archive, &mut Objects(memory), now())?;
        if unpacked.skipped > 0 {
            log::warn!("{} of {entries} entries of an archive are of no use here", unpacked.skipped);
        }
        Ok(())
    }
}
