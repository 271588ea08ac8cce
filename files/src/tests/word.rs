use super::*;

#[test]
fn the_last_bytes_have_zeros_behind_them() {
    let bytes: [u8; 20] = core::array::from_fn(|at| at as u8 + 1);
    for length in 0..=bytes.len() {
        for count in 0..WORD.min(length + 1) {
            let mut expected = [0; WORD];
            expected[..count].copy_from_slice(&bytes[length - count..length]);
            assert_eq!(last(&bytes[..length], count), u64::from_le_bytes(expected), "{length}, {count}");
        }
    }
}

#[test]
fn the_first_slash_is_found() {
    // The neighbours of a slash, and what differs from one in the highest bit.
    for other in [b'.', b'0', 0, b'/' | 0x80, 0xff] {
        for which in 0..=u8::MAX {
            let is_slash = |at: usize| which & 1 << at != 0;
            let bytes: [u8; WORD] = core::array::from_fn(|at| if is_slash(at) { b'/' } else { other });
            assert_eq!(slash(u64::from_le_bytes(bytes)), which.trailing_zeros() as usize, "{bytes:?}");
        }
    }
}
