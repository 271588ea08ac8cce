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
//! It is part of the kernel as soon as it runs, with all of the kernel's rights; `abi::extension` says what it owes. A panic
//! is one of the kernel's: the machine stops.
#![no_std]

pub use abi;
use abi::extension::{Device, START, Services};
use core::ptr::NonNull;

/// Linux's `EFAULT`, `EINVAL`, `ENOMEM` and `ENOTTY`.
pub const EFAULT: i32 = 14;
/// See [`EFAULT`].
pub const EINVAL: i32 = 22;
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
    /// The frame's words.
    pub fn words(&mut self) -> &mut [u64; WORDS] {
        // SAFETY: the frame is this value's alone, and mapped as long as it exists.
        unsafe { self.start.cast().as_mut() }
    }
}

impl<'a> Kernel<'a> {
    /// The kernel, by its services.
    pub fn new(services: &'a Services) -> Kernel<'a> {
        Kernel(services)
    }

    /// Writes a line to the kernel's log.
    pub fn log(&self, text: &str) {
        // SAFETY: the services' own context, and the bytes of a text.
        unsafe { (self.0.log)(self.0.context, text.as_ptr(), text.len()) }
    }

    /// Allocates a frame of zeros: `None` if memory is short. [`Kernel::release`] gives it back.
    pub fn allocate(&self) -> Option<Frame> {
        // SAFETY: the services' own context.
        let physical = unsafe { (self.0.allocate_frame)(self.0.context) };
        let start = NonNull::new((self.0.direct_map + physical) as *mut u64).filter(|_| physical != 0)?;
        Some(Frame { physical, start })
    }

    /// Gives a frame back.
    pub fn release(&self, frame: Frame) {
        // SAFETY: the services' own context; the frame comes from them, and nothing refers to it any more.
        unsafe { (self.0.release_frame)(self.0.context, frame.physical) }
    }

    /// Reads a word from the memory of the process that makes the call.
    pub fn read_word(&self, from: u64) -> Result<u64, i32> {
        let mut bytes = [0; 8];
        // SAFETY: the services' own context, and bytes that can be written.
        let result = unsafe { (self.0.read_user)(self.0.context, bytes.as_mut_ptr(), from, bytes.len()) };
        if result < 0 { Err(EFAULT) } else { Ok(u64::from_le_bytes(bytes)) }
    }

    /// Writes a word to the memory of the process that makes the call.
    pub fn write_word(&self, to: u64, word: u64) -> Result<(), i32> {
        let bytes = word.to_le_bytes();
        // SAFETY: the services' own context, and bytes that can be read.
        let result = unsafe { (self.0.write_user)(self.0.context, to, bytes.as_ptr(), bytes.len()) };
        if result < 0 { Err(EFAULT) } else { Ok(()) }
    }

    /// Registers a device, when the extension starts.
    pub fn register(&self, device: &Device) -> Result<(), i32> {
        // SAFETY: the services' own context.
        let result = unsafe { (self.0.register_device)(self.0.context, device) };
        if result < 0 { Err(-result as i32) } else { Ok(()) }
    }
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
