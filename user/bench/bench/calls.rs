//! Calls that come back at once.

use super::{Ticks, errno, now, timed};
use libc::{
    O_CREAT, O_RDONLY, O_RDWR, SYS_close, SYS_getpid, SYS_getppid, SYS_kill, SYS_open, SYS_pread64, SYS_pwrite64,
};
use programs::sys;
use std::arch::asm;
use std::ffi::CStr;

const FILE: &CStr = c"/tmp/bench-file";

const BLOCK: usize = 4096;

/// `getpid`, which does nothing: exactly from `syscall` to the program's next instruction.
pub(crate) fn null(count: u64) -> Ticks {
    Ok(calls(count).saturating_sub(no_calls(count)))
}

fn calls(count: u64) -> u64 {
    let before = now();
    // SAFETY: the call touches no memory; `syscall` changes the registers named.
    unsafe {
        asm!("2: mov eax, {getpid}", "syscall", "dec {n}", "jnz 2b", getpid = const SYS_getpid,
            n = inout(reg) count => _, out("rax") _, out("rcx") _, out("r11") _, options(nostack, nomem));
    }
    now() - before
}

/// The loop without the call.
fn no_calls(count: u64) -> u64 {
    let before = now();
    // SAFETY: counts a register down to zero.
    unsafe {
        asm!("2: mov eax, {getpid}", "dec {n}", "jnz 2b", getpid = const SYS_getpid,
            n = inout(reg) count => _, out("rax") _, options(nostack, nomem));
    }
    now() - before
}

/// Asks for the parent's number.
pub(crate) fn getppid(count: u64) -> Ticks {
    timed(|| (0..count).try_for_each(|_| sys!(SYS_getppid).map(drop)))
}

/// An open file, closed in the end.
struct File(u64);

impl File {
    fn new() -> Result<Self, String> {
        sys!(SYS_open, FILE, O_CREAT | O_RDWR, 0o600).map(Self).map_err(errno)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = sys!(SYS_close, self.0);
    }
}

/// Opens a file by its name and closes it.
pub(crate) fn open(count: u64) -> Ticks {
    let _exists = File::new()?;
    timed(|| (0..count).try_for_each(|_| sys!(SYS_close, sys!(SYS_open, FILE, O_RDWR)?).map(drop)))
}

/// Opens the program that runs by its name in `/proc` and closes it.
pub(crate) fn magic(count: u64) -> Ticks {
    timed(|| (0..count).try_for_each(|_| sys!(SYS_close, sys!(SYS_open, c"/proc/self/exe", O_RDONLY)?).map(drop)))
}

/// Reads 4 KiB from the beginning of a file.
pub(crate) fn read(count: u64) -> Ticks {
    let (file, mut block) = (File::new()?, [1u8; BLOCK]);
    sys!(SYS_pwrite64, file.0, &block, BLOCK, 0).map_err(errno)?;
    timed(|| (0..count).try_for_each(|_| sys!(SYS_pread64, file.0, &mut block, BLOCK, 0).map(drop)))
}

/// Writes 4 KiB to the beginning of a file.
pub(crate) fn write(count: u64) -> Ticks {
    let (file, block) = (File::new()?, [1u8; BLOCK]);
    timed(|| (0..count).try_for_each(|_| sys!(SYS_pwrite64, file.0, &block, BLOCK, 0).map(drop)))
}

/// Sends itself a signal, handles it and goes on.
pub(crate) fn signal(count: u64) -> Ticks {
    extern "C" fn handler(_: i32) {}
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGUSR1, handler as extern "C" fn(i32) as usize) };
    let me = std::process::id();
    timed(|| (0..count).try_for_each(|_| sys!(SYS_kill, me, libc::SIGUSR1).map(drop)))
}
