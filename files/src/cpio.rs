//! Reading cpio archives of the "newc" format, byte by hostile byte.
//!
//! An archive is a sequence of entries, each a header of 110 bytes (a magic number and thirteen numbers of eight
//! hexadecimal digits), a name and the data, both padded to four bytes; an entry named `TRAILER!!!` ends it. The reader
//! ignores what follows the trailer. Nothing is copied: an entry borrows from the archive.

use core::fmt;

const HEADER: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";

/// One entry of an archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// The name as the archive has it; see [`Entry::components`].
    pub name: &'a [u8],
    /// File type and permission bits.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The number of names that the file has.
    pub links: u32,
    /// Last change, in seconds since 1970.
    pub mtime: u32,
    /// Identifies the file among entries that are names of one file: device (major, minor) and inode.
    pub identity: (u32, u32, u32),
    /// Major and minor number, if it is a device.
    pub device: (u32, u32),
    /// A regular file's bytes or a symbolic link's target.
    pub data: &'a [u8],
}

/// An error in an archive, and the byte at which its entry begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The archive ends within the entry that starts here.
    Truncated(usize),
    /// No entry starts here.
    Magic(usize),
    /// A number in this header is not hexadecimal.
    Number(usize),
    /// The name of this entry is empty, too long, or not ended by its only NUL.
    Name(usize),
    /// The data of this entry does not have its checksum.
    Checksum(usize),
    /// The archive ends without its trailer.
    NoTrailer,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Truncated(at) => write!(f, "the archive ends within its entry at byte {at}"),
            Error::Magic(at) => write!(f, "there is no newc entry at byte {at} of the archive"),
            Error::Number(at) => write!(f, "the archive's header at byte {at} has a bad number"),
            Error::Name(at) => write!(f, "the archive's entry at byte {at} has a bad name"),
            Error::Checksum(at) => write!(f, "the archive's entry at byte {at} is damaged"),
            Error::NoTrailer => write!(f, "the archive ends without its trailer"),
        }
    }
}

impl core::error::Error for Error {}

/// The entries of an archive, in order; after an error there are no more.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    archive: &'a [u8],
    at: usize,
    ended: bool,
}

impl<'a> Reader<'a> {
    /// A reader at the start of an archive.
    pub fn new(archive: &'a [u8]) -> Self {
        Reader { archive, at: 0, ended: false }
    }

    fn entry(&mut self) -> Result<Option<Entry<'a>>, Error> {
        let start = self.at;
        if self.archive.len() <= start {
            return Err(Error::NoTrailer);
        }
        let header = self.take(HEADER, start)?;
        let checked = match header.get(..6) {
            Some(b"070701") => false,
            Some(b"070702") => true,
            _ => return Err(Error::Magic(start)),
        };
        let mut numbers = [0; 13];
        let digits = header.get(6..).unwrap_or_default().chunks(8);
        for (number, digits) in numbers.iter_mut().zip(digits) {
            *number = hexadecimal(digits).ok_or(Error::Number(start))?;
        }
        let [inode, mode, uid, gid, links, mtime, size, dev_major, dev_minor, rest @ ..] = numbers;
        let [major, minor, name_size, checksum] = rest;
        if name_size as usize > crate::PATH_MAX {
            return Err(Error::Name(start));
        }
        let name = self.take(name_size as usize, start)?;
        let name = name.strip_suffix(b"\0").filter(|name| !name.is_empty() && !name.contains(&0));
        let name = name.ok_or(Error::Name(start))?;
        if name == TRAILER {
            return Ok(None);
        }
        self.pad(start)?;
        let data = self.take(size as usize, start)?;
        if checked && data.iter().fold(0, |sum: u32, &b| sum.wrapping_add(b.into())) != checksum {
            return Err(Error::Checksum(start));
        }
        self.pad(start)?;
        let (identity, device) = ((dev_major, dev_minor, inode), (major, minor));
        Ok(Some(Entry { name, mode, uid, gid, links, mtime, identity, device, data }))
    }

    fn take(&mut self, len: usize, entry: usize) -> Result<&'a [u8], Error> {
        let rest = self.archive.get(self.at..).unwrap_or_default();
        let taken = rest.get(..len).ok_or(Error::Truncated(entry))?;
        self.at += len;
        Ok(taken)
    }

    fn pad(&mut self, entry: usize) -> Result<(), Error> {
        self.take(self.at.next_multiple_of(4) - self.at, entry).map(|_| ())
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Entry<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.entry().transpose();
        self.ended = !matches!(entry, Some(Ok(_)));
        entry
    }
}

impl<'a> Entry<'a> {
    /// The components of the name, from the root down: no empty ones, no `.`, and each `..` resolved against the
    /// component before it, so that no name leads out of the tree.
    pub fn components(&self) -> alloc::vec::Vec<&'a [u8]> {
        let mut components = alloc::vec::Vec::new();
        for part in self.name.split(|&byte| byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(components.pop()),
                _ => components.push(part),
            }
        }
        components
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    digits.iter().try_fold(0, |number, byte| Some(number << 4 | digit(byte)?))
}
