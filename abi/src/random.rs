//! Pseudo-random numbers that are equal in every run: for example, a benchmark on two kernels draws equal times.

/// A generator: Marsaglia's xorshift64.
pub struct Random(u64);

impl Random {
    /// A sequence of its own for every `seed`.
    pub fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
