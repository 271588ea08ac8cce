//! Moving bytes between one buffer in user memory and an open file.
//!
//! Regular files' bytes go from page to page. Those of devices go through a small buffer on the kernel
//! stack, so that the device sees plain slices. Pipes are [`super::pipes`]'s business.

use crate::arch::heap;
use crate::calls::is_over;
use crate::core::console::Console;
use crate::core::files::{Bytes, Files, Opened, now};
use crate::core::kernel::Memory;
use crate::core::random::{COST as RANDOM_COST, Random};
use ::files::pipe::event;
use ::files::tty::Read;
use ::files::{Device, Errno, InodeId};
use containers::{Budget, Channel, Fault, ObjectId, PhysicalMemory, Space, Wait};
use hardware::clock;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a buffer on the kernel stack.
const STAGE: usize = 4096;

/// Bytes of an event counter's count.
const COUNT: u64 = 8;

/// Most bytes that one visit copies from file to file.
pub const COPY_MAX: u64 = Budget::VISIT / 3;

const DECISECOND: u64 = 100_000_000;

/// A piece of user memory: `struct iovec`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Buffer {
    /// Its address.
    pub address: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// How far a transfer has come.
pub struct Step {
    /// How many bytes have been moved; fewer than asked for if there were no more, or no more room.
    pub done: u64,
    /// The event that a call for more bytes has to wait for, if it may wait.
    pub wait: Option<Wait>,
}

impl Step {
    /// `done` bytes, and nothing to wait for.
    pub fn done(done: u64) -> Result<Step, Errno> {
        Ok(Step { done, wait: None })
    }

    /// `done` bytes, and then a wait for an event: `EAGAIN` if there are no bytes and the call may not wait.
    pub fn short(done: u64, wait: Wait, nonblocking: bool) -> Result<Step, Errno> {
        match (done, nonblocking) {
            (0, true) => Err(Errno::EAGAIN),
            (_, true) => Step::done(done),
            (_, false) => Ok(Step { done, wait: Some(wait) }),
        }
    }
}

/// The wait of a call for an event on a pipe.
pub fn pipe_wait(inode: InodeId, event: u32) -> Wait {
    Wait { bits: event, ..Wait::restart(Channel::Pipe(inode.number()), None) }
}

/// The subsystems that a transfer needs, and its parameters.
pub struct Transfer<'a> {
    /// The memory that the buffers are in.
    pub space: Space,
    /// User memory and the bytes of regular files.
    pub memory: &'a mut Memory,
    /// The files, with their sizes.
    pub files: &'a mut Files,
    /// The console, for which a call may have to wait.
    pub console: &'a mut Console,
    /// How many bytes a file may have when it grows; not used by reads.
    pub file_size: u64,
}

impl Bytes {
    /// Whether these bytes are the console's.
    pub fn is_console(self) -> bool {
        matches!(self, Bytes::Device(Device::Console | Device::Tty))
    }

    /// How many instructions it takes to move one of these bytes, roughly.
    pub fn cost(self) -> u64 {
        match self {
            Bytes::Device(Device::Random | Device::Urandom) => RANDOM_COST,
            Bytes::Device(Device::Null) => 0,
            _ => 1,
        }
    }

    /// Whether these bytes are in a regular file: as on Linux, a signal's handler does not cut a transfer of them
    /// short.
    pub fn is_regular(self) -> bool {
        matches!(self, Bytes::Regular(_) | Bytes::WrittenOut(_))
    }

    /// Whether these bytes are a stream without positions.
    pub fn is_stream(self) -> bool {
        self.is_console() || matches!(self, Bytes::Pipe(_) | Bytes::Counter | Bytes::Epoll)
    }
}

/// The errno of a failed transfer to or from user memory.
pub fn failed(fault: Fault) -> Errno {
    match fault {
        Fault::OutOfMemory => Errno::ENOMEM,
        _ => Errno::EFAULT,
    }
}

/// The errno of a failed transfer into a file: `ENOSPC` when files may take no more memory, which is the disk here.
fn full(fault: Fault) -> Errno {
    match fault {
        Fault::Full => Errno::ENOSPC,
        fault => failed(fault),
    }
}

impl Transfer<'_> {
    /// Reads into a buffer.
    pub fn read(
        &mut self,
        opened: &Opened,
        position: u64,
        to: Buffer,
        random: &mut Random,
        nonblocking: bool,
        restarted: Option<u64>,
    ) -> Result<Step, Errno> {
        let count = match opened.bytes {
            Bytes::Regular(object) | Bytes::WrittenOut(object) => {
                let count = self.memory.object_to_user(object, position, self.space, to.address, to.length as usize);
                count.map_err(failed)? as u64
            }
            Bytes::Device(Device::Null) => 0,
            Bytes::Device(Device::Zero | Device::Full) => self.supply(to, |stage| stage.len())?,
            Bytes::Device(Device::Random | Device::Urandom) => self.supply(to, |stage| {
                random.fill(stage);
                stage.len()
            })?,
            Bytes::Device(Device::Console | Device::Tty) => return self.read_console(to, nonblocking, restarted),
            Bytes::Counter => return self.read_counter(opened.file.inode, to, nonblocking),
            Bytes::Directory => return Err(Errno::EISDIR),
            // `super::pipes` moves the bytes of a pipe.
            Bytes::Pipe(_) | Bytes::Epoll | Bytes::Extension(_) => return Err(Errno::EINVAL),
            Bytes::Proc(..) | Bytes::Nowhere => return Err(Errno::EBADF),
        };
        Step::done(count)
    }

    /// Fills a buffer with the bytes that `give` puts into the small buffer on the stack.
    fn supply(&mut self, to: Buffer, mut give: impl FnMut(&mut [u8]) -> usize) -> Result<u64, Errno> {
        let mut stage = [0; STAGE];
        let mut done = 0;
        while done < to.length {
            let length = (to.length - done).min(STAGE as u64) as usize;
            let given = give(&mut stage[..length]);
            match self.memory.copy_out(self.space, to.address.wrapping_add(done), &stage[..given]) {
                Ok(()) => done += given as u64,
                Err(fault) if done == 0 => return Err(failed(fault)),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn read_console(&mut self, to: Buffer, nonblocking: bool, restarted: Option<u64>) -> Result<Step, Errno> {
        let mut stage = [0; STAGE];
        let length = to.length.min(STAGE as u64) as usize;
        let stage = &mut stage[..length];
        let count = match self.console.read(stage) {
            Read::Bytes(count) => count,
            Read::EndOfFile => 0,
            Read::WouldBlock { .. } if nonblocking => match self.console.read_available(stage) {
                0 => return Err(Errno::EAGAIN),
                count => count,
            },
            Read::WouldBlock { deciseconds } => {
                // The time between two bytes (`VMIN` and `VTIME` both given) is taken as over at once.
                let there = if deciseconds.is_some() { self.console.read_available(stage) } else { 0 };
                if there == 0 {
                    let time = |tenths| clock::nanoseconds() + u64::from(tenths) * DECISECOND;
                    let deadline = restarted.or(deciseconds.map(time));
                    if is_over(deadline) {
                        return Step::done(0);
                    }
                    // Deadlines are kept in the heap.
                    if deadline.is_some() && !self.memory.physical.has_room_for_bookkeeping() {
                        return Err(Errno::ENOMEM);
                    }
                    return Step::short(0, Wait::restart(Channel::ConsoleInput, deadline), false);
                }
                there
            }
        };
        self.memory.copy_out(self.space, to.address, &stage[..count]).map_err(failed)?;
        Step::done(count as u64)
    }

    /// `EINVAL` if the buffer is too small for the count.
    fn read_counter(&mut self, inode: InodeId, to: Buffer, nonblocking: bool) -> Result<Step, Errno> {
        if to.length < COUNT {
            return Err(Errno::EINVAL);
        }
        match self.files.tree.counter_mut(inode)?.take() {
            Some(count) => {
                self.memory.copy_out(self.space, to.address, &count.to_ne_bytes()).map_err(failed)?;
                Step::done(COUNT)
            }
            None => Step::short(0, pipe_wait(inode, event::READABLE), nonblocking),
        }
    }

    /// `EINVAL` if the buffer is too small, or the number in it too large for any counter.
    fn write_counter(&mut self, inode: InodeId, from: Buffer, nonblocking: bool) -> Result<Step, Errno> {
        let mut more = [0; COUNT as usize];
        if from.length < COUNT {
            return Err(Errno::EINVAL);
        }
        self.memory.copy_in(self.space, from.address, &mut more).map_err(failed)?;
        match u64::from_ne_bytes(more) {
            u64::MAX => Err(Errno::EINVAL),
            more if self.files.tree.counter_mut(inode)?.add(more) => Step::done(COUNT),
            _ => Step::short(0, pipe_wait(inode, event::WRITABLE), nonblocking),
        }
    }

    /// Writes from a buffer.
    pub fn write(&mut self, opened: &Opened, position: u64, from: Buffer, nonblocking: bool) -> Result<Step, Errno> {
        let count = match opened.bytes {
            Bytes::Regular(object) => self.write_object(opened.file.inode, object, position, from)?,
            Bytes::Device(Device::Console | Device::Tty) => return self.write_console(from, nonblocking),
            Bytes::Counter => return self.write_counter(opened.file.inode, from, nonblocking),
            // `super::pipes` moves the bytes of a pipe.
            Bytes::Pipe(_) | Bytes::Epoll | Bytes::Extension(_) => return Err(Errno::EINVAL),
            Bytes::Device(Device::Full) => return Err(Errno::ENOSPC),
            Bytes::Device(_) => from.length,
            Bytes::Directory | Bytes::Proc(..) | Bytes::WrittenOut(_) | Bytes::Nowhere => return Err(Errno::EBADF),
        };
        Step::done(count)
    }

    fn write_object(&mut self, inode: InodeId, object: ObjectId, position: u64, from: Buffer) -> Result<u64, Errno> {
        let length = from.length.min(self.room(position)?) as usize;
        let written = self.memory.user_to_object(object, position, self.space, from.address, length);
        self.files.tree.set_size(inode, self.memory.object_size(object), now())?;
        written.map(|count| count as u64).map_err(full)
    }

    fn write_console(&mut self, from: Buffer, nonblocking: bool) -> Result<Step, Errno> {
        let mut stage = [0; STAGE];
        let mut done = 0;
        while done < from.length {
            let length = (from.length - done).min(STAGE as u64) as usize;
            match self.memory.copy_in(self.space, from.address.wrapping_add(done), &mut stage[..length]) {
                Ok(()) => {}
                Err(fault) if done == 0 => return Err(failed(fault)),
                Err(_) => break,
            }
            let taken = self.console.write(&stage[..length]);
            done += taken as u64;
            if taken < length {
                return Step::short(done, Wait::restart(Channel::ConsoleOutput, None), nonblocking);
            }
        }
        Step::done(done)
    }

    /// Copies from a file to an open file, through the kernel: up to `count` bytes, fewer at the end of the source or
    /// if the target has no room.
    pub fn copy(
        &mut self,
        (from, from_position): (ObjectId, u64),
        (to, to_position): (&Opened, u64),
        count: u64,
        nonblocking: bool,
    ) -> Result<Step, Errno> {
        let mut stage = [0; STAGE];
        let mut done = 0;
        while done < count.min(COPY_MAX) {
            let wanted = (count - done).min(STAGE as u64) as usize;
            let length = self.memory.read_object(from, from_position + done, &mut stage[..wanted]);
            if length == 0 {
                return Step::done(done);
            }
            match self.put(to, to_position + done, &stage[..length]) {
                Ok(taken) => {
                    done += taken as u64;
                    if taken < length {
                        let wait = match to.bytes {
                            Bytes::Pipe(_) => pipe_wait(to.file.inode, event::WRITABLE),
                            _ => Wait::restart(Channel::ConsoleOutput, None),
                        };
                        return Step::short(done, wait, nonblocking);
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Step::done(done)
    }

    /// Writes bytes from kernel memory; returns how many found room.
    fn put(&mut self, to: &Opened, position: u64, bytes: &[u8]) -> Result<usize, Errno> {
        match to.bytes {
            Bytes::Regular(object) => {
                let length = self.room(position)?.min(bytes.len() as u64) as usize;
                if !heap::reserve(&mut self.memory.physical) {
                    return Err(Errno::ENOSPC);
                }
                let result = self.memory.write_object(object, position, &bytes[..length]);
                self.files.tree.set_size(to.file.inode, self.memory.object_size(object), now())?;
                result.map_err(|_| Errno::ENOSPC)
            }
            Bytes::Pipe(ring) => {
                let vacant = self.files.pipe_room(to.file.inode, bytes.len() as u64)?;
                let bytes = &bytes[..(vacant.end - vacant.start) as usize];
                let pipe = self.files.tree.pipe_mut(to.file.inode)?;
                match self.memory.write_object(ring, vacant.start, bytes) {
                    Ok(count) => {
                        pipe.produce(count as u64);
                        Ok(count)
                    }
                    Err(_) if pipe.narrow() => Ok(0),
                    Err(_) => Err(Errno::ENOMEM),
                }
            }
            Bytes::Device(Device::Console | Device::Tty) => Ok(self.console.write(bytes)),
            Bytes::Counter | Bytes::Epoll | Bytes::Extension(_) => Err(Errno::EINVAL),
            Bytes::Device(Device::Full) => Err(Errno::ENOSPC),
            Bytes::Device(_) => Ok(bytes.len()),
            Bytes::Directory | Bytes::Proc(..) | Bytes::WrittenOut(_) | Bytes::Nowhere => Err(Errno::EBADF),
        }
    }

    /// Bytes that a file can still grow by from `position` on: `EFBIG` if none.
    fn room(&self, position: u64) -> Result<u64, Errno> {
        self.file_size.checked_sub(position).filter(|room| *room > 0).ok_or(Errno::EFBIG)
    }
}
