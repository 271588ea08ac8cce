//! CPUs as the lock knows them.

use crate::sync::MAX_CPUS;
use core::fmt;

/// A CPU that may ask for the lock. Its id is below [`MAX_CPUS`] and dense: the kernel's own numbering, not APIC ids.
///
/// It is kept as the lock's word while this CPU holds the lock once, so that taking and releasing the lock compute
/// nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Contender(u32);

/// A depth of 1, in the lock's word.
pub(crate) const ONCE: u32 = 1 << 8;

impl Contender {
    /// The CPU with this id; `None` if it is [`MAX_CPUS`] or more.
    pub const fn new(id: u8) -> Option<Contender> {
        if (id as usize) < MAX_CPUS { Some(Contender(ONCE | (id as u32 + 1))) } else { None }
    }

    /// The id.
    pub const fn id(self) -> u8 {
        self.0 as u8 - 1
    }

    /// The low byte of the lock's word while this CPU holds it: never 0.
    pub(crate) const fn tag(self) -> u8 {
        self.0 as u8
    }

    /// The CPU with this tag; `None` if no CPU has it.
    pub(crate) fn with_tag(tag: u32) -> Option<Contender> {
        Contender::new(u8::try_from(tag).ok()?.checked_sub(1)?)
    }

    /// The lock's word while this CPU holds it once.
    pub(crate) const fn holds_once(self) -> u32 {
        self.0
    }

    /// The id as an index into an array with an entry per CPU. The mask changes nothing; it lets the
    /// compiler see that no bound needs checking.
    pub(crate) const fn index(self) -> usize {
        self.id() as usize & (MAX_CPUS - 1)
    }
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contender({})", self.id())
    }
}

const _: () = assert!(MAX_CPUS.is_power_of_two() && MAX_CPUS < u8::MAX as usize);
