//! Extensions at the machine's level: their pages, calls into them, and the functions that they call.
//!
//! An extension is part of the kernel once it is loaded: nothing protects the kernel from it, as on Linux. What this module
//! promises is that a call arrives at the extension's own code, mapped and relocated, and that the services that the extension
//! calls work on the parts of the kernel that the call has lent it. For example, an `ioctl` lends [`Loan::memory`]; the
//! extension's `read_user` comes back here with the loan's address and copies from the caller's memory.

use super::layout::{DIRECT_MAP, EXTENSIONS};
use super::paging;
use super::physical::{Frames, Memory};
use ::files::Errno;
use abi::extension::{Device, Entry, LARGEST, MOST_DEVICES, Services};
use alloc::vec::Vec;
use containers::{Frame, OutOfFrames, PAGE_SIZE, PhysicalMemory, Space};
use core::ffi::c_void;
use core::ops::Range;
use core::{mem, ptr, slice};
use x86_64::PhysAddr;
use x86_64::structures::paging::PageTableFlags as Flags;

/// The addresses set aside for one extension: those of a last-level page table. The rest of them is never mapped.
const ROOM: u64 = 2 << 20;
const _: () = assert!(LARGEST < ROOM, "an extension has a page table of its own, and a guard behind it");

/// A page of an extension: its address, its frame, and its rights, which are never to write and to execute.
#[derive(Clone, Copy)]
pub struct Page {
    /// The address, counted from the extension's start.
    pub offset: u64,
    /// The frame with its bytes.
    pub frame: Frame,
    /// [`paging::CODE`], [`paging::CONSTANT`] or [`paging::DATA`].
    pub rights: Flags,
}

/// An extension whose pages are mapped.
pub struct Mapped {
    pages: Vec<Page>,
    place: usize,
    entry: u64,
}

/// The address at which the extension of a place starts.
pub fn start(place: usize) -> u64 {
    EXTENSIONS.start + place as u64 * ROOM
}

impl Mapped {
    /// Maps an extension's pages at a place that no other one has; on an error they remain the caller's.
    ///
    /// # Panics
    /// If its entry point is not in a page of code.
    pub fn new(frames: &mut Frames, place: usize, pages: Vec<Page>, entry: u64) -> Result<Mapped, Vec<Page>> {
        let is_code = |page: &Page| page.rights == paging::CODE && page.offset == entry & !(PAGE_SIZE as u64 - 1);
        assert!(pages.iter().any(is_code), "an entry point without code");
        let map = |page: &Page| paging::map_extension(frames, start(place) + page.offset, page.frame, page.rights);
        match pages.iter().try_for_each(map) {
            Ok(()) => Ok(Mapped { pages, place, entry: start(place) + entry }),
            Err(OutOfFrames) => {
                paging::unmap_extension(frames, addresses(place, &pages));
                Err(pages)
            }
        }
    }

    /// Unmaps the pages on all CPUs; their frames are the caller's.
    pub fn unmap(self, frames: &mut Frames) -> Vec<Page> {
        paging::unmap_extension(frames, addresses(self.place, &self.pages));
        self.pages
    }

    /// Its place.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Bytes of its pages.
    pub fn size(&self) -> usize {
        self.pages.len() * PAGE_SIZE
    }

    /// Calls the entry point.
    pub fn enter(&self, loan: &mut Loan, task: u32, parameters: &[u8]) -> i64 {
        // SAFETY: the address is in a page of code that stays mapped as long as `self` lives.
        let entry = unsafe { mem::transmute::<*const (), Entry>(self.entry as *const ()) };
        // SAFETY: the extension's note says that this is its entry point; the parameters are readable.
        loan.lend(|services| unsafe { entry(services, task, parameters.as_ptr(), parameters.len()) })
    }
}

/// The addresses from an extension's first page to its last.
fn addresses(place: usize, pages: &[Page]) -> Range<u64> {
    let end = pages.iter().map(|page| page.offset + PAGE_SIZE as u64).max().unwrap_or(0);
    start(place)..start(place) + end
}

/// What an extension holds.
#[derive(Default)]
pub struct Held {
    /// How many frames it has allocated and not given back.
    pub frames: u64,
    /// The devices that it has registered.
    pub devices: Vec<Device>,
}

/// The parts of the kernel that a call lends to an extension.
pub struct Loan<'a> {
    /// The extension's name.
    pub name: &'a str,
    /// What it holds.
    pub held: &'a mut Held,
    /// Frames, and the memory of processes.
    pub memory: &'a mut Memory,
    /// The memory of the process that makes the call, if one does.
    pub space: Option<Space>,
    /// Whether devices can be registered now.
    pub starts: bool,
}

impl Loan<'_> {
    /// Makes a call with the services.
    fn lend(&mut self, call: impl FnOnce(&Services) -> i64) -> i64 {
        call(&Services {
            context: ptr::from_mut(self).cast(),
            direct_map: DIRECT_MAP,
            log,
            allocate_frame,
            release_frame,
            read_user,
            write_user,
            register_device,
        })
    }

    /// Opens a device of the extension's: returns its name for the open file.
    pub fn open(&mut self, device: &Device) -> i64 {
        // SAFETY: the function is of an extension that is still mapped, since the caller has what it holds.
        self.lend(|services| unsafe { (device.open)(services, device.data) })
    }

    /// Makes a request of a device.
    pub fn ioctl(&mut self, device: &Device, file: u64, request: u32, argument: u64) -> i64 {
        // SAFETY: as above.
        self.lend(|services| unsafe { (device.ioctl)(services, device.data, file, request, argument) })
    }

    /// Closes an open file of a device.
    pub fn close(&mut self, device: &Device, file: u64) {
        // SAFETY: as above.
        self.lend(|services| unsafe {
            (device.close)(services, device.data, file);
            0
        });
    }
}

/// An error as an extension gets it.
fn negative(errno: Errno) -> i64 {
    -i64::from(errno.into_raw())
}

/// The loan behind a service's context.
///
/// # Safety
/// The context is that of the services of a call that has not returned, and no other reference to the loan is in use.
unsafe fn loan<'a>(context: *mut c_void) -> &'a mut Loan<'a> {
    // SAFETY: `Loan::lend` has made the context of a loan, which it keeps borrowed until the call returns.
    unsafe { &mut *context.cast() }
}

/// [`Services::log`]
unsafe extern "C" fn log(context: *mut c_void, text: *const u8, length: usize) {
    // SAFETY: the context of a call, as the interface demands; and readable bytes.
    let (loan, text) = unsafe { (loan(context), slice::from_raw_parts(text, length)) };
    log::info!("{}: {}", loan.name, core::str::from_utf8(text).unwrap_or("(not UTF-8)"));
}

/// [`Services::allocate_frame`]
unsafe extern "C" fn allocate_frame(context: *mut c_void) -> u64 {
    // SAFETY: the context of a call.
    let loan = unsafe { loan(context) };
    let physical = &mut loan.memory.physical;
    if !physical.has_room_for_bookkeeping() {
        return 0;
    }
    physical.allocate().map_or(0, |frame| {
        loan.held.frames += 1;
        frame.address().as_u64()
    })
}

/// [`Services::release_frame`]
unsafe extern "C" fn release_frame(context: *mut c_void, frame: u64) {
    // SAFETY: the context of a call.
    let loan = unsafe { loan(context) };
    loan.memory.physical.release(Frame::containing(PhysAddr::new_truncate(frame)));
    loan.held.frames = loan.held.frames.saturating_sub(1);
}

/// [`Services::read_user`]
unsafe extern "C" fn read_user(context: *mut c_void, to: *mut u8, from: u64, length: usize) -> i64 {
    // SAFETY: the context of a call; and bytes that the extension may write.
    let (loan, to) = unsafe { (loan(context), slice::from_raw_parts_mut(to, length)) };
    let copied = loan.space.is_some_and(|space| loan.memory.copy_in(space, from, to).is_ok());
    if copied { 0 } else { negative(Errno::EFAULT) }
}

/// [`Services::write_user`]
unsafe extern "C" fn write_user(context: *mut c_void, to: u64, from: *const u8, length: usize) -> i64 {
    // SAFETY: the context of a call; and bytes that the extension may read.
    let (loan, from) = unsafe { (loan(context), slice::from_raw_parts(from, length)) };
    let copied = loan.space.is_some_and(|space| loan.memory.copy_out(space, to, from).is_ok());
    if copied { 0 } else { negative(Errno::EFAULT) }
}

/// [`Services::register_device`]
unsafe extern "C" fn register_device(context: *mut c_void, device: &Device) -> i64 {
    // SAFETY: the context of a call.
    let loan = unsafe { loan(context) };
    let name = abi::extension::name(&device.name);
    if !loan.starts || name.is_none() {
        return negative(Errno::EINVAL);
    }
    if loan.held.devices.iter().any(|other| other.name == device.name) {
        return negative(Errno::EEXIST);
    }
    if loan.held.devices.len() == MOST_DEVICES {
        return negative(Errno::ENOSPC);
    }
    loan.held.devices.push(*device);
    0
}
