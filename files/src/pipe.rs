//! Pipes: which part of a ring holds bytes, and who is at the two ends.
//!
//! The bytes themselves are the kernel's, as a regular file's are: a content that is used as a ring, of [`CAPACITY`]
//! bytes or what the pipe has been [resized](Pipe::resize) to. A ring that has been emptied starts afresh, so that a pipe
//! which is read as soon as it is written touches only its content's first page.
//!
//! When pipes hold as many pages as they may, the kernel [narrows](Pipe::narrow) the next one that wants one more: that
//! pipe is full with what it has, until it has been emptied.

use crate::open::OpenFlags;
use core::ops::Range;

/// Bytes that a pipe holds, unless it is resized.
pub const CAPACITY: u32 = 65_536;

/// Bytes that a pipe can hold at most (Linux's `fs.pipe-max-size`).
pub const CAPACITY_MAX: u32 = 1 << 20;

/// A write of so many bytes goes in whole or not at all (`PIPE_BUF`).
pub const ATOMIC: u32 = 4096;

/// What a [`Pipe`]'s change can mean for those who wait: bits, to be combined.
pub mod event {
    /// A read would not wait any more.
    pub const READABLE: u32 = 1;
    /// A write would not wait any more.
    pub const WRITABLE: u32 = 2;
    /// Nobody is at the other end any more.
    pub const CLOSED: u32 = 4;
}

/// A pipe without its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pipe {
    /// Bytes of the ring, a power of two.
    capacity: u32,
    start: u32,
    length: u32,
    readers: u32,
    writers: u32,
    narrow: bool,
}

impl Default for Pipe {
    fn default() -> Pipe {
        Pipe { capacity: CAPACITY, start: 0, length: 0, readers: 0, writers: 0, narrow: false }
    }
}

impl Pipe {
    /// Bytes that it holds when it is full.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Makes the ring hold so many bytes: a power of two, from [`ATOMIC`] to [`CAPACITY_MAX`]. False if bytes lie in it that
    /// would have to be moved.
    pub fn resize(&mut self, capacity: u32) -> bool {
        let stays = self.start + self.length <= self.capacity.min(capacity);
        if stays {
            self.capacity = capacity;
        }
        stays || self.capacity == capacity
    }

    /// Bytes to be read.
    pub fn len(&self) -> u32 {
        self.length
    }

    /// Whether there is nothing to be read.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes that can be written.
    pub fn room(&self) -> u32 {
        if self.narrow { 0 } else { self.capacity - self.length }
    }

    /// There is no page for what would be written next: nothing more goes in until all has been read. False if there
    /// is nothing to be read, and so nobody who would make room.
    pub fn narrow(&mut self) -> bool {
        self.narrow = self.length > 0;
        self.narrow
    }

    /// Whether anybody may still write.
    pub fn has_writers(&self) -> bool {
        self.writers > 0
    }

    /// Whether anybody may still read.
    pub fn has_readers(&self) -> bool {
        self.readers > 0
    }

    /// Counts an open file at the ends that its flags name.
    pub fn open(&mut self, flags: OpenFlags) {
        self.readers += u32::from(flags.readable());
        self.writers += u32::from(flags.writable());
    }

    /// Takes back one [`Pipe::open`].
    pub fn close(&mut self, flags: OpenFlags) {
        self.readers = self.readers.saturating_sub(flags.readable().into());
        self.writers = self.writers.saturating_sub(flags.writable().into());
    }

    /// The next bytes to be read, `most` at most: a piece of the content that does not wrap around.
    pub fn filled(&self, most: u64) -> Range<u64> {
        self.piece(self.start, self.length, most)
    }

    /// Where the next bytes are to be written, likewise.
    pub fn vacant(&self, most: u64) -> Range<u64> {
        self.piece(self.place(self.start + self.length), self.room(), most)
    }

    /// So many bytes of [`Pipe::filled`] have been read.
    pub fn consume(&mut self, bytes: u64) {
        let bytes = (bytes as u32).min(self.length);
        self.length -= bytes;
        self.start = self.place(self.start + bytes);
        if self.length == 0 {
            (self.start, self.narrow) = (0, false);
        }
    }

    /// So many bytes of [`Pipe::vacant`] have been written.
    pub fn produce(&mut self, bytes: u64) {
        self.length += (bytes as u32).min(self.room());
    }

    /// What has become of the pipe since it was `before`, for those who have been waiting: bits of
    /// [`event`]. Readers wait only for the first byte, and writers for [`ATOMIC`] bytes of room at most;
    /// who is at an end that has been closed, and who is at the other, is told as well.
    pub fn news(&self, before: &Pipe) -> u32 {
        self.events(before, before.is_empty() && !self.is_empty())
    }

    /// The same for those who watch: each write is an event of its own, also if there was something to be read before.
    pub fn watched_news(&self, before: &Pipe) -> u32 {
        self.events(before, self.length > before.length)
    }

    fn events(&self, before: &Pipe, readable: bool) -> u32 {
        let closed = before.has_readers() && !self.has_readers() || before.has_writers() && !self.has_writers();
        let writable = before.room() < ATOMIC && self.room() >= ATOMIC;
        let all = event::READABLE | event::WRITABLE | event::CLOSED;
        let some = (u32::from(readable) * event::READABLE) | (u32::from(writable) * event::WRITABLE);
        if closed { all } else { some }
    }

    /// Where so many bytes behind the ring's beginning are.
    fn place(&self, behind: u32) -> u32 {
        behind & (self.capacity - 1)
    }

    /// The part of the ring from `start` on, of `length` bytes and `most` at most, that ends with the ring.
    fn piece(&self, start: u32, length: u32, most: u64) -> Range<u64> {
        let straight = u64::from(length.min(self.capacity - start)).min(most);
        u64::from(start)..u64::from(start) + straight
    }
}

#[cfg(test)]
#[path = "tests/pipe.rs"]
mod tests;
