//! CPUs by number, and sets of them. For example, CPUs 0 and 2 are the set `0b101`.

/// The most CPUs: a [`CpuSet`] has a bit for each.
pub const MAX_CPUS: usize = u64::BITS as usize;

/// A CPU's number, counted from 0 in the order in which they came up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Cpu(pub u8);

/// A set of CPUs: bit n is CPU n.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuSet(pub u64);

impl CpuSet {
    /// No CPU.
    pub const NONE: CpuSet = CpuSet(0);

    /// The set of one CPU.
    #[inline]
    pub const fn only(cpu: Cpu) -> CpuSet {
        CpuSet(1 << cpu.0)
    }

    /// CPUs 0 to `n` − 1.
    #[inline]
    pub const fn first(n: usize) -> CpuSet {
        if n < 64 { CpuSet((1 << n) - 1) } else { CpuSet(u64::MAX) }
    }

    /// Whether the set contains a CPU.
    #[inline]
    pub const fn contains(self, cpu: Cpu) -> bool {
        self.0 & CpuSet::only(cpu).0 != 0
    }

    /// Adds a CPU.
    #[inline]
    pub const fn insert(&mut self, cpu: Cpu) {
        self.0 |= CpuSet::only(cpu).0;
    }

    /// Removes a CPU.
    #[inline]
    pub const fn remove(&mut self, cpu: Cpu) {
        self.0 &= !CpuSet::only(cpu).0;
    }

    /// The set without one CPU.
    #[inline]
    pub const fn without(self, cpu: Cpu) -> CpuSet {
        CpuSet(self.0 & !CpuSet::only(cpu).0)
    }

    /// The CPUs in both sets.
    #[inline]
    pub const fn intersection(self, other: CpuSet) -> CpuSet {
        CpuSet(self.0 & other.0)
    }

    /// The CPUs in either set.
    #[inline]
    pub const fn union(self, other: CpuSet) -> CpuSet {
        CpuSet(self.0 | other.0)
    }

    /// Whether the set is empty.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the set has more than one CPU.
    #[inline]
    pub const fn is_several(self) -> bool {
        self.0 & self.0.wrapping_sub(1) != 0
    }

    /// The number of CPUs in the set.
    #[inline]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The CPU with the lowest number.
    #[inline]
    pub const fn lowest(self) -> Option<Cpu> {
        if self.0 == 0 { None } else { Some(Cpu(self.0.trailing_zeros() as u8)) }
    }

    /// The CPUs in the set, by number.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = Cpu> {
        let mut left = self;
        core::iter::from_fn(move || {
            let cpu = left.lowest()?;
            left.remove(cpu);
            Some(cpu)
        })
    }
}
