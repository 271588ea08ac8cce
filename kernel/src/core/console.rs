//! The console: the terminal's line discipline on the serial port, and the framing that the host adds.
//!
//! Input is moved from the port's ring into the line discipline at level 1, when the port has left its note, and in
//! pipe mode also when a program has made room by reading. Output goes straight into the port's ring. Nothing here
//! waits: a thread that finds nothing to read, or no room, parks, and is woken by the events that [`Console::service`]
//! reports.

use super::process::Tasks;
use super::signals::{self, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGWINCH, from_kernel};
use ::files::Tty;
use ::files::tty::{Framing, Input, OutputModes, Read, Signal, Termios, WindowSize};
use abi::channel::PREAMBLE;
use containers::ProcessId;
use hardware::{host, serial};

/// How much output room makes the console writable again: enough for a program to continue for a while.
const WRITABLE: usize = 4096;

/// The most bytes that one byte of output becomes (a tab, as spaces).
const EXPANSION: usize = 8;

/// How long the last output may make no progress before it is given up, in nanoseconds.
const PATIENCE: u64 = 10_000_000_000;

/// The console.
pub struct Console {
    tty: Tty,
    /// Takes the host's framing off the input, if there is a host.
    framing: Option<Framing>,
    /// Input that was in memory when the machine started; what the port receives comes after it.
    ahead: &'static [u8],
    /// Whether a thread has found no room for output.
    starved: bool,
    /// The session whose controlling terminal this is, and its group in the foreground.
    pub control: Option<TerminalControl>,
}

/// The session and the group that have the terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TerminalControl {
    /// The session.
    pub session: u32,
    /// The group that may read, and that gets the signals of the keys.
    pub foreground: u32,
}

/// The other end of the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsoleMode {
    /// Files or pipes.
    Pipe,
    /// A terminal.
    Terminal,
}

/// Events on the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Events {
    /// There is input to read, or its end.
    pub readable: bool,
    /// There is room for output again.
    pub writable: bool,
    /// A signal for the program in the foreground.
    pub signal: Option<u8>,
}

impl Console {
    /// A console with a number of rows and columns, framed for the host if there is one, which it greets.
    pub fn new(mode: Option<ConsoleMode>, (rows, columns): (u16, u16)) -> Console {
        let window = WindowSize { rows, columns, pixels: (0, 0) };
        if mode.is_some() {
            serial::write(PREAMBLE);
            host::pause(); // the first input comes now
        }
        Console {
            tty: Tty::new(mode != Some(ConsoleMode::Pipe), window),
            framing: mode.map(|_| Framing::new()),
            ahead: &[],
            starved: false,
            control: None,
        }
    }

    /// Begins the input with these bytes, before any program reads.
    pub fn begin_with(&mut self, ahead: &'static [u8]) {
        self.ahead = ahead;
        self.take_input();
    }

    /// The group in the foreground.
    pub fn foreground(&self) -> Option<u32> {
        self.control.map(|control| control.foreground)
    }

    /// Does the work that the port's interrupts have left.
    pub fn service(&mut self) -> Events {
        let signal = self.take_input();
        let writable = self.starved && self.writable();
        self.starved &= !writable;
        Events { readable: self.tty.readable(), writable, signal }
    }

    /// Moves bytes that wait to the line discipline; returns the last signal among them. A terminal takes all bytes and
    /// drops those that do not fit; a pipe leaves them where they are.
    fn take_input(&mut self) -> Option<u8> {
        let mut bytes = [0; 64];
        let mut signal = None;
        loop {
            let room = if self.is_terminal() { bytes.len() } else { self.tty.room().min(bytes.len()) };
            let count = self.receive(&mut bytes[..room]);
            if count == 0 {
                return signal;
            }
            for byte in &bytes[..count] {
                signal = self.input(*byte).or(signal);
            }
        }
    }

    /// Takes the next bytes that wait; returns how many.
    fn receive(&mut self, to: &mut [u8]) -> usize {
        if self.ahead.is_empty() {
            return serial::read(to);
        }
        let (now, later) = self.ahead.split_at(to.len().min(self.ahead.len()));
        to[..now.len()].copy_from_slice(now);
        self.ahead = later;
        now.len()
    }

    fn input(&mut self, byte: u8) -> Option<u8> {
        let input = match &mut self.framing {
            Some(framing) => framing.decode(byte)?,
            None => Input::Byte(byte),
        };
        match input {
            // Echo for which there is no room is lost, as on any terminal.
            Input::Byte(byte) => {
                let mut echo = |byte| {
                    serial::write(&[byte]);
                };
                match self.tty.input(byte, &mut echo)? {
                    Signal::Interrupt => Some(SIGINT),
                    Signal::Quit => Some(SIGQUIT),
                    Signal::Suspend => Some(SIGTSTP),
                }
            }
            Input::EndOfFile => {
                self.tty.end_input();
                None
            }
            Input::Resize(window) => self.tty.set_window(window).then_some(SIGWINCH),
        }
    }

    /// Reads the input that there is. In pipe mode the room that this makes is filled from the port at once.
    pub fn read(&mut self, to: &mut [u8]) -> Read {
        let read = self.tty.read(to);
        if !self.is_terminal() {
            self.take_input();
        }
        read
    }

    /// Reads the input that there is, perhaps none, whatever the terminal's settings ask for.
    pub fn read_available(&mut self, to: &mut [u8]) -> usize {
        self.tty.read_available(to)
    }

    /// Writes as many bytes of `from` as there is room for; returns how many.
    pub fn write(&mut self, from: &[u8]) -> usize {
        let taken = if self.is_terminal() && self.tty.termios().output.contains(OutputModes::OPOST) {
            self.write_processed(from)
        } else {
            serial::write(from)
        };
        self.starved |= taken < from.len();
        taken
    }

    fn write_processed(&mut self, from: &[u8]) -> usize {
        let mut staged = [0; 256];
        let mut taken = 0;
        while taken < from.len() {
            let room = serial::tx_room().min(staged.len());
            let mut length = 0;
            let before = taken;
            while taken < from.len() && length + EXPANSION <= room {
                self.tty.output(from[taken], &mut |byte| {
                    if let Some(place) = staged.get_mut(length) {
                        *place = byte;
                        length += 1;
                    }
                });
                taken += 1;
            }
            serial::write(&staged[..length]);
            if taken == before {
                break;
            }
        }
        taken
    }

    /// Whether a read would not wait.
    pub fn readable(&self) -> bool {
        self.tty.readable()
    }

    /// Whether there is room for output.
    pub fn writable(&self) -> bool {
        serial::tx_room() >= WRITABLE
    }

    /// Notes that a thread is about to wait for room.
    pub fn wants_room(&mut self) {
        self.starved = true;
    }

    /// Bytes that can be read now.
    pub fn available(&self) -> usize {
        self.tty.available()
    }

    /// Whether it is a terminal and not a pair of pipes.
    pub fn is_terminal(&self) -> bool {
        self.tty.is_terminal()
    }

    /// The terminal's settings.
    pub fn termios(&self) -> &Termios {
        self.tty.termios()
    }

    /// Changes the terminal's settings; with `flush`, drops input not yet read.
    pub fn set_termios(&mut self, termios: Termios, flush: bool) {
        self.tty.set_termios(termios, flush);
    }

    /// Drops input not yet read.
    pub fn flush_input(&mut self) {
        self.tty.flush_input();
    }

    /// The terminal's size.
    pub fn window(&self) -> WindowSize {
        self.tty.window()
    }

    /// Changes the terminal's size; true if it is another one.
    pub fn set_window(&mut self, window: WindowSize) -> bool {
        self.tty.set_window(window)
    }

    /// Takes the terminal from its session, whose leader ends or gives it up, and signals the group in the foreground.
    #[inline]
    pub fn hang_up(&mut self, tasks: &mut Tasks, leader: ProcessId) {
        if let Some(control) = self.control.take_if(|control| control.session == leader.number()) {
            tell_foreground(tasks, control.foreground);
        }
    }

    /// Sends the output that is still waiting, at the end of the run.
    pub fn flush(&mut self) {
        serial::flush(PATIENCE);
    }
}

#[cold]
fn tell_foreground(tasks: &mut Tasks, foreground: u32) {
    signals::send_to_group(tasks, foreground, from_kernel(SIGHUP));
    signals::send_to_group(tasks, foreground, from_kernel(SIGCONT));
}
