//! Random numbers for `getrandom`, `/dev/urandom` and `AT_RANDOM`.
//!
//! A xoshiro256** stream seeded at boot from RDRAND where there is one, the clock and the cycle
//! counter. Good enough to spread hash tables; **not** for keys, and nothing here claims so.

use crate::arch;

/// The stream's state.
pub struct Random([u64; 4]);

impl Random {
    /// Seeds a stream.
    pub fn new() -> Random {
        let mut seed = arch::cpu::hardware_random().unwrap_or(0) ^ arch::clock::rdtsc() ^ arch::clock::wall_clock();
        // splitmix64 spreads the seed over the state, which must not be all zero.
        Random(core::array::from_fn(|_| {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }))
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        let state = &mut self.0;
        let result = state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }

    /// Fills a buffer.
    pub fn fill(&mut self, to: &mut [u8]) {
        for chunk in to.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
