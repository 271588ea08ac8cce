//! The CPU that calls.

use crate::sync::MAX_CPUS;

/// The id of a CPU, below [`MAX_CPUS`]. Dense: the kernel's own numbering, not APIC ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cpu(u8);

impl Cpu {
    /// The CPU with this id; `None` if it is [`MAX_CPUS`] or more.
    pub const fn new(id: u8) -> Option<Cpu> {
        if (id as usize) < MAX_CPUS { Some(Cpu(id)) } else { None }
    }

    /// The id.
    pub const fn id(self) -> u8 {
        self.0
    }

    /// The id as an index into an array with an entry per CPU. The mask changes nothing; it lets the
    /// compiler see that no bound needs checking.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize & (MAX_CPUS - 1)
    }
}

const _: () = assert!(MAX_CPUS.is_power_of_two() && MAX_CPUS < u8::MAX as usize);
