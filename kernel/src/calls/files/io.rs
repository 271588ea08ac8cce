//! Reading and writing: how buffers, offsets and waiting go together. What one buffer's worth comes
//! to is [`super::transfer`]'s.

use super::opened;
use super::transfer::{Buffer, Step, Transfer};
use crate::calls::{Answer, Caller, Reply, value};
use crate::console::Console;
use crate::files::{Bytes, Files, now};
use crate::kernel::{Memory, Tasks};
use crate::random::Random;
use ::files::{Errno, OpenFlags};
use containers::Channel;

/// Most bytes of one call, as in Linux.
const BYTES_MAX: u64 = 0x7fff_f000;

/// Where a call reads or writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// At the open file's offset, which moves.
    Offset,
    /// There.
    Position(u64),
}

/// `read(fd, buffer, length)`
pub fn read(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
    random: &mut Random,
) -> Answer {
    let [_, address, length, ..] = caller.arguments;
    let mut transfer = Transfer { space: caller.space, memory, files, console };
    read_into(caller, tasks, &mut transfer, random, At::Offset, &[Buffer { address, length }])
}

/// `write(fd, buffer, length)`
pub fn write(
    caller: &Caller,
    memory: &mut Memory,
    tasks: &mut Tasks,
    files: &mut Files,
    console: &mut Console,
) -> Answer {
    let [_, address, length, ..] = caller.arguments;
    let mut transfer = Transfer { space: caller.space, memory, files, console };
    write_from(caller, tasks, &mut transfer, At::Offset, &[Buffer { address, length }])
}

/// Reads into buffers, one after the other, until one is not filled.
fn read_into(
    caller: &Caller,
    tasks: &mut Tasks,
    transfer: &mut Transfer,
    random: &mut Random,
    at: At,
    buffers: &[Buffer],
) -> Answer {
    let opened = opened(caller, tasks, transfer.files, caller.int(0))?;
    let file = opened.file;
    if !file.flags.readable() {
        return Err(Errno::EBADF);
    }
    if opened.bytes == Bytes::Directory {
        return Err(Errno::EISDIR);
    }
    // A read that has waited with a time-out and is made again has its deadline no more.
    let restarted = tasks.thread_mut(caller.thread).and_then(|thread| thread.restart_deadline.take());
    let start = match at {
        At::Offset => file.offset,
        At::Position(_) if opened.bytes.is_console() => return Err(Errno::ESPIPE),
        At::Position(position) => position,
    };
    let nonblocking = file.flags.contains(OpenFlags::NONBLOCK);
    let mut done = 0;
    for buffer in bounded(buffers) {
        match transfer.read(&opened, start + done, buffer, random, nonblocking, restarted) {
            Ok(Step::Done(count)) => {
                done += count;
                if count < buffer.length {
                    break;
                }
            }
            Ok(Step::Wait(wait)) if done == 0 => {
                tasks.park(caller.thread, wait);
                return Ok(Reply::Parked);
            }
            Err(error) if done == 0 => return Err(error),
            Ok(Step::Wait(_)) | Err(_) => break,
        }
    }
    if at == At::Offset && done > 0 {
        transfer.files.open.get_mut(opened.id)?.offset = start + done;
    }
    if done > 0 && !file.flags.contains(OpenFlags::NO_ATIME) {
        transfer.files.tree.accessed(file.inode, now());
    }
    if opened.bytes.is_console() && transfer.console.readable() {
        // What this reader has left is somebody else's.
        tasks.wake_all(Channel::ConsoleInput);
        tasks.wake_all(Channel::Poll);
    }
    value(done)
}

/// Writes from buffers, one after the other, until one does not go in whole.
fn write_from(caller: &Caller, tasks: &mut Tasks, transfer: &mut Transfer, at: At, buffers: &[Buffer]) -> Answer {
    let opened = opened(caller, tasks, transfer.files, caller.int(0))?;
    let file = opened.file;
    if !file.flags.writable() {
        return Err(Errno::EBADF);
    }
    let append = file.flags.contains(OpenFlags::APPEND);
    let start = match (at, opened.bytes) {
        (_, Bytes::Regular(object)) if append => transfer.memory.object_size(object),
        (At::Position(_), bytes) if bytes.is_console() => return Err(Errno::ESPIPE),
        (At::Position(position), _) => position,
        (At::Offset, _) => file.offset,
    };
    let nonblocking = file.flags.contains(OpenFlags::NONBLOCK);
    let mut done = 0;
    for buffer in bounded(buffers) {
        match transfer.write(&opened, start + done, buffer, nonblocking) {
            Ok(Step::Done(count)) => {
                done += count;
                if count < buffer.length {
                    break;
                }
            }
            Ok(Step::Wait(wait)) if done == 0 => {
                tasks.park(caller.thread, wait);
                return Ok(Reply::Parked);
            }
            Err(error) if done == 0 => return Err(error),
            Ok(Step::Wait(_)) | Err(_) => break,
        }
    }
    if at == At::Offset && done > 0 {
        transfer.files.open.get_mut(opened.id)?.offset = start + done;
    }
    value(done)
}

/// The buffers that are not empty, cut so that they hold [`BYTES_MAX`] together.
fn bounded(buffers: &[Buffer]) -> impl Iterator<Item = Buffer> + '_ {
    let mut left = BYTES_MAX;
    buffers
        .iter()
        .map_while(move |buffer| {
            let length = buffer.length.min(left);
            left -= length;
            Some(Buffer { length, ..*buffer })
        })
        .filter(|buffer| buffer.length > 0)
}
