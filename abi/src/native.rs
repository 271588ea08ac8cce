//! Jotun's own system calls.
//!
//! They use the same `syscall` instruction and registers as Linux's: number in `rax`, arguments in
//! `rdi rsi rdx r10 r8 r9`, result in `rax`, which is a value or a negated errno. Their numbers lie
//! well above Linux's. Every program may make them, native or not, and native programs may make
//! Linux's (`write`, `exit`, `mmap`, `futex`, `clock_gettime`, …) beside them.
//!
//! Pointers are checked as in Linux calls: what is not the caller's to read or write is `EFAULT`.
//! Time-outs are in nanoseconds; see [`POLL`] and [`FOREVER`].

/// `start(name, name_len, argument, priority, flags) → pid`
///
/// Makes a container, a process and its main thread from the resident code package `name`, and makes
/// the thread ready. The thread begins at the package's ELF entry with `rdi` = `argument` and `rsp` =
/// [`MAIN_STACK_TOP`](crate::layout::MAIN_STACK_TOP). It may run on the CPUs that the caller may run on.
///
/// Flags: [`SAME_CONTAINER`]. Errors: `ENOENT` no such package, `EINVAL` priority, flags
/// or a name longer than [`NAME_MAX`], `EFAULT`, `EAGAIN` too many threads, `ENOMEM`.
pub const START: u64 = 0x1000;

/// `send(pid, message, len) → 0`
///
/// Puts a copy of the message at the end of the receiver's queue and does not wait.
///
/// Errors: `EAGAIN` the queue is full, `ESRCH` no such process, `EMSGSIZE` more than
/// [`MESSAGE_MAX`] bytes, `EFAULT`.
pub const SEND: u64 = 0x1001;

/// `receive(buffer, capacity, sender, timeout) → len`
///
/// Takes the oldest message of the caller's process; the sender's pid (an `i32`) goes to `sender`
/// unless that is null. A message longer than `capacity` is cut short.
///
/// Errors: `EAGAIN` nothing there and `timeout` was [`POLL`], `ETIMEDOUT`, `EFAULT`.
pub const RECEIVE: u64 = 0x1002;

/// `wait(pid, status, timeout) → 0`
///
/// Waits until the process `pid`, which the caller's process started, has ended, and forgets it. Its
/// status goes to `status` (an `i32`, null for none) in the format of Linux's `wait4`.
///
/// Errors: `ECHILD` not a process the caller started, or already waited for; `EAGAIN`, `ETIMEDOUT`,
/// `EFAULT`.
pub const WAIT: u64 = 0x1003;

/// `statistics(buffer, capacity, prefix, prefix_len) → len`
///
/// The kernel's statistics as text, a line `name value` each; [`value`] reads it. With a prefix only
/// those whose names begin so: all of them are much text on many CPUs. Errors: `EMSGSIZE` more than
/// `capacity`, `EINVAL` a prefix longer than [`NAME_MAX`], `EFAULT`.
pub const STATISTICS: u64 = 0x1004;

/// `burn(n) → 0`
///
/// Executes `n` instructions inside the kernel, rounded up to its loop: the work of a benchmark.
/// Errors: `EINVAL` more than [`BURN_MAX`].
pub const BURN: u64 = 0x1005;

/// `thread(entry, stack_top, argument, priority) → tid`
///
/// A further thread in the caller's process: `rip` = `entry`, `rsp` = `stack_top`, `rdi` =
/// `argument`. It may run on the CPUs that the caller may run on, and ends itself with Linux's `exit`.
///
/// Errors: `EINVAL` priority, `EAGAIN` too many threads, `ENOMEM`.
pub const THREAD: u64 = 0x1006;

/// `container(pid, buffer, capacity) → len`
///
/// About the container of process `pid` (0 is the caller), as text like [`STATISTICS`]: `pages`,
/// `tables`, `directories`, `processes`, `threads`; and `owner`, the CPU that owns its page directory, if
/// one does. Errors: `ESRCH`, `EMSGSIZE`, `EFAULT`.
pub const CONTAINER: u64 = 0x1007;

/// `priority(tid, priority) → old`
///
/// Sets the priority of a thread (0 is the caller) of the caller's process; `tid` and a `priority`
/// of [`KEEP_PRIORITY`] only ask for it. Errors: `ESRCH`, `EINVAL`.
pub const PRIORITY: u64 = 0x1008;

/// `trace(action, value) → 0`
///
/// Switches the recording of events on ([`TRACE_BEGIN`]) or off ([`TRACE_END`]) for all CPUs, or records
/// a mark with the low 32 bits of `value` ([`TRACE_MARK`]). What is on may be switched on again.
///
/// Errors: `ENOSYS` nothing is recorded in this run, `EINVAL` no such action.
pub const TRACE: u64 = 0x1009;

/// First number of Jotun's own calls.
pub const FIRST: u64 = START;

/// Last number of Jotun's own calls.
pub const LAST: u64 = TRACE;

/// Action of [`TRACE`]: events are recorded from now on.
pub const TRACE_BEGIN: u64 = 0;

/// Action of [`TRACE`]: events are recorded no longer.
pub const TRACE_END: u64 = 1;

/// Action of [`TRACE`]: a mark.
pub const TRACE_MARK: u64 = 2;

/// Flag of [`START`]: the new process shares the caller's container instead of getting its own. It
/// finds the same data; the kernel maps a stack of its own for it. The package must be the one that
/// the container was made from, whose data stands in the window already: else `EINVAL`.
pub const SAME_CONTAINER: u64 = 1;

/// Longest message in bytes.
pub const MESSAGE_MAX: usize = 256;

/// Messages a process's queue holds.
pub const QUEUE_MAX: usize = 16;

/// Most that [`BURN`] takes: about a second, so that no program stops the kernel with it.
pub const BURN_MAX: u64 = 1 << 32;

/// Longest name of a code package, and of a statistic.
pub const NAME_MAX: usize = 64;

/// Time-out that does not wait.
pub const POLL: u64 = 0;

/// Time-out that waits without an end.
pub const FOREVER: u64 = u64::MAX;

/// Number of priorities; 0 is served first. A ready thread runs before every one with a higher number;
/// threads of one priority take turns by time slices. Linux's nice values −20 to 19 map onto them.
pub const PRIORITIES: u64 = 40;

/// Priority of the first program and of every thread that asked for none.
pub const NORMAL_PRIORITY: u64 = 20;

/// In place of a priority: leave it as it is.
pub const KEEP_PRIORITY: u64 = u64::MAX;

/// The value called `name` in the text that [`STATISTICS`] or [`CONTAINER`] returned.
pub fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// The name of the native call `number`, for messages.
pub fn name(number: u64) -> Option<&'static str> {
    const NAMES: [&str; (LAST - FIRST + 1) as usize] =
        ["start", "send", "receive", "wait", "statistics", "burn", "thread", "container", "priority", "trace"];
    NAMES.get(usize::try_from(number.checked_sub(FIRST)?).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_takes_whole_names_only() {
        let text = "pages 2\npages_mapped 7\ntables 1\n";
        assert_eq!(value(text, "pages"), Some(2));
        assert_eq!(value(text, "pages_mapped"), Some(7));
        assert_eq!(value(text, "tables"), Some(1));
        assert_eq!(value(text, "page"), None);
        assert_eq!(value("", "pages"), None);
    }

    #[test]
    fn names_follow_the_numbers() {
        assert_eq!(name(START), Some("start"));
        assert_eq!(name(PRIORITY), Some("priority"));
        assert_eq!(name(LAST), Some("trace"));
        assert_eq!(name(LAST + 1), None);
        assert_eq!(name(0), None);
    }
}
