//! `poll` and `select`: waiting until one of several files is ready.
//!
//! Only the console, pipes and event counters are ever not ready. A call that finds nothing parks on [`Channel::Poll`] and is
//! made again at every event there, with the deadline that it had. The signal masks of `ppoll` and
//! `pselect6` are in place while it waits.

use super::{resources, watching};
use crate::calls::{Answer, Caller, Reply, bad_address, deadline, is_over, time, value};
use crate::console::Console;
use crate::files::{Bytes, Files, Opened};
use crate::kernel::{Memory, Tasks};
use crate::signals;
use ::files::event::COUNT_MAX;
use ::files::inode::Kind;
use ::files::pipe::ATOMIC;
use ::files::{Descriptors, Errno, Pipe};
use alloc::vec::Vec;
use containers::{Channel, Wait};
use syscalls::Sysno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const IN: u16 = 0x001;
const OUT: u16 = 0x004;
pub(super) const ERROR: u16 = 0x008;
pub(super) const HANG_UP: u16 = 0x010;
const INVALID: u16 = 0x020;
const READ_NORMAL: u16 = 0x040;
const WRITE_NORMAL: u16 = 0x100;

/// Events that are told whether they were asked for or not.
const ALWAYS: u16 = ERROR | HANG_UP | INVALID;

const MICROSECOND: u64 = 1_000;

/// Bytes of a signal mask.
const MASK: u64 = 8;

/// The three sets of a `select`: to be read, to be written, and with exceptional conditions.
type Sets = [Vec<u64>; 3];

/// `struct pollfd`
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PollFd {
    fd: i32,
    wanted: u16,
    ready: u16,
}

/// What a descriptor is ready for.
fn readiness(descriptors: &Descriptors, files: &Files, console: &mut Console, fd: i32) -> u16 {
    files.opened(descriptors, fd).map_or(INVALID, |opened| state(files, console, &opened).0)
}

/// What an open file is ready for, and how often it has changed.
pub(super) fn state(files: &Files, console: &mut Console, opened: &Opened) -> (u16, u64) {
    let inode = files.tree.get(opened.file.inode).map(|inode| &inode.kind);
    match (opened.bytes, inode) {
        (Bytes::Nowhere, _) => (INVALID, 0),
        (bytes, _) if bytes.is_console() => (ready(console.readable(), console.writable()), console.changes()),
        (_, Ok(Kind::Pipe { pipe, .. })) => (pipe_readiness(pipe, opened), pipe.changes()),
        (_, Ok(Kind::Counter(counter))) => (ready(counter.count() > 0, counter.count() < COUNT_MAX), counter.changes()),
        // It watches no other of its kind, so this goes no deeper.
        (_, Ok(Kind::Epoll(watches))) => (ready(watching::any(files, console, watches), false), 0),
        _ => (ready(true, true), 0),
    }
}

fn ready(readable: bool, writable: bool) -> u16 {
    let input = if readable { IN | READ_NORMAL } else { 0 };
    let output = if writable { OUT | WRITE_NORMAL } else { 0 };
    input | output
}

/// The same of a pipe's end, or both: a pipe can be written if a whole write of [`ATOMIC`] bytes finds room.
fn pipe_readiness(pipe: &Pipe, opened: &Opened) -> u16 {
    let flags = opened.file.flags;
    let (reads, writes) = (flags.readable(), flags.writable());
    let hung_up = if reads && !pipe.has_writers() { HANG_UP } else { 0 };
    let error = if writes && !pipe.has_readers() { ERROR } else { 0 };
    ready(reads && !pipe.is_empty(), writes && pipe.room() >= ATOMIC) | hung_up | error
}

/// How long a call waits, and what is let through meanwhile.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// When it gives up.
    pub deadline: Option<u64>,
    /// The signal mask meanwhile.
    pub mask: Option<u64>,
}

/// The deadline of a call that gives so many milliseconds in argument `n`, or a negative number for none.
pub(super) fn milliseconds(caller: &Caller, tasks: &mut Tasks, n: usize) -> Option<u64> {
    const MILLISECOND: u64 = 1_000_000;
    deadline(tasks, caller, u64::try_from(caller.int(n)).ok().map(|time| time * MILLISECOND))
}

/// Ends a call with `ready` if that is anything or the time is over; else waits.
pub(super) fn finish(
    caller: &Caller,
    tasks: &mut Tasks,
    console: &mut Console,
    ready: u64,
    patience: Patience,
) -> Answer {
    let Patience { deadline, mask } = patience;
    if ready > 0 || is_over(deadline) {
        return value(ready);
    }
    if mask.is_some_and(|mask| !signals::mask_for_wait(tasks, caller.thread, mask)) {
        return Err(Errno::EINTR);
    }
    if !console.writable() {
        console.wants_room();
    }
    tasks.park(caller.thread, Wait::restart(Channel::Poll, deadline));
    Ok(Reply::Parked)
}

/// The signal mask that a call may bring: `EINVAL` if it has another size than all masks.
pub(super) fn read_mask(caller: &Caller, memory: &mut Memory, mask: u64, size: u64) -> Result<Option<u64>, Errno> {
    match mask {
        0 => Ok(None),
        _ if size != MASK => Err(Errno::EINVAL),
        _ => caller.read(memory, mask).map(Some),
    }
}

/// `poll(fds, count, milliseconds)`, `ppoll(fds, count, time, mask, mask size)`
pub fn poll(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &Files, console: &mut Console) -> Answer {
    let [fds, count, time, mask, mask_size, _] = *caller.arguments;
    let patience = if caller.number == Sysno::ppoll as u64 {
        let deadline = time::relative(caller, memory, tasks, time)?;
        Patience { deadline, mask: read_mask(caller, memory, mask, mask_size)? }
    } else {
        Patience { deadline: milliseconds(caller, tasks, 2), mask: None }
    };
    let descriptors = &resources(caller, tasks)?.descriptors;
    let count = count as u32;
    if count > descriptors.limit() {
        return Err(Errno::EINVAL);
    }
    let mut ready = 0;
    for n in 0..u64::from(count) {
        let address = fds.wrapping_add(n * size_of::<PollFd>() as u64);
        let mut entry = caller.read::<PollFd>(memory, address)?;
        entry.ready = match entry.fd {
            ..0 => 0,
            fd => readiness(descriptors, files, console, fd) & (entry.wanted | ALWAYS),
        };
        ready += u64::from(entry.ready != 0);
        caller.write(memory, address, &entry)?;
    }
    finish(caller, tasks, console, ready, patience)
}

/// `select(count, read, write, except, time)`, `pselect6(…, mask)`
pub fn select(caller: &Caller, memory: &mut Memory, tasks: &mut Tasks, files: &Files, console: &mut Console) -> Answer {
    let [.., time, mask] = *caller.arguments;
    let patience = if caller.number == Sysno::pselect6 as u64 {
        let [set, size] = if mask == 0 { [0; 2] } else { caller.read::<[u64; 2]>(memory, mask)? };
        let mask = read_mask(caller, memory, set, size)?;
        Patience { deadline: time::relative(caller, memory, tasks, time)?, mask }
    } else {
        let [seconds, microseconds] = if time == 0 { [0; 2] } else { caller.read::<[i64; 2]>(memory, time)? };
        let (Ok(seconds), Ok(microseconds)) = (u64::try_from(seconds), u64::try_from(microseconds)) else {
            return Err(Errno::EINVAL);
        };
        let total = seconds.saturating_mul(time::SECOND).saturating_add(microseconds.saturating_mul(MICROSECOND));
        Patience { deadline: deadline(tasks, caller, (time != 0).then_some(total)), mask: None }
    };
    let descriptors = &resources(caller, tasks)?.descriptors;
    let count = u32::try_from(caller.int(0)).map_err(|_| Errno::EINVAL)?.min(descriptors.limit());
    let wanted = read_sets(caller, memory, count)?;
    let mut found = wanted.clone();
    let mut ready = 0;
    for fd in 0..count {
        let (word, bit) = (fd as usize / 64, 1_u64 << (fd % 64));
        if !wanted.iter().any(|set| set.get(word).is_some_and(|word| word & bit != 0)) {
            continue;
        }
        let readiness = readiness(descriptors, files, console, fd as i32);
        if readiness & INVALID != 0 {
            return Err(Errno::EBADF);
        }
        for (set, event) in found.iter_mut().zip([IN | HANG_UP | ERROR, OUT | ERROR, 0]) {
            if let Some(word) = set.get_mut(word) {
                if readiness & event == 0 {
                    *word &= !bit;
                } else {
                    ready += u64::from(*word & bit != 0);
                }
            }
        }
    }
    // The sets are written when the call ends; one that waits is made again and reads them again.
    if ready > 0 || is_over(patience.deadline) {
        write_sets(caller, memory, &found)?;
    }
    finish(caller, tasks, console, ready, patience)
}

fn read_sets(caller: &Caller, memory: &mut Memory, count: u32) -> Result<Sets, Errno> {
    let mut sets = Sets::default();
    for (set, address) in sets.iter_mut().zip(&caller.arguments[1..4]) {
        if *address != 0 {
            set.resize(count.div_ceil(64) as usize, 0);
            memory.copy_in(caller.space, *address, set.as_mut_slice().as_mut_bytes()).map_err(bad_address)?;
        }
    }
    Ok(sets)
}

fn write_sets(caller: &Caller, memory: &mut Memory, sets: &Sets) -> Result<(), Errno> {
    for (set, address) in sets.iter().zip(&caller.arguments[1..4]) {
        memory.copy_out(caller.space, *address, set.as_slice().as_bytes()).map_err(bad_address)?;
    }
    Ok(())
}
