//! A two-level bitmap that finds its lowest zero in constant time. For example, the lowest free file descriptor is
//! found with two bit scans, however many are in use.

use alloc::vec::Vec;

const WORD: usize = u64::BITS as usize;

/// A set of numbers below [`Bitmap::END`]: a bit for each, and a summary bit for each word that has no zero.
#[derive(Clone, Default)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    /// Bit n is set if all numbers of word n are in the set.
    full: u64,
}

impl Bitmap {
    /// The bound of the numbers.
    pub(crate) const END: usize = WORD * WORD;

    /// Adds a number.
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

    /// Removes a number, if it is in the set.
    pub(crate) fn remove(&mut self, number: usize) {
        let at = number / WORD;
        if let Some(word) = self.words.get_mut(at) {
            *word &= !(1 << (number % WORD));
            self.full &= !(1 << at);
        }
    }

    /// The lowest number from `from` on that is not in the set. It may be [`Bitmap::END`] or above.
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

/// A mask of the bits below `bit`; all bits from 64 on.
fn below(bit: usize) -> u64 {
    1_u64.checked_shl(bit as u32).unwrap_or(0).wrapping_sub(1)
}

#[cfg(test)]
#[path = "tests/bitmap.rs"]
mod tests;
