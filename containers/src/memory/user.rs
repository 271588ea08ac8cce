//! Access to user memory: walk the container's page tables in software, deliver the page if it is missing, check the
//! rights, copy. The kernel never dereferences a user address. For example, `write` on a pipe copies from the frames
//! that [`Memory::user_frame`] finds behind the buffer.

use crate::frames::{Frame, PAGE_SIZE};
use crate::memory::Memory;
use crate::memory::container::ContainerId;
use crate::memory::directory::USER_END;
use crate::memory::fault::Fault;
use crate::memory::object::{ObjectId, piece};
use crate::memory::physical::{PhysicalMemory, Translation};
use crate::memory::region::{Backing, Rights};
use cpulocal::Cpu;

/// A container as seen from the CPU that works for it.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// The container whose memory is accessed.
    pub container: ContainerId,
    /// The CPU that does so; page faults are handled for it.
    pub cpu: Cpu,
}

/// The index of the first zero byte. Subtracting 1 from each byte borrows from the next byte only where there is a
/// zero, so the lowest bit that reports one is right.
fn first_zero(bytes: [u8; 8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(bytes);
    let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
    (zeros != 0).then(|| zeros.trailing_zeros() as usize / 8)
}

impl<P: PhysicalMemory + Translation> Memory<P> {
    /// The frame behind a user address, there and accessible.
    #[inline]
    pub fn user_frame(&mut self, space: Space, address: u64, access: Rights) -> Result<Frame, Fault> {
        if address >= USER_END {
            return Err(Fault::NoRegion);
        }
        match self.present(space.container, address, access) {
            Some(frame) => Ok(frame),
            None => self.fault(space.container, space.cpu, address, access),
        }
    }

    /// The frame and the offset of `length` bytes of user memory, present and accessible, if they lie in one page.
    #[inline]
    pub fn within_page(
        &mut self,
        space: Space,
        address: u64,
        length: usize,
        access: Rights,
    ) -> Result<Option<(Frame, usize)>, Fault> {
        let offset = address as usize % PAGE_SIZE;
        if length > PAGE_SIZE - offset {
            return Ok(None);
        }
        Ok(Some((self.user_frame(space, address, access)?, offset)))
    }

    /// The object and the offset in it of an address in a shared mapping; `None` for any other address.
    pub fn shared_place(&self, id: ContainerId, address: u64) -> Option<(ObjectId, u64)> {
        let region = self.container(id)?.regions.at(address)?;
        match region.backing {
            Backing::Object { object, offset, shared: true } => Some((object, offset + (address - region.start))),
            _ => None,
        }
    }

    /// Calls `with` for each piece of a user range that lies in one page: frame, offset in it, bytes,
    /// and bytes done before. Returns the bytes done, an error only if there were none.
    fn pieces(
        &mut self,
        space: Space,
        address: u64,
        length: usize,
        access: Rights,
        mut with: impl FnMut(&mut Self, Frame, usize, usize, usize) -> Result<(), Fault>,
    ) -> Result<usize, Fault> {
        let mut done = 0;
        while done < length {
            let step = address.checked_add(done as u64).ok_or(Fault::NoRegion).and_then(|at| {
                let (_, offset, bytes) = piece(at, length - done);
                let frame = self.user_frame(space, at, access)?;
                with(self, frame, offset, bytes, done)?;
                Ok(bytes)
            });
            match step {
                Ok(bytes) => done += bytes,
                Err(fault) if done == 0 => return Err(fault),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Reads user memory, all of it or an error. Usually it lies in one page that is present.
    pub fn copy_in(&mut self, space: Space, address: u64, to: &mut [u8]) -> Result<(), Fault> {
        match self.place((space.container, address), to.len(), Rights::READ) {
            Some((frame, offset)) => {
                self.physical.read(frame, offset, to);
                Ok(())
            }
            None => self.copy_in_pieces(space, address, to),
        }
    }

    #[inline(never)]
    fn copy_in_pieces(&mut self, space: Space, address: u64, to: &mut [u8]) -> Result<(), Fault> {
        let length = to.len();
        let done = self.pieces(space, address, length, Rights::READ, |memory, frame, offset, bytes, done| {
            memory.physical.read(frame, offset, &mut to[done..done + bytes]);
            Ok(())
        })?;
        if done == length { Ok(()) } else { Err(Fault::NoRegion) }
    }

    /// Writes user memory, all of it or an error (a part may have been written then). Usually it lies in one page that
    /// is present.
    pub fn copy_out(&mut self, space: Space, address: u64, from: &[u8]) -> Result<(), Fault> {
        match self.place((space.container, address), from.len(), Rights::WRITE) {
            Some((frame, offset)) => {
                self.physical.write(frame, offset, from);
                Ok(())
            }
            None => self.copy_out_pieces(space, address, from),
        }
    }

    #[inline(never)]
    fn copy_out_pieces(&mut self, space: Space, address: u64, from: &[u8]) -> Result<(), Fault> {
        let done = self.pieces(space, address, from.len(), Rights::WRITE, |memory, frame, offset, bytes, done| {
            memory.physical.write(frame, offset, &from[done..done + bytes]);
            Ok(())
        })?;
        if done == from.len() { Ok(()) } else { Err(Fault::NoRegion) }
    }

    /// Reads an aligned 32-bit word of user memory in one step. The address of an unaligned word is refused.
    #[inline]
    pub fn word(&mut self, space: Space, address: u64) -> Result<u32, Fault> {
        if !address.is_multiple_of(4) {
            return Err(Fault::NoRegion);
        }
        let frame = self.user_frame(space, address, Rights::READ)?;
        let mut word = [0; 4];
        self.physical.read(frame, address as usize % PAGE_SIZE, &mut word);
        Ok(u32::from_le_bytes(word))
    }

    /// Changes an aligned 32-bit word of user memory atomically and returns its old value. `change` may be called
    /// several times. The address of an unaligned word is refused.
    pub fn change_word(&mut self, space: Space, address: u64, change: impl Fn(u32) -> u32) -> Result<u32, Fault> {
        if !address.is_multiple_of(4) {
            return Err(Fault::NoRegion);
        }
        let frame = self.user_frame(space, address, Rights::WRITE)?;
        Ok(self.physical.change_word(frame, address as usize % PAGE_SIZE, change))
    }

    /// Reads user memory up to a NUL into `to`, and returns the number of bytes before the NUL; `None` if there is none
    /// in `to.len()` bytes.
    #[inline]
    pub fn copy_in_string(&mut self, space: Space, address: u64, to: &mut [u8]) -> Result<Option<usize>, Fault> {
        let length = to.len();
        let mut done = 0;
        while done < length {
            let at = address.checked_add(done as u64).ok_or(Fault::NoRegion)?;
            let (_, offset, bytes) = piece(at, length - done);
            let frame = self.user_frame(space, at, Rights::READ)?;
            if let Some(end) = self.read_string(frame, offset, &mut to[done..done + bytes]) {
                return Ok(Some(done + end));
            }
            done += bytes;
        }
        Ok(None)
    }

    /// Reads a frame's bytes from `offset` up to a zero, and returns how many come before it. It reads eight at a time:
    /// most strings are short, and the buffers have room for longer ones.
    #[inline(always)]
    fn read_string(&self, frame: Frame, mut offset: usize, to: &mut [u8]) -> Option<usize> {
        let start = offset;
        let (words, rest) = to.as_chunks_mut();
        for word in words {
            self.physical.read(frame, offset, word);
            if let Some(end) = first_zero(*word) {
                return Some(offset - start + end);
            }
            offset += word.len();
        }
        self.physical.read(frame, offset, rest);
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(offset - start + end)
    }

    /// Copies bytes from frame to frame, or within one frame: a program may read a file into a shared mapping of the
    /// page that it reads.
    #[inline]
    fn copy_bytes(&mut self, from: (Frame, usize), to: (Frame, usize), length: usize) {
        if from.0 != to.0 {
            self.physical.copy(from, to, length);
        } else if from.1 != to.1 {
            self.copy_within(from.0, from.1, to.1, length);
        }
    }

    #[cold]
    fn copy_within(&mut self, frame: Frame, from: usize, to: usize, length: usize) {
        let mut bytes = [0; PAGE_SIZE];
        self.physical.read(frame, from, &mut bytes[..length]);
        self.physical.write(frame, to, &bytes[..length]);
    }

    /// The frame and offset of a piece of a container's memory, if it lies in one page that is present with these
    /// rights. It never faults, so it also serves containers that this CPU does not work for.
    #[inline(always)]
    fn place(&mut self, (id, address): (ContainerId, u64), length: usize, access: Rights) -> Option<(Frame, usize)> {
        let offset = address as usize % PAGE_SIZE;
        let inside = address < USER_END && length <= PAGE_SIZE - offset;
        let frame = if inside { self.present(id, address, access)? } else { return None };
        Some((frame, offset))
    }

    /// Copies from the memory of one container to that of another, or within one, if both pieces lie in pages that are
    /// present; returns whether they did.
    #[inline]
    pub fn copy_across(&mut self, from: (ContainerId, u64), to: (ContainerId, u64), length: usize) -> bool {
        let Some(from) = self.place(from, length, Rights::READ) else { return false };
        let Some(to) = self.place(to, length, Rights::WRITE) else { return false };
        self.copy_bytes(from, to, length);
        true
    }

    /// Writes to a container's memory if it lies in a page that is present; returns whether it did.
    pub fn write_across(&mut self, to: (ContainerId, u64), from: &[u8]) -> bool {
        let Some((frame, offset)) = self.place(to, from.len(), Rights::WRITE) else { return false };
        self.physical.write(frame, offset, from);
        true
    }

    /// Copies from an object to user memory, up to the object's end; returns the number of bytes.
    pub fn object_to_user(
        &mut self,
        object: ObjectId,
        position: u64,
        space: Space,
        address: u64,
        length: usize,
    ) -> Result<usize, Fault> {
        let left = self.object_size(object).saturating_sub(position);
        let length = (length as u64).min(left) as usize;
        self.pieces(space, address, length, Rights::WRITE, |memory, frame, offset, bytes, done| {
            let mut copied = 0;
            while copied < bytes {
                let (page, from, part) = piece(position + (done + copied) as u64, bytes - copied);
                match memory.object_page(object, page) {
                    Some(source) => memory.copy_bytes((source, from), (frame, offset + copied), part),
                    None => memory.zero(frame, offset + copied..offset + copied + part),
                }
                copied += part;
            }
            Ok(())
        })
    }

    /// Copies from user memory to an object, which grows if need be; returns the number of bytes. [`Fault::Full`] means
    /// that the object gets no page, for whatever reason.
    pub fn user_to_object(
        &mut self,
        object: ObjectId,
        position: u64,
        space: Space,
        address: u64,
        length: usize,
    ) -> Result<usize, Fault> {
        let mut copied = 0;
        let result = self.pieces(space, address, length, Rights::READ, |memory, frame, offset, bytes, before| {
            while copied < before + bytes {
                let (page, to, part) = piece(position + copied as u64, before + bytes - copied);
                let target = memory.object_page_or_new(object, page, 0).map_err(|_| Fault::Full)?;
                memory.copy_bytes((frame, offset + copied - before), (target, to), part);
                copied += part;
            }
            Ok(())
        });
        // A part of a user page may have found room, and its rest none.
        if copied == 0 {
            return result;
        }
        self.grow_object(object, position + copied as u64);
        Ok(copied)
    }
}

#[cfg(test)]
#[path = "../tests/user.rs"]
mod tests;
