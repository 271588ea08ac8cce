//! The devices of extensions: their names in `/dev`, and their open files.
//!
//! For example, `insmod` loads an extension that registers `hello`: the file `/dev/hello` appears, an inode with the device's
//! number. Opening it calls the extension, whose name for the open file is kept until the open file is closed.

use super::{Descriptors, Files, Kept, now};
use crate::arch::physical::Memory;
use ::files::inode::Kind;
use ::files::{Errno, New, OpenFileId, OpenFlags};
use alloc::format;
use alloc::vec::Vec;
use containers::ObjectId;

impl Files {
    /// Loads an extension and gives its devices names: errors of [`Extensions::load`](crate::core::extensions::Extensions::load),
    /// and `EEXIST` if a device would have the name of another one. On an error nothing is left of the extension.
    pub fn load_extension(&mut self, memory: &mut Memory, file: ObjectId, parameters: &[u8]) -> Result<(), Errno> {
        let name = self.extensions.load(memory, file, parameters)?;
        self.name_devices(&name).inspect_err(|why| {
            log::warn!("{name}: its devices get no names: {why}");
            self.end_extension(memory, &name);
        })
    }

    /// Ends an extension and takes its devices away: `ENOENT`; `EBUSY` while one of them is open.
    pub fn unload_extension(&mut self, memory: &mut Memory, name: &str) -> Result<(), Errno> {
        self.extensions.devices(name)?;
        if self.extensions.is_used(memory, name) {
            return Err(Errno::EBUSY);
        }
        self.end_extension(memory, name);
        Ok(())
    }

    /// Makes the names of an extension's devices in `/dev`, which programs cannot change.
    fn name_devices(&mut self, extension: &str) -> Result<(), Errno> {
        let directory = self.lookup(b"/dev")?;
        self.tree.unseal(directory)?;
        let named = self.extensions.devices(extension)?.try_for_each(|number| {
            let name = self.extensions.device_name(number).ok_or(Errno::EINVAL)?;
            self.tree.add(directory, name.as_bytes(), New::Extension(number), 0o600, now()).map(drop)
        });
        self.tree.seal(directory).and(named)
    }

    /// Ends an extension and removes the names of its devices, as far as they have got them.
    fn end_extension(&mut self, memory: &mut Memory, extension: &str) {
        let Ok(directory) = self.lookup(b"/dev") else { return };
        let _ = self.tree.unseal(directory);
        for number in self.extensions.devices(extension).unwrap_or_default() {
            let name = self.extensions.device_name(number).unwrap_or_default();
            let inode = self.tree.lookup(directory, name.as_bytes()).and_then(|inode| self.tree.get(inode));
            if matches!(inode.map(|inode| &inode.kind), Ok(Kind::Extension(of)) if *of == number) {
                // The name is there, and a device has no content that would be freed.
                let _ = self.tree.unlink(directory, name.as_bytes(), now());
            }
        }
        let _ = self.tree.seal(directory);
        self.extensions.unload(memory, extension);
    }

    /// The path of an extension's device.
    pub(super) fn device_path(&self, number: u32) -> Vec<u8> {
        format!("/dev/{}", self.extensions.device_name(number).unwrap_or_default()).into_bytes()
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
