//! Jotun's own calls, wrapped so that they can be made without unsafe code.

use crate::system::{call, plain};
use abi::native;
use core::fmt;

pub use abi::native::{
    FOREVER, KEEP_PRIORITY, NORMAL_PRIORITY, POLL, SAME_CONTAINER, TRACE_BEGIN, TRACE_END, TRACE_MARK,
};

/// An error number of the kernel's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub u16);

#[expect(missing_docs, reason = "these are POSIX's names")]
impl Errno {
    pub const ENOENT: Errno = Errno(2);
    pub const ESRCH: Errno = Errno(3);
    pub const ECHILD: Errno = Errno(10);
    pub const EAGAIN: Errno = Errno(11);
    pub const ENOMEM: Errno = Errno(12);
    pub const EFAULT: Errno = Errno(14);
    pub const EINVAL: Errno = Errno(22);
    pub const ENOSYS: Errno = Errno(38);
    pub const EMSGSIZE: Errno = Errno(90);
    pub const ETIMEDOUT: Errno = Errno(110);
}

impl Errno {
    /// Tells a value from a negated errno.
    pub fn check(result: i64) -> Result<u64, Errno> {
        if (-4095..0).contains(&result) { Err(Errno(-result as u16)) } else { Ok(result as u64) }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Errno::ENOENT => "ENOENT",
            Errno::ESRCH => "ESRCH",
            Errno::ECHILD => "ECHILD",
            Errno::EAGAIN => "EAGAIN",
            Errno::ENOMEM => "ENOMEM",
            Errno::EFAULT => "EFAULT",
            Errno::EINVAL => "EINVAL",
            Errno::ENOSYS => "ENOSYS",
            Errno::EMSGSIZE => "EMSGSIZE",
            Errno::ETIMEDOUT => "ETIMEDOUT",
            Errno(number) => return write!(f, "errno {number}"),
        };
        f.write_str(name)
    }
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// By itself, with this exit status.
    Exited(u8),
    /// By this signal.
    Killed(u8),
}

/// What kills a process that touches memory in a way it may not.
pub const SIGSEGV: u8 = 11;

/// Starts the package `name` with `argument`; its pid.
///
/// `flags` is 0 or [`SAME_CONTAINER`].
pub fn start(name: &str, argument: u64, priority: u64, flags: u64) -> Result<i32, Errno> {
    // SAFETY: the kernel reads `name` only.
    let result =
        unsafe { call(native::START, [name.as_ptr() as u64, name.len() as u64, argument, priority, flags, 0]) };
    Errno::check(result).map(|pid| pid as i32)
}

/// Waits for the end of a process that the caller started.
pub fn wait(pid: i32, timeout: u64) -> Result<Status, Errno> {
    let mut status = 0i32;
    // SAFETY: the kernel writes an `i32` to `status`.
    let result = unsafe { call(native::WAIT, [pid as u64, &raw mut status as u64, timeout, 0, 0, 0]) };
    Errno::check(result)?;
    let signal = (status & 0x7f) as u8;
    Ok(if signal == 0 { Status::Exited((status >> 8) as u8) } else { Status::Killed(signal) })
}

/// Puts a message into the queue of process `pid`.
pub fn send(pid: i32, message: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads `message` only.
    let result = unsafe { call(native::SEND, [pid as u64, message.as_ptr() as u64, message.len() as u64, 0, 0, 0]) };
    Errno::check(result).map(drop)
}

/// Takes the oldest message: its sender, and its bytes as far as `buffer` holds them.
pub fn receive(buffer: &mut [u8], timeout: u64) -> Result<(i32, &[u8]), Errno> {
    let mut sender = 0i32;
    let arguments = [buffer.as_mut_ptr() as u64, buffer.len() as u64, &raw mut sender as u64, timeout, 0, 0];
    // SAFETY: the kernel writes to `buffer`, no more than its length, and an `i32` to `sender`.
    let length = Errno::check(unsafe { call(native::RECEIVE, arguments) })?;
    Ok((sender, &buffer[..length as usize]))
}

/// The kernel's statistics whose names begin with `prefix`, as text, as much as `buffer` holds.
pub fn statistics<'b>(buffer: &'b mut [u8], prefix: &str) -> Result<&'b str, Errno> {
    let (prefix, prefix_len) = (prefix.as_ptr() as u64, prefix.len() as u64);
    let arguments = [buffer.as_mut_ptr() as u64, buffer.len() as u64, prefix, prefix_len, 0, 0];
    // SAFETY: the kernel reads `prefix`, and writes to `buffer`, no more than its length.
    let length = Errno::check(unsafe { call(native::STATISTICS, arguments) })? as usize;
    str::from_utf8(&buffer[..length]).map_err(|_| Errno::EINVAL)
}

/// The statistic `name`.
///
/// # Panics
/// If the kernel has none of that name.
pub fn statistic(name: &str) -> u64 {
    let mut buffer = [0; 1024];
    let text = statistics(&mut buffer, name).expect("the kernel gives statistics");
    native::value(text, name).unwrap_or_else(|| panic!("no statistic is called {name}"))
}

/// What a container uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Frames in all.
    pub pages: u64,
    /// Of these, page tables and page directories.
    pub tables: u64,
    /// Page directories.
    pub directories: u64,
    /// Processes in it.
    pub processes: u64,
    /// Their threads.
    pub threads: u64,
}

/// What the container of process `pid` uses; 0 is the caller.
pub fn container(pid: i32) -> Result<Usage, Errno> {
    let mut buffer = [0u8; 256];
    // SAFETY: the kernel writes to `buffer`, no more than its length.
    let result = unsafe { call(native::CONTAINER, [pid as u64, buffer.as_mut_ptr() as u64, 256, 0, 0, 0]) };
    let length = Errno::check(result)? as usize;
    let text = str::from_utf8(&buffer[..length]).map_err(|_| Errno::EINVAL)?;
    let value = |name| native::value(text, name).ok_or(Errno::EINVAL);
    Ok(Usage {
        pages: value("pages")?,
        tables: value("tables")?,
        directories: value("directories")?,
        processes: value("processes")?,
        threads: value("threads")?,
    })
}

/// Executes `n` instructions inside the kernel.
pub fn burn(n: u64) -> Result<(), Errno> {
    plain(native::BURN, [n, 0, 0, 0, 0, 0]).map(drop)
}

/// Switches recording on ([`TRACE_BEGIN`]) or off ([`TRACE_END`]), or records a mark ([`TRACE_MARK`]).
pub fn trace(action: u64, value: u64) -> Result<(), Errno> {
    plain(native::TRACE, [action, value, 0, 0, 0, 0]).map(drop)
}

/// Sets the priority of a thread of the caller's process, 0 being the caller; its old one.
pub fn set_priority(tid: i32, priority: u64) -> Result<u64, Errno> {
    plain(native::PRIORITY, [tid as u64, priority, 0, 0, 0, 0])
}

/// The caller's priority.
pub fn priority() -> u64 {
    set_priority(0, KEEP_PRIORITY).unwrap_or(NORMAL_PRIORITY)
}
