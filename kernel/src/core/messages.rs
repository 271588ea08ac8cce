//! Messages between processes: asynchronous send into a bounded queue, receive with a time-out.
//!
//! A queue belongs to the receiving process and is made with the first message to it. A full queue is
//! the sender's error, so a slow receiver costs the kernel a fixed amount of memory at most.

use abi::native::{MESSAGE_MAX, QUEUE_MAX};
use alloc::collections::{BTreeMap, VecDeque};
use containers::ProcessId;

/// A message: its sender's number and its bytes.
pub struct Message {
    /// Number of the process that sent it.
    pub sender: u32,
    length: u16,
    bytes: [u8; MESSAGE_MAX],
}

impl Message {
    /// A message of `length` bytes, at most [`MESSAGE_MAX`], which are still to be written.
    pub fn new(sender: u32, length: usize) -> Message {
        Message { sender, length: length.min(MESSAGE_MAX) as u16, bytes: [0; MESSAGE_MAX] }
    }

    /// Its bytes, to be written.
    pub fn content_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..usize::from(self.length)]
    }

    /// Its bytes.
    pub fn content(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// An error: the receiver has as many messages waiting as it may.
pub struct QueueFull;

/// The queues of all processes that have been sent messages.
#[derive(Default)]
pub struct Messages {
    queues: BTreeMap<ProcessId, VecDeque<Message>>,
    /// Messages sent since boot.
    pub sent: u64,
}

impl Messages {
    /// Puts a message into the receiver's queue.
    pub fn send(&mut self, to: ProcessId, message: Message) -> Result<(), QueueFull> {
        let queue = self.queues.entry(to).or_default();
        if queue.len() >= QUEUE_MAX {
            return Err(QueueFull);
        }
        queue.push_back(message);
        self.sent += 1;
        Ok(())
    }

    /// Takes the receiver's oldest message.
    pub fn receive(&mut self, process: ProcessId) -> Option<Message> {
        self.queues.get_mut(&process)?.pop_front()
    }

    /// Puts a message back at the front of the queue: the receiver's buffer was not mapped.
    pub fn put_back(&mut self, process: ProcessId, message: Message) {
        self.queues.entry(process).or_default().push_front(message);
    }

    /// Drops the queue of a process that has ended.
    #[inline]
    pub fn forget(&mut self, process: ProcessId) {
        if !self.queues.is_empty() {
            self.drop_queue(process);
        }
    }

    #[inline(never)]
    fn drop_queue(&mut self, process: ProcessId) {
        self.queues.remove(&process);
    }
}
