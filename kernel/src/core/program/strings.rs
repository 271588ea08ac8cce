//! Arguments and environment on their way to a new program: from the kernel, or from the user memory of the
//! program that calls `execve`, straight to the new one's stack. The kernel keeps no copy in between, so
//! their number and length cost it nothing.

use crate::core::kernel::Memory;
use ::files::Errno;
use alloc::boxed::Box;
use alloc::vec::Vec;
use containers::Space;

/// The most bytes of one string, its NUL included, as on Linux (`MAX_ARG_STRLEN`).
const LONGEST: u64 = 128 << 10;

/// A list of strings: the kernel's own, then those that a vector of pointers in user memory names.
#[derive(Default)]
pub struct Strings {
    /// The first ones, without NUL.
    pub own: Vec<Box<[u8]>>,
    /// The memory, and the address in it, of the vector, which ends with a null pointer.
    pub rest: Option<(Space, u64)>,
}

/// The place of a string.
enum Source<'a> {
    Kernel(&'a [u8]),
    User(Space, u64),
}

impl Strings {
    /// Strings of the kernel's alone.
    pub fn of(strings: &[&[u8]]) -> Strings {
        Strings { own: strings.iter().map(|string| (*string).into()).collect(), rest: None }
    }

    /// The strings that a vector in user memory names; a null pointer is the empty vector.
    pub fn at(space: Space, vector: u64) -> Strings {
        Strings { own: Vec::new(), rest: Some((space, vector)).filter(|_| vector != 0) }
    }

    /// Whether there are none: `EFAULT`
    pub fn is_empty(&self, memory: &mut Memory) -> Result<bool, Errno> {
        Ok(self.get(memory, 0)?.is_none())
    }

    /// Takes the first string away, if it is in user memory: a script's name takes its place. `EFAULT`
    pub fn drop_first(&mut self, memory: &mut Memory) -> Result<(), Errno> {
        if self.own.is_empty() && !self.is_empty(memory)? {
            self.rest = self.rest.map(|(space, vector)| (space, vector + size_of::<u64>() as u64));
        }
        Ok(())
    }

    fn get(&self, memory: &mut Memory, index: u64) -> Result<Option<Source<'_>>, Errno> {
        if let Some(string) = self.own.get(index as usize) {
            return Ok(Some(Source::Kernel(string)));
        }
        let Some((space, vector)) = self.rest else { return Ok(None) };
        let mut pointer = [0; 8];
        let at = vector.wrapping_add((index - self.own.len() as u64) * 8);
        memory.copy_in(space, at, &mut pointer).map_err(|_| Errno::EFAULT)?;
        let address = u64::from_le_bytes(pointer);
        Ok(Some(Source::User(space, address)).filter(|_| address != 0))
    }

    /// How many strings there are, and their bytes with NULs: `EFAULT`, and `E2BIG` if they and the pointers to
    /// them are more than `most` bytes, or one is too long.
    pub fn measure(&self, memory: &mut Memory, most: u64) -> Result<(u64, u64), Errno> {
        let (mut count, mut bytes) = (0, 0);
        while let Some(source) = self.get(memory, count)? {
            bytes += 1 + give(memory, &source, &mut |_, _, _| Ok(()))?;
            count += 1;
            if bytes + count * 8 > most {
                return Err(Errno::E2BIG);
            }
        }
        Ok((count, bytes))
    }

    /// Copies the strings to `room` in a new program's memory, and pointers to them, with a null pointer behind, to
    /// `vector`. They have as many bytes as were measured: `EFAULT` if another thread has changed them since.
    pub fn copy(
        &self,
        memory: &mut Memory,
        to: Space,
        (count, bytes): (u64, u64),
        room: u64,
        vector: u64,
    ) -> Result<(), Errno> {
        let mut at = room;
        for index in 0..count {
            let source = self.get(memory, index)?.ok_or(Errno::EFAULT)?;
            let string = at;
            at += 1 + give(memory, &source, &mut |memory, from, piece| {
                if string + from + piece.len() as u64 >= room + bytes {
                    return Err(Errno::EFAULT);
                }
                memory.copy_out(to, string + from, piece).map_err(|_| Errno::ENOMEM)
            })?;
            memory.copy_out(to, vector + index * 8, &string.to_le_bytes()).map_err(|_| Errno::ENOMEM)?;
        }
        // The bytes behind a string and behind the vector are zero, as in every new stack.
        Ok(())
    }
}

/// Passes a string on piece by piece, each piece with its offset and without the NUL; returns the string's length.
fn give(
    memory: &mut Memory,
    source: &Source<'_>,
    to: &mut impl FnMut(&mut Memory, u64, &[u8]) -> Result<(), Errno>,
) -> Result<u64, Errno> {
    let (space, address) = match *source {
        Source::Kernel(bytes) => return to(memory, 0, bytes).map(|()| bytes.len() as u64),
        Source::User(space, address) => (space, address),
    };
    let mut length = 0;
    loop {
        let mut piece = [0; 512];
        let at = address.wrapping_add(length);
        let end = memory.copy_in_string(space, at, &mut piece).map_err(|_| Errno::EFAULT)?;
        let piece = &piece[..end.unwrap_or(piece.len())];
        to(memory, length, piece)?;
        length += piece.len() as u64;
        match end {
            Some(_) => return Ok(length),
            None if length >= LONGEST => return Err(Errno::E2BIG),
            None => {}
        }
    }
}
