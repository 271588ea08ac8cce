//! The framing of console input: how the host sends more than the bytes that were typed. For example, `DLE S 24;80
//! NEWLINE` says that the terminal has 24 rows and 80 columns.
//!
//! DLE (0x10) begins an escape: `DLE E` is the end of input, `DLE DLE` a DLE, `DLE S rows;columns NEWLINE` the size of
//! the host's terminal. Any other escape is dropped.

use super::WindowSize;

const DLE: u8 = 0x10;

/// A decoded unit of input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// A byte for the program.
    Byte(u8),
    /// No byte will follow.
    EndOfFile,
    /// The terminal has this size.
    Resize(WindowSize),
}

/// The decoder, which takes a byte at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Framing {
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Plain,
    Escape,
    Rows(u16),
    Columns(u16, u16),
}

impl Framing {
    /// A decoder at the start of the stream.
    pub const fn new() -> Self {
        Framing { state: State::Plain }
    }

    /// Takes a byte of the stream; returns the unit that it completes.
    pub fn decode(&mut self, byte: u8) -> Option<Input> {
        let (state, input) = match (self.state, byte) {
            (State::Plain, DLE) => (State::Escape, None),
            (State::Plain, _) | (State::Escape, DLE) => (State::Plain, Some(Input::Byte(byte))),
            (State::Escape, b'E') => (State::Plain, Some(Input::EndOfFile)),
            (State::Escape, b'S') => (State::Rows(0), None),
            (State::Rows(rows), b'0'..=b'9') => (State::Rows(digit(rows, byte)), None),
            (State::Rows(rows), b';') => (State::Columns(rows, 0), None),
            (State::Columns(rows, n), b'0'..=b'9') => (State::Columns(rows, digit(n, byte)), None),
            (State::Columns(rows, columns), b'\n') => {
                let size = WindowSize { rows, columns, pixels: (0, 0) };
                (State::Plain, Some(Input::Resize(size)))
            }
            _ => (State::Plain, None),
        };
        self.state = state;
        input
    }
}

fn digit(number: u16, byte: u8) -> u16 {
    number.saturating_mul(10).saturating_add(u16::from(byte.wrapping_sub(b'0')))
}
