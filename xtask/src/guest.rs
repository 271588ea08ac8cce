//! Text that comes from the guest, made safe to show: a program names itself, and chooses what it likes.
//!
//! Every such text goes through [`text`] where xtask reads it. Formats in which further characters mean something
//! escape those when they are written: [`frame`] for folded stacks, the crates `serde_json` and `inferno` for theirs.

/// Text in which every character that does something to a terminal, or may not be in XML, is shown as its number.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for character in String::from_utf8_lossy(bytes).chars() {
        if is_harmless(character) { shown.push(character) } else { shown.extend(character.escape_default()) }
    }
    shown
}

/// Whether a character is shown as itself: no control character, none that turns the direction of writing, and one
/// that XML allows.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        && !matches!(character, '\u{fffe}' | '\u{ffff}')
}

/// A frame of a folded stack: semicolons and blanks end one.
pub(crate) fn frame(text: &str) -> String {
    text.replace([';', ' '], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_harmless_is_shown_as_it_is() {
        assert_eq!(text("sh -c größe <&>".as_bytes()), "sh -c größe <&>");
        assert_eq!(text(b"\x1b[31mred\x07\r\n"), "\\u{1b}[31mred\\u{7}\\r\\n");
        assert_eq!(text("\u{9b}31m \u{202e}exe.txt \u{ffff}".as_bytes()), "\\u{9b}31m \\u{202e}exe.txt \\u{ffff}");
        assert_eq!(text(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn a_frame_is_one() {
        assert_eq!(frame("a b;c"), "a_b_c");
    }
}
