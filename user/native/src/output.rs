//! `print!` and `println!` to standard output, by way of the stack and no heap.
//!
//! A call prints its line with one `write` if it fits the buffer, so that lines of several
//! processes do not mix.

use crate::system;
use core::fmt::{self, Write};

/// Standard output.
pub const STDOUT: u64 = 1;

/// Standard error.
pub const STDERR: u64 = 2;

/// Collects what is printed and writes it out when full or at the end.
struct Buffer {
    descriptor: u64,
    bytes: [u8; 256],
    used: usize,
}

impl Buffer {
    fn flush(&mut self) {
        let mut left = &self.bytes[..self.used];
        while let Ok(written @ 1..) = system::write(self.descriptor, left) {
            left = &left[written..];
        }
        self.used = 0;
    }
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.used == self.bytes.len() {
                self.flush();
            }
            self.bytes[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

/// Formats to a descriptor; an error cannot be reported anywhere.
pub fn print(descriptor: u64, text: fmt::Arguments<'_>) {
    let mut buffer = Buffer { descriptor, bytes: [0; 256], used: 0 };
    let _ = buffer.write_fmt(text);
    buffer.flush();
}

/// Prints to standard output.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => { $crate::output::print($crate::output::STDOUT, format_args!($($text)*)) };
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($text:tt)*) => { $crate::output::print($crate::output::STDOUT, format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::output::print($crate::output::STDERR, format_args!("{}\n", format_args!($($text)*))) };
}
