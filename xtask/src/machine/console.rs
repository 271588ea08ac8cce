//! Framing of the console: the preamble before the output, the escapes in the input.

use abi::channel::{ESCAPE, ESCAPE_END, ESCAPE_LITERAL, ESCAPE_SIZE, PREAMBLE};

/// How much of what came before the preamble is remembered.
const FIRMWARE_TEXT: usize = 4096;

/// Separates what firmware and boot loader print from what the kernel's console carries.
#[derive(Default)]
pub(crate) struct PreambleFilter {
    passed: bool,
    /// All that came so far, or its end.
    before: Vec<u8>,
}

impl PreambleFilter {
    /// What of the next bytes is output.
    pub(crate) fn output<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.passed {
            return bytes;
        }
        // The preamble may be cut anywhere between two reads: search where the old bytes end, too.
        let old = self.before.len();
        self.before.extend_from_slice(bytes);
        let from = old.saturating_sub(PREAMBLE.len());
        let found = self.before[from..].windows(PREAMBLE.len()).position(|window| window == PREAMBLE);
        if let Some(at) = found {
            self.passed = true;
            let end = from + at + PREAMBLE.len();
            self.before.clear();
            return &bytes[end - old..];
        }
        let excess = self.before.len().saturating_sub(FIRMWARE_TEXT);
        self.before.drain(..excess);
        &[]
    }

    /// Whether the kernel's console has begun.
    pub(crate) fn passed(&self) -> bool {
        self.passed
    }

    /// The printable part of what firmware and boot loader said last, if the console never began.
    pub(crate) fn firmware_text(&self) -> String {
        plain(&String::from_utf8_lossy(&self.before))
    }
}

/// Text without escape sequences and control characters, and without empty lines.
pub(crate) fn plain(text: &str) -> String {
    let mut clean = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => {
                // A control sequence: `[`, parameters, and a letter that ends it.
                if characters.next_if_eq(&'[').is_some() {
                    while characters.next().is_some_and(|next| !next.is_ascii_alphabetic()) {}
                }
            }
            '\r' => clean.push('\n'),
            '\n' | '\t' => clean.push(character),
            other if other.is_control() => {}
            other => clean.push(other),
        }
    }
    let lines = clean.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// Input as the kernel expects it, its escape doubled.
pub(crate) fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(bytes.len() + 8);
    for &byte in bytes {
        if byte == ESCAPE {
            encoded.push(ESCAPE);
            encoded.push(ESCAPE_LITERAL);
        } else {
            encoded.push(byte);
        }
    }
    encoded
}

/// The terminal's size, as the kernel expects to be told of it.
pub(crate) fn size(rows: u16, columns: u16) -> Vec<u8> {
    [&[ESCAPE, ESCAPE_SIZE], format!("{rows};{columns}\n").as_bytes()].concat()
}

/// The end of the input.
pub(crate) const END: [u8; 2] = [ESCAPE, ESCAPE_END];

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `stream` in pieces of `size` bytes.
    fn filtered(stream: &[u8], size: usize) -> Vec<u8> {
        let mut filter = PreambleFilter::default();
        stream.chunks(size).flat_map(|piece| filter.output(piece).to_vec()).collect()
    }

    #[test]
    fn preamble_is_found_however_it_is_cut() {
        let stream = [b"BdsDxe: \x01JOTUN \x01JOTUN-CON", PREAMBLE, b"out\x01put", PREAMBLE].concat();
        let expected = [b"out\x01put", PREAMBLE].concat();
        for size in 1..=stream.len() {
            assert_eq!(filtered(&stream, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn preamble_is_found_behind_much_text() {
        let stream = [vec![b'x'; 3 * FIRMWARE_TEXT], PREAMBLE.to_vec(), b"out".to_vec()].concat();
        for size in [1, 7, 1000, 5000, stream.len()] {
            assert_eq!(filtered(&stream, size), b"out", "pieces of {size}");
        }
    }

    #[test]
    fn firmware_is_quoted_without_its_escapes() {
        let mut filter = PreambleFilter::default();
        filter.output(b"\x1b[H\x1b[J\x1b[1;1Herror: no multiboot header found.\n\r\n\r");
        assert!(!filter.passed());
        assert_eq!(filter.firmware_text(), "error: no multiboot header found.");
    }

    #[test]
    fn input_is_escaped() {
        assert_eq!(encode(b"plain\n"), b"plain\n");
        assert_eq!(encode(b"\x10E\x10\x10"), b"\x10\x10E\x10\x10\x10\x10");
        assert_eq!(END, *b"\x10E");
    }
}
