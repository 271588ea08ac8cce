//! The threads that carry bytes between a machine and the host while a machine runs.
//!
//! Each thread moves one stream and tells the session what matters through one queue; none decides
//! anything. They end with their streams.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, LineWriter, Read, Write},
    process::ChildStderr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use rustix::io::Errno;
use signal_hook::{consts, iterator::Signals};

use super::{
    ahead::is_ready,
    console::{self, PreambleFilter},
    control::{self, Line, Record},
    debugger::{Heard, Paused, Talk},
    terminal,
};

/// The key that ends a machine from its terminal: Ctrl-], as in telnet.
pub(super) const LEAVE_KEY: u8 = 0x1d;

/// Bytes of input that are sent while a machine is paused: it must not run dry before more is sent, and
/// the connection must hold them.
const AHEAD: usize = 1 << 16;

/// What the session has to know.
#[derive(Debug)]
pub(super) enum Event {
    /// A control record came.
    Record(Record),
    /// The kernel's log has an error that the user does not see there.
    Error(String),
    /// The kernel's console began: input is welcome.
    ConsoleBegan,
    /// The machine stands still until it is let go on.
    Paused(Paused),
    /// The machine closed the console. Firmware's last words, if the kernel's never began.
    ConsoleEnded { firmware: String },
    /// The machine closed the log channel.
    LogEnded,
    /// No one reads our standard output any more.
    OutputClosed,
    /// The key that ends the machine was typed.
    Leave,
    /// A signal asks us to end.
    Signal(i32),
}

/// Where lines of kernel log go.
pub(crate) enum LogSink {
    /// Nowhere.
    Drop,
    /// To a file.
    File(LineWriter<File>),
    /// To standard error as they are.
    Plain,
    /// To standard error, which is a terminal.
    Terminal,
}

impl LogSink {
    /// Whether the user sees what comes.
    fn is_seen(&self) -> bool {
        matches!(self, Self::Plain | Self::Terminal)
    }

    fn line(&mut self, line: &[u8]) {
        // A log that cannot be written must not end the run.
        let _ = match self {
            Self::Drop => Ok(()),
            Self::File(file) => file.write_all(&[line, b"\n"].concat()),
            Self::Plain => io::stderr().write_all(&[line, b"\n"].concat()),
            Self::Terminal => {
                // Dim, and with a carriage return, since the terminal may be in raw mode. What the
                // line quotes must not reach the terminal as a command.
                let text = console::plain(&String::from_utf8_lossy(line));
                io::stderr().write_all(format!("\x1b[2m{text}\x1b[0m\r\n").as_bytes())
            }
        };
    }
}

/// Console to standard output; `waiting` is set while that takes it.
pub(super) fn output(mut from: impl Read + Send + 'static, waiting: Arc<AtomicBool>, events: Sender<Event>) {
    thread::spawn(move || {
        let mut filter = PreambleFilter::default();
        let mut buffer = vec![0; 1 << 16];
        let mut open = true;
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let before = filter.passed();
            let bytes = filter.output(&buffer[..length]);
            if open && !bytes.is_empty() {
                let mut stdout = io::stdout().lock();
                waiting.store(true, Ordering::Relaxed);
                let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
                waiting.store(false, Ordering::Relaxed);
                if written.is_err() {
                    open = false;
                    let _ = events.send(Event::OutputClosed);
                }
            }
            if !before && filter.passed() {
                let _ = events.send(Event::ConsoleBegan);
            }
        }
        let _ = events.send(Event::ConsoleEnded { firmware: filter.firmware_text() });
    });
}

/// Log channel to the log and the session.
pub(super) fn log(from: impl Read + Send + 'static, mut talk: Option<Talk>, mut sink: LogSink, events: Sender<Event>) {
    thread::spawn(move || {
        let mut from = BufReader::with_capacity(1 << 16, from);
        let mut line = Vec::new();
        while let Ok(1..) = from.read_until(b'\n', &mut line) {
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let heard = talk.as_mut().map_or(Heard::Guest(text), |talk| talk.sort(text));
            match heard {
                Heard::Guest(text) => match control::parse(text) {
                    Line::Log(text) => {
                        let error = control::error(text).filter(|_| !sink.is_seen());
                        error.into_iter().for_each(|error| _ = events.send(Event::Error(error)));
                        sink.line(text);
                    }
                    Line::Record(record) => _ = events.send(Event::Record(record)),
                },
                Heard::Pause => {
                    let paused = talk.as_ref().map(Talk::paused);
                    paused.into_iter().for_each(|paused| _ = events.send(Event::Paused(paused)));
                }
                Heard::Words => {}
            }
            line.clear();
        }
        let _ = events.send(Event::LogEnded);
    });
}

/// Standard input to the console. On a terminal the leave key is ours. A machine that is `paused` goes
/// on when the input that is there has been sent, or much of it.
pub(super) fn input(
    to: impl Write + Send + 'static,
    terminal: bool,
    mut paused: Option<Paused>,
    events: Sender<Event>,
) -> Result<()> {
    let to = Arc::new(Mutex::new(to));
    if terminal {
        sizes(to.clone())?;
    }
    thread::spawn(move || {
        let send = |bytes: &[u8]| to.lock().map_or(Ok(()), |mut to| to.write_all(bytes).and_then(|()| to.flush()));
        let mut buffer = vec![0; 1 << 12];
        let mut total = 0;
        loop {
            if total >= AHEAD || !is_ready() {
                paused.take().into_iter().for_each(Paused::go_on);
            }
            // Not through a buffer, which would hide from the question above what is in it.
            let sent = match rustix::io::read(io::stdin(), &mut buffer) {
                Ok(0) => send(&console::END),
                Ok(length) if terminal && buffer[..length].contains(&LEAVE_KEY) => {
                    let _ = events.send(Event::Leave);
                    break;
                }
                Ok(length) => {
                    total += length;
                    let sent = send(&console::encode(&buffer[..length]));
                    if sent.is_ok() {
                        continue;
                    }
                    sent
                }
                Err(Errno::INTR) => continue,
                // An unreadable standard input (closed, a directory) has ended.
                Err(_) => send(&console::END),
            };
            // The machine may be gone already, which others notice.
            drop(sent);
            break;
        }
        paused.take().into_iter().for_each(Paused::go_on);
        // A closed standard input would be an event for the machine; it stays open until the process ends.
        std::mem::forget(to);
    });
    Ok(())
}

/// The terminal's size to the console, now and whenever it changes.
fn sizes(to: Arc<Mutex<impl Write + Send + 'static>>) -> Result<()> {
    let mut changes = Signals::new([consts::SIGWINCH]).context("cannot watch the terminal's size")?;
    thread::spawn(move || {
        // It may have changed while the machine booted.
        for _ in [consts::SIGWINCH].into_iter().chain(changes.forever()) {
            if let (Some((rows, columns)), Ok(mut to)) = (terminal::size(), to.lock()) {
                // The machine may be gone already, which others notice.
                let _ = to.write_all(&console::size(rows, columns)).and_then(|()| to.flush());
            }
        }
    });
    Ok(())
}

/// The player's own words, for the case that it fails.
pub(super) fn errors(mut from: ChildStderr) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut words = Vec::new();
        let _ = from.read_to_end(&mut words);
        String::from_utf8_lossy(&words).trim_end().to_owned()
    })
}

/// The signals that ask a command to end.
pub(super) fn signals(events: Sender<Event>) -> Result<()> {
    let wanted = [consts::SIGINT, consts::SIGTERM, consts::SIGHUP, consts::SIGQUIT];
    let mut signals = Signals::new(wanted).context("cannot watch for signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let _ = events.send(Event::Signal(signal));
        }
    });
    Ok(())
}
