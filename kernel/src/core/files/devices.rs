//! The files of extensions: devices in `/dev` with their open files, and texts in `/proc`.
//!
//! For example, `insmod` loads an extension that registers `hello`: the file `/dev/hello` appears, an inode with the device's
//! number. Opening it calls the extension, whose name for the open file is kept until the open file is closed.

use super::{Descriptors, Files, Kept, now};
use crate::arch::physical::Memory;
use crate::core::extensions::Sort;
use ::files::inode::Kind;
use ::files::{Errno, New, OpenFileId, OpenFlags, ProcFile};
use alloc::format;
use alloc::vec::Vec;
use containers::ObjectId;

/// The sorts of files that extensions have.
const SORTS: [Sort; 2] = [Sort::Device, Sort::Text];

impl Sort {
    /// Where they have their names.
    fn directory(self) -> &'static [u8] {
        match self {
            Sort::Device => b"/dev",
            Sort::Text => b"/proc",
        }
    }
}

impl Files {
    /// Loads an extension and gives its files names: errors of [`Extensions::load`](crate::core::extensions::Extensions::load),
    /// and `EEXIST` if a file would have the name of another one. On an error nothing is left of the extension.
    pub fn load_extension(&mut self, memory: &mut Memory, file: ObjectId, parameters: &[u8]) -> Result<(), Errno> {
        let name = self.extensions.load(memory, file, parameters)?;
        SORTS.iter().try_for_each(|sort| self.name_files(&name, *sort)).inspect_err(|why| {
            log::warn!("{name}: its files get no names: {why}");
            self.end_extension(memory, &name);
        })
    }

    /// Ends an extension and takes its files away: `ENOENT`; `EBUSY` while one of them is open.
    pub fn unload_extension(&mut self, memory: &mut Memory, name: &str) -> Result<(), Errno> {
        self.extensions.files(name, Sort::Device)?;
        if self.extensions.is_used(memory, name) {
            return Err(Errno::EBUSY);
        }
        self.end_extension(memory, name);
        Ok(())
    }

    /// Makes the names of an extension's files of a sort, which programs cannot change.
    fn name_files(&mut self, extension: &str, sort: Sort) -> Result<(), Errno> {
        let directory = self.lookup(sort.directory())?;
        self.tree.unseal(directory)?;
        let named = self.extensions.files(extension, sort)?.try_for_each(|number| {
            let name = self.extensions.file_name(number, sort).ok_or(Errno::EINVAL)?;
            let (new, mode) = match sort {
                Sort::Device => (New::Extension(number), 0o600),
                Sort::Text => (New::Proc(ProcFile::Extension(number), 0), 0o444),
            };
            self.tree.add(directory, name.as_bytes(), new, mode, now()).map(drop)
        });
        self.tree.seal(directory).and(named)
    }

    /// Removes the names of an extension's files of a sort, as far as they have got them.
    fn remove_names(&mut self, extension: &str, sort: Sort) {
        let Ok(directory) = self.lookup(sort.directory()) else { return };
        let _ = self.tree.unseal(directory);
        for number in self.extensions.files(extension, sort).unwrap_or_default() {
            let name = self.extensions.file_name(number, sort).unwrap_or_default();
            let inode = self.tree.lookup(directory, name.as_bytes()).and_then(|inode| self.tree.get(inode));
            let kind = inode.map(|inode| &inode.kind);
            if matches!(kind, Ok(Kind::Extension(of) | Kind::Proc(ProcFile::Extension(of), _)) if *of == number) {
                // The name is there, and such a file has no content that would be freed.
                let _ = self.tree.unlink(directory, name.as_bytes(), now());
            }
        }
        let _ = self.tree.seal(directory);
    }

    /// Ends an extension.
    fn end_extension(&mut self, memory: &mut Memory, extension: &str) {
        SORTS.iter().for_each(|sort| self.remove_names(extension, *sort));
        self.extensions.unload(memory, extension);
    }

    /// The path of an extension's device.
    pub(super) fn device_path(&self, number: u32) -> Vec<u8> {
        format!("/dev/{}", self.extensions.file_name(number, Sort::Device).unwrap_or_default()).into_bytes()
    }

    /// Keeps an extension's name for an open file of one of its devices until that is closed. The name takes the place of the
    /// position, which no call moves in such a file, and so a request finds it without a search.
    pub fn keep_device(&mut self, id: OpenFileId, device: u32, name: u64) -> Result<(), Errno> {
        self.open.get_mut(id)?.offset = name;
        self.kept.insert(id, Kept::Device(device, name));
        Ok(())
    }

    /// The device of an extension in which a descriptor is open, and the extension's name for the open file.
    #[inline]
    pub fn device(&self, descriptors: &Descriptors, fd: i32) -> Option<(u32, u64)> {
        let (_, file, inode) = self.find(descriptors, fd).ok()?;
        match inode.kind {
            Kind::Extension(device) if !file.flags.contains(OpenFlags::PATH) => Some((device, file.offset)),
            _ => None,
        }
    }

    /// Gives up what an open file has kept.
    #[cold]
    pub(super) fn give_up_kept(&mut self, memory: &mut Memory, kept: Kept) {
        match kept {
            Kept::Text(writing) => memory.release_object(writing.object),
            Kept::Device(device, file) => self.extensions.close(memory, device, file),
        }
    }
}
