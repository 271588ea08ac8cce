//! What a parked thread waits for, and how the call that parked it ends.

use crate::ids::ProcessId;
use crate::memory::container::ContainerId;
use crate::memory::object::ObjectId;
use crate::tasks::poll::PollId;
use crate::tasks::thread::AfterHandler;

/// What a parked thread waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// Nothing but its deadline.
    Time,
    /// A wake-up of a futex: the container and the address of the word.
    Futex(ContainerId, u64),
    /// The same of one in a mapping that several containers share: the object, and where it is there.
    SharedFutex(ObjectId, u64),
    /// Input on the console.
    ConsoleInput,
    /// Room in the console's output.
    ConsoleOutput,
    /// A message to the process.
    Messages(ProcessId),
    /// The end of a process that this one started.
    Children(ProcessId),
    /// That this process leaves the container that it has from its parent (`vfork`).
    Leaving(ProcessId),
    /// Bytes in a pipe, or room for them, as the wait's bits say; the number is the pipe's own.
    Pipe(u64),
    /// An event on one of the files that a thread polls (`poll`).
    Poll(PollId),
    /// Something to be told by an `epoll`; the number is its own.
    Epoll(u64),
    /// A lock on a file that is given up.
    Locks,
    /// A signal of this set, blocked or not, or any whose handler runs.
    Signal(u64),
    /// That the process goes on, which is stopped.
    Stopped(ProcessId),
    /// That the address space is no longer being changed by a call of another thread.
    Container(ContainerId),
    /// That the fork is over which another thread has begun of this one's container.
    Forking(ContainerId),
    /// Nothing: signals that are there come first, then the call is made again.
    Again,
}

impl Channel {
    /// The queue of those who wait for it. What exists once has a queue of its own: many may wait there, and nobody is to
    /// look for others among them.
    #[inline]
    pub(crate) fn bucket(self) -> usize {
        let hash = match self {
            Channel::Time => return BUCKETS,
            Channel::Futex(container, address) => (address >> 2) as usize ^ (container.index() as usize * 7),
            Channel::SharedFutex(object, offset) => (offset >> 2) as usize ^ (object.index() as usize * 7),
            Channel::ConsoleInput => return BUCKETS + 1,
            Channel::ConsoleOutput => return BUCKETS + 2,
            Channel::Messages(process) => 8 + process.index() as usize,
            Channel::Children(process) => 16 + process.index() as usize,
            Channel::Leaving(process) => 32 + process.index() as usize,
            Channel::Pipe(number) => 24 + number as usize,
            Channel::Poll(_) => return BUCKETS + 3,
            Channel::Epoll(number) => 48 + number as usize,
            Channel::Locks => return BUCKETS + 4,
            Channel::Signal(_) | Channel::Again => return BUCKETS + 5,
            Channel::Container(container) | Channel::Forking(container) => 48 + container.index() as usize,
            Channel::Stopped(process) => 40 + process.index() as usize,
        };
        hash % BUCKETS
    }
}

/// Queues for those who wait for one of many things: so many that few share one, if each of as many threads as there
/// can be waits for something else.
const BUCKETS: usize = 4096;

/// All queues of those who wait.
pub(crate) const QUEUES: usize = BUCKETS + 6;

/// How a parked system call ends when the thread is woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// With this value: the waker has completed it.
    Return(i64),
    /// By being made again, from the start.
    Restart,
    /// The same, since a signal has come: its handler may end it (see [`AfterHandler`]).
    Interrupt,
    /// It has ended already.
    Unchanged,
}

/// What a parked thread waits for and how its call ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// What wakes it.
    pub channel: Channel,
    /// Nanoseconds since boot after which it is woken all the same.
    pub deadline: Option<u64>,
    /// How the call ends when woken through the channel.
    pub woken: Resume,
    /// How the call ends at the deadline. One that is made again finds its deadline over.
    pub expired: Resume,
    /// Only wake-ups with one of these bits count (futex bit sets).
    pub bits: u32,
    /// What the call has done already: one that is made again goes on from there, and one that a signal
    /// interrupts returns it.
    pub progress: u64,
}

impl Wait {
    /// A wait that ends with the call being made again, however it ends.
    pub fn restart(channel: Channel, deadline: Option<u64>) -> Wait {
        Wait { channel, deadline, woken: Resume::Restart, expired: Resume::Restart, bits: u32::MAX, progress: 0 }
    }

    /// What becomes of the call if it is made again because of a signal, or else because it has been woken
    /// (signal(7)). One wakes a `poll` that may still have nothing to say.
    pub(crate) fn after_handler(&self, interrupted: bool) -> AfterHandler {
        match (self.channel, self.deadline) {
            (Channel::Poll(_) | Channel::Epoll(_), _) => AfterHandler::Ends,
            (Channel::Again, _) => AfterHandler::AsTheActionSays,
            (Channel::Container(_), _) => AfterHandler::Again,
            _ if !interrupted => AfterHandler::Again,
            (Channel::Time | Channel::Signal(_) | Channel::Messages(_), _) => AfterHandler::Ends,
            (Channel::Futex(..) | Channel::SharedFutex(..) | Channel::Children(_), Some(_)) => AfterHandler::Ends,
            _ => AfterHandler::AsTheActionSays,
        }
    }
}
