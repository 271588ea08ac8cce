//! The size limit of the file system, as on the kernel's command line: for example, `size=64m` or `size=50%`.

use core::num::NonZeroU64;

/// A size: a number of bytes, or a part of the machine's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// A number of bytes.
    Bytes(NonZeroU64),
    /// Hundredths of memory.
    Percent(u8),
}

impl Size {
    /// Parses a size as `mount` accepts it for a tmpfs: bytes, `4096k`, `64m`, `1g` or `50%`.
    pub fn parse(text: &str) -> Option<Size> {
        if let Some(percent) = text.strip_suffix('%') {
            return percent.parse().ok().filter(|percent| (1..=100).contains(percent)).map(Size::Percent);
        }
        let shift = match text.as_bytes().last()? {
            b'k' | b'K' => 10,
            b'm' | b'M' => 20,
            b'g' | b'G' => 30,
            _ => 0,
        };
        let number = if shift == 0 { text } else { &text[..text.len() - 1] };
        let bytes = number.parse::<NonZeroU64>().ok()?;
        bytes.checked_mul(NonZeroU64::new(1 << shift)?).map(Size::Bytes)
    }

    /// The size in bytes, on a machine with this amount of memory.
    pub fn of(self, memory: u64) -> u64 {
        match self {
            Size::Bytes(bytes) => bytes.get(),
            Size::Percent(percent) => memory * u64::from(percent) / 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn sizes_are_those_of_mount() {
        const MEMORY: u64 = 200 << 20;
        let of = |text| Size::parse(text).map(|size| size.of(MEMORY));
        for (text, bytes) in [
            ("4096", 4096),
            ("12k", 12 << 10),
            ("64M", 64 << 20),
            ("2g", 2 << 30),
            ("50%", 100 << 20),
            ("100%", MEMORY),
        ] {
            assert_eq!(of(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "%", "0", "0m", "101%", "0%", "-1", "1t", "64mb", "99999999999g", "é"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
