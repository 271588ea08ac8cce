//! The terminal's line discipline: from the bytes typed to the bytes read, and to the screen. For example, `l`, `x`,
//! Backspace, `s`, Enter echo as they are typed, and the program reads `ls` and a newline.
//!
//! There are three modes: *canonical*, in which input becomes readable line by line and the last line can be edited;
//! *raw*, in which every byte is readable at once; and *pipe*, in which there is no terminal: bytes pass unchanged, and
//! [`Tty::end_input`] is a lasting end of file. The input queue is bounded: a terminal drops what does not fit, and a
//! pipe's driver calls [`Tty::room`] before it takes a byte from its device.
//!
//! Output and echo go byte by byte through a closure to the caller's device. Deliberately absent: flow control by ^S
//! and ^Q, the parity and delay modes, `ECHOPRT`.

mod editing;
mod framing;
mod termios;

pub use framing::{Framing, Input};
pub use termios::{Control, InputModes, LocalModes, OutputModes, Termios, WindowSize};

use alloc::collections::VecDeque;

/// The size of the input queue in bytes.
pub const QUEUE: usize = 4096;

/// The signal that a typed byte sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// `SIGINT`.
    Interrupt,
    /// `SIGQUIT`.
    Quit,
    /// `SIGTSTP`.
    Suspend,
}

/// The result of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// The number of bytes read (0: `VMIN` and `VTIME` are 0 and there were none).
    Bytes(usize),
    /// The end of the file; that of a terminal holds for this read only.
    EndOfFile,
    /// There is nothing to read yet. With a time in tenths of a second (`VTIME`), the reader continues after it with
    /// [`Tty::read_available`]; a byte that comes before starts the read anew.
    WouldBlock {
        /// The time to wait; `None`: for ever.
        deciseconds: Option<u8>,
    },
}

/// An element of the input queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cell {
    Byte(u8),
    /// The last byte of a line.
    Last(u8),
    /// The end of a line without a byte: the user typed `VEOF`.
    EndOfFile,
}

/// A terminal, or a pipe in its place.
pub struct Tty {
    is_terminal: bool,
    termios: Termios,
    window: WindowSize,
    queue: VecDeque<Cell>,
    /// The number of cells that belong to finished lines; those after them can still be edited.
    finished: usize,
    /// Whether no input will follow.
    ended: bool,
    /// Whether the next byte has no special meaning (`VLNEXT`).
    literal: bool,
    /// The cursor's column, computed from the output.
    column: usize,
    /// The column where the line being edited started.
    line_column: usize,
}

impl Tty {
    /// A terminal with Linux's settings, or a pipe.
    pub fn new(is_terminal: bool, window: WindowSize) -> Self {
        Tty {
            is_terminal,
            termios: Termios::DEFAULT,
            window,
            // Allocated now, because input arrives when no memory may be allocated.
            queue: VecDeque::with_capacity(QUEUE),
            finished: 0,
            ended: false,
            literal: false,
            column: 0,
            line_column: 0,
        }
    }

    /// Whether this is a terminal; a pipe has no settings and no size (`ENOTTY`).
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The settings (`TCGETS`).
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Changes the settings (`TCSETS`; `TCSETSW`, after the output is out). With `flush` (`TCSETSF`) unread input is
    /// dropped. When the terminal becomes canonical, the bytes in the queue become a line, and when it ceases to be,
    /// the lines become single bytes.
    pub fn set_termios(&mut self, new: Termios, flush: bool) {
        let was_canonical = self.is_canonical();
        self.termios = new;
        if flush {
            self.flush_input();
        }
        if was_canonical == self.is_canonical() {
            return;
        }
        self.queue.retain(|cell| *cell != Cell::EndOfFile);
        self.finished = if was_canonical { 0 } else { self.queue.len() };
        self.literal = false;
        if let (false, Some(Cell::Byte(byte))) = (was_canonical, self.queue.back().copied()) {
            self.queue.pop_back();
            self.queue.push_back(Cell::Last(byte));
        }
    }

    /// The window's size (`TIOCGWINSZ`).
    pub fn window(&self) -> WindowSize {
        self.window
    }

    /// Changes the window's size (`TIOCSWINSZ`); true if it is different (`SIGWINCH`).
    pub fn set_window(&mut self, window: WindowSize) -> bool {
        core::mem::replace(&mut self.window, window) != window
    }

    /// Drops unread input (`TCFLSH` with `TCIFLUSH`).
    pub fn flush_input(&mut self) {
        self.queue.clear();
        self.finished = 0;
        self.literal = false;
    }

    /// The number of bytes for which the input queue has room.
    pub fn room(&self) -> usize {
        QUEUE.saturating_sub(self.queue.len())
    }

    /// Notes that no input will follow: after the contents of the queue, every read is at the end of file.
    pub fn end_input(&mut self) {
        self.ended = true;
        self.finished = self.queue.len();
    }

    /// The number of bytes that a read with a large buffer would return (`FIONREAD`).
    pub fn available(&self) -> usize {
        let cells = if self.is_canonical() { self.finished } else { self.queue.len() };
        self.queue.iter().take(cells).filter(|cell| **cell != Cell::EndOfFile).count()
    }

    /// Whether a read would not block (`POLLIN`).
    pub fn readable(&self) -> bool {
        let (minimum, time) = self.minimum_and_time();
        let enough = if time == 0 { minimum.max(1) } else { 1 };
        self.ended || if self.is_canonical() { self.finished > 0 } else { self.queue.len() >= enough }
    }

    /// Reads a line or a part of one, or in raw mode as many bytes as `VMIN` and `VTIME` ask for.
    pub fn read(&mut self, buffer: &mut [u8]) -> Read {
        let (minimum, time) = self.minimum_and_time();
        let canonical = self.is_canonical();
        let there = if canonical { self.finished } else { self.queue.len() };
        let enough = if canonical || self.ended { 1 } else { minimum.min(buffer.len()).max(1) };
        if buffer.is_empty() {
            Read::Bytes(0)
        } else if there >= enough {
            match self.take(buffer) {
                0 => Read::EndOfFile,
                read => Read::Bytes(read),
            }
        } else if self.ended {
            Read::EndOfFile
        } else if !canonical && minimum == 0 && time == 0 {
            Read::Bytes(0)
        } else {
            let timed = !canonical && time > 0 && (minimum == 0 || there > 0);
            Read::WouldBlock { deciseconds: timed.then_some(time) }
        }
    }

    /// Reads the available bytes, perhaps none: after the time of [`Read::WouldBlock`], or for `O_NONBLOCK`.
    pub fn read_available(&mut self, buffer: &mut [u8]) -> usize {
        if self.is_canonical() && self.finished == 0 { 0 } else { self.take(buffer) }
    }

    /// Takes bytes from the queue, up to the end of a line in canonical mode; 0 at an end of file.
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let canonical = self.is_canonical();
        let mut read = 0;
        for to in buffer {
            if canonical && self.finished == 0 {
                return read;
            }
            let Some(cell) = self.pop() else { return read };
            match cell {
                Cell::Byte(byte) | Cell::Last(byte) => *to = byte,
                Cell::EndOfFile => return read,
            }
            read += 1;
            if canonical && matches!(cell, Cell::Last(_)) {
                return read;
            }
        }
        // The buffer ended where the line did: the mark must not be an end of file for the next read.
        if canonical && self.queue.front() == Some(&Cell::EndOfFile) {
            self.pop();
        }
        read
    }

    fn pop(&mut self) -> Option<Cell> {
        self.finished = self.finished.saturating_sub(1);
        self.queue.pop_front()
    }

    /// `VMIN` and `VTIME` in the present mode.
    fn minimum_and_time(&self) -> (usize, u8) {
        match self.is_terminal {
            true => {
                let minimum = self.termios.control(Control::Min);
                (minimum.into(), self.termios.control(Control::Time))
            }
            false => (1, 0),
        }
    }

    fn is_canonical(&self) -> bool {
        self.is_terminal && self.local(LocalModes::ICANON)
    }

    fn local(&self, mode: LocalModes) -> bool {
        self.termios.local.contains(mode)
    }
}
