//! The framing of console input: what the host says besides the bytes that were typed.
//!
//! DLE (0x10) escapes: `DLE E` is the end of input, `DLE DLE` a DLE, `DLE S rows;columns NEWLINE` the size of
//! the host's terminal. An escape that is none of these is dropped.

use super::WindowSize;

const DLE: u8 = 0x10;

/// What the bytes so far amount to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// A byte for the program.
    Byte(u8),
    /// No byte will follow.
    EndOfFile,
    /// The terminal has this size.
    Resize(WindowSize),
}

/// A decoder, to be fed byte by byte.
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

    /// Takes one byte of the stream; what it completes comes back.
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
