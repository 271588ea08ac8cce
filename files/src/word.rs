//! Bytes eight at a time, as numbers whose lowest byte is the first: most of what is looked through here is too short for
//! anything bigger to be worth its call.

/// Bytes of a word.
pub(crate) const WORD: usize = size_of::<u64>();

/// A word of ones, of which a multiple has the same byte everywhere.
const ONES: u64 = u64::from_ne_bytes([1; WORD]);

/// The bytes from `at` on, with zeros for those beyond the end, and how many are there.
#[inline(always)]
pub(crate) fn at(bytes: &[u8], at: usize) -> (u64, usize) {
    let rest = bytes.get(at..).unwrap_or_default();
    let word = match (rest.first_chunk(), bytes.last_chunk()) {
        (Some(word), _) => return (u64::from_le_bytes(*word), WORD),
        // The last eight bytes, without those before `at`.
        (None, Some(word)) => u64::from_le_bytes(*word).unbounded_shr(u64::BITS - 8 * rest.len() as u32),
        (None, None) => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    (word, rest.len())
}

/// The highest bit of each byte that is a slash.
#[inline(always)]
pub(crate) fn slashes(word: u64) -> u64 {
    const ALL_BUT_HIGHEST: u64 = ONES * 0x7f;
    // Zero where there is a slash. What is added carries into the highest bit of any other byte, but not further.
    let differs = word ^ (ONES * b'/' as u64);
    !(((differs & ALL_BUT_HIGHEST) + ALL_BUT_HIGHEST) | differs | ALL_BUT_HIGHEST)
}

/// The number of the first byte of which [`slashes`] or the like has marked the highest bit: 8 if there is none.
#[inline(always)]
pub(crate) fn first(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

#[cfg(test)]
#[path = "tests/word.rs"]
mod tests;
