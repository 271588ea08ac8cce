//! `poll` and `select`: waiting until one of several files is ready.
//!
//! Only the console, pipes, event counters and `epoll`s are ever not ready. A call that finds nothing takes a seat in the
//! audience of each file that it asks about ([`containers::poll`]), parks, and is made again at the first event there, with
//! the deadline that it had. The signal masks of `ppoll` and `pselect6` are in place while it waits.

use super::{resources, watching};
use crate::calls::{Answer, Caller, Reply, bad_address, deadline, is_over, time, value};
use crate::console::Console;
use crate::files::Files;
use crate::kernel::{Memory, Tasks};
use crate::signals;
use ::files::event::COUNT_MAX;
use ::files::inode::Kind;
use ::files::pipe::ATOMIC;
use ::files::watch::concerns;
use ::files::{Descriptors, Device, Errno, OpenFile, OpenFileId, OpenFlags, Pipe};
use alloc::vec::Vec;
use containers::{PhysicalMemory, PollId};
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
fn readiness(descriptors: &Descriptors, files: &mut Files, console: &Console, fd: i32) -> u16 {
    descriptors.get(fd as u32).map_or(INVALID, |id| state(files, console, id))
}

/// What an open file is ready for.
pub(super) fn state(files: &mut Files, console: &Console, id: OpenFileId) -> u16 {
    let Ok(&OpenFile { inode: number, flags, .. }) = files.open.get(id) else { return INVALID };
    let Ok(inode) = files.tree.get(number) else { return INVALID };
    match &inode.kind {
        _ if flags.contains(OpenFlags::PATH) => INVALID,
        Kind::Pipe { pipe, .. } => pipe_readiness(pipe, flags),
        Kind::Counter(counter, _) => ready(counter.count() > 0, counter.count() < COUNT_MAX),
        Kind::Device(Device::Console | Device::Tty) => ready(console.readable(), console.writable()),
        // This goes no deeper than a chain of them may be long.
        Kind::Epoll(_) => ready(watching::any(files, console, number), false),
        _ => ready(true, true),
    }
}

fn ready(readable: bool, writable: bool) -> u16 {
    let input = if readable { IN | READ_NORMAL } else { 0 };
    let output = if writable { OUT | WRITE_NORMAL } else { 0 };
    input | output
}

/// The same of a pipe's end, or both: a pipe can be written if a whole write of [`ATOMIC`] bytes finds room.
fn pipe_readiness(pipe: &Pipe, flags: OpenFlags) -> u16 {
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

/// The end of a call with `ready` if that is anything or the time is over.
pub(super) fn end(ready: u64, patience: Patience) -> Option<Answer> {
    (ready > 0 || is_over(patience.deadline)).then(|| value(ready))
}

/// Prepares a thread that is about to wait: `EINTR` if a signal is there that the call lets through.
pub(super) fn prepare(
    caller: &Caller,
    tasks: &mut Tasks,
    console: &mut Console,
    patience: Patience,
) -> Result<(), Errno> {
    if patience.mask.is_some_and(|mask| !signals::mask_for_wait(tasks, caller.thread, mask)) {
        return Err(Errno::EINTR);
    }
    if !console.writable() {
        console.wants_room();
    }
    Ok(())
}

/// Parks the caller until one of the events happens that `wanted` names, each a descriptor and `poll`'s events. `wanted` is
/// asked for a few at a time, until it has no more: each takes memory, of which there may be too little.
fn wait(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    patience: Patience,
    mut wanted: impl FnMut(&mut Memory, &mut dyn FnMut(i32, u16)) -> Result<bool, Errno>,
) -> Answer {
    let poll = tasks.begin_poll(caller.thread).map_err(|_| Errno::ENOMEM)?;
    let mut attend = || {
        loop {
            let mut failed = None;
            let more = wanted(memory, &mut |fd, events| {
                failed = failed.or(take_seat(caller, tasks, files, poll, fd, events).err());
            })?;
            match failed {
                Some(error) => return Err(error),
                None if !more => return Ok(()),
                None if !memory.physical.has_room_for_bookkeeping() => return Err(Errno::ENOMEM),
                None => {}
            }
        }
    };
    let ready = attend().and_then(|()| prepare(caller, tasks, console, patience));
    ready.inspect_err(|_| tasks.give_up_poll(poll))?;
    tasks.park_polling(caller.thread, poll, patience.deadline);
    Ok(Reply::Parked)
}

/// Has the caller be told of events on a descriptor.
fn take_seat(
    caller: &Caller,
    tasks: &mut Tasks,
    files: &mut Files,
    poll: PollId,
    fd: i32,
    events: u16,
) -> Result<(), Errno> {
    let Ok(opened) = files.opened(&resources(caller, tasks)?.descriptors, fd) else { return Ok(()) };
    let Some(source) = opened.source() else { return Ok(()) };
    let watched = files.tree.watched_mut(source)?;
    let audience = tasks.attend(poll, watched.audience, concerns(events.into()));
    watched.audience = Some(audience.map_err(|_| Errno::ENOMEM)?);
    Ok(())
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
pub fn poll(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
) -> Answer {
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
    for first in (0..count).step_by(PART) {
        let mut part = Part::read(caller, memory, fds, first, count)?;
        for entry in part.entries_mut() {
            entry.ready = match entry.fd {
                ..0 => 0,
                fd => readiness(descriptors, files, console, fd) & (entry.wanted | ALWAYS),
            };
            ready += u64::from(entry.ready != 0);
        }
        part.write(caller, memory)?;
    }
    if let Some(answer) = end(ready, patience) {
        return answer;
    }
    let mut next = 0;
    wait(caller, memory, tasks, files, console, patience, |memory, want| {
        let mut part = Part::read(caller, memory, fds, next, count)?;
        part.entries_mut().iter().filter(|entry| entry.fd >= 0).for_each(|entry| want(entry.fd, entry.wanted));
        next += PART as u32;
        Ok(next < count)
    })
}

/// Some of the structures of a `poll`, which are read and written together.
struct Part {
    address: u64,
    length: usize,
    entries: [PollFd; PART],
}

/// How many.
const PART: usize = 64;

impl Part {
    /// Reads those from number `first` on, of `count` in all.
    fn read(caller: &Caller, memory: &mut Memory, fds: u64, first: u32, count: u32) -> Result<Part, Errno> {
        let address = fds.wrapping_add(u64::from(first) * size_of::<PollFd>() as u64);
        let length = PART.min(count.saturating_sub(first) as usize);
        let mut part = Part { address, length, entries: [PollFd { fd: 0, wanted: 0, ready: 0 }; PART] };
        memory.copy_in(caller.space, address, part.entries_mut().as_mut_bytes()).map_err(bad_address)?;
        Ok(part)
    }

    fn entries_mut(&mut self) -> &mut [PollFd] {
        &mut self.entries[..self.length]
    }

    fn write(&mut self, caller: &Caller, memory: &mut Memory) -> Result<(), Errno> {
        let address = self.address;
        memory.copy_out(caller.space, address, self.entries_mut().as_bytes()).map_err(bad_address)
    }
}

/// `select(count, read, write, except, time)`, `pselect6(…, mask)`
pub fn select(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
) -> Answer {
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
    for fd in (0..count).filter(|fd| asked(&wanted, *fd).contains(&true)) {
        let (word, bit) = (fd as usize / 64, 1_u64 << (fd % 64));
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
    if let Some(answer) = end(ready, patience) {
        return answer;
    }
    let mut fds = 0..count;
    wait(caller, memory, tasks, files, console, patience, |_, want| {
        for fd in fds.by_ref().take(PART) {
            match asked(&wanted, fd) {
                [false, false, false] => {}
                [read, write, _] => want(fd as i32, if read { IN } else { 0 } | if write { OUT } else { 0 }),
            }
        }
        Ok(!fds.is_empty())
    })
}

/// In which of the sets a descriptor is.
fn asked(sets: &Sets, fd: u32) -> [bool; 3] {
    let bit = 1_u64 << (fd % 64);
    [0, 1, 2].map(|set| sets[set].get(fd as usize / 64).is_some_and(|word| word & bit != 0))
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
