//! The interface between the kernel and its extensions: what an extension's file says of itself, and the functions that
//! each offers the other.
//!
//! An extension is a position-independent program for the kernel's level of privilege. Its note ([`Note`]) names it and
//! the version of this interface. The kernel calls its entry point with [`START`], later with [`END`], and in between the
//! functions of the devices that it has registered. Each call hands over the [`Services`] of the kernel, which are valid
//! until the call returns. For example, `/dev/hello`'s `ioctl` reads its argument with [`Services::read_user`].
//!
//! **Every call happens at level 1**: one CPU at a time is in the kernel, on the thread's kernel stack (of which an extension
//! may use a page), and interrupts may be let in but never call an extension. An extension does not wait, does not use the
//! registers of the floating-point unit, and touches no service outside a call.

use core::ffi::c_void;

/// The version of this interface; an extension of another one is refused.
pub const VERSION: u32 = 1;

/// The owner of an extension's note, padded to whole words.
pub const NOTE_OWNER: [u8; 8] = *b"Jotun\0\0\0";

/// The bytes of the owner's name, with the NUL that ends it.
pub const NOTE_OWNER_LENGTH: u32 = 6;

/// The note's type among those of its owner.
pub const NOTE_KIND: u32 = 1;

/// Room for a name and the NUL that ends it.
pub const NAME_ROOM: usize = 32;

/// The most bytes of memory that an extension's segments may span.
pub const LARGEST: u64 = 1 << 20;

/// The most devices that an extension may register.
pub const MOST_DEVICES: usize = 4;

/// The note by which an extension is known, in a segment `PT_NOTE`.
#[repr(C)]
pub struct Note {
    owner_length: u32,
    length: u32,
    kind: u32,
    owner: [u8; 8],
    version: u32,
    name: [u8; NAME_ROOM],
}

impl Note {
    /// The note of an extension with this name: letters, digits and `_`, at most 31 of them.
    #[must_use]
    pub const fn new(name: &str) -> Note {
        let (owner_length, length) = (NOTE_OWNER_LENGTH, (size_of::<u32>() + NAME_ROOM) as u32);
        Note { owner_length, length, kind: NOTE_KIND, owner: NOTE_OWNER, version: VERSION, name: padded(name) }
    }
}

/// A name with NULs behind it.
///
/// # Panics
/// If there is no room for it and one NUL.
#[must_use]
pub const fn padded(name: &str) -> [u8; NAME_ROOM] {
    assert!(name.len() < NAME_ROOM, "a name has at most 31 bytes");
    let mut bytes = [0; NAME_ROOM];
    let mut at = 0;
    while at < name.len() {
        bytes[at] = name.as_bytes()[at];
        at += 1;
    }
    bytes
}

/// The name in a field: `None` if it has no NUL behind it, is empty, or has other characters than letters, digits and `_`.
#[must_use]
pub fn name(field: &[u8; NAME_ROOM]) -> Option<&str> {
    let length = field.iter().position(|&byte| byte == 0)?;
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = field.get(..length).filter(|bytes| !bytes.is_empty() && bytes.iter().all(fits))?;
    core::str::from_utf8(bytes).ok()
}

/// The entry point's task at first: register devices. A negative result, an error number, ends the extension; the kernel
/// then makes no further call of it, so it has given back by itself what it took.
pub const START: u32 = 0;

/// The entry point's task at last, when none of the devices is open: give back what has been taken. The result is ignored.
pub const END: u32 = 1;

/// The entry point: services, task, and the parameters of `insmod` with their length.
pub type Entry = unsafe extern "C" fn(&Services, u32, *const u8, usize) -> i64;

/// The kernel's functions for an extension. Each takes `context` first. Addresses and lengths must be those of memory that
/// the extension may read, or write where the kernel writes there.
#[repr(C)]
pub struct Services {
    /// What the functions need of the kernel.
    pub context: *mut c_void,
    /// The virtual address of physical address 0: all of memory is mapped from there on.
    pub direct_map: u64,
    /// Writes a line to the kernel's log: UTF-8, and its length.
    pub log: unsafe extern "C" fn(*mut c_void, *const u8, usize),
    /// Allocates a frame of 4 KiB, zeroed: returns its physical address, or 0. The extension owes [`Services::release_frame`].
    pub allocate_frame: unsafe extern "C" fn(*mut c_void) -> u64,
    /// Gives back a frame from [`Services::allocate_frame`].
    pub release_frame: unsafe extern "C" fn(*mut c_void, u64),
    /// Copies from the memory of the process that makes the call (`to`, `from`, length): 0, or the negative `EFAULT`, which
    /// it always is where no process makes a call.
    pub read_user: unsafe extern "C" fn(*mut c_void, *mut u8, u64, usize) -> i64,
    /// Copies to the memory of the process that makes the call (`to`, `from`, length): results as above.
    pub write_user: unsafe extern "C" fn(*mut c_void, u64, *const u8, usize) -> i64,
    /// Registers a device, during [`START`] only: 0, or a negative error number. The device is there once `START` has
    /// succeeded, until [`END`].
    pub register_device: unsafe extern "C" fn(*mut c_void, &Device) -> i64,
}

/// A character device of an extension, `/dev/NAME`. All results below zero are negative error numbers.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Device {
    /// Its name in `/dev`: see [`padded`].
    pub name: [u8; NAME_ROOM],
    /// A value of the extension's, handed to each of the functions.
    pub data: u64,
    /// The device is opened: services and `data`. The result is the extension's name for the open file.
    pub open: unsafe extern "C" fn(&Services, u64) -> i64,
    /// `ioctl`: services, `data`, the open file, request and argument. The result is that of the call.
    pub ioctl: unsafe extern "C" fn(&Services, u64, u64, u32, u64) -> i64,
    /// The last descriptor of an open file is closed: services, `data`, the open file. A process that ends does this too, so
    /// there may be none whose memory could be read.
    pub close: unsafe extern "C" fn(&Services, u64, u64),
}
