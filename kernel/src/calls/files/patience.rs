//! How long a call waits for files, and which signals it lets through meanwhile.

use crate::calls::argument::Pointer;
use crate::calls::time::Timespec;
use crate::calls::{Caller, deadline, time};
use crate::core::kernel::{Memory, Tasks};
use ::files::Errno;

const MICROSECOND: u64 = 1_000;

/// Bytes of a signal mask.
const MASK: u64 = 8;

/// How long a call waits, and which signals it lets through meanwhile.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// The time at which it gives up.
    pub deadline: Option<u64>,
    /// The signal mask while it waits.
    pub mask: Option<u64>,
}

/// How long a call may wait, as the program has said it.
#[derive(Clone, Copy)]
pub enum Timeout {
    /// A number of milliseconds; a negative number is no deadline.
    Milliseconds(i32),
    /// A number of seconds and microseconds; none is no deadline.
    Microseconds(Option<Pointer<[i64; 2]>>),
    /// A time; none is no deadline.
    Time(Option<Pointer<Timespec>>),
}

impl Timeout {
    /// The deadline that this means, or that the call had when it was made before.
    pub(super) fn deadline(
        self,
        caller: &Caller,
        memory: &mut Memory,
        tasks: &mut Tasks,
    ) -> Result<Option<u64>, Errno> {
        const MILLISECOND: u64 = 1_000_000;
        let time = match self {
            Timeout::Time(time) => return time::relative(caller, memory, tasks, time),
            Timeout::Milliseconds(time) => u64::try_from(time).ok().map(|time| time * MILLISECOND),
            Timeout::Microseconds(None) => None,
            Timeout::Microseconds(Some(time)) => {
                let [Ok(seconds), Ok(microseconds)] = caller.read(memory, time)?.map(u64::try_from) else {
                    return Err(Errno::EINVAL);
                };
                let seconds = seconds.saturating_mul(time::SECOND);
                Some(seconds.saturating_add(microseconds.saturating_mul(MICROSECOND)))
            }
        };
        Ok(deadline(tasks, caller, time))
    }
}

/// The signal mask of a call that may have one.
#[derive(Clone, Copy)]
pub struct Mask {
    /// Where it is.
    pub set: Option<Pointer<u64>>,
    /// The bytes of a mask, as the program knows it.
    pub size: u64,
}

impl Mask {
    /// No mask.
    pub const NONE: Mask = Mask { set: None, size: MASK };

    /// The mask: `EINVAL` if its size is not that of a mask.
    pub(super) fn read(self, caller: &Caller, memory: &mut Memory) -> Result<Option<u64>, Errno> {
        match self.set {
            None => Ok(None),
            Some(_) if self.size != MASK => Err(Errno::EINVAL),
            Some(set) => caller.read(memory, set).map(Some),
        }
    }
}
