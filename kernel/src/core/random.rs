//! Random numbers: for `getrandom`, `/dev/urandom` and `AT_RANDOM`, and for the addresses of a program's parts.
//!
//! ChaCha20 (the crate `rand_chacha`) turns a key into a pool of bytes. The pool's first bytes are the next key; the
//! rest are given out, each once, and cleared as they go. An attacker that sees the generator's state learns nothing of
//! the bytes given out before, and an attacker that sees those learns nothing of the state. Each new pool has entropy
//! stirred into its key, so a state that became known is of no use for long.
//!
//! With a fixed seed (`seed=` on the kernel's command line) nothing is stirred in: on a machine that counts
//! instructions every run is alike, and every random number in it can be predicted.

use containers::PAGE_SIZE;
use core::array;
use hardware::entropy;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How many instructions it takes to make and deliver a byte, roughly.
pub const COST: u64 = 80;

/// The size of a pool, in bytes.
const POOL: usize = 1024;

/// The size of a key, at the pool's beginning, in bytes.
const KEY: usize = 32;

/// The generator.
pub struct Random {
    pool: [u8; POOL],
    /// The index of the first byte that has not been given out.
    next: usize,
    stirred: bool,
    /// Whether the parts of programs go to random places.
    scatters: bool,
}

impl Random {
    /// A generator with a fixed seed, or an unpredictable one; `scatters`: whether the parts of programs go to random
    /// addresses.
    pub fn new(seed: Option<u64>, scatters: bool) -> Random {
        let words: [u64; KEY / 8] = match seed {
            Some(seed) => [seed; KEY / 8],
            None => array::from_fn(|_| entropy::seed()),
        };
        let mut pool = [0; POOL];
        for (place, word) in pool.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Random { pool, next: POOL, stirred: seed.is_none(), scatters }
    }

    /// Fills a buffer.
    pub fn fill(&mut self, mut to: &mut [u8]) {
        while !to.is_empty() {
            if self.next == POOL {
                self.refill();
            }
            let from = &mut self.pool[self.next..];
            let (part, rest) = to.split_at_mut(to.len().min(from.len()));
            let given = &mut from[..part.len()];
            part.copy_from_slice(given);
            given.fill(0);
            self.next += part.len();
            to = rest;
        }
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A distance by which a part of a program is moved, in bytes: a random number of pages below 2 to the power of
    /// `bits`, or none where programs are not scattered.
    pub fn distance(&mut self, bits: u32) -> u64 {
        if self.scatters { (self.next() & ((1 << bits) - 1)) * PAGE_SIZE as u64 } else { 0 }
    }

    /// Makes a new pool from the key, and with it the next key.
    fn refill(&mut self) {
        let mut key = [0; KEY];
        key.copy_from_slice(&self.pool[..KEY]);
        if self.stirred {
            for place in key.chunks_exact_mut(8) {
                for (byte, stirred) in place.iter_mut().zip(entropy::sample().to_le_bytes()) {
                    *byte ^= stirred;
                }
            }
        }
        ChaCha20Rng::from_seed(key).fill_bytes(&mut self.pool);
        self.next = KEY;
    }
}
