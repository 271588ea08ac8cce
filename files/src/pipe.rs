//! Pipes: which part of a ring holds bytes, and how many readers and writers have it open.
//!
//! The bytes themselves are in a content of the kernel, like those of a regular file. The content is used as a ring of
//! [`CAPACITY`] bytes, or of the size to which the pipe has been [resized](Pipe::resize). A ring that becomes empty
//! starts afresh: so a pipe that is read as soon as it is written touches only the first page of its content.
//!
//! The pages of all pipes are limited. When the limit is reached, the kernel [narrows](Pipe::narrow) the next pipe that
//! needs another page: for example, a pipe of 64 KiB with 4 KiB in it counts as full, until a reader has emptied it.

use crate::open::OpenFlags;
use core::ops::Range;

/// The size of a pipe in bytes, unless it is resized.
pub const CAPACITY: u32 = 65_536;

/// The greatest size of a pipe in bytes (Linux's `fs.pipe-max-size`).
pub const CAPACITY_MAX: u32 = 1 << 20;

/// A write of at most this number of bytes is atomic (`PIPE_BUF`).
pub const ATOMIC: u32 = 4096;

/// Events of a file, for the threads that wait for it: bits, to be combined.
pub mod event {
    /// A read does not wait any more.
    pub const READABLE: u32 = 1;
    /// A write does not wait any more.
    pub const WRITABLE: u32 = 2;
    /// The last reader or the last writer is gone.
    pub const CLOSED: u32 = 4;
}

/// A pipe without its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pipe {
    /// The size of the ring, a power of two.
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
    /// The number of bytes that it holds when it is full.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Sets the size of the ring: a power of two, from [`ATOMIC`] to [`CAPACITY_MAX`]. False if that would move bytes
    /// in the ring.
    pub fn resize(&mut self, capacity: u32) -> bool {
        let stays = self.start + self.length <= self.capacity.min(capacity);
        if stays {
            self.capacity = capacity;
        }
        stays || self.capacity == capacity
    }

    /// The number of bytes to be read.
    pub fn len(&self) -> u32 {
        self.length
    }

    /// Whether there is no byte to be read.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The number of bytes that can be written.
    pub fn room(&self) -> u32 {
        if self.narrow { 0 } else { self.capacity - self.length }
    }

    /// Makes the pipe count as full until it has been emptied, because there is no page for the next write. False if it
    /// is empty, so that no reader would end this.
    pub fn narrow(&mut self) -> bool {
        self.narrow = self.length > 0;
        self.narrow
    }

    /// Whether the pipe is open for writing.
    pub fn has_writers(&self) -> bool {
        self.writers > 0
    }

    /// Whether the pipe is open for reading.
    pub fn has_readers(&self) -> bool {
        self.readers > 0
    }

    /// Counts an open file at the ends that its flags name.
    pub fn open(&mut self, flags: OpenFlags) {
        self.readers += u32::from(flags.readable());
        self.writers += u32::from(flags.writable());
    }

    /// Reverses one [`Pipe::open`].
    pub fn close(&mut self, flags: OpenFlags) {
        self.readers = self.readers.saturating_sub(flags.readable().into());
        self.writers = self.writers.saturating_sub(flags.writable().into());
    }

    /// The position of the next bytes to be read, `most` at most: a part of the content that does not wrap around.
    pub fn filled(&self, most: u64) -> Range<u64> {
        self.piece(self.start, self.length, most)
    }

    /// The position of the next bytes to be written, `most` at most: a part of the content that does not wrap around.
    pub fn vacant(&self, most: u64) -> Range<u64> {
        self.piece(self.place(self.start + self.length), self.room(), most)
    }

    /// Notes that this number of bytes of [`Pipe::filled`] has been read.
    pub fn consume(&mut self, bytes: u64) {
        let bytes = (bytes as u32).min(self.length);
        self.length -= bytes;
        self.start = self.place(self.start + bytes);
        if self.length == 0 {
            (self.start, self.narrow) = (0, false);
        }
    }

    /// Notes that this number of bytes of [`Pipe::vacant`] has been written.
    pub fn produce(&mut self, bytes: u64) {
        self.length += (bytes as u32).min(self.room());
    }

    /// The bits of [`event`] that have happened since the pipe was `before`, for threads whose reads or writes wait.
    /// Readers wait only for the first byte, writers for at most [`ATOMIC`] bytes of room; when one end has been
    /// closed, both ends get all bits.
    pub fn events_since(&self, before: &Pipe) -> u32 {
        self.events(before, before.is_empty() && !self.is_empty())
    }

    /// The bits of [`event`] that have happened since the pipe was `before`, for `epoll`s and pollers: each write is an
    /// event of its own, also if there was something to be read before.
    pub fn edges_since(&self, before: &Pipe) -> u32 {
        self.events(before, self.length > before.length)
    }

    fn events(&self, before: &Pipe, readable: bool) -> u32 {
        let closed = before.has_readers() && !self.has_readers() || before.has_writers() && !self.has_writers();
        let writable = before.room() < ATOMIC && self.room() >= ATOMIC;
        let all = event::READABLE | event::WRITABLE | event::CLOSED;
        let some = (u32::from(readable) * event::READABLE) | (u32::from(writable) * event::WRITABLE);
        if closed { all } else { some }
    }

    /// The position that lies this number of bytes behind the beginning of the content, wrapped.
    fn place(&self, behind: u32) -> u32 {
        behind & (self.capacity - 1)
    }

    /// The part of the ring from `start` on, of `length` bytes but at most `most`, up to the end of the content.
    fn piece(&self, start: u32, length: u32, most: u64) -> Range<u64> {
        let straight = u64::from(length.min(self.capacity - start)).min(most);
        u64::from(start)..u64::from(start) + straight
    }
}

#[cfg(test)]
#[path = "tests/pipe.rs"]
mod tests;
