//! Bytes handled eight at a time, as numbers whose lowest byte is the first. Most names are too short for a call of
//! `memchr` or `memcmp` to be worth while.

/// Bytes in a word.
pub(crate) const WORD: usize = size_of::<u64>();

/// A word whose bytes are all 1; a multiple of it has equal bytes.
const ONES: u64 = u64::from_ne_bytes([1; WORD]);

/// The last `count` bytes, fewer than eight, with zeros behind them.
#[inline(always)]
pub(crate) fn last(bytes: &[u8], count: usize) -> u64 {
    match bytes.last_chunk() {
        Some(word) => u64::from_le_bytes(*word).unbounded_shr(u64::BITS - 8 * count as u32),
        None => bytes.iter().rev().take(count).fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The index of the first byte that is a slash; 8 if there is none.
#[inline(always)]
pub(crate) fn slash(word: u64) -> usize {
    // `differs` is zero where there is a slash. Subtracting 1 from each byte borrows from the next byte only where
    // there is a zero, so the lowest bit that reports one is right.
    let differs = word ^ (ONES * b'/' as u64);
    let zeros = differs.wrapping_sub(ONES) & !differs & (ONES << 7);
    zeros.trailing_zeros() as usize / 8
}

#[cfg(test)]
#[path = "tests/word.rs"]
mod tests;
