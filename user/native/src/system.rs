//! The system-call instruction, and the few Linux calls that packages use.

use core::arch::asm;

/// Linux's numbers.
mod number {
    pub(super) const WRITE: u64 = 1;
    pub(super) const MMAP: u64 = 9;
    pub(super) const MUNMAP: u64 = 11;
    pub(super) const SCHED_YIELD: u64 = 24;
    pub(super) const GETPID: u64 = 39;
    pub(super) const EXIT: u64 = 60;
    pub(super) const KILL: u64 = 62;
    pub(super) const GETPPID: u64 = 110;
    pub(super) const GETTID: u64 = 186;
    pub(super) const FUTEX: u64 = 202;
    pub(super) const SCHED_SETAFFINITY: u64 = 203;
    pub(super) const SCHED_GETAFFINITY: u64 = 204;
    pub(super) const CLOCK_GETTIME: u64 = 228;
    pub(super) const EXIT_GROUP: u64 = 231;
    pub(super) const GETCPU: u64 = 309;
}

use crate::calls::Errno;
use core::sync::atomic::AtomicU32;

/// Makes system call `number`. The result is the kernel's: a value or a negated errno.
///
/// # Safety
/// What the call does to memory must be sound: pointers among `a` point to what it reads or writes.
pub unsafe fn call(number: u64, a: [u64; 6]) -> i64 {
    let result;
    // SAFETY: the instruction changes `rax`, `rcx`, `r11`; for memory the caller has vouched.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes a system call which touches no memory of the caller's.
pub(crate) fn plain(number: u64, a: [u64; 6]) -> Result<u64, Errno> {
    // SAFETY: only for calls whose arguments are all numbers.
    Errno::check(unsafe { call(number, a) })
}

/// Writes bytes to a descriptor; how many were taken.
pub fn write(descriptor: u64, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads `bytes` only.
    let result = unsafe { call(number::WRITE, [descriptor, bytes.as_ptr() as u64, bytes.len() as u64, 0, 0, 0]) };
    Errno::check(result).map(|written| written as usize)
}

/// Ends the process.
pub fn exit(status: i32) -> ! {
    loop {
        let _ = plain(number::EXIT_GROUP, [status as u64, 0, 0, 0, 0, 0]);
    }
}

/// Ends the calling thread only.
pub fn exit_thread() -> ! {
    loop {
        let _ = plain(number::EXIT, [0; 6]);
    }
}

/// The caller's process.
pub fn pid() -> i32 {
    plain(number::GETPID, [0; 6]).unwrap_or(0) as i32
}

/// The calling thread.
pub fn tid() -> i32 {
    plain(number::GETTID, [0; 6]).unwrap_or(0) as i32
}

/// Lets other threads of this priority run first.
pub fn yield_now() {
    let _ = plain(number::SCHED_YIELD, [0; 6]);
}

const READ_WRITE: u64 = 3;
const PRIVATE_ANONYMOUS: u64 = 0x22;

/// Maps zeroed pages at `address`, where nothing may be yet.
pub(crate) fn map_at(address: u64, bytes: u64) -> Result<(), Errno> {
    const FIXED_NOREPLACE: u64 = 0x10_0000;
    let flags = PRIVATE_ANONYMOUS | FIXED_NOREPLACE;
    plain(number::MMAP, [address, bytes, READ_WRITE, flags, u64::MAX, 0]).map(drop)
}

/// New zeroed pages, readable and writable, at an address of the kernel's choosing. They stay for
/// as long as the container.
pub fn pages(bytes: usize) -> Result<&'static mut [u8], Errno> {
    let address = plain(number::MMAP, [0, bytes as u64, READ_WRITE, PRIVATE_ANONYMOUS, u64::MAX, 0])?;
    // SAFETY: a new mapping of that many bytes, which nothing else refers to.
    Ok(unsafe { core::slice::from_raw_parts_mut(address as *mut u8, bytes) })
}

/// Gives pages back that [`pages`] returned.
pub fn give_back(pages: &'static mut [u8]) -> Result<(), Errno> {
    plain(number::MUNMAP, [pages.as_ptr() as u64, pages.len() as u64, 0, 0, 0, 0]).map(drop)
}

/// Waits while `word` has the value `seen`, until [`wake`]; may return early.
pub fn wait(word: &AtomicU32, seen: u32) {
    const WAIT_PRIVATE: u64 = 128;
    let _ = plain(number::FUTEX, [word.as_ptr() as u64, WAIT_PRIVATE, seen.into(), 0, 0, 0]);
}

/// Wakes all threads that wait at `word`.
pub fn wake(word: &AtomicU32) {
    const WAKE_PRIVATE: u64 = 129;
    let _ = plain(number::FUTEX, [word.as_ptr() as u64, WAKE_PRIVATE, i32::MAX as u64, 0, 0, 0]);
}

/// Seconds and nanoseconds of the monotonic clock.
pub(crate) fn monotonic() -> [u64; 2] {
    const MONOTONIC: u64 = 1;
    let mut time = [0u64; 2];
    // SAFETY: the kernel writes a `timespec`, two words, to `time`.
    unsafe { call(number::CLOCK_GETTIME, [MONOTONIC, time.as_mut_ptr() as u64, 0, 0, 0, 0]) };
    time
}

/// A set of CPUs, a bit for each.
pub type CpuMask = u64;

/// The CPUs that a thread may run on, 0 being the caller.
pub fn affinity(tid: i32) -> Result<CpuMask, Errno> {
    let mut mask: CpuMask = 0;
    // SAFETY: the kernel writes eight bytes to `mask`.
    let result = unsafe { call(number::SCHED_GETAFFINITY, [tid as u64, 8, &raw mut mask as u64, 0, 0, 0]) };
    Errno::check(result).map(|_| mask)
}

/// Says on which CPUs a thread may run, 0 being the caller. It is on one of them when this returns, or
/// will be when it next runs.
pub fn set_affinity(tid: i32, mask: CpuMask) -> Result<(), Errno> {
    // SAFETY: the kernel reads eight bytes of `mask`.
    let result = unsafe { call(number::SCHED_SETAFFINITY, [tid as u64, 8, &raw const mask as u64, 0, 0, 0]) };
    Errno::check(result).map(drop)
}

/// The CPU that the caller runs on.
pub fn cpu() -> u32 {
    let mut cpu = 0u32;
    // SAFETY: the kernel writes an `u32` to `cpu`.
    unsafe { call(number::GETCPU, [&raw mut cpu as u64, 0, 0, 0, 0, 0]) };
    cpu
}

/// Sends a signal to a process.
pub fn kill(pid: i32, signal: u8) -> Result<(), Errno> {
    plain(number::KILL, [pid as u64, signal.into(), 0, 0, 0, 0]).map(drop)
}

/// The process that started the caller's.
pub fn parent() -> i32 {
    plain(number::GETPPID, [0; 6]).unwrap_or(0) as i32
}
