//! Sets of small numbers that know the lowest number that is not in them.

use alloc::vec::Vec;

const WORD: usize = u64::BITS as usize;

/// A set of numbers below [`Numbers::END`]: a bit for each, and one for each word of bits that has no zero.
#[derive(Clone, Default)]
pub(crate) struct Numbers {
    words: Vec<u64>,
    /// Bit n set: all numbers of word n are in the set.
    full: u64,
}

impl Numbers {
    /// What all numbers are below.
    pub(crate) const END: usize = WORD * WORD;

    /// Puts a number in.
    pub(crate) fn insert(&mut self, number: usize) {
        let at = number / WORD;
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= 1 << (number % WORD);
        if self.words[at] == u64::MAX {
            self.full |= 1 << at;
        }
    }

    /// Takes a number out, if it is in.
    pub(crate) fn remove(&mut self, number: usize) {
        let at = number / WORD;
        if let Some(word) = self.words.get_mut(at) {
            *word &= !(1 << (number % WORD));
            self.full &= !(1 << at);
        }
    }

    /// The lowest number from `from` on that is not in the set. It may be [`Numbers::END`] or above.
    pub(crate) fn lowest_absent(&self, from: usize) -> usize {
        let at = from / WORD;
        let word = self.word(at) | below(from % WORD);
        if word != u64::MAX {
            return at * WORD + word.trailing_ones() as usize;
        }
        let at = (self.full | below(at + 1)).trailing_ones() as usize;
        at * WORD + self.word(at).trailing_ones() as usize
    }

    fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or(0)
    }
}

/// The bits below a bit; all of them from 64 on.
fn below(bit: usize) -> u64 {
    1_u64.checked_shl(bit as u32).unwrap_or(0).wrapping_sub(1)
}

#[cfg(test)]
#[path = "tests/numbers.rs"]
mod tests;
