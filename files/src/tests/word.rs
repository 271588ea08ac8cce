use super::*;
use alloc::vec::Vec;

#[test]
fn a_word_has_zeros_beyond_the_end() {
    for length in 0..=20_u8 {
        let bytes: Vec<u8> = (1..=length).collect();
        for from in 0..=bytes.len() {
            let there = (bytes.len() - from).min(WORD);
            let mut expected = [0; WORD];
            expected[..there].copy_from_slice(&bytes[from..from + there]);
            assert_eq!(at(&bytes, from), (u64::from_le_bytes(expected), there), "{length}, {from}");
        }
    }
}

#[test]
fn slashes_are_marked_and_nothing_else() {
    // The neighbours of a slash, and what differs from one in the highest bit.
    for other in [b'.', b'0', 0, b'/' | 0x80, 0xff] {
        for which in 0..=u8::MAX {
            let is_slash = |at: usize| which & 1 << at != 0;
            let bytes: [u8; WORD] = core::array::from_fn(|at| if is_slash(at) { b'/' } else { other });
            let marks: [u8; WORD] = core::array::from_fn(|at| if is_slash(at) { 0x80 } else { 0 });
            assert_eq!(slashes(u64::from_le_bytes(bytes)), u64::from_le_bytes(marks), "{bytes:?}");
            assert_eq!(first(u64::from_le_bytes(marks)), which.trailing_zeros() as usize);
        }
    }
}
