//! Input and output of single bytes: signals, editing, echo, and the output modes.

use super::{Cell, Control, InputModes, LocalModes, OutputModes, QUEUE, Signal, Tty};

const TAB: usize = 8;
const BELL: u8 = 7;
const RUB_OUT: &[u8] = b"\x08 \x08";

impl Tty {
    /// Takes a byte from the keyboard. The echo goes through `out`; a signal for the foreground group is returned.
    pub fn input(&mut self, byte: u8, out: &mut impl FnMut(u8)) -> Option<Signal> {
        if !self.is_terminal {
            if self.room() > 0 {
                self.queue.push_back(Cell::Byte(byte));
            }
            return None;
        }
        let strip = self.termios.input.contains(InputModes::ISTRIP);
        let byte = if strip { byte & 0x7f } else { byte };
        if core::mem::take(&mut self.literal) {
            self.append(Cell::Byte(byte), out);
            return None;
        }
        if let Some(signal) = self.signal(byte) {
            if !self.local(LocalModes::NOFLSH) {
                self.flush_input();
            }
            self.echo(Cell::Byte(byte), out);
            return Some(signal);
        }
        let byte = match byte {
            b'\r' if self.termios.input.contains(InputModes::IGNCR) => return None,
            b'\r' if self.termios.input.contains(InputModes::ICRNL) => b'\n',
            b'\n' if self.termios.input.contains(InputModes::INLCR) => b'\r',
            _ => byte,
        };
        if !self.is_canonical() || !self.edit(byte, out) {
            self.append(Cell::Byte(byte), out);
        }
        None
    }

    /// Writes a byte of a program, by the rules of the output modes.
    pub fn output(&mut self, byte: u8, out: &mut impl FnMut(u8)) {
        let modes = self.termios.output;
        if !self.is_terminal || !modes.contains(OutputModes::OPOST) {
            return self.put(byte, out);
        }
        match byte {
            b'\n' if modes.contains(OutputModes::ONLCR) => {
                self.put(b'\r', out);
                self.put(b'\n', out);
            }
            b'\r' if modes.contains(OutputModes::OCRNL) => self.put(b'\n', out),
            b'\t' if modes.contains(OutputModes::TAB3) => {
                for _ in self.column % TAB..TAB {
                    self.put(b' ', out);
                }
            }
            _ => self.put(byte, out),
        }
    }

    /// The signal that a byte sends.
    fn signal(&self, byte: u8) -> Option<Signal> {
        let is = |what| self.local(LocalModes::ISIG) && self.termios.is(byte, what);
        match byte {
            _ if is(Control::Intr) => Some(Signal::Interrupt),
            _ if is(Control::Quit) => Some(Signal::Quit),
            _ if is(Control::Susp) => Some(Signal::Suspend),
            _ => None,
        }
    }

    /// Performs the function of a byte in canonical mode; false if it has none.
    fn edit(&mut self, byte: u8, out: &mut impl FnMut(u8)) -> bool {
        let is = |tty: &Tty, what| tty.termios.is(byte, what);
        let extended = self.local(LocalModes::IEXTEN);
        if byte == b'\n' || is(self, Control::Eol) || is(self, Control::Eol2) {
            self.append(Cell::Last(byte), out);
        } else if is(self, Control::Eof) {
            self.append(Cell::EndOfFile, out);
        } else if is(self, Control::Erase) {
            self.erase(byte, out, Self::pop_character);
        } else if is(self, Control::Werase) && extended {
            self.erase(byte, out, Self::pop_word);
        } else if is(self, Control::Kill) {
            self.kill(byte, out);
        } else if is(self, Control::Lnext) && extended {
            self.literal = true;
            if self.local(LocalModes::ECHO | LocalModes::ECHOCTL) {
                [b'^', b'\x08'].into_iter().for_each(|byte| self.put(byte, out));
            }
        } else if is(self, Control::Reprint) && extended && self.local(LocalModes::ECHO) {
            self.echo(Cell::Byte(byte), out);
            self.output(b'\n', out);
            self.line_column = self.column;
            for at in self.finished..self.queue.len() {
                let cell = self.queue.get(at).copied();
                cell.into_iter().for_each(|cell| self.echo(cell, out));
            }
        } else {
            return false;
        }
        true
    }

    /// Puts a cell into the queue and echoes it. A cell that does not fit is dropped, but a line that is being edited
    /// can always be finished: the last element is reserved for its end.
    fn append(&mut self, cell: Cell, out: &mut impl FnMut(u8)) {
        let reserved = usize::from(self.is_canonical() && matches!(cell, Cell::Byte(_)));
        if self.queue.len() + reserved >= QUEUE {
            if self.termios.input.contains(InputModes::IMAXBEL) {
                self.put(BELL, out);
            }
            return;
        }
        if !self.is_edited() {
            self.line_column = self.column;
        }
        self.queue.push_back(cell);
        if !matches!(cell, Cell::Byte(_)) {
            self.finished = self.queue.len();
        }
        self.echo(cell, out);
    }

    /// Echoes a cell, if the modes ask for it. A newline that does not end a line is a literal one.
    fn echo(&mut self, cell: Cell, out: &mut impl FnMut(u8)) {
        let (Cell::Byte(byte) | Cell::Last(byte)) = cell else { return };
        let newline = byte == b'\n' && (cell == Cell::Last(byte) || !self.is_canonical());
        let line_echo = LocalModes::ECHONL | LocalModes::ICANON;
        if !(self.local(LocalModes::ECHO) || newline && self.local(line_echo)) {
            return;
        }
        if byte.is_ascii_control() && !newline && byte != b'\t' && self.local(LocalModes::ECHOCTL) {
            self.put(b'^', out);
            self.put(byte ^ 0x40, out);
        } else {
            self.output(byte, out);
        }
    }

    /// Removes a part of the line being edited, and rubs it out.
    fn erase(&mut self, byte: u8, out: &mut impl FnMut(u8), pop: fn(&mut Tty)) {
        if !self.is_edited() {
            return;
        }
        let before = self.line_end();
        pop(self);
        if self.local(LocalModes::ECHO | LocalModes::ECHOE) {
            let wiped = before.saturating_sub(self.line_end());
            (0..wiped).flat_map(|_| RUB_OUT).for_each(|byte| self.put(*byte, out));
        } else {
            self.echo(Cell::Byte(byte), out);
        }
    }

    fn kill(&mut self, byte: u8, out: &mut impl FnMut(u8)) {
        if self.local(LocalModes::ECHOKE | LocalModes::ECHOE) {
            return self.erase(byte, out, |tty| tty.queue.truncate(tty.finished));
        }
        self.queue.truncate(self.finished);
        self.echo(Cell::Byte(byte), out);
        if self.local(LocalModes::ECHO | LocalModes::ECHOK) {
            self.output(b'\n', out);
        }
    }

    /// Removes the last character of the line, all its bytes if it is UTF-8.
    fn pop_character(&mut self) {
        while self.is_edited() {
            match self.queue.pop_back() {
                Some(Cell::Byte(byte)) if self.is_continuation(byte) => {}
                _ => break,
            }
        }
    }

    /// Removes the last word, with the characters behind it that belong to no word.
    fn pop_word(&mut self) {
        let mut met = false;
        while let Some(Cell::Byte(byte)) = self.queue.back().copied().filter(|_| self.is_edited()) {
            let of_word = byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
            if met && !of_word {
                break;
            }
            met |= of_word;
            self.pop_character();
        }
    }

    /// Whether the line being edited is not empty.
    fn is_edited(&self) -> bool {
        self.finished < self.queue.len()
    }

    /// The column behind the line being edited, computed from its echo.
    fn line_end(&self) -> usize {
        self.queue.iter().skip(self.finished).fold(self.line_column, |column, cell| match *cell {
            Cell::Byte(b'\t') => (column / TAB + 1) * TAB,
            Cell::Byte(byte) if byte.is_ascii_control() => column + if self.local(LocalModes::ECHOCTL) { 2 } else { 0 },
            Cell::Byte(byte) if !self.is_continuation(byte) => column + 1,
            _ => column,
        })
    }

    /// Writes a byte to the device, and follows the cursor.
    fn put(&mut self, byte: u8, out: &mut impl FnMut(u8)) {
        out(byte);
        self.column = match byte {
            b'\r' => 0,
            b'\x08' => self.column.saturating_sub(1),
            b'\t' => (self.column / TAB + 1) * TAB,
            _ if byte.is_ascii_control() || self.is_continuation(byte) => self.column,
            _ => self.column.saturating_add(1),
        };
    }

    fn is_continuation(&self, byte: u8) -> bool {
        self.termios.input.contains(InputModes::IUTF8) && byte & 0xc0 == 0x80
    }
}
