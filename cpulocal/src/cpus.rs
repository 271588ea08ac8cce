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

    /// That CPU alone.
    #[inline]
    pub const fn only(cpu: Cpu) -> CpuSet {
        CpuSet(1 << cpu.0)
    }

    /// CPUs 0 to `n` − 1.
    #[inline]
    pub const fn first(n: usize) -> CpuSet {
        if n < 64 { CpuSet((1 << n) - 1) } else { CpuSet(u64::MAX) }
    }

    /// Whether the CPU is in it.
    #[inline]
    pub const fn contains(self, cpu: Cpu) -> bool {
        self.0 & CpuSet::only(cpu).0 != 0
    }

    /// Adds a CPU.
    #[inline]
    pub const fn insert(&mut self, cpu: Cpu) {
        self.0 |= CpuSet::only(cpu).0;
    }

    /// Takes a CPU out.
    #[inline]
    pub const fn remove(&mut self, cpu: Cpu) {
        self.0 &= !CpuSet::only(cpu).0;
    }

    /// The others.
    #[inline]
    pub const fn without(self, cpu: Cpu) -> CpuSet {
        CpuSet(self.0 & !CpuSet::only(cpu).0)
    }

    /// Those in both.
    #[inline]
    pub const fn intersection(self, other: CpuSet) -> CpuSet {
        CpuSet(self.0 & other.0)
    }

    /// Those in either.
    #[inline]
    pub const fn union(self, other: CpuSet) -> CpuSet {
        CpuSet(self.0 | other.0)
    }

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether there is more than one.
    #[inline]
    pub const fn is_several(self) -> bool {
        self.0 & self.0.wrapping_sub(1) != 0
    }

    /// How many there are.
    #[inline]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The one with the lowest number.
    #[inline]
    pub const fn lowest(self) -> Option<Cpu> {
        if self.0 == 0 { None } else { Some(Cpu(self.0.trailing_zeros() as u8)) }
    }

    /// All of them by number.
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
