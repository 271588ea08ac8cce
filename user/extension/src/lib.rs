//! The runtime below extensions of the kernel: their entry point, and the kernel's services as safe functions.
//!
//! An extension is a `no_std`, `no_main` program with `extension::extension!("name", start, end)`. For example:
//!
//! ```ignore
//! extension::extension!("hello", start, end);
//!
//! fn start(kernel: &Kernel, parameters: &str) -> Result<(), i32> {
//!     kernel.log("hello");
//!     Ok(())
//! }
//!
//! fn end(_: &Kernel) {}
//! ```
//!
//! It is part of the kernel as soon as it runs, with all of the kernel's rights; `abi::extension` says what it owes. A
//! panic is one of the kernel's: the machine stops.
#![no_std]

pub use abi;
use abi::extension::{Clock, Companions, Device, Handler, Interrupted, START, Services, Text};
use abi::registers::Registers;
use core::fmt::{self, Write};
use core::ptr::NonNull;

/// Linux's `EFAULT`, `EBUSY`, `EINVAL`, `ENOENT`, `ENOMEM` and `ENOTTY`.
pub const EFAULT: i32 = 14;
/// See [`EFAULT`].
pub const EINVAL: i32 = 22;
/// See [`EFAULT`].
pub const EBUSY: i32 = 16;
/// See [`EFAULT`].
pub const ENOENT: i32 = 2;
/// See [`EFAULT`].
pub const ENOMEM: i32 = 12;
/// See [`EFAULT`].
pub const ENOTTY: i32 = 25;

/// The kernel, for one call of the extension.
pub struct Kernel<'a>(&'a Services);

/// A frame of 4 KiB that the extension has.
pub struct Frame {
    physical: u64,
    start: NonNull<u64>,
}

/// Words in a frame.
pub const WORDS: usize = 512;

impl Frame {
    /// Its physical address.
    pub fn physical(&self) -> u64 {
        self.physical
    }

    /// Where it is mapped.
    pub fn start(&self) -> NonNull<u64> {
        self.start
    }

    /// The frame's words.
    pub fn words(&mut self) -> &mut [u64; WORDS] {
        // SAFETY: the frame is this value's alone, and mapped as long as it exists.
        unsafe { self.start.cast().as_mut() }
    }
}

/// A page table of a process, by its physical address, read as the process's CPUs walk it.
#[derive(Clone, Copy)]
pub struct PageTable {
    physical: u64,
    direct_map: u64,
}

impl PageTable {
    /// Whether this is the one at a physical address.
    pub fn is_at(self, physical: u64) -> bool {
        self.physical == physical
    }

    /// The last-level entry for an address below this page directory: `None` if there is no table for it.
    pub fn entry(self, address: u64) -> Option<u64> {
        let mut table = self.physical;
        for level in (0..4).rev() {
            let slot = address >> (12 + 9 * level) & 0x1ff;
            let entry = PageTable { physical: table, ..self }.word(slot * 8);
            match level {
                0 => return Some(entry),
                _ if entry & 1 == 0 => return None,
                _ => table = entry & 0x000f_ffff_ffff_f000,
            }
        }
        None
    }

    /// The word at an address below this page directory, as far as it is present.
    pub fn user_word(self, address: u64) -> Option<u64> {
        let entry = self.entry(address).filter(|entry| entry & 1 != 0)?;
        Some(PageTable { physical: entry & 0x000f_ffff_ffff_f000, ..self }.word(address & 0xfff))
    }

    /// Where the word at an address is mapped for the kernel, if the process itself may write it.
    pub fn writable(self, address: u64) -> Option<NonNull<u64>> {
        const PRESENT_WRITABLE_USER: u64 = 0b111;
        let entry = self.entry(address).filter(|entry| entry & PRESENT_WRITABLE_USER == PRESENT_WRITABLE_USER)?;
        NonNull::new((self.direct_map + (entry & 0x000f_ffff_ffff_f000) + (address & 0xff8)) as *mut u64)
    }

    fn word(self, offset: u64) -> u64 {
        // SAFETY: the caller of `Kernel::page_table` has promised that the tables are there, and memory is mapped.
        unsafe { ((self.direct_map + self.physical + offset) as *const u64).read_volatile() }
    }
}

impl<'a> Kernel<'a> {
    /// The kernel, by its services.
    #[inline]
    pub fn new(services: &'a Services) -> Kernel<'a> {
        Kernel(services)
    }

    /// Writes a line to the kernel's log.
    pub fn log(&self, text: &str) {
        // SAFETY: the services' own context, here and below; and the bytes of a text.
        unsafe { (self.0.functions.log)(self.0.context, text.as_ptr(), text.len()) }
    }

    /// Allocates a frame of zeros: `None` if memory is short. [`Kernel::release`] gives it back.
    pub fn allocate(&self) -> Option<Frame> {
        // SAFETY: as above.
        let physical = unsafe { (self.0.functions.allocate_frame)(self.0.context) };
        self.frame(physical).filter(|_| physical != 0)
    }

    /// Gives a frame back.
    pub fn release(&self, frame: Frame) {
        // SAFETY: as above; the frame comes from the kernel, and nothing refers to it any more.
        unsafe { (self.0.functions.release_frame)(self.0.context, frame.physical) }
    }

    /// Reads bytes from the caller's memory.
    pub fn read(&self, from: u64, to: &mut [u8]) -> Result<(), i32> {
        // SAFETY: as above; and bytes that can be written.
        outcome(unsafe { (self.0.functions.read_user)(self.0.context, to.as_mut_ptr(), from, to.len()) }).map(drop)
    }

    /// Writes bytes to the caller's memory.
    pub fn write(&self, to: u64, bytes: &[u8]) -> Result<(), i32> {
        // SAFETY: as above; and bytes that can be read.
        outcome(unsafe { (self.0.functions.write_user)(self.0.context, to, bytes.as_ptr(), bytes.len()) }).map(drop)
    }

    /// Reads a word from the caller's memory.
    pub fn read_word(&self, from: u64) -> Result<u64, i32> {
        let mut bytes = [0; 8];
        // SAFETY: as above; and bytes that can be written.
        outcome(unsafe { (self.0.functions.read_user)(self.0.context, bytes.as_mut_ptr(), from, bytes.len()) })?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes a word to the caller's memory.
    pub fn write_word(&self, to: u64, word: u64) -> Result<(), i32> {
        let bytes = word.to_le_bytes();
        // SAFETY: as above; and bytes that can be read.
        outcome(unsafe { (self.0.functions.write_user)(self.0.context, to, bytes.as_ptr(), bytes.len()) }).map(drop)
    }

    /// Registers a device, when the extension starts.
    pub fn register(&self, device: &Device) -> Result<(), i32> {
        // SAFETY: as above.
        outcome(unsafe { (self.0.functions.register_device)(self.0.context, device) }).map(drop)
    }

    /// Registers a text, when the extension starts.
    pub fn register_text(&self, text: &Text) -> Result<(), i32> {
        // SAFETY: as above.
        outcome(unsafe { (self.0.functions.register_text)(self.0.context, text) }).map(drop)
    }

    /// The physical address of the region for the records of this run, if it is recorded.
    pub fn trace_region(&self) -> Option<u64> {
        // SAFETY: as above.
        Some(unsafe { (self.0.functions.trace_region)(self.0.context) }).filter(|region| *region != 0)
    }

    /// Maps a device's registers: their address, or `None` if memory is short.
    pub fn map_registers(&self, physical: u64, size: u64) -> Option<NonNull<u32>> {
        // SAFETY: as above.
        NonNull::new(unsafe { (self.0.functions.map_registers)(self.0.context, physical, size) } as *mut u32)
    }

    /// Takes an interrupt vector, when the extension starts.
    pub fn take_interrupt(&self, handler: Handler, data: u64) -> Result<u8, i32> {
        // SAFETY: as above.
        outcome(unsafe { (self.0.functions.take_interrupt)(self.0.context, handler, data) }).map(|vector| vector as u8)
    }

    /// Holds the frame behind a page of the caller's, present and writable. [`Kernel::release`] gives it back.
    pub fn hold(&self, address: u64) -> Result<Frame, i32> {
        // SAFETY: as above.
        let physical = outcome(unsafe { (self.0.functions.hold_page)(self.0.context, address) })?;
        self.frame(physical).ok_or(EFAULT)
    }

    /// Has the caller wait for a number: the result is that of the `ioctl`.
    #[inline]
    pub fn wait(&self, number: u32) -> i64 {
        // SAFETY: as above.
        unsafe { (self.0.functions.wait)(self.0.context, number) }
    }

    /// Wakes up the threads that wait for a number; returns how many.
    #[inline]
    pub fn wake(&self, number: u32) -> Result<u64, i32> {
        // SAFETY: as above.
        outcome(unsafe { (self.0.functions.wake)(self.0.context, number) })
    }

    /// The numbers of the calling process and thread, if there is a caller.
    #[inline]
    pub fn caller(&self) -> Option<(u32, u32)> {
        // SAFETY: as above.
        let numbers = unsafe { (self.0.functions.caller)(self.0.context) };
        (numbers != 0).then_some(((numbers >> 32) as u32, numbers as u32))
    }

    /// Whether another thread is runnable on this CPU.
    #[inline]
    pub fn others_runnable(&self) -> bool {
        // SAFETY: as above.
        unsafe { (self.0.functions.others_runnable)(self.0.context) != 0 }
    }

    /// The physical address of the pages below 1 MiB in which CPUs can begin; they are handed out once.
    pub fn low_pages(&self) -> Option<u64> {
        // SAFETY: as above.
        Some(unsafe { (self.0.functions.low_pages)(self.0.context) }).filter(|physical| *physical != 0)
    }

    /// The numbers of the local APICs of the machine's CPUs, as the firmware lists them.
    pub fn cpu_ids(&self) -> impl Iterator<Item = u32> {
        // SAFETY: as above.
        (0..).map_while(|index| u32::try_from(unsafe { (self.0.functions.cpu_id)(self.0.context, index) }).ok())
    }

    /// Registers the functions by which the extension is told of threads that it accompanies, when it starts.
    pub fn register_companions(&self, companions: &Companions) -> Result<(), i32> {
        // SAFETY: as above.
        outcome(unsafe { (self.0.functions.register_companions)(self.0.context, companions) }).map(drop)
    }

    /// Accompanies the caller; returns the physical address of its page directory.
    pub fn accompany(&self, value: u64) -> Result<u64, i32> {
        // SAFETY: as above.
        outcome(unsafe { (self.0.functions.accompany)(self.0.context, value) })
    }

    /// The accompanied thread that this CPU runs, in a handler of an interrupt.
    pub fn interrupted(&self) -> Option<Interrupted> {
        let mut found = Interrupted::default();
        // SAFETY: as above.
        outcome(unsafe { (self.0.functions.interrupted)(self.0.context, &mut found) }).ok().map(|_| found)
    }

    /// Has that thread, which was in user mode, go on with other registers and another signal mask.
    pub fn divert(&self, registers: &Registers, mask: u64) -> Result<(), i32> {
        // SAFETY: as above.
        outcome(unsafe { (self.0.functions.divert)(self.0.context, registers, mask) }).map(drop)
    }

    /// Has every program entered through the one at this path, from the extension's start on.
    pub fn interpret(&self, path: &str) -> Result<(), i32> {
        // SAFETY: as above; and readable bytes.
        outcome(unsafe { (self.0.functions.interpret)(self.0.context, path.as_ptr(), path.len()) }).map(drop)
    }

    /// The kernel's clock.
    pub fn clock(&self) -> Clock {
        let mut clock = Clock::default();
        // SAFETY: as above.
        unsafe { (self.0.functions.clock)(self.0.context, &mut clock) };
        clock
    }

    /// Where memory with a physical address is mapped.
    pub fn physical(&self, address: u64) -> Option<NonNull<u64>> {
        NonNull::new((self.0.direct_map + address) as *mut u64)
    }

    /// The page tables below a page directory.
    ///
    /// # Safety
    /// They are looked at only while the address space is there.
    pub unsafe fn page_table(&self, physical: u64) -> PageTable {
        PageTable { physical, direct_map: self.0.direct_map }
    }

    /// The frame with an address: one that the extension has.
    pub fn frame(&self, physical: u64) -> Option<Frame> {
        Some(Frame { physical, start: self.physical(physical)? })
    }
}

/// A portion of a text that is being written.
pub struct Portion<'a> {
    bytes: &'a mut [u8],
    written: usize,
}

impl Portion<'_> {
    /// A portion for the bytes that the kernel has given to a text's function.
    ///
    /// # Safety
    /// They are as the kernel has given them, and used for nothing else.
    pub unsafe fn new(bytes: *mut u8, room: usize) -> Self {
        // SAFETY: the caller's promise.
        Portion { bytes: unsafe { core::slice::from_raw_parts_mut(bytes, room) }, written: 0 }
    }

    /// Adds some text: false, and nothing of it is there, if there is no room for it.
    pub fn add(&mut self, text: fmt::Arguments) -> bool {
        let before = self.written;
        let fits = self.write_fmt(text).is_ok();
        if !fits {
            self.written = before;
        }
        fits
    }

    /// How many bytes it has.
    pub fn written(&self) -> usize {
        self.written
    }
}

impl Write for Portion<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.written..self.written + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.written += text.len();
        Ok(())
    }
}

/// A function's result: a value, or an error number.
fn outcome(result: i64) -> Result<u64, i32> {
    u64::try_from(result).map_err(|_| -result as i32)
}

/// What a function that the kernel calls returns: a value, or an error number.
pub fn answer(result: Result<u64, i32>) -> i64 {
    result.map_or_else(|errno| -i64::from(errno), u64::cast_signed)
}

/// The entry point's work: starts or ends an extension.
///
/// # Safety
/// The arguments are those of `abi::extension::Entry`.
pub unsafe fn enter(
    (services, task): (&Services, u32),
    (parameters, length): (*const u8, usize),
    start: fn(&Kernel, &str) -> Result<(), i32>,
    end: fn(&Kernel),
) -> i64 {
    let kernel = Kernel(services);
    if task != START {
        end(&kernel);
        return 0;
    }
    // SAFETY: as the caller says.
    let parameters = unsafe { core::slice::from_raw_parts(parameters, length) };
    let started = core::str::from_utf8(parameters).map_err(|_| EINVAL).and_then(|text| start(&kernel, text));
    answer(started.map(|()| 0))
}

/// Makes the program an extension: its name, and the functions by which it starts and ends.
#[macro_export]
macro_rules! extension {
    ($name:literal, $start:path, $end:path) => {
        #[used]
        #[unsafe(link_section = ".note.jotun")]
        static NOTE: $crate::abi::extension::Note = $crate::abi::extension::Note::new($name);

        #[unsafe(no_mangle)]
        unsafe extern "C" fn _start(
            services: &$crate::abi::extension::Services,
            task: u32,
            parameters: *const u8,
            length: usize,
        ) -> i64 {
            // SAFETY: the kernel's arguments as they are.
            unsafe { $crate::enter((services, task), (parameters, length), $start, $end) }
        }
    };
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: an invalid instruction: the kernel's exception handler stops the machine and prints where.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}
