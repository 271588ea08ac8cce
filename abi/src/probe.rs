//! The requests of `/dev/probe`, the device of the extension for tests (`user/extension/probe.rs`).

/// Does nothing.
pub const NOTHING: u32 = 1;
/// Holds the caller's page at the argument's address, instead of the one held before.
pub const HOLD: u32 = 2;
/// The first word of the page held; `ENOENT` without one.
pub const WORD: u32 = 3;
/// Gives the held page back; `ENOENT` without one.
pub const RELEASE: u32 = 4;
/// Sends the extension's interrupt to this CPU.
pub const FIRE: u32 = 5;
/// Waits until interrupts have come; the result is how many.
pub const WAIT: u32 = 6;
/// How often a caller has been told to wait.
pub const WAITS: u32 = 7;
/// The caller's process, times 2³², and thread.
pub const CALLER: u32 = 8;
/// Whether another thread is runnable on this CPU.
pub const OTHERS: u32 = 9;
/// How many CPUs the machine has.
pub const CPUS: u32 = 10;
/// The physical address of the pages below 1 MiB; `ENOENT` if they have been handed out.
pub const LOW: u32 = 11;
/// Nanoseconds since boot, by the kernel's clock.
pub const TIME: u32 = 12;
/// Takes an interrupt, which is too late.
pub const LATE: u32 = 13;
/// Accompanies the caller; the argument is the address of a word in its memory.
pub const ACCOMPANY: u32 = 14;
/// How many accompanied threads have left.
pub const LEFT: u32 = 15;
/// The sum of the accompanied threads' words, each when its thread left.
pub const LEFT_WORDS: u32 = 16;
/// How many accompanied threads are stopped.
pub const STOPPED: u32 = 17;
/// How often rights have been taken from an accompanied address space.
pub const TAKEN: u32 = 18;
/// The lowest two bits of the page-table entry for the word of the thread that was accompanied last, when rights were taken
/// last: present, and writable; 0 if it is not present.
pub const RIGHTS: u32 = 19;

/// What the extension reports of each accompanied thread, and a little more: seconds in user mode on a CPU of its own, where
/// the thread runs.
pub const SECONDS: u64 = 1000;
/// The number of that CPU.
pub const CPU: u32 = 5;
/// How many lines `/proc/probe` has, which are numbered from 0.
pub const LINES: u64 = 1000;
