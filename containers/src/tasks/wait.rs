//! What a parked thread waits for, and how the call that parked it ends. For example, `read` on an empty pipe waits on
//! [`Channel::Pipe`] with [`Resume::Restart`]: a writer wakes it, and the thread makes the call again. `nanosleep`
//! waits on [`Channel::Time`], and its [`Wait::expired`] is [`Resume::Return`] of 0.

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
    /// A wake-up of a futex in a mapping that several containers share: the memory object, and the offset of the word
    /// in it.
    SharedFutex(ObjectId, u64),
    /// Input on the console.
    ConsoleInput,
    /// Room in the console's output.
    ConsoleOutput,
    /// A message to the process.
    Messages(ProcessId),
    /// The end of a child of this process.
    Children(ProcessId),
    /// The moment when this process leaves the container that it has from its parent (`vfork`).
    Leaving(ProcessId),
    /// Bytes in a pipe, or room for them, as the wait's bits say; the number is the pipe's own.
    Pipe(u64),
    /// An event on one of the files that a thread polls (`poll`).
    Poll(PollId),
    /// An event that an `epoll` reports; the number is that of the `epoll`.
    Epoll(u64),
    /// The release of a lock on a file.
    Locks,
    /// A signal of this set, blocked or not, or any signal whose handler runs.
    Signal(u64),
    /// The moment when this stopped process continues.
    Stopped(ProcessId),
    /// The end of another thread's call that changes the address space.
    Container(ContainerId),
    /// The end of the fork that another thread of this container has begun.
    Forking(ContainerId),
    /// Nothing: pending signals are delivered first, then the call is made again.
    Again,
    /// What an extension of the kernel wakes it for: the extension's number, times 2³², and a number of the extension's.
    Extension(u64),
}

impl Channel {
    /// The number of the queue in which the threads wait for it. A channel that exists only once has a queue of its
    /// own, because many threads may wait there, and a search for a thread of another channel must not pass them.
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
            Channel::Epoll(number) | Channel::Extension(number) => 48 + number as usize,
            Channel::Locks => return BUCKETS + 4,
            Channel::Signal(_) | Channel::Again => return BUCKETS + 5,
            Channel::Container(container) | Channel::Forking(container) => 48 + container.index() as usize,
            Channel::Stopped(process) => 40 + process.index() as usize,
        };
        hash % BUCKETS
    }
}

/// Queues for channels that exist more than once. There are enough of them that few threads share a queue when each of
/// all threads waits for something else.
const BUCKETS: usize = 4096;

/// The number of all wait queues.
pub(crate) const QUEUES: usize = BUCKETS + 6;

/// How a parked system call ends when the thread is woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// It returns this value: the waking thread has completed the call.
    Return(i64),
    /// The thread makes it again, from its start.
    Restart,
    /// The thread makes it again because a signal has come, whose handler may end it (see [`AfterHandler`]).
    Interrupt,
    /// Nothing changes: the call had ended before the thread was parked.
    Unchanged,
}

/// What a parked thread waits for and how its call ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// What wakes it.
    pub channel: Channel,
    /// The time at which the thread is woken in any case, in nanoseconds since boot.
    pub deadline: Option<u64>,
    /// How the call ends when woken through the channel.
    pub woken: Resume,
    /// How the call ends at the deadline. A call that is made again finds that its deadline has passed.
    pub expired: Resume,
    /// Only wake-ups with one of these bits count (futex bit sets).
    pub bits: u32,
    /// What the call has done already: a call that is made again continues from there, and a call that a signal
    /// interrupts returns it.
    pub progress: u64,
}

impl Wait {
    /// A wait after which the call is made again, whether the thread was woken or the deadline has passed.
    pub fn restart(channel: Channel, deadline: Option<u64>) -> Wait {
        Wait { channel, deadline, woken: Resume::Restart, expired: Resume::Restart, bits: u32::MAX, progress: 0 }
    }

    /// What a signal handler does to the call if the call is made again: because of the signal (`interrupted`), or
    /// because it has been woken (signal(7)). A `poll` that has been woken may still find nothing ready, so a handler
    /// ends it too.
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
