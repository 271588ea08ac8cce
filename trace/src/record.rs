//! The record: 16 bytes, a stamp and an event.
//!
//! The second word holds the event: its kind in bits 0 to 7 and, as the kind has it, a small number in
//! bits 8 to 15, a medium one in bits 16 to 31 and a large one in bits 32 to 63. A word of zero is no event:
//! memory that nothing was written to.

/// A record, as it lies in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Record {
    /// The cycle counter, all 64 bits; of [`Event::Name`] eight bytes of the name instead.
    pub stamp: u64,
    /// The event's word.
    pub word: u64,
}

/// The kind of event that brings a CPU into the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// The `syscall` instruction.
    SystemCall = 0,
    /// A fault of the running program's.
    Exception = 1,
    /// A device, the timer or another CPU.
    Interrupt = 2,
}

/// The cause for which a CPU entered the kernel. For example, the call `getpid` has the kind [`Class::SystemCall`]
/// and the number 39.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cause {
    /// The kind.
    pub class: Class,
    /// Number of the system call or vector; 65535 for every larger one.
    pub number: u16,
}

impl Cause {
    /// A cause; a number that does not fit becomes 65535.
    #[inline(always)]
    pub const fn new(class: Class, number: u64) -> Cause {
        Cause { class, number: if number > 0xffff { 0xffff } else { number as u16 } }
    }
}

/// The state of a CPU before it entered the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// It ran a program: level 0 to level 1.
    User = 0,
    /// It was idle: level 0 to level 1.
    Idle = 1,
    /// It was in the kernel: level 1 to level 2.
    Kernel = 2,
}

/// The state of a CPU after it has left the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// A program.
    User = 0,
    /// Idling.
    Idle = 1,
    /// The kernel itself, which had been interrupted: level 2 to level 1.
    Kernel = 2,
}

/// How a page fault ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FaultEnd {
    /// A page was delivered.
    Resolved = 0,
    /// The CPU's copy of the page directory lacked an entry.
    SpuriousDirectory = 1,
    /// The CPU's TLB held an entry that had changed.
    SpuriousTlb = 2,
    /// A signal.
    Refused = 3,
}

/// An event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The level rises.
    Enter {
        /// The cause.
        cause: Cause,
        /// The state before, which determines the new level.
        from: From,
    },
    /// The CPU has found the giant lock taken and waits.
    Requested,
    /// The CPU has the giant lock.
    Acquired {
        /// The depth at which it has the lock now.
        depth: u8,
        /// Whether it had to wait.
        contended: bool,
    },
    /// Since [`Event::Leave`] this CPU has been busy waking the next owner of the lock, which had halted.
    Woken,
    /// The level is about to fall, and at level 1 the lock to be released.
    Leave {
        /// The state that follows.
        to: To,
    },
    /// From now on this CPU runs another thread.
    Switch {
        /// The thread's number.
        thread: u32,
        /// The low 24 bits of its process's number.
        process: u32,
    },
    /// A page fault of the running thread was handled.
    Fault {
        /// How it ended.
        end: FaultEnd,
        /// The page: the address without its low 12 bits, 44 bits of it.
        page: u64,
    },
    /// This CPU got its own copy of a container's page directory.
    DirectoryCopy {
        /// The container.
        container: u32,
    },
    /// An interrupt was sent to other CPUs.
    IpiSent {
        /// Its vector.
        vector: u8,
        /// The target CPU; [`Event::ALL`] for several.
        to: u16,
    },
    /// A CPU that spins has answered another CPU's request in its spin.
    Answered,
    /// A CPU in user mode or idle has answered another CPU's request, without the giant lock.
    AnsweredOutside {
        /// Cycles up to now; saturating.
        cycles: u32,
    },
    /// Translations of other CPUs were invalidated, and all of them have answered.
    Shootdown {
        /// The number of CPUs.
        cpus: u16,
        /// Cycles from the request to the last answer; saturating.
        cycles: u32,
    },
    /// A program's mark.
    Mark {
        /// The program's argument.
        value: u32,
    },
    /// The message of the application thread that this CPU runs is about to be posted: from now on the thread waits for the
    /// boot CPU.
    Posted,
    /// The application thread that this CPU runs has been answered.
    Replied {
        /// How many cycles ago; saturating.
        cycles: u32,
    },
    /// Recording begins, on all CPUs that record.
    Begin,
    /// Recording ends.
    End,
    /// Eight bytes of a process's name; the rest of the name is nul.
    Name {
        /// The process's number.
        process: u32,
        /// The index of these eight bytes, from 0 on.
        part: u8,
    },
}

const ENTER: u64 = 1;
const REQUESTED: u64 = 2;
const ACQUIRED: u64 = 3;
const WOKEN: u64 = 4;
const LEAVE: u64 = 5;
const SWITCH: u64 = 6;
const FAULT: u64 = 7;
const DIRECTORY_COPY: u64 = 8;
const IPI_SENT: u64 = 9;
const ANSWERED: u64 = 10;
const SHOOTDOWN: u64 = 11;
const MARK: u64 = 12;
const BEGIN: u64 = 13;
const END: u64 = 14;
const NAME: u64 = 15;
const ANSWERED_OUTSIDE: u64 = 16;
const POSTED: u64 = 17;
const REPLIED: u64 = 18;

#[inline(always)]
const fn word(kind: u64, small: u8, medium: u16, large: u32) -> u64 {
    kind | (small as u64) << 8 | (medium as u64) << 16 | (large as u64) << 32
}

impl Event {
    /// Receiver of [`Event::IpiSent`]: several CPUs.
    pub const ALL: u16 = u16::MAX;

    /// The event's word. Constants fold: what a caller knows costs nothing.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        match self {
            Event::Enter { cause, from } => word(ENTER, (from as u8) | (cause.class as u8) << 2, cause.number, 0),
            Event::Requested => REQUESTED,
            Event::Acquired { depth, contended } => word(ACQUIRED, depth, contended as u16, 0),
            Event::Woken => WOKEN,
            Event::Leave { to } => word(LEAVE, to as u8, 0, 0),
            Event::Switch { thread, process } => word(SWITCH, process as u8, (process >> 8) as u16, thread),
            Event::Fault { end, page } => FAULT | (end as u64) << 8 | page << 16,
            Event::DirectoryCopy { container } => word(DIRECTORY_COPY, 0, 0, container),
            Event::IpiSent { vector, to } => word(IPI_SENT, vector, to, 0),
            Event::Answered => ANSWERED,
            Event::AnsweredOutside { cycles } => word(ANSWERED_OUTSIDE, 0, 0, cycles),
            Event::Shootdown { cpus, cycles } => word(SHOOTDOWN, 0, cpus, cycles),
            Event::Mark { value } => word(MARK, 0, 0, value),
            Event::Posted => POSTED,
            Event::Replied { cycles } => word(REPLIED, 0, 0, cycles),
            Event::Begin => BEGIN,
            Event::End => END,
            Event::Name { process, part } => word(NAME, part, 0, process),
        }
    }

    /// The event of a word; `None` if it is none. What [`word`](Event::word) leaves zero must be zero, so
    /// that noise is rarely taken for a record.
    pub const fn of(word: u64) -> Option<Event> {
        let (small, medium, large) = ((word >> 8) as u8, (word >> 16) as u16, (word >> 32) as u32);
        let event = match word & 0xff {
            ENTER => {
                let class = match small >> 2 {
                    0 => Class::SystemCall,
                    1 => Class::Exception,
                    2 => Class::Interrupt,
                    _ => return None,
                };
                let from = match small & 3 {
                    0 => From::User,
                    1 => From::Idle,
                    2 => From::Kernel,
                    _ => return None,
                };
                Event::Enter { cause: Cause { class, number: medium }, from }
            }
            REQUESTED => Event::Requested,
            ACQUIRED => Event::Acquired { depth: small, contended: medium & 1 != 0 },
            WOKEN => Event::Woken,
            LEAVE => match small {
                0 => Event::Leave { to: To::User },
                1 => Event::Leave { to: To::Idle },
                2 => Event::Leave { to: To::Kernel },
                _ => return None,
            },
            SWITCH => Event::Switch { thread: large, process: small as u32 | (medium as u32) << 8 },
            FAULT => {
                let end = match small {
                    0 => FaultEnd::Resolved,
                    1 => FaultEnd::SpuriousDirectory,
                    2 => FaultEnd::SpuriousTlb,
                    3 => FaultEnd::Refused,
                    _ => return None,
                };
                Event::Fault { end, page: word >> 16 }
            }
            DIRECTORY_COPY => Event::DirectoryCopy { container: large },
            IPI_SENT => Event::IpiSent { vector: small, to: medium },
            ANSWERED => Event::Answered,
            ANSWERED_OUTSIDE => Event::AnsweredOutside { cycles: large },
            SHOOTDOWN => Event::Shootdown { cpus: medium, cycles: large },
            MARK => Event::Mark { value: large },
            POSTED => Event::Posted,
            REPLIED => Event::Replied { cycles: large },
            BEGIN => Event::Begin,
            END => Event::End,
            NAME => Event::Name { process: large, part: small },
            _ => return None,
        };
        if event.word() == word { Some(event) } else { None }
    }
}
