//! Filling the file system at boot: devices, `/proc`, and the archives that the boot loader brought.

use super::{Files, OPEN_FILES_MAX, now};
use crate::arch::heap;
use crate::kernel::Memory;
use ::files::cpio::Reader;
use ::files::unpack::{self, Store};
use ::files::{Device, Errno, InodeId, Locks, New, OpenFiles, ProcFile, Tree};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use containers::ObjectId;

/// Why an archive could not be unpacked.
pub use ::files::unpack::Error as UnpackError;

/// Kernel heap that an archive's entry needs at most for its inode and names.
const HEAP_PER_ENTRY: usize = 512;

/// Bytes written to an object before the heap is topped up again.
pub const CHUNK: usize = 1 << 20;

/// Directories that are there whatever the archives say, with their modes.
const DIRECTORIES: [(&[u8], u32); 4] = [(b"dev", 0o755), (b"proc", 0o555), (b"tmp", 0o1777), (b"etc", 0o755)];

/// What `/proc` says of each process, besides the link to its program.
const OWN: [(&[u8], ProcFile); 5] = [
    (b"maps", ProcFile::SelfMaps),
    (b"stat", ProcFile::SelfStat),
    (b"status", ProcFile::SelfStatus),
    (b"cmdline", ProcFile::SelfCmdline),
    (b"comm", ProcFile::SelfComm),
];

/// Names in `/dev` for what a process has on its standard descriptors.
const STANDARD: [&[u8]; 3] = [b"stdin", b"stdout", b"stderr"];

/// Where regular files' bytes go while an archive is unpacked.
struct Objects<'a>(&'a mut Memory);

impl Store<ObjectId> for Objects<'_> {
    fn make(&mut self, bytes: &[u8]) -> Result<ObjectId, Errno> {
        let object = self.0.make_object().map_err(|_| Errno::ENOMEM)?;
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
            written_out: BTreeMap::new(),
            revealed: BTreeSet::new(),
        };
        files.furnish().expect("an empty tree has room for devices");
        files
    }

    fn furnish(&mut self) -> Result<(), Errno> {
        let root = self.root();
        let [dev, proc, ..] = DIRECTORIES.map(|(name, mode)| self.tree.add(root, name, New::Directory, mode, now()));
        let (dev, proc) = (dev?, proc?);
        for (name, device) in Device::ALL {
            self.tree.add(dev, name.as_bytes(), New::Device(device), 0o666, now())?;
        }
        for name in STANDARD {
            self.tree.add(dev, name, New::Symlink(b"console"), 0o777, now())?;
        }
        let own = self.tree.add(proc, b"self", New::Directory, 0o555, now())?;
        self.tree.add(own, b"exe", New::Proc(ProcFile::SelfExe, 0), 0o444, now())?;
        self.fill(own, &OWN, 0)?;
        self.fill(
            proc,
            &[
                (b"cpuinfo", ProcFile::Cpuinfo),
                (b"meminfo", ProcFile::Meminfo),
                (b"stat", ProcFile::Stat),
                (b"uptime", ProcFile::Uptime),
                (b"loadavg", ProcFile::Loadavg),
                (b"mounts", ProcFile::Mounts),
                (b"version", ProcFile::Version),
            ],
            0,
        )
    }

    /// Puts files that speak of a process into a directory, and closes it.
    fn fill(&mut self, directory: InodeId, entries: &[(&[u8], ProcFile)], process: u32) -> Result<(), Errno> {
        for (name, file) in entries {
            self.tree.add(directory, name, New::Proc(*file, process), 0o444, now())?;
        }
        self.tree.seal(directory)
    }

    /// Puts the directory of a process into `/proc`, if it is not there yet.
    pub fn reveal(&mut self, number: u32, executable: &[u8]) -> Result<(), Errno> {
        if self.revealed.contains(&number) {
            return Ok(());
        }
        let proc = self.lookup(b"/proc")?;
        self.tree.unseal(proc)?;
        let own = self.tree.add(proc, format!("{number}").as_bytes(), New::Directory, 0o555, now());
        self.tree.seal(proc)?;
        let own = own?;
        self.revealed.insert(number);
        let link = match executable {
            b"" => Ok(()),
            _ => self.tree.add(own, b"exe", New::Symlink(executable), 0o777, now()).map(drop),
        };
        link.and_then(|()| self.fill(own, &OWN, number)).inspect_err(|_| self.conceal(number))
    }

    /// Takes it away again: the process has ended.
    pub fn conceal(&mut self, number: u32) {
        if self.revealed.remove(&number)
            && let Ok(proc) = self.lookup(b"/proc")
        {
            // It is there, for nobody else takes it away.
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
