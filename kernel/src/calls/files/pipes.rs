//! Reading and writing pipes.
//!
//! Bytes for which a reader waits go straight to it, if they can in one step: the writer completes the reader's call.
//! All others go through the pipe's ring, and who waits makes its call again.

use super::io::{Outcome, each, total, written};
use super::transfer::{Buffer, Step, failed, pipe_wait};
use crate::calls::{Answer, Caller, Reply, restart, value};
use crate::files::Files;
use crate::kernel::{Memory, Tasks};
use ::files::inode::{Inode, Kind};
use ::files::pipe::{ATOMIC, event};
use ::files::{Errno, InodeId, OpenFile, OpenFlags, Pipe};
use containers::{Channel, ContainerId, ObjectId, Registers, Resume};
use syscalls::Sysno;

/// An open end of a pipe, as a call finds it.
#[derive(Clone, Copy)]
pub struct End {
    inode: InodeId,
    flags: OpenFlags,
    ring: ObjectId,
    /// What was in the ring, and who at its ends.
    before: Pipe,
}

impl End {
    /// That of an open file and its inode, if this is a pipe.
    #[inline(always)]
    pub fn of(file: &OpenFile, inode: &Inode<ObjectId>) -> Option<End> {
        match inode.kind {
            Kind::Pipe { content, pipe } => {
                Some(End { inode: file.inode, flags: file.flags, ring: content, before: pipe })
            }
            _ => None,
        }
    }
}

/// Reads what is there, as far as there is room in the buffers, or else waits for the first byte.
#[inline(always)]
pub fn read(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    end: &End,
    buffers: &[Buffer],
) -> Answer {
    if !end.flags.readable() {
        return Err(Errno::EBADF);
    }
    restart(tasks, caller);
    if end.before.is_empty() && end.before.has_writers() && total(buffers) > 0 {
        if end.flags.contains(OpenFlags::NONBLOCK) {
            return Err(Errno::EAGAIN);
        }
        tasks.park(caller.thread, pipe_wait(end.inode, event::READABLE));
        return Ok(Reply::Parked);
    }
    read_ring(*caller, memory, tasks, files, *end, buffers)
}

/// Reads what is in the ring.
#[inline(never)]
fn read_ring(
    caller: Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    end: End,
    buffers: &[Buffer],
) -> Answer {
    let Outcome { done, error, .. } = each(buffers, 0, |buffer, _| read_piece(&caller, memory, files, &end, buffer));
    files.news(end.inode, Some(end.before)).tell(tasks);
    match error {
        Some(error) if done == 0 => Err(error),
        _ => value(done),
    }
}

/// Reads into one buffer.
fn read_piece(caller: &Caller, memory: &mut Memory, files: &mut Files, end: &End, to: Buffer) -> Result<Step, Errno> {
    let mut done = 0;
    loop {
        let filled = files.tree.pipe(end.inode)?.filled(to.length - done);
        let (address, length) = (to.address.wrapping_add(done), (filled.end - filled.start) as usize);
        if length == 0 {
            return Step::done(done);
        }
        match memory.object_to_user(end.ring, filled.start, caller.space, address, length) {
            Ok(count) => {
                files.tree.pipe_mut(end.inode)?.consume(count as u64);
                done += count as u64;
                if count < length {
                    return Step::done(done);
                }
            }
            Err(fault) if done == 0 => return Err(failed(fault)),
            Err(_) => return Step::done(done),
        }
    }
}

/// Writes from buffers, one after the other. A call that may wait goes on until all is written, unless a signal comes
/// between.
#[inline(always)]
pub fn write(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    end: &End,
    buffers: &[Buffer],
) -> Answer {
    if !end.flags.writable() {
        return Err(Errno::EBADF);
    }
    let progress = restart(tasks, caller).map_or(0, |restart| restart.progress);
    if let [buffer] = buffers
        && end.before.is_empty()
        && progress == 0
        && hand_over(caller.space.container, memory, tasks, end.inode, *buffer)
    {
        return value(buffer.length);
    }
    write_ring(*caller, memory, tasks, files, (*end, progress), buffers)
}

/// Gives what is written to the reader that waits first, if there is one and its call can be completed so: a plain
/// `read` that takes it all, between two pages that are there. Otherwise the reader makes its call again, when the
/// bytes are in the ring.
fn hand_over(writer: ContainerId, memory: &mut Memory, tasks: &mut Tasks, inode: InodeId, from: Buffer) -> bool {
    let mut handed_over = false;
    tasks.wake_with(Channel::Pipe(inode.number()), 1, event::READABLE, |reader, wait| {
        let Registers { code, rsi: address, rdx: room, .. } = reader.registers;
        handed_over = code == Sysno::read as u64
            && (1..=room).contains(&from.length)
            && memory.copy_across((writer, from.address), (reader.container, address), from.length as usize);
        if handed_over { Resume::Return(from.length as i64) } else { wait.woken }
    });
    handed_over
}

/// Writes what has not been written yet to the ring.
#[inline(never)]
fn write_ring(
    caller: Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    (end, progress): (End, u64),
    buffers: &[Buffer],
) -> Answer {
    let nonblocking = end.flags.contains(OpenFlags::NONBLOCK);
    // What has to go into the pipe at once; of more than that any part will do.
    let together = match total(buffers) {
        total if total <= ATOMIC.into() => total,
        _ => 1,
    };
    let outcome = each(buffers, progress, |buffer, done| {
        if done == 0 && end.before.has_readers() && together > end.before.room().into() {
            return Step::short(0, pipe_wait(end.inode, event::WRITABLE), nonblocking);
        }
        write_piece(&caller, memory, files, &end, buffer)
    });
    files.news(end.inode, Some(end.before)).tell(tasks);
    written(&caller, tasks, outcome)
}

/// Writes from one buffer.
fn write_piece(
    caller: &Caller,
    memory: &mut Memory,
    files: &mut Files,
    end: &End,
    from: Buffer,
) -> Result<Step, Errno> {
    let mut done = 0;
    while done < from.length {
        let vacant = files.pipe_room(end.inode, from.length - done)?;
        if vacant.is_empty() {
            let nonblocking = end.flags.contains(OpenFlags::NONBLOCK);
            return Step::short(done, pipe_wait(end.inode, event::WRITABLE), nonblocking);
        }
        let (address, length) = (from.address.wrapping_add(done), (vacant.end - vacant.start) as usize);
        match memory.user_to_object(end.ring, vacant.start, caller.space, address, length) {
            Ok(count) => {
                files.tree.pipe_mut(end.inode)?.produce(count as u64);
                done += count as u64;
                if count < length {
                    break;
                }
            }
            Err(fault) if done == 0 => return Err(failed(fault)),
            Err(_) => break,
        }
    }
    Step::done(done)
}
