//! Extensions of the kernel: loading one, ending it, and reaching its devices.
//!
//! An extension is a file like a program's ([`image`]), mapped where all page directories have the kernel
//! ([`crate::arch::extension`]). Nothing else of the kernel knows what an extension does: it is reached through its devices,
//! by numbers that are never given twice. For example, `/dev/hello` is an inode with number 4; once its extension has ended,
//! whoever still has the inode gets `ENXIO`.

pub mod image;

use crate::arch::extension::{self, Held, Loan, Mapped};
use crate::arch::heap;
use crate::arch::physical::Memory;
use ::files::Errno;
use abi::extension::{Device, END, MOST_DEVICES, START};
use alloc::boxed::Box;
use alloc::vec::Vec;
use containers::{ObjectId, PhysicalMemory, Space};
use core::fmt;
use core::ops::Range;
use image::{Image, NO_MEMORY, Refusal};

/// The most extensions at a time.
const MOST: usize = 8;

/// The most kernel heap that loading needs beyond what any call may need, in bytes.
const HEAP: usize = 64 << 10;

/// An extension.
struct Extension {
    name: Box<str>,
    mapped: Mapped,
    held: Held,
    /// The number of its first device; the others follow.
    first: u32,
    /// How many open files its devices have.
    users: u32,
}

/// All extensions.
#[derive(Default)]
pub struct Extensions {
    /// Whether processes may load any.
    pub allowed: bool,
    list: Vec<Extension>,
    /// The number of the next device.
    next: u32,
}

impl Extensions {
    /// Loads an extension from a file and lets it start; returns its name. `EEXIST`, `ENOEXEC`, `ENOMEM`, or the error with
    /// which it ends at once. On an error nothing is left of it.
    pub fn load(&mut self, memory: &mut Memory, file: ObjectId, parameters: &[u8]) -> Result<Box<str>, Errno> {
        let loaded = self.try_load(memory, file, parameters);
        loaded.map_err(|Refusal(errno, why)| {
            log::warn!("an extension is refused: {why}");
            errno
        })
    }

    fn try_load(&mut self, memory: &mut Memory, file: ObjectId, parameters: &[u8]) -> Result<Box<str>, Refusal> {
        if !heap::reserve_bytes(&mut memory.physical, heap::RESERVE + HEAP) {
            return Err(NO_MEMORY);
        }
        let image = Image::read(memory, file)?;
        if self.list.iter().any(|extension| extension.name == image.name) {
            return Err(Refusal(Errno::EEXIST, "there is one of this name"));
        }
        let is_free = |place: &usize| self.list.iter().all(|extension| extension.mapped.place() != *place);
        let place = (0..MOST).find(is_free).ok_or(Refusal(Errno::ENOMEM, "there are too many"))?;
        let next = self.next.checked_add(MOST_DEVICES as u32).ok_or(NO_MEMORY)?;
        let pages = image.load(memory, file, extension::start(place))?;
        let mapped = Mapped::new(&mut memory.physical, place, pages, image.entry).map_err(|pages| {
            pages.iter().for_each(|page| memory.physical.release(page.frame));
            NO_MEMORY
        })?;
        let mut extension = Extension { name: image.name, mapped, held: Held::default(), first: self.next, users: 0 };
        let started = extension.enter(memory, START, parameters);
        if started < 0 {
            extension.unmap(memory);
            return Err(Refusal(errno(started), "it ends at once"));
        }
        self.next = next;
        let name = extension.name.clone();
        log::info!("{name}: an extension of {} KiB", extension.mapped.size() >> 10);
        self.list.push(extension);
        Ok(name)
    }

    /// Ends an extension none of whose devices is open, and gives back its memory.
    pub fn unload(&mut self, memory: &mut Memory, name: &str) {
        let Some(place) = self.list.iter().position(|extension| *extension.name == *name) else { return };
        let mut extension = self.list.remove(place);
        extension.enter(memory, END, &[]);
        log::info!("{name}: the extension has ended");
        extension.unmap(memory);
    }

    /// The numbers of an extension's devices: `ENOENT`
    pub fn devices(&self, name: &str) -> Result<Range<u32>, Errno> {
        let extension = self.list.iter().find(|extension| *extension.name == *name).ok_or(Errno::ENOENT)?;
        Ok(extension.first..extension.first + extension.held.devices.len() as u32)
    }

    /// Whether an extension has devices that are open.
    pub fn is_used(&self, name: &str) -> bool {
        self.list.iter().any(|extension| *extension.name == *name && extension.users > 0)
    }

    /// Writes a line about each extension, the newest first: name, bytes, how many open files its devices have, the extensions
    /// that need it (none), state, address.
    pub fn list(&self, out: &mut impl fmt::Write) -> fmt::Result {
        self.list.iter().rev().try_for_each(|Extension { name, mapped, users, .. }| {
            writeln!(out, "{name} {} {users} - Live {:#x}", mapped.size(), extension::start(mapped.place()))
        })
    }

    /// The name of a device.
    pub fn device_name(&self, number: u32) -> Option<&str> {
        let (extension, device) = self.list.iter().find_map(|extension| Some((extension, extension.index(number)?)))?;
        abi::extension::name(&extension.held.devices[device].name)
    }

    /// Opens a device, for a process whose memory the extension may reach: returns the extension's name for the open file.
    pub fn open(&mut self, memory: &mut Memory, space: Space, device: u32) -> Result<u64, Errno> {
        let (extension, device) = self.find(device)?;
        let file = result(extension.loan(memory, Some(space)).open(&device))?;
        extension.users += 1;
        Ok(file)
    }

    /// Makes a request of a device.
    pub fn ioctl(
        &mut self,
        memory: &mut Memory,
        space: Space,
        (device, file): (u32, u64),
        (request, argument): (u32, u64),
    ) -> Result<u64, Errno> {
        let (extension, device) = self.find(device)?;
        result(extension.loan(memory, Some(space)).ioctl(&device, file, request, argument))
    }

    /// Closes an open file of a device.
    pub fn close(&mut self, memory: &mut Memory, device: u32, file: u64) {
        // An extension does not end while one of its devices is open.
        if let Ok((extension, device)) = self.find(device) {
            extension.loan(memory, None).close(&device, file);
            extension.users -= 1;
        }
    }

    /// The extension that has a device, and the device: `ENXIO` if it has ended.
    fn find(&mut self, number: u32) -> Result<(&mut Extension, Device), Errno> {
        let found = self.list.iter_mut().find_map(|extension| extension.index(number).map(|index| (extension, index)));
        let (extension, index) = found.ok_or(Errno::ENXIO)?;
        let device = extension.held.devices[index];
        Ok((extension, device))
    }
}

impl Extension {
    /// The index of a device of its, by number.
    fn index(&self, number: u32) -> Option<usize> {
        let index = number.checked_sub(self.first)? as usize;
        Some(index).filter(|index| *index < self.held.devices.len())
    }

    fn loan<'a>(&'a mut self, memory: &'a mut Memory, space: Option<Space>) -> Loan<'a> {
        Loan { name: &self.name, held: &mut self.held, memory, space, starts: false }
    }

    fn enter(&mut self, memory: &mut Memory, task: u32, parameters: &[u8]) -> i64 {
        let Extension { name, mapped, held, .. } = self;
        mapped.enter(&mut Loan { name, held, memory, space: None, starts: task == START }, task, parameters)
    }

    /// Takes it out of memory.
    fn unmap(self, memory: &mut Memory) {
        if self.held.frames > 0 {
            log::warn!("{}: the extension has kept {} frames", self.name, self.held.frames);
        }
        let pages = self.mapped.unmap(&mut memory.physical);
        pages.iter().for_each(|page| memory.physical.release(page.frame));
    }
}

/// The error number in an extension's negative result.
fn errno(result: i64) -> Errno {
    let number = result.checked_neg().and_then(|number| i32::try_from(number).ok()).filter(|number| *number < 4096);
    number.map_or(Errno::EIO, Errno::new)
}

/// An extension's result: a value, or an error number if it is negative.
fn result(result: i64) -> Result<u64, Errno> {
    u64::try_from(result).map_err(|_| errno(result))
}
