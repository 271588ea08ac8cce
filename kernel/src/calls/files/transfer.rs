//! Moving bytes between one buffer in user memory and what is open.
//!
//! Regular files' bytes go from page to page. Those of devices go through a small buffer on the kernel
//! stack, so that the device sees plain slices.

use crate::arch::{clock, heap};
use crate::calls::is_over;
use crate::console::Console;
use crate::files::{Bytes, Files, Opened, SIZE_MAX, now};
use crate::kernel::Memory;
use crate::random::Random;
use ::files::tty::Read;
use ::files::{Device, Errno, InodeId};
use containers::{Channel, Fault, ObjectId, Space, Wait};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a buffer on the kernel stack.
const STAGE: usize = 4096;

/// Bytes moved before the kernel's heap is topped up: an object's page tables come from there.
const CHUNK: u64 = 1 << 20;

/// Most random bytes of one read, as in Linux.
const RANDOM_MAX: u64 = 0x1ff_ffff;

const DECISECOND: u64 = 100_000_000;

/// A piece of user memory: `struct iovec`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Buffer {
    /// Where.
    pub address: u64,
    /// How long, in bytes.
    pub length: u64,
}

/// How far a transfer has come.
pub enum Step {
    /// So many bytes; fewer than asked for if there were no more, or no more room.
    Done(u64),
    /// None, and this is to be waited for.
    Wait(Wait),
}

/// What a transfer works with.
pub struct Transfer<'a> {
    /// Whose buffers.
    pub space: Space,
    /// Where user memory and regular files' bytes are.
    pub memory: &'a mut Memory,
    /// Where the files' sizes are.
    pub files: &'a mut Files,
    /// The device that may have to be waited for.
    pub console: &'a mut Console,
}

impl Bytes {
    /// Whether they are the console's.
    pub fn is_console(self) -> bool {
        matches!(self, Bytes::Device(Device::Console | Device::Tty))
    }
}

/// The errno of a failed transfer to or from user memory.
fn failed(fault: Fault) -> Errno {
    match fault {
        Fault::OutOfMemory => Errno::ENOMEM,
        _ => Errno::EFAULT,
    }
}

/// The same where it was to be kept in a file: memory is the disk here.
fn full(fault: Fault) -> Errno {
    match fault {
        Fault::OutOfMemory => Errno::ENOSPC,
        _ => Errno::EFAULT,
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
            Bytes::Device(Device::Random | Device::Urandom) => {
                let to = Buffer { length: to.length.min(RANDOM_MAX), ..to };
                self.supply(to, |stage| {
                    random.fill(stage);
                    stage.len()
                })?
            }
            Bytes::Device(Device::Console | Device::Tty) => return self.read_console(to, nonblocking, restarted),
            Bytes::Directory => return Err(Errno::EISDIR),
            Bytes::Proc(_) | Bytes::Nowhere => return Err(Errno::EBADF),
        };
        Ok(Step::Done(count))
    }

    /// Fills a buffer with what `give` puts onto the stage.
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
                        return Ok(Step::Done(0));
                    }
                    return Ok(Step::Wait(Wait::restart(Channel::ConsoleInput, deadline)));
                }
                there
            }
        };
        self.memory.copy_out(self.space, to.address, &stage[..count]).map_err(failed)?;
        Ok(Step::Done(count as u64))
    }

    /// Writes from a buffer.
    pub fn write(&mut self, opened: &Opened, position: u64, from: Buffer, nonblocking: bool) -> Result<Step, Errno> {
        let count = match opened.bytes {
            Bytes::Regular(object) => self.write_object(opened.file.inode, object, position, from)?,
            Bytes::Device(Device::Console | Device::Tty) => return self.write_console(from, nonblocking),
            Bytes::Device(Device::Full) => return Err(Errno::ENOSPC),
            Bytes::Device(_) => from.length,
            Bytes::Directory | Bytes::Proc(_) | Bytes::WrittenOut(_) | Bytes::Nowhere => return Err(Errno::EBADF),
        };
        Ok(Step::Done(count))
    }

    fn write_object(&mut self, inode: InodeId, object: ObjectId, position: u64, from: Buffer) -> Result<u64, Errno> {
        let length = from.length.min(room(position)?);
        let mut done = 0;
        let result = loop {
            let chunk = (length - done).min(CHUNK) as usize;
            if chunk == 0 {
                break Ok(());
            }
            if !heap::reserve(&mut self.memory.physical) {
                break Err(Fault::OutOfMemory);
            }
            let address = from.address.wrapping_add(done);
            match self.memory.user_to_object(object, position + done, self.space, address, chunk) {
                Ok(count) => done += count as u64,
                Err(fault) => break Err(fault),
            }
        };
        self.files.tree.set_size(inode, self.memory.object_size(object), now())?;
        match result {
            Err(fault) if done == 0 => Err(full(fault)),
            _ => Ok(done),
        }
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
                break;
            }
        }
        no_room_at(done, nonblocking)
    }

    /// Copies from a file to what is open, through the kernel: up to `count` bytes, fewer at the end of the
    /// one or for want of room in the other.
    pub fn copy(
        &mut self,
        (from, from_position): (ObjectId, u64),
        (to, to_position): (&Opened, u64),
        count: u64,
        nonblocking: bool,
    ) -> Result<Step, Errno> {
        let mut stage = [0; STAGE];
        let mut done = 0;
        while done < count {
            let wanted = (count - done).min(STAGE as u64) as usize;
            let length = self.memory.read_object(from, from_position + done, &mut stage[..wanted]);
            if length == 0 {
                return Ok(Step::Done(done));
            }
            match self.put(to, to_position + done, &stage[..length]) {
                Ok(taken) => {
                    done += taken as u64;
                    if taken < length {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        // Nothing asked for is nothing to wait for.
        if count == 0 { Ok(Step::Done(0)) } else { no_room_at(done, nonblocking) }
    }

    /// Writes bytes of the kernel's; returns how many found room.
    fn put(&mut self, to: &Opened, position: u64, bytes: &[u8]) -> Result<usize, Errno> {
        match to.bytes {
            Bytes::Regular(object) => {
                let length = room(position)?.min(bytes.len() as u64) as usize;
                if !heap::reserve(&mut self.memory.physical) {
                    return Err(Errno::ENOSPC);
                }
                let result = self.memory.write_object(object, position, &bytes[..length]);
                self.files.tree.set_size(to.file.inode, self.memory.object_size(object), now())?;
                result.map_err(|_| Errno::ENOSPC)
            }
            Bytes::Device(Device::Console | Device::Tty) => Ok(self.console.write(bytes)),
            Bytes::Device(Device::Full) => Err(Errno::ENOSPC),
            Bytes::Device(_) => Ok(bytes.len()),
            Bytes::Directory | Bytes::Proc(_) | Bytes::WrittenOut(_) | Bytes::Nowhere => Err(Errno::EBADF),
        }
    }
}

/// Bytes that a file can still grow by from `position` on: `EFBIG` if none.
fn room(position: u64) -> Result<u64, Errno> {
    SIZE_MAX.checked_sub(position).filter(|room| *room > 0).ok_or(Errno::EFBIG)
}

/// The end of a write that has done so much when there was no more room.
fn no_room_at(done: u64, nonblocking: bool) -> Result<Step, Errno> {
    match done {
        0 if nonblocking => Err(Errno::EAGAIN),
        0 => Ok(Step::Wait(Wait::restart(Channel::ConsoleOutput, None))),
        _ => Ok(Step::Done(done)),
    }
}
