//! Linux's constants under Linux's names: those of the headers that programs are compiled with, from the crate
//! `linux-raw-sys`, and the few that it lacks.

pub use linux_raw_sys::general::*;

/// `close_range` gives the caller a descriptor table of its own.
pub const CLOSE_RANGE_UNSHARE: u32 = 1 << 1;
/// `close_range` marks the descriptors, to be closed by the next `execve`.
pub const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;

/// Ticks in a second, the unit of `times` and of `/proc`.
pub const USER_HZ: u64 = 100;

/// `arch_prctl` sets the GS base.
pub const ARCH_SET_GS: u32 = 0x1001;
/// `arch_prctl` tells the FS base.
pub const ARCH_GET_FS: u32 = 0x1003;
/// `arch_prctl` tells the GS base.
pub const ARCH_GET_GS: u32 = 0x1004;
