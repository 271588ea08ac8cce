//! Reading and writing pipes.
//!
//! Bytes for which a reader waits go straight to it, if they can in one step: the writer completes the reader's call.
//! All others go through the pipe's ring, and who waits makes its call again.

use super::io::{Outcome, each, total, written};
use super::transfer::{Buffer, Step, Transfer, failed, pipe_wait};
use crate::calls::{Answer, Caller, Reply, restart, value};
use crate::files::Opened;
use crate::kernel::{Memory, Tasks};
use ::files::pipe::{ATOMIC, event};
use ::files::{Errno, InodeId, OpenFlags};
use containers::{Channel, ObjectId, Registers, Resume};
use syscalls::Sysno;

/// Reads what is there, as far as there is room in the buffers, or else waits for the first byte.
#[inline(never)]
pub fn read(
    caller: &Caller,
    tasks: &mut Tasks,
    transfer: &mut Transfer,
    (opened, ring): (&Opened, ObjectId),
    buffers: &[Buffer],
) -> Answer {
    restart(tasks, caller);
    let inode = opened.file.inode;
    let before = *transfer.files.tree.pipe(inode)?;
    if before.is_empty() && before.has_writers() && total(buffers) > 0 {
        if opened.file.flags.contains(OpenFlags::NONBLOCK) {
            return Err(Errno::EAGAIN);
        }
        tasks.park(caller.thread, pipe_wait(inode, event::READABLE));
        return Ok(Reply::Parked);
    }
    let Outcome { done, error, .. } = each(buffers, 0, |buffer, _| read_piece(transfer, inode, ring, buffer));
    transfer.files.news(inode, Some(before)).tell(tasks);
    match error {
        Some(error) if done == 0 => Err(error),
        _ => value(done),
    }
}

/// Reads into one buffer.
fn read_piece(transfer: &mut Transfer, inode: InodeId, ring: ObjectId, to: Buffer) -> Result<Step, Errno> {
    let mut done = 0;
    loop {
        let filled = transfer.files.tree.pipe(inode)?.filled(to.length - done);
        let (address, length) = (to.address.wrapping_add(done), (filled.end - filled.start) as usize);
        if length == 0 {
            return Step::done(done);
        }
        match transfer.memory.object_to_user(ring, filled.start, transfer.space, address, length) {
            Ok(count) => {
                transfer.files.tree.pipe_mut(inode)?.consume(count as u64);
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
#[inline(never)]
pub fn write(
    caller: &Caller,
    tasks: &mut Tasks,
    transfer: &mut Transfer,
    (opened, ring): (&Opened, ObjectId),
    buffers: &[Buffer],
) -> Answer {
    let inode = opened.file.inode;
    let progress = restart(tasks, caller).map_or(0, |restart| restart.progress);
    let before = *transfer.files.tree.pipe(inode)?;
    if let [buffer] = buffers
        && before.is_empty()
        && progress == 0
        && hand_over(caller, tasks, transfer.memory, inode, buffer)
    {
        return value(buffer.length);
    }
    let nonblocking = opened.file.flags.contains(OpenFlags::NONBLOCK);
    // What has to go into the pipe at once; of more than that any part will do.
    let together = match total(buffers) {
        total if total <= ATOMIC.into() => total,
        _ => 1,
    };
    let outcome = each(buffers, progress, |buffer, done| {
        if done == 0 && before.has_readers() && together > before.room().into() {
            return Step::short(0, pipe_wait(inode, event::WRITABLE), nonblocking);
        }
        write_piece(transfer, inode, ring, buffer, nonblocking)
    });
    transfer.files.news(inode, Some(before)).tell(tasks);
    written(caller, tasks, outcome)
}

/// Gives what is written to the reader that waits first, if there is one and its call can be completed so: a plain
/// `read` that takes it all, between two pages that are there. Otherwise the reader makes its call again, when the
/// bytes are in the ring.
fn hand_over(caller: &Caller, tasks: &mut Tasks, memory: &mut Memory, inode: InodeId, from: &Buffer) -> bool {
    let mut handed_over = false;
    tasks.wake_with(Channel::Pipe(inode.number()), 1, event::READABLE, |reader, wait| {
        let Registers { code, rsi: address, rdx: room, .. } = reader.registers;
        handed_over = code == Sysno::read as u64
            && (1..=room).contains(&from.length)
            && memory.copy_across(
                (caller.space.container, from.address),
                (reader.container, address),
                from.length as usize,
            );
        if handed_over { Resume::Return(from.length as i64) } else { wait.woken }
    });
    handed_over
}

/// Writes from one buffer.
fn write_piece(
    transfer: &mut Transfer,
    inode: InodeId,
    ring: ObjectId,
    from: Buffer,
    nonblocking: bool,
) -> Result<Step, Errno> {
    let mut done = 0;
    while done < from.length {
        let vacant = transfer.pipe_room(inode, from.length - done)?;
        if vacant.is_empty() {
            return Step::short(done, pipe_wait(inode, event::WRITABLE), nonblocking);
        }
        let (address, length) = (from.address.wrapping_add(done), (vacant.end - vacant.start) as usize);
        match transfer.memory.user_to_object(ring, vacant.start, transfer.space, address, length) {
            Ok(count) => {
                transfer.files.tree.pipe_mut(inode)?.produce(count as u64);
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
