//! Strings in user memory.

use super::first_zero;

#[test]
fn the_first_zero_is_found_wherever_it_is() {
    for (before, behind) in [(1, 1), (0x7f, 0), (0x80, 0x80), (0x81, 0xff), (0xff, 1)] {
        let mut bytes = [before; 8];
        assert_eq!(first_zero(bytes), None);
        for at in (0..8).rev() {
            bytes[at] = 0;
            assert_eq!(first_zero(bytes), Some(at), "{bytes:?}");
            bytes[at] = behind;
        }
    }
}
