//! Reading, writing and seeking: this module combines buffers, offsets and waiting; [`super::transfer`] moves the bytes
//! of one buffer. For example, `readv` with two buffers calls it twice, and stops early if the first is not filled.

use super::buffers::{Outcome, each};
use super::pipes::{self, End};
use super::transfer::{Buffer, Transfer};
use super::{opened, resources, too_long};
use crate::calls::argument::{Fd, Pointer};
use crate::calls::{Answer, Caller, Reply, bad_address, jobs, preempt_at, restart, settle_remains, value};
use crate::core::console::Console;
use crate::core::files::{Bytes, Files, Opened, SIZE_MAX, now};
use crate::core::kernel::{Memory, Tasks};
use crate::core::linux;
use crate::core::random::Random;
use crate::core::signals::{self, SI_USER, SIGPIPE, SIGTTIN, SIGTTOU, from_process};
use ::files::open::Whence;
use ::files::pipe::event;
use ::files::tty::LocalModes;
use ::files::{Errno, OpenFlags, Source};
use alloc::vec;
use alloc::vec::Vec;
use containers::{Channel, Wait};
use core::ops::ControlFlow::{Break, Continue};
use zerocopy::IntoBytes;

/// Most bytes of one call, as in Linux.
pub const BYTES_MAX: u64 = 0x7fff_f000;

/// Most buffers of one call (`IOV_MAX`).
const BUFFERS_MAX: u64 = linux::UIO_MAXIOV as u64;

/// The place at which a call reads or writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At the open file's offset, which moves.
    Offset,
    /// At this position; the offset stays.
    Position(u64),
}

impl At {
    /// The position that a call gives: `EINVAL` if it is negative.
    pub fn position(position: i64) -> Result<At, Errno> {
        u64::try_from(position).map(At::Position).map_err(|_| Errno::EINVAL)
    }

    /// The place that a call with flags gives: the position −1 is the offset. The flags accepted here make no
    /// difference to a file in memory.
    pub fn position_with_flags(position: i64, flags: u32) -> Result<At, Errno> {
        match position {
            _ if flags & !(linux::RWF_HIPRI | linux::RWF_DSYNC | linux::RWF_SYNC | linux::RWF_NOWAIT) != 0 => {
                Err(Errno::EOPNOTSUPP)
            }
            -1 => Ok(At::Offset),
            _ => At::position(position),
        }
    }
}

/// The buffers listed by a `struct iovec[]`.
fn buffers(caller: &Caller, memory: &mut Memory, list: Pointer<Buffer>, count: u64) -> Result<Vec<Buffer>, Errno> {
    if count > BUFFERS_MAX {
        return Err(Errno::EINVAL);
    }
    let mut buffers = vec![Buffer { address: 0, length: 0 }; count as usize];
    memory.copy_in(caller.space, list.address, buffers.as_mut_bytes()).map_err(bad_address)?;
    if buffers.iter().any(|buffer| buffer.length > i64::MAX as u64) { Err(Errno::EINVAL) } else { Ok(buffers) }
}

/// `read(fd, buffer, length)`, `pread64(fd, buffer, length, position)`
#[inline(always)]
pub fn read(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    random: &mut Random,
    fd: Fd,
    buffer: Buffer,
    at: Result<At, Errno>,
) -> Answer {
    read_at(caller, memory, tasks, files, console, random, fd, (at?, &[buffer]))
}

/// `readv(fd, buffers, count)`, `preadv(…, position)`, `preadv2(…, 0, flags)`
pub fn readv(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    random: &mut Random,
    fd: Fd,
    (list, count): (Pointer<Buffer>, u64),
    at: Result<At, Errno>,
) -> Answer {
    let at = at?;
    let buffers = buffers(caller, memory, list, count)?;
    read_at(caller, memory, tasks, files, console, random, fd, (at, &buffers))
}

/// `write(fd, buffer, length)`, `pwrite64(fd, buffer, length, position)`
#[inline(always)]
pub fn write(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    fd: Fd,
    buffer: Buffer,
    at: Result<At, Errno>,
) -> Answer {
    write_at(caller, memory, tasks, files, console, fd, (at?, &[buffer]))
}

/// `writev(fd, buffers, count)`, `pwritev(…, position)`, `pwritev2(…, 0, flags)`
pub fn writev(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    fd: Fd,
    (list, count): (Pointer<Buffer>, u64),
    at: Result<At, Errno>,
) -> Answer {
    let at = at?;
    let buffers = buffers(caller, memory, list, count)?;
    write_at(caller, memory, tasks, files, console, fd, (at, &buffers))
}

/// Reads from an open file: a pipe, or any other kind.
#[inline(always)]
fn read_at(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    random: &mut Random,
    fd: Fd,
    (at, buffers): (At, &[Buffer]),
) -> Answer {
    let (id, file, inode) = files.find(&resources(caller, tasks)?.descriptors, fd.0)?;
    if at == At::Offset
        && let Some(end) = End::of(file, inode)
    {
        return match pipes::read(caller, tasks, &end, buffers) {
            Break(answer) => answer,
            Continue(()) => {
                let ring = end.ring();
                pipes::read_ring(*caller, memory, tasks, files, ring, buffers)
            }
        };
    }
    let opened = Opened::new(id, file, inode);
    let mut transfer = Transfer { space: caller.space, memory, files, console, file_size: 0 };
    read_into(*caller, tasks, &mut transfer, random, opened, (at, buffers))
}

/// Writes to an open file: a pipe, or any other kind.
#[inline(always)]
fn write_at(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    fd: Fd,
    (at, buffers): (At, &[Buffer]),
) -> Answer {
    let resources = resources(caller, tasks)?;
    let file_size = resources.limits.longest_file();
    let (id, file, inode) = files.find(&resources.descriptors, fd.0)?;
    if at == At::Offset
        && let Some(end) = End::of(file, inode)
    {
        return match pipes::write(caller, memory, tasks, &end, buffers) {
            Break(answer) => answer,
            Continue(progress) => {
                let ring = end.ring();
                pipes::write_ring(*caller, memory, tasks, files, (ring, progress), buffers)
            }
        };
    }
    let opened = Opened::new(id, file, inode);
    let mut transfer = Transfer { space: caller.space, memory, files, console, file_size };
    write_from(*caller, tasks, &mut transfer, &opened, (at, buffers))
}

/// The error for a file that was not opened for this access: a file without positions reports that first.
fn refusal(at: At, opened: &Opened) -> Errno {
    if at != At::Offset && opened.bytes.is_stream() { Errno::ESPIPE } else { Errno::EBADF }
}

/// Reads into buffers, one after the other, until one is not filled.
fn read_into(
    caller: Caller,
    tasks: &mut Tasks,
    transfer: &mut Transfer,
    random: &mut Random,
    mut opened: Opened,
    (at, buffers): (At, &[Buffer]),
) -> Answer {
    let caller = &caller;
    let file = opened.file;
    if !file.flags.readable() {
        return Err(refusal(at, &opened));
    }
    if opened.bytes == Bytes::Directory {
        return Err(Errno::EISDIR);
    }
    // Taken in any case: the state of a wait must not become the deadline of a later call.
    let resumed = restart(tasks, caller);
    let (restarted, progress) = (resumed.and_then(|call| call.deadline), resumed.map_or(0, |call| call.progress));
    let start = match at {
        At::Offset => file.offset.wrapping_sub(progress),
        At::Position(_) if opened.bytes.is_stream() => return Err(Errno::ESPIPE),
        At::Position(position) => position,
    };
    if opened.bytes.is_console()
        && let Some(reply) = jobs::ask(caller, tasks, transfer.console, SIGTTIN)?
    {
        return Ok(reply);
    }
    if let Bytes::Proc(..) = opened.bytes
        && start == 0
        && let Err(answer) = settle_remains(transfer.memory, tasks, caller)
    {
        return answer;
    }
    let goes_on = (start.wrapping_add(progress), progress);
    if let Err(answer) = super::readable(caller, transfer.memory, tasks, transfer.files, &mut opened, goes_on) {
        return answer;
    }
    let nonblocking = file.flags.contains(OpenFlags::NONBLOCK);
    let outcome = each(buffers, progress, opened.bytes.cost(), |buffer, done| {
        transfer.read(&opened, start.wrapping_add(done), buffer, random, nonblocking, restarted)
    });
    let Outcome { done, wait, error, .. } = outcome;
    match (error, wait) {
        (Some(error), _) if done == 0 => return Err(error),
        (_, Some(wait)) if done == 0 => {
            tasks.park(caller.thread, wait);
            return Ok(Reply::Parked);
        }
        _ => {}
    }
    if at == At::Offset && done > 0 {
        transfer.files.open.get_mut(opened.id)?.offset = start.wrapping_add(done);
    }
    if done > 0 && !file.flags.contains(OpenFlags::NO_ATIME) {
        transfer.files.tree.accessed(file.inode, now());
    }
    transfer.files.counter_events(&opened, done, event::WRITABLE).notify(tasks, transfer.files);
    if opened.bytes.is_console() && transfer.console.readable() {
        // The bytes that this reader has left are for other readers.
        tasks.wake_all(Channel::ConsoleInput);
        transfer.files.notify(tasks, Source::Console, event::READABLE);
    }
    if outcome.unfinished { preempt_at(tasks, caller, outcome.point(!opened.bytes.is_regular())) } else { value(done) }
}

/// Writes from buffers, one after the other, until one does not go in whole. A call that may wait goes on
/// until all is written, unless a signal comes between.
fn write_from(
    caller: Caller,
    tasks: &mut Tasks,
    transfer: &mut Transfer,
    opened: &Opened,
    (at, buffers): (At, &[Buffer]),
) -> Answer {
    let caller = &caller;
    let file = opened.file;
    if !file.flags.writable() {
        return Err(refusal(at, opened));
    }
    let progress = restart(tasks, caller).map_or(0, |restart| restart.progress);
    let start = match (at, opened.bytes) {
        (At::Position(_), bytes) if bytes.is_stream() => return Err(Errno::ESPIPE),
        (_, Bytes::Regular(object)) if file.flags.contains(OpenFlags::APPEND) => {
            transfer.memory.object_size(object).wrapping_sub(progress)
        }
        (At::Position(position), _) => position,
        (At::Offset, _) => file.offset.wrapping_sub(progress),
    };
    let nonblocking = file.flags.contains(OpenFlags::NONBLOCK);
    if opened.bytes.is_console()
        && progress == 0
        && transfer.console.termios().local.contains(LocalModes::TOSTOP)
        && let Some(reply) = jobs::ask(caller, tasks, transfer.console, SIGTTOU)?
    {
        return Ok(reply);
    }
    let outcome = each(buffers, progress, opened.bytes.cost(), |buffer, done| {
        transfer.write(opened, start.wrapping_add(done), buffer, nonblocking)
    });
    if at == At::Offset && outcome.done > 0 {
        transfer.files.open.get_mut(opened.id)?.offset = start.wrapping_add(outcome.done);
    }
    transfer.files.counter_events(opened, outcome.done, event::READABLE).notify(tasks, transfer.files);
    written(caller, tasks, outcome, !opened.bytes.is_regular())
}

/// The answer of a call that writes, whether or not a handler may make it shorter.
pub fn written(caller: &Caller, tasks: &mut Tasks, outcome: Outcome, ends_for_handlers: bool) -> Answer {
    let Outcome { done, wait, error, unfinished } = outcome;
    if unfinished {
        return preempt_at(tasks, caller, outcome.point(ends_for_handlers));
    }
    if error == Some(Errno::EPIPE) {
        signals::send_to_thread(tasks, caller.thread, from_process(SIGPIPE, SI_USER, caller.process));
    }
    match (wait, error) {
        (None, Some(Errno::EFBIG)) if done == 0 => Err(too_long(caller, tasks)),
        (Some(wait), _) => {
            tasks.park(caller.thread, Wait { progress: done, ..wait });
            Ok(Reply::Parked)
        }
        (None, Some(error)) if done == 0 => Err(error),
        _ => value(done),
    }
}

/// `lseek(fd, offset, whence)`
pub fn lseek(
    caller: &Caller,
    memory: &Memory,
    tasks: &Tasks,
    files: &mut Files,
    fd: Fd,
    offset: i64,
    whence: u32,
) -> Answer {
    let opened = opened(caller, tasks, files, fd)?;
    if opened.bytes == Bytes::Nowhere {
        return Err(Errno::EBADF);
    }
    if opened.bytes.is_stream() {
        return Err(Errno::ESPIPE);
    }
    let whence = Whence::from_raw(whence)?;
    let size = match opened.bytes {
        Bytes::Regular(object) => memory.object_size(object),
        Bytes::Directory | Bytes::Proc(..) if !matches!(whence, Whence::Start | Whence::Current) => {
            return Err(Errno::EINVAL);
        }
        Bytes::Directory | Bytes::Proc(..) => 0,
        // In a file without an end every position is alike.
        _ => return value(0_u64),
    };
    let mut file = opened.file;
    let position = file.seek(offset, whence, size)?;
    if position > SIZE_MAX && opened.bytes != Bytes::Directory {
        return Err(Errno::EINVAL);
    }
    files.open.get_mut(opened.id)?.offset = position;
    value(position)
}
