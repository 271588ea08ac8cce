//! Reading and writing pipes.
//!
//! If a reader waits and its call can be completed in one step, the writer copies the bytes straight to the reader and
//! completes its call. All other bytes go through the pipe's ring, and a waiting thread makes its call again.
//!
//! For example, thread A waits in `read` of 4096 bytes and thread B writes 10: B copies them to A's buffer, sets A's
//! result to 10 and makes A runnable.

use super::buffers::{Outcome, each, total};
use super::io::written;
use super::transfer::{Buffer, Step, failed, pipe_wait};
use crate::calls::{Answer, Caller, Reply, restart, value};
use crate::core::files::Files;
use crate::core::kernel::{Memory, Tasks};
use ::files::inode::{Inode, Kind};
use ::files::pipe::{ATOMIC, event};
use ::files::{Errno, InodeId, OpenFile, OpenFlags, Pipe};
use containers::{Channel, ContainerId, Fault, ObjectId, PAGE_SIZE, Purpose, Registers, Resume};
use core::ops::ControlFlow::{self, Break, Continue};
use syscalls::Sysno;

/// An open end of a pipe, as a call finds it.
pub struct End<'a> {
    file: &'a OpenFile,
    ring: ObjectId,
    pipe: &'a Pipe,
}

/// The part of an end that a call keeps when it goes on through the pipe's ring.
pub struct Ring {
    inode: InodeId,
    flags: OpenFlags,
    content: ObjectId,
    /// The pipe's contents and its readers and writers before the call.
    before: Pipe,
}

impl<'a> End<'a> {
    /// The end of a pipe that an open file and its inode are; `None` if they are no pipe.
    #[inline(always)]
    pub fn of(file: &'a OpenFile, inode: &'a Inode<ObjectId>) -> Option<End<'a>> {
        match &inode.kind {
            Kind::Pipe { content, pipe, .. } => Some(End { file, ring: *content, pipe }),
            _ => None,
        }
    }

    /// The part that a call through the ring keeps.
    pub fn ring(&self) -> Ring {
        Ring { inode: self.file.inode, flags: self.file.flags, content: self.ring, before: *self.pipe }
    }
}

/// Reads from a pipe: waits for the first byte if there is none and the caller can wait, else goes on with
/// [`read_ring`].
#[inline(always)]
pub fn read(caller: &Caller, tasks: &mut Tasks, end: &End, buffers: &[Buffer]) -> ControlFlow<Answer> {
    if !end.file.flags.readable() {
        return Break(Err(Errno::EBADF));
    }
    restart(tasks, caller);
    if !end.pipe.is_empty() || !end.pipe.has_writers() || total(buffers) == 0 {
        return Continue(());
    }
    if end.file.flags.contains(OpenFlags::NONBLOCK) {
        return Break(Err(Errno::EAGAIN));
    }
    tasks.park(caller.thread, pipe_wait(end.file.inode, event::READABLE));
    Break(Ok(Reply::Parked))
}

/// Reads the bytes in the ring, as far as there is room in the buffers.
#[inline(never)]
pub fn read_ring(
    caller: Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    ring: Ring,
    buffers: &[Buffer],
) -> Answer {
    let Outcome { done, error, .. } =
        each(buffers, 0, 1, |buffer, _| read_piece(&caller, memory, files, &ring, buffer));
    if memory.account(Purpose::Buffer).room() == 0 && files.tree.pipe(ring.inode).is_ok_and(Pipe::is_empty) {
        // The ring's pages are given back for other uses; the first page is enough for most writes.
        memory.resize_object(ring.content, PAGE_SIZE as u64);
    }
    files.pipe_events(ring.inode, Some(ring.before)).notify(tasks, files);
    match error {
        Some(error) if done == 0 => Err(error),
        _ => value(done),
    }
}

/// Reads into one buffer.
fn read_piece(caller: &Caller, memory: &mut Memory, files: &mut Files, ring: &Ring, to: Buffer) -> Result<Step, Errno> {
    let mut done = 0;
    loop {
        let filled = files.tree.pipe(ring.inode)?.filled(to.length - done);
        let (address, length) = (to.address.wrapping_add(done), (filled.end - filled.start) as usize);
        if length == 0 {
            return Step::done(done);
        }
        match memory.object_to_user(ring.content, filled.start, caller.space, address, length) {
            Ok(count) => {
                files.tree.pipe_mut(ring.inode)?.consume(count as u64);
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

/// Gives the bytes to a waiting reader, if that completes the write; else goes on with [`write_ring`] behind the bytes
/// that are done.
#[inline(always)]
pub fn write(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    end: &End,
    buffers: &[Buffer],
) -> ControlFlow<Answer, u64> {
    if !end.file.flags.writable() {
        return Break(Err(Errno::EBADF));
    }
    let progress = restart(tasks, caller).map_or(0, |restart| restart.progress);
    match buffers {
        [buffer]
            if end.pipe.is_empty()
                && progress == 0
                && hand_over(caller.space.container, memory, tasks, end.file.inode, *buffer) =>
        {
            Break(value(buffer.length))
        }
        _ => Continue(progress),
    }
}

/// Gives the bytes to the first waiting reader, if there is one and this completes its call: a plain `read` that takes
/// all of them, between two pages that are present. Otherwise the reader makes its call again when the bytes are in the
/// ring.
fn hand_over(writer: ContainerId, memory: &mut Memory, tasks: &mut Tasks, inode: InodeId, from: Buffer) -> bool {
    let mut handed_over = false;
    tasks.wake_with(Channel::Pipe(inode.number()), 1, event::READABLE, |reader, wait| {
        let Registers { code, rsi: address, rdx: room, .. } = reader.context.registers;
        handed_over = code == Sysno::read as u64
            && (1..=room).contains(&from.length)
            && memory.copy_across((writer, from.address), (reader.container, address), from.length as usize);
        if handed_over { Resume::Return(from.length as i64) } else { wait.woken }
    });
    handed_over
}

/// Writes the remaining bytes from buffers to the ring, one buffer after the other. A call that may wait goes on until
/// all bytes are written, unless a signal interrupts it.
#[inline(never)]
pub fn write_ring(
    caller: Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    (ring, progress): (Ring, u64),
    buffers: &[Buffer],
) -> Answer {
    let nonblocking = ring.flags.contains(OpenFlags::NONBLOCK);
    // The number of bytes that must go into the pipe at once; of a longer write any part will do.
    let together = match total(buffers) {
        total if total <= ATOMIC.into() => total,
        _ => 1,
    };
    let outcome = each(buffers, progress, 1, |buffer, done| {
        if done == 0 && ring.before.has_readers() {
            if together > ring.before.room().into() {
                return Step::short(0, pipe_wait(ring.inode, event::WRITABLE), nonblocking);
            }
            if !has_pages(memory, &ring, together) {
                return narrow(files, &ring, 0);
            }
        }
        write_piece(&caller, memory, files, &ring, buffer)
    });
    files.pipe_events(ring.inode, Some(ring.before)).notify(tasks, files);
    written(&caller, tasks, outcome, true)
}

/// Whether a ring has all pages for the bytes that go into it at once, if these are several. The write itself finds the
/// first page or lacks it before it has done anything.
fn has_pages(memory: &mut Memory, ring: &Ring, together: u64) -> bool {
    const PAGE: u64 = PAGE_SIZE as u64;
    let vacant = ring.before.vacant(together);
    let (first, last) = (vacant.start / PAGE, (vacant.end - 1) / PAGE);
    first == last || memory.object_page_or_new(ring.content, last, 0).is_ok()
}

/// Ends a write for whose next bytes there is no page, after `done` bytes: the rest waits until the pipe has been
/// emptied. `ENOMEM` if it is empty, because then no frame is left.
fn narrow(files: &mut Files, ring: &Ring, done: u64) -> Result<Step, Errno> {
    match files.tree.pipe_mut(ring.inode)?.narrow() {
        true => Step::short(done, pipe_wait(ring.inode, event::WRITABLE), ring.flags.contains(OpenFlags::NONBLOCK)),
        false if done == 0 => Err(Errno::ENOMEM),
        false => Step::done(done),
    }
}

/// Writes from one buffer.
fn write_piece(
    caller: &Caller,
    memory: &mut Memory,
    files: &mut Files,
    ring: &Ring,
    from: Buffer,
) -> Result<Step, Errno> {
    let mut done = 0;
    while done < from.length {
        let vacant = files.pipe_room(ring.inode, from.length - done)?;
        if vacant.is_empty() {
            let nonblocking = ring.flags.contains(OpenFlags::NONBLOCK);
            return Step::short(done, pipe_wait(ring.inode, event::WRITABLE), nonblocking);
        }
        let (address, length) = (from.address.wrapping_add(done), (vacant.end - vacant.start) as usize);
        match memory.user_to_object(ring.content, vacant.start, caller.space, address, length) {
            Ok(count) => {
                files.tree.pipe_mut(ring.inode)?.produce(count as u64);
                done += count as u64;
            }
            Err(Fault::Full) => return narrow(files, ring, done),
            Err(fault) if done == 0 => return Err(failed(fault)),
            Err(_) => break,
        }
    }
    Step::done(done)
}
