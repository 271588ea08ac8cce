//! The interface between the kernel and its extensions: what an extension's file says of itself, and the functions that
//! each offers the other.
//!
//! An extension is a position-independent program for the kernel's level of privilege. Its note ([`Note`]) names it and
//! the version of this interface. The kernel calls its entry point with [`START`], later with [`END`], and in between
//! the functions of the devices that it has registered and the handlers of its interrupts. Each call hands over the
//! [`Services`] of the kernel, which are valid until the call returns. For example, `/dev/hello`'s `ioctl` reads its
//! argument with [`Functions::read_user`].
//!
//! **Every call happens at level 1**: one CPU at a time is in the kernel, on the CPU's kernel stack (of which an
//! extension may use a page). An interrupt that comes meanwhile leaves a note, and its handler is called once the call
//! is over. An extension does not sleep in a call, does not use the registers of the floating-point unit, and touches
//! no service outside a call.

use crate::registers::Registers;
use core::ffi::c_void;

/// The version of this interface; an extension of another one is refused.
pub const VERSION: u32 = 4;

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

/// The most devices, and the most texts, that an extension may register.
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

/// The name in a field: `None` if it has no NUL behind it, is empty, or has other characters than letters, digits and
/// `_`.
#[must_use]
pub fn name(field: &[u8; NAME_ROOM]) -> Option<&str> {
    let length = field.iter().position(|&byte| byte == 0)?;
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = field.get(..length).filter(|bytes| !bytes.is_empty() && bytes.iter().all(fits))?;
    core::str::from_utf8(bytes).ok()
}

/// The entry point's task at first: register devices. A negative result, an error number, ends the extension; the
/// kernel then makes no further call of it, so it has given back by itself what it took.
pub const START: u32 = 0;

/// The entry point's task at last, when none of the devices is open: give back what has been taken. The result is
/// ignored.
pub const END: u32 = 1;

/// The entry point: services, task, and the parameters of `insmod` with their length.
pub type Entry = unsafe extern "C" fn(&Services, u32, *const u8, usize) -> i64;

/// What an `ioctl` returns that waits: the result of [`Functions::wait`].
pub const WAIT: i64 = i64::MIN;

/// What an `ioctl` returns that is over, with the result 0, and whose caller gives way: it goes on behind all other threads
/// of its priority, as after `sched_yield`, without the way into the kernel for that.
pub const GIVE_WAY: i64 = i64::MIN + 1;

/// The kernel, for one call of an extension.
#[repr(C)]
pub struct Services {
    /// What the functions need of the kernel: their first argument.
    pub context: *mut c_void,
    /// The virtual address of physical address 0: all of memory is mapped from there on.
    pub direct_map: u64,
    /// The kernel's functions.
    pub functions: &'static Functions,
}

/// A device's `ioctl`: see [`Device::ioctl`].
pub type Ioctl = unsafe extern "C" fn(&Services, u64, u64, u32, u64) -> i64;

/// A handler of an interrupt: services, and the value given to [`Functions::take_interrupt`].
pub type Handler = unsafe extern "C" fn(&Services, u64);

/// The kernel's functions for an extension. Each takes [`Services::context`] first. Addresses and lengths must be those
/// of memory that the extension may read, or write where the kernel writes there. A negative result is a negative error
/// number.
///
/// Functions that speak of *the caller* mean the thread whose call has led to the extension. There is one in a device's
/// `open` and `ioctl`.
#[repr(C)]
pub struct Functions {
    /// Writes a line to the kernel's log: UTF-8, and its length.
    pub log: unsafe extern "C" fn(*mut c_void, *const u8, usize),
    /// Allocates a frame of 4 KiB, zeroed: returns its physical address, or 0. The extension owes
    /// [`Functions::release_frame`].
    pub allocate_frame: unsafe extern "C" fn(*mut c_void) -> u64,
    /// Gives back a frame from [`Functions::allocate_frame`] or [`Functions::hold_page`].
    pub release_frame: unsafe extern "C" fn(*mut c_void, u64),
    /// Copies from the caller's memory (`to`, `from`, length): 0, or `EFAULT`, also if there is no caller.
    pub read_user: unsafe extern "C" fn(*mut c_void, *mut u8, u64, usize) -> i64,
    /// Copies to the caller's memory (`to`, `from`, length): results as above.
    pub write_user: unsafe extern "C" fn(*mut c_void, u64, *const u8, usize) -> i64,
    /// Registers a device, during [`START`] only: 0, `EINVAL`, `EEXIST`, or `ENOSPC` beyond [`MOST_DEVICES`]. The
    /// device is there once `START` has succeeded, until [`END`].
    pub register_device: unsafe extern "C" fn(*mut c_void, &Device) -> i64,
    /// Maps a device's registers, a physical address and a size, uncached: returns the virtual address, or 0 without
    /// memory or for a range beyond 128 GiB. A range that is mapped already is at its place; mappings stay.
    pub map_registers: unsafe extern "C" fn(*mut c_void, u64, u64) -> u64,
    /// Takes an interrupt vector, during [`START`] only: returns the vector, `EINVAL`, or `ENOSPC` if none is free.
    /// When the interrupt has come, on any CPU that runs the kernel, the handler is called with the value: at once if
    /// the CPU was outside the kernel, else before it leaves. Interrupts that come before the handler is called are
    /// handled by one call. The kernel has ended them at the local APIC by then, so they must be edges or messages.
    /// [`END`] gives the vector back; the extension sees to it that its devices are silent by then.
    pub take_interrupt: unsafe extern "C" fn(*mut c_void, Handler, u64) -> i64,
    /// Makes the caller's page at a user address present and writable and holds the frame behind it: returns the
    /// frame's physical address, `EFAULT`, or `ENOMEM` where there is no memory for the page. The frame stays allocated
    /// until [`Functions::release_frame`], whatever the process does; but it is the process's page only as long as the
    /// process keeps it. After a fork, for example, parent and child get copies when they write to the page, and the
    /// holder keeps the older frame; so too after `mprotect` has taken the right to write and given it back. A page of
    /// a shared mapping stays the same.
    pub hold_page: unsafe extern "C" fn(*mut c_void, u64) -> i64,
    /// Has the caller wait for a number, in an `ioctl` only: returns [`WAIT`], which the `ioctl` then returns, or
    /// `EINVAL`. [`Functions::wake`] with the same number ends the caller's call with the result 0. A signal ends it with
    /// `EINTR`, or has the caller make it again from the start: as its action says (`SA_RESTART`), and always if the
    /// signal has no handler. Numbers of different extensions have nothing in common.
    pub wait: unsafe extern "C" fn(*mut c_void, u32) -> i64,
    /// Wakes up the threads that wait for a number: returns how many, or `EINVAL` in a device's `close`, in [`START`]
    /// and in [`END`], where the kernel cannot.
    pub wake: unsafe extern "C" fn(*mut c_void, u32) -> i64,
    /// The caller's numbers, as `getpid` and `gettid` return them: the process's times 2³² plus the thread's; 0 if
    /// there is no caller.
    pub caller: unsafe extern "C" fn(*mut c_void) -> u64,
    /// Whether another thread is runnable on this CPU: 1 or 0.
    pub others_runnable: unsafe extern "C" fn(*mut c_void) -> u64,
    /// The physical address of [`LOW_PAGES`] contiguous pages below 1 MiB, mapped like other memory, where CPUs can
    /// begin in real mode; 0 if there are none, or they have been handed out. [`END`] gives them back, with CPUs that
    /// halt there and stay as they are when the pages are overwritten.
    pub low_pages: unsafe extern "C" fn(*mut c_void) -> u64,
    /// The number of the local APIC of a CPU of the machine, counted from 0 as the firmware lists them; -1 behind the
    /// last.
    pub cpu_id: unsafe extern "C" fn(*mut c_void, u64) -> i64,
    /// The kernel's clock.
    pub clock: unsafe extern "C" fn(*mut c_void, &mut Clock),
    /// Registers the functions of an extension that accompanies threads, during [`START`] only: 0, `EINVAL`, or `EBUSY`
    /// if another extension does so; only one at a time can. [`END`] takes them back.
    pub register_companions: unsafe extern "C" fn(*mut c_void, &Companions) -> i64,
    /// Accompanies the caller from now on, in an `ioctl` only: returns the physical address of the page directory of
    /// the caller's address space, which stays the same until [`Companions::left`]. The value is handed to the
    /// functions of [`Companions`]. `EINVAL` if the extension has none, `EEXIST` if the thread is accompanied already,
    /// `ENOMEM`. An extension that accompanies a thread cannot be unloaded (`EBUSY`).
    pub accompany: unsafe extern "C" fn(*mut c_void, u64) -> i64,
    /// Names a file (path and length), during [`START`] only: 0, or `EINVAL`. The first extension that has named one
    /// counts. From then until [`END`] every program that `execve` starts gets this one mapped beside it and is entered
    /// through it, as a dynamic program is through its `ld.so`: a static position-independent ELF file, which finds the
    /// program's entry point in the auxiliary vector (`AT_ENTRY`). `AT_BASE` is zero: a static program that relocates
    /// itself may take it for its own.
    pub interpret: unsafe extern "C" fn(*mut c_void, *const u8, usize) -> i64,
    /// Registers a text of `/proc`, during [`START`] only: results and life as of [`Functions::register_device`].
    pub register_text: unsafe extern "C" fn(*mut c_void, &Text) -> i64,
    /// The physical address of the region with the records of this run, as the crate `trace` lays it out; 0: the run is
    /// not recorded. The rings that the kernel does not use, those behind the kernel's CPUs, are the extension's.
    pub trace_region: unsafe extern "C" fn(*mut c_void) -> u64,
    /// Tells of the thread that this CPU runs, in a handler of an interrupt only: 0, or `ESRCH` if that is none that is
    /// accompanied.
    pub interrupted: unsafe extern "C" fn(*mut c_void, &mut Interrupted) -> i64,
    /// Has that thread go on with other registers and another signal mask than those of [`Functions::interrupted`]:
    /// 0, or `EBUSY` if it was not in user mode, has a call to make again, or shares its process with other threads. This
    /// happens when the handler has returned. Its extended state and the bases of FS and GS stay as they are; signals that
    /// cannot be blocked are left out of the mask.
    pub divert: unsafe extern "C" fn(*mut c_void, &Registers, u64) -> i64,
}

/// An accompanied thread, as an interrupt has found it.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Interrupted {
    /// The extension's value for it.
    pub value: u64,
    /// 1 if it was in user mode; 0: in a call, or at an exception.
    pub in_user_mode: u64,
    /// The signals that it blocks.
    pub mask: u64,
    /// The registers with which it is about to go on in user mode.
    pub registers: Registers,
}

/// A text of an extension, `/proc/NAME`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Text {
    /// Its name in `/proc`: see [`padded`].
    pub name: [u8; NAME_ROOM],
    /// A value of the extension's, handed to the function.
    pub data: u64,
    /// Writes a portion of the text: `data`, the position, where the bytes go, and how many there is room for, which
    /// are [`PORTION`] at least. Returns how many have been written. The position, in units of the extension's own, is 0
    /// at first; the function leaves that of the next portion, or [`LAST`]. There are no services: the kernel looks at
    /// its own state meanwhile.
    pub write: unsafe extern "C" fn(u64, &mut u64, *mut u8, usize) -> usize,
}

/// The least room for a portion of a text, in bytes.
pub const PORTION: usize = 1024;

/// The position behind the last portion of a text.
pub const LAST: u64 = u64::MAX;

/// What the kernel tells an extension of the threads that it accompanies.
///
/// It is meant for an extension that lets further CPUs, which the kernel does not know, run in the address spaces of
/// processes. For example, the extension keeps for each thread such a CPU at work; [`Companions::left`] takes the CPU
/// off the address space before that goes. The page directory's kernel half is that of one of the kernel's CPUs, and
/// everything of the extension's is there.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Companions {
    /// A value of the extension's, handed to each of the functions.
    pub data: u64,
    /// An accompanied thread ends, or its process begins another program (`execve`): services, `data`, and the thread's
    /// value. The thread's address space and its contents are still there. Nothing more is told of this thread.
    pub left: unsafe extern "C" fn(&Services, u64, u64),
    /// The process of an accompanied thread stops (1) or continues (0), as job control has it: services, `data`, the
    /// thread's value, which of both. A CPU that leaves the kernel tells it, before a program runs there. A stopped
    /// thread that leaves is not told to continue.
    pub stopped: unsafe extern "C" fn(&Services, u64, u64, u32),
    /// Rights have been taken from an address space that an accompanied thread has had, in any of its threads' calls or
    /// faults: `data`, and the physical address of its page directory. Entries of its page tables have changed, and the
    /// frames and tables behind them are released when the function returns: **no further CPU may use an older
    /// translation of the directory then**. There are no services, because the kernel is about to change memory. It is
    /// called more often than needed, and until the address space goes, also when no thread in it is accompanied any
    /// more.
    pub rights_taken: unsafe extern "C" fn(u64, u64),
    /// How is it with an accompanied thread? `data`, the thread's value, and zeros, which stay if nothing is known of it.
    /// The kernel asks where a program asks the kernel for CPU times or for the state of a process, and before
    /// [`Companions::left`]. There are no services: the kernel looks at its own state meanwhile.
    pub report: unsafe extern "C" fn(u64, u64, &mut Report),
}

/// What an extension reports of a thread that it accompanies.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Report {
    /// For how long the extension's CPUs have run it in user mode since it has been accompanied, in ticks of the
    /// [`Clock`]. It never becomes less.
    pub ticks: u64,
    /// 1 if it runs on one of these CPUs, or is ready to run.
    pub runs: u32,
    /// The CPU on which it runs or ran last, by the extension's numbers.
    pub cpu: u32,
}

/// How many pages [`Functions::low_pages`] hands out.
pub const LOW_PAGES: u64 = 4;

/// A clock: the time-stamp counter, and where it stood at boot.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Clock {
    /// Ticks in a second.
    pub hz: u64,
    /// The counter at boot.
    pub start: u64,
    /// Nanoseconds from 1970 to boot.
    pub epoch: u64,
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
    /// `ioctl`: services, `data`, the open file, request and argument. The result is that of the call, or [`WAIT`],
    /// or [`GIVE_WAY`].
    pub ioctl: Ioctl,
    /// The last descriptor of an open file is closed: services, `data`, the open file. A process that ends does this
    /// too, so there may be none whose memory could be read. A thread that waits in an `ioctl` of the file meanwhile
    /// goes on waiting.
    pub close: unsafe extern "C" fn(&Services, u64, u64),
}
