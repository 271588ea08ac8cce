//! For which events an open file is ready.
//!
//! Only the console, pipes, event counters and `epoll`s are ever not ready. For example, the reading end of an empty
//! pipe that has writers is ready for nothing, and once the last writer has closed it, for [`HANG_UP`].

use super::watching;
use crate::core::console::Console;
use crate::core::files::Files;
use crate::core::linux;
use ::files::event::COUNT_MAX;
use ::files::inode::Kind;
use ::files::pipe::ATOMIC;
use ::files::{Descriptors, Device, OpenFile, OpenFileId, OpenFlags, Pipe};

pub(super) const IN: u16 = linux::POLLIN as u16;
pub(super) const OUT: u16 = linux::POLLOUT as u16;
pub(super) const ERROR: u16 = linux::POLLERR as u16;
pub(super) const HANG_UP: u16 = linux::POLLHUP as u16;
pub(super) const INVALID: u16 = linux::POLLNVAL as u16;
const READ_NORMAL: u16 = linux::POLLRDNORM as u16;
const WRITE_NORMAL: u16 = linux::POLLWRNORM as u16;

/// Events that are reported even if the program has not asked for them.
pub(super) const ALWAYS: u16 = ERROR | HANG_UP | INVALID;

/// The events for which a descriptor is ready.
pub(super) fn readiness(descriptors: &Descriptors, files: &mut Files, console: &Console, fd: i32) -> u16 {
    descriptors.get(fd as u32).map_or(INVALID, |id| state(files, console, id))
}

/// The events for which an open file is ready.
pub(super) fn state(files: &mut Files, console: &Console, id: OpenFileId) -> u16 {
    let Ok(&OpenFile { inode: number, flags, .. }) = files.open.get(id) else { return INVALID };
    let Ok(inode) = files.tree.get(number) else { return INVALID };
    match &inode.kind {
        _ if flags.contains(OpenFlags::PATH) => INVALID,
        Kind::Pipe { pipe, .. } => pipe_readiness(pipe, flags),
        Kind::Counter(counter, _) => ready(counter.count() > 0, counter.count() < COUNT_MAX),
        Kind::Device(Device::Console | Device::Tty) => ready(console.readable(), console.writable()),
        // The recursion is as deep as a chain of `epoll`s may be long, at most.
        Kind::Epoll(_) => ready(watching::any(files, console, number), false),
        _ => ready(true, true),
    }
}

fn ready(readable: bool, writable: bool) -> u16 {
    let input = if readable { IN | READ_NORMAL } else { 0 };
    let output = if writable { OUT | WRITE_NORMAL } else { 0 };
    input | output
}

/// The events for which a pipe's end, or both ends, are ready: a pipe can be written if a whole write of [`ATOMIC`]
/// bytes finds room.
fn pipe_readiness(pipe: &Pipe, flags: OpenFlags) -> u16 {
    let (reads, writes) = (flags.readable(), flags.writable());
    let hung_up = if reads && !pipe.has_writers() { HANG_UP } else { 0 };
    let error = if writes && !pipe.has_readers() { ERROR } else { 0 };
    ready(reads && !pipe.is_empty(), writes && pipe.room() >= ATOMIC) | hung_up | error
}
