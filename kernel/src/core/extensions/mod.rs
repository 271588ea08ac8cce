//! Extensions of the kernel: loading one, ending it, and reaching its devices.
//!
//! An extension is a file like a program's ([`image`]), mapped where all page directories have the kernel
//! ([`crate::arch::extension`]). Nothing else of the kernel knows what an extension does: it is reached through its
//! devices, by numbers that are never given twice. For example, `/dev/hello` is an inode with number 4; once its
//! extension has ended, whoever still has the inode gets `ENXIO`.

pub mod image;

use super::process::Tasks;
use super::signals;
use crate::arch::extension::{self, Caller, Companion, Diversion, Held, Loan, Mapped, Purpose, Supply};
use crate::arch::heap;
use crate::arch::physical::Memory;
use ::files::Errno;
use abi::extension::{Companions, END, GIVE_WAY, LAST, MOST_DEVICES, PORTION, START, WAIT};
use alloc::boxed::Box;
use alloc::vec::Vec;
use containers::{Channel, ObjectId, PhysicalMemory, ThreadId};
use core::cmp::Reverse;
use core::fmt;
use core::ops::{Bound, Range};
use image::{Image, NO_MEMORY, Refusal};

/// The most extensions at a time.
const MOST: usize = 8;

/// The most kernel heap that loading needs beyond what any call may need, in bytes.
const HEAP: usize = 64 << 10;

/// An extension.
struct Extension {
    mapped: Mapped,
    held: Held,
    /// How many open files its devices have.
    users: u32,
}

/// All extensions.
#[derive(Default)]
pub struct Extensions {
    /// Whether processes may load any.
    pub allowed: bool,
    /// What the machine has for them.
    pub supply: Supply,
    /// The extensions by their places in memory.
    list: [Option<Extension>; MOST],
    /// How many have been loaded.
    loaded: u32,
}

/// What sort of file an extension has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A device.
    Device,
    /// A text of `/proc`.
    Text,
}

/// How a request of a device ends.
pub enum Outcome {
    /// With a value.
    Value(u64),
    /// The caller is to wait; woken up, it has the result 0.
    Waits(Channel),
    /// With the result 0, behind the other threads of the caller's priority.
    GivesWay,
}

/// The number of an extension's first device, and of its first text: the lower bits of a file's number are its index and
/// the extension's place, the rest counts the extensions that have been loaded, so that no number is given twice.
fn first_number(loaded: u32, place: usize) -> Option<u32> {
    let number = loaded.checked_mul(MOST as u32)? | place as u32;
    number.checked_mul(MOST_DEVICES as u32)
}

/// The index of a device or text among those of its extension.
fn index(number: u32) -> usize {
    number as usize % MOST_DEVICES
}

impl Extensions {
    /// Loads an extension from a file and lets it start; returns its name. `EEXIST`, `ENOEXEC`, `ENOMEM`, or the error
    /// with which it ends at once. On an error nothing is left of it.
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
        if self.named(&image.name).is_some() {
            return Err(Refusal(Errno::EEXIST, "there is one of this name"));
        }
        let place = self.list.iter().position(Option::is_none).ok_or(Refusal(Errno::ENOMEM, "there are too many"))?;
        let first = first_number(self.loaded, place).ok_or(NO_MEMORY)?;
        let pages = image.load(memory, file, extension::start(place))?;
        let mapped = Mapped::new(&mut memory.physical, place, pages, image.entry).map_err(|pages| {
            pages.iter().for_each(|page| memory.physical.release(page.frame));
            NO_MEMORY
        })?;
        let mut extension = Extension { mapped, held: Held::new(image.name, first), users: 0 };
        let started = extension.enter(&mut self.supply, memory, START, parameters);
        if started < 0 {
            extension.unmap(&mut self.supply, memory);
            return Err(Refusal(errno(started), "it ends at once"));
        }
        self.loaded += 1;
        let name = extension.held.name.clone();
        log::info!("{name}: an extension of {} KiB", extension.mapped.size() >> 10);
        self.list[place] = Some(extension);
        Ok(name)
    }

    /// Ends an extension none of whose devices is open, and gives back its memory.
    pub fn unload(&mut self, memory: &mut Memory, name: &str) {
        let is_meant = |extension: &Extension| *extension.held.name == *name;
        let place = self.list.iter_mut().find(|place| place.as_ref().is_some_and(is_meant));
        let Some(mut extension) = place.and_then(Option::take) else { return };
        extension.enter(&mut self.supply, memory, END, &[]);
        log::info!("{name}: the extension has ended");
        extension.unmap(&mut self.supply, memory);
    }

    /// The path of the program through which all others are entered, if an extension has named one.
    pub fn interpreter(&self) -> Option<&[u8]> {
        self.list.iter().flatten().find_map(|extension| extension.held.interpreter.as_deref())
    }

    /// The extension with a name.
    fn named(&self, name: &str) -> Option<&Extension> {
        self.list.iter().flatten().find(|extension| *extension.held.name == *name)
    }

    /// The numbers of an extension's files of a sort: `ENOENT`
    pub fn files(&self, name: &str, sort: Sort) -> Result<Range<u32>, Errno> {
        let Held { number, devices, texts, .. } = &self.named(name).ok_or(Errno::ENOENT)?.held;
        let count = if sort == Sort::Device { devices.len() } else { texts.len() };
        Ok(*number..number + count as u32)
    }

    /// Whether an extension has devices that are open, or accompanies threads.
    pub fn is_used(&self, memory: &Memory, name: &str) -> bool {
        let accompanies =
            |extension: &Extension| memory.physical.accompanied.any() && extension.held.companions.is_some();
        self.named(name).is_some_and(|extension| extension.users > 0 || accompanies(extension))
    }

    /// Tells the extension that accompanies a thread, if one does, that the thread ends or leaves its container. The
    /// thread is charged for the time on the extension's CPUs.
    #[cold]
    pub fn left(&mut self, memory: &mut Memory, tasks: &mut Tasks, thread: ThreadId) {
        let accompanied = &mut memory.physical.accompanied;
        let time = accompanied.thread_time(tasks, thread);
        let Some(Companion { value, .. }) = accompanied.threads.remove(&thread) else { return };
        tasks.thread_mut(thread).into_iter().for_each(|thread| thread.run_time = time);
        self.tell(memory, tasks, |loan, companions| loan.left(companions, value));
    }

    /// Tells the extension that accompanies threads which of their processes have stopped or continued.
    #[cold]
    pub fn tell_job_changes(&mut self, memory: &mut Memory, tasks: &mut Tasks) {
        let mut next = Bound::Unbounded;
        while let Some((thread, companion)) =
            memory.physical.accompanied.threads.range_mut((next, Bound::Unbounded)).next()
        {
            next = Bound::Excluded(*thread);
            let is_stopped = tasks.thread(*thread).is_some_and(|thread| tasks.is_stopped(thread.process));
            if companion.is_stopped != is_stopped {
                companion.is_stopped = is_stopped;
                let companion = *companion;
                self.tell(memory, tasks, |loan, companions| loan.stopped(companions, companion));
            }
        }
    }

    /// Calls the extension that accompanies threads.
    fn tell(&mut self, memory: &mut Memory, tasks: &mut Tasks, call: impl FnOnce(&mut Loan, Companions)) {
        let Extensions { list, supply, .. } = self;
        let found = list.iter_mut().flatten().find_map(|extension| Some((extension.held.companions?, extension)));
        if let Some((companions, extension)) = found {
            call(&mut Loan { threads: Some(tasks), ..extension.loan(supply, memory) }, companions);
        }
    }

    /// Writes a line about each extension, the newest first: name, bytes, how many open files its devices have, the
    /// extensions that need it (none), state, address.
    pub fn list(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let mut extensions: Vec<_> = self.list.iter().flatten().collect();
        extensions.sort_unstable_by_key(|extension| Reverse(extension.held.number));
        extensions.iter().try_for_each(|Extension { held, mapped, users }| {
            writeln!(out, "{} {} {users} - Live {:#x}", held.name, mapped.size(), extension::start(mapped.place()))
        })
    }

    /// The name of a file.
    pub fn file_name(&self, number: u32, sort: Sort) -> Option<&str> {
        let held = self.held(number)?;
        abi::extension::name(match sort {
            Sort::Device => &held.devices.get(index(number))?.name,
            Sort::Text => &held.texts.get(index(number))?.name,
        })
    }

    /// Has an extension write the portion of a text at a position; how many bytes, and the position of the next portion.
    /// The text of an extension that has ended is empty.
    pub fn write_text(&self, number: u32, mut position: u64, room: &mut [u8; PORTION]) -> (usize, Option<u64>) {
        let Some(text) = self.held(number).and_then(|held| held.texts.get(index(number))) else { return (0, None) };
        let written = extension::write_text(text, &mut position, room);
        (written, Some(position).filter(|position| *position != LAST))
    }

    /// What the extension has that a file belongs to.
    fn held(&self, number: u32) -> Option<&Held> {
        let extension = self.list[number as usize / MOST_DEVICES % MOST].as_ref();
        extension.map(|extension| &extension.held).filter(|held| number - index(number) as u32 == held.number)
    }

    /// Opens a device, for a process whose memory the extension may reach: returns the extension's name for the open
    /// file.
    pub fn open(&mut self, memory: &mut Memory, tasks: &mut Tasks, caller: Caller, device: u32) -> Result<u64, Errno> {
        let (extension, supply) = self.find(device)?;
        let opened = extension.held.devices[index(device)];
        let mut loan = Loan { threads: Some(tasks), caller: Some(caller), ..extension.loan(supply, memory) };
        let file = result(loan.open(opened))?;
        extension.users += 1;
        Ok(file)
    }

    /// Makes a request of a device. Inlined into the call that makes them all.
    #[inline(always)]
    pub fn ioctl(
        &mut self,
        memory: &mut Memory,
        tasks: &mut Tasks,
        caller: Caller,
        (device, file): (u32, u64),
        (request, argument): (u32, u64),
    ) -> Result<Outcome, Errno> {
        let (extension, supply) = self.find(device)?;
        let asked = &extension.held.devices[index(device)];
        let function = (asked.ioctl, asked.data);
        let (caller, purpose) = (Some(caller), Purpose::Ioctl);
        let mut loan = Loan { threads: Some(tasks), caller, purpose, ..extension.loan(supply, memory) };
        match (loan.ioctl(function, file, request, argument), loan.wait) {
            (WAIT, Some(channel)) => Ok(Outcome::Waits(channel)),
            (GIVE_WAY, _) => Ok(Outcome::GivesWay),
            (value, _) => result(value).map(Outcome::Value),
        }
    }

    /// Closes an open file of a device.
    pub fn close(&mut self, memory: &mut Memory, device: u32, file: u64) {
        // An extension does not end while one of its devices is open.
        if let Ok((extension, supply)) = self.find(device) {
            let closed = extension.held.devices[index(device)];
            extension.loan(supply, memory).close(closed, file);
            extension.users -= 1;
        }
    }

    /// Calls the handler of an interrupt that has come; this CPU runs a thread, or none.
    pub fn interrupted(&mut self, memory: &mut Memory, tasks: &mut Tasks, interrupted: Option<ThreadId>, vector: u8) {
        let Extensions { list, supply, .. } = self;
        let taken =
            list.iter_mut().flatten().find_map(|extension| Some((extension.held.interrupt(vector)?, extension)));
        let Some((interrupt, extension)) = taken else {
            return log::warn!("interrupt {vector:#x}, which no extension has taken");
        };
        let mut loan = Loan { threads: Some(tasks), interrupted, ..extension.loan(supply, memory) };
        loan.handle(interrupt);
        if let Some(Diversion { thread: id, registers, mask }) = loan.diversion
            && let Some(thread) = tasks.thread_mut(id)
        {
            thread.context.registers = registers;
            signals::set_mask(tasks, id, mask);
        }
    }

    /// The extension that has a device: `ENXIO` if it has ended.
    #[inline]
    fn find(&mut self, number: u32) -> Result<(&mut Extension, &mut Supply), Errno> {
        let place = &mut self.list[number as usize / MOST_DEVICES % MOST];
        let extension = place.as_mut().filter(|extension| extension.has(number)).ok_or(Errno::ENXIO)?;
        Ok((extension, &mut self.supply))
    }
}

impl Extension {
    /// Whether a device is its own, by number.
    fn has(&self, number: u32) -> bool {
        number - index(number) as u32 == self.held.number && index(number) < self.held.devices.len()
    }

    /// What every call of the extension is lent.
    #[inline]
    fn loan<'a>(&'a mut self, supply: &'a mut Supply, memory: &'a mut Memory) -> Loan<'a> {
        Loan {
            held: &mut self.held,
            supply,
            memory,
            threads: None,
            caller: None,
            purpose: Purpose::Other,
            interrupted: None,
            diversion: None,
            wait: None,
        }
    }

    fn enter(&mut self, supply: &mut Supply, memory: &mut Memory, task: u32, parameters: &[u8]) -> i64 {
        let entry = self.mapped.entry();
        let purpose = if task == START { Purpose::Start } else { Purpose::Other };
        Loan { purpose, ..self.loan(supply, memory) }.enter(entry, task, parameters)
    }

    /// Takes it out of memory.
    fn unmap(self, supply: &mut Supply, memory: &mut Memory) {
        if self.held.frames > 0 {
            log::warn!("{}: the extension has kept {} frames", self.held.name, self.held.frames);
        }
        supply.take_back(&self.held, &mut memory.physical);
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
