//! One machine from its start to its verdict.
//!
//! The verdict is one of three. *Told*: the kernel sent an `exit` or a `panic` record. *Cut short*: by
//! the time-out, a signal, the user or a closed pipe. *Unknown*: the machine ended without a record; how
//! its player itself ended says nothing about the program, so that is never taken for success.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Write},
    mem,
    path::{Path, PathBuf},
    process::ExitStatus,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use abi::channel::{QEMU_EXIT_STATUS, SIGNAL_STATUS, TIMEOUT_STATUS, UNKNOWN_STATUS};
use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGPIPE};

pub(crate) use super::streams::LogSink;
use super::{
    bochs,
    console::plain,
    control::{Record, Verdict},
    debugger::Paused,
    launch::{Launched, Player},
    limit::{self, Limit},
    monitor,
    streams::{self, Event},
    terminal::Raw,
};
use crate::{backtrace, notes::note};

/// How long a machine may take to end after the kernel gave its verdict.
const GRACE: Duration = Duration::from_secs(3);

/// Where the statistics go.
pub(crate) enum StatsSink {
    /// Nowhere: they are not asked for.
    None,
    /// To standard error.
    Stderr,
    /// To a file.
    File(File),
}

/// A part of the machine's memory that is wanted when the run is over.
#[derive(Clone, Default)]
pub(crate) struct Region {
    /// Its physical address and its bytes, once the kernel has told them.
    pub(crate) place: Rc<Cell<Option<(u64, u64)>>>,
    /// Where Bochs writes it.
    pub(crate) file: Option<PathBuf>,
}

/// What is to be run, and how.
pub(crate) struct Session<'a> {
    /// The emulator.
    pub(crate) player: Player,
    /// The kernel with its debug information.
    pub(crate) symbols: &'a Path,
    /// The console is the user's terminal.
    pub(crate) terminal: bool,
    /// All input is in the image.
    pub(crate) input_ended: bool,
    /// When to give up.
    pub(crate) timeout: Option<Duration>,
    /// Where the kernel log goes.
    pub(crate) log: LogSink,
    /// Where the statistics go.
    pub(crate) stats: StatsSink,
    /// Show the command that starts the machine.
    pub(crate) print: bool,
    /// Where the kernel records what it does.
    pub(crate) region: Region,
}

/// Why the session stopped listening.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The machine closed its channels.
    Closed,
    /// The kernel gave its verdict and the machine ran on.
    Overdue,
    TimedOut,
    /// The user typed the key that ends the machine.
    Left,
    Signal(i32),
    OutputClosed,
}

/// What was learnt while the machine ran.
#[derive(Default)]
struct Learnt {
    verdict: Verdict,
    /// The errors that the user has not seen in the log.
    errors: Vec<String>,
    firmware: String,
    console_began: bool,
    console_ended: bool,
    log_ended: bool,
    /// When the machine should have ended by itself.
    overdue: Option<Instant>,
    /// Set while output waits for its reader: a pager may take all the time it wants.
    reader_is_slow: Arc<AtomicBool>,
    region: Region,
}

impl Session<'_> {
    /// Runs the machine; the status of the run.
    pub(crate) fn run(self) -> Result<u8> {
        let (events, queue) = mpsc::channel();
        streams::signals(events.clone())?;
        let mut learnt = Learnt { region: self.region.clone(), ..Learnt::default() };
        let Launched { mut child, input, output, log, talk, probe } = self.player.launch(self.print)?;
        streams::log(log, talk, self.log, events.clone());
        streams::output(output, learnt.reader_is_slow.clone(), events.clone());
        let errors = child.stderr.take().map(streams::errors);

        let mut raw = None;
        let mut input = Some(input);
        let mut begin = |paused: Option<Paused>| {
            let Some(input) = input.take() else {
                if let Some(paused) = paused {
                    if let (Some((address, bytes)), Some(file)) = (self.region.place.get(), &self.region.file) {
                        paused.write_memory(address, bytes, file);
                    }
                    paused.go_on_when_read();
                }
                return Ok(());
            };
            // From now on keys are the guest's; until here ^C was still ours.
            if self.terminal {
                raw = Some(Raw::new()?);
            }
            if self.input_ended {
                // Its end would be an event for the machine.
                mem::forget(input);
                return Ok(());
            }
            streams::input(input, self.terminal, paused, events.clone())
        };
        let limit = self.timeout.map(|timeout| Limit::new(child.id(), timeout));
        let end = learnt.listen(&queue, limit, &mut begin);
        let cpus = match end {
            // A user who sends ^C may wonder what the machine is doing.
            Ok(End::TimedOut | End::Signal(SIGINT)) => probe.cpus().unwrap_or_default(),
            _ => Vec::new(),
        };
        if let (false, Some((address, bytes)), Some(file)) =
            (cpus.is_empty(), self.region.place.get(), &self.region.file)
            && let Err(why) = probe.write_memory(address, bytes, file)
        {
            note(format_args!("what was recorded is lost: {why:#}"));
        }
        if !matches!(end, Ok(End::Closed)) {
            // The image is read-only: there is nothing to put in order.
            child.kill().context("cannot stop the machine")?;
        }
        let ended = child.wait().context("cannot wait for the machine's end")?;
        learnt.settle(&queue);
        drop(raw);

        let end = end?;
        tell_stats(self.stats, learnt.verdict.stats.as_deref())?;
        learnt.errors.iter().for_each(|error| note(plain(error)));
        if let Some(message) = &learnt.verdict.panic {
            // Without a backtrace it is no fault of the kernel's: it says why it cannot go on.
            let what = if learnt.verdict.backtrace.is_empty() { "the kernel stopped" } else { "kernel panic" };
            note(format_args!("{what}: {}", plain(message)));
            backtrace::print(self.symbols, &learnt.verdict.backtrace);
        }
        for (message, frames) in &learnt.verdict.reports {
            note(plain(message));
            backtrace::print(self.symbols, frames);
        }
        Ok(match (end, learnt.verdict.status()) {
            (End::OutputClosed, _) => SIGNAL_STATUS + SIGPIPE as u8,
            (End::Left, _) => SIGNAL_STATUS + SIGINT as u8,
            (End::Signal(signal), _) => {
                monitor::print(&cpus, self.symbols);
                SIGNAL_STATUS + signal as u8
            }
            (_, Some(status)) => status,
            (End::TimedOut, None) => {
                let limit = self.timeout.unwrap_or_default().as_secs_f64();
                note(format_args!("no end within {limit} s: the machine was stopped"));
                if !learnt.console_began {
                    tell_firmware(&learnt.firmware);
                }
                monitor::print(&cpus, self.symbols);
                TIMEOUT_STATUS
            }
            (End::Closed | End::Overdue, None) => {
                let words = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
                let words = if matches!(self.player, Player::Bochs(_)) { bochs::reason(&words) } else { words };
                let name = self.player.name();
                if ended.code() == Some(1) && learnt.firmware.is_empty() && !learnt.console_began {
                    bail!("{name} did not start the machine:\n{words}");
                }
                tell_unknown(&self.player, ended, &learnt.firmware, &words);
                UNKNOWN_STATUS
            }
        })
    }
}

impl Learnt {
    /// Listens until there is a reason to stop; `begin` is called when the console begins, and when
    /// the machine pauses.
    fn listen(
        &mut self,
        queue: &Receiver<Event>,
        mut limit: Option<Limit>,
        begin: &mut dyn FnMut(Option<Paused>) -> Result<()>,
    ) -> Result<End> {
        loop {
            // After the verdict only the machine's own end is awaited.
            let left = match (self.overdue, &mut limit) {
                (Some(until), _) => until.saturating_duration_since(Instant::now()),
                (None, Some(limit)) => limit.left(),
                (None, None) => Duration::MAX,
            };
            let event = queue.recv_timeout(left.min(limit::INTERVAL));
            match event {
                Ok(Event::ConsoleBegan) => {
                    self.console_began = true;
                    begin(None)?;
                }
                Ok(Event::Paused(paused)) => begin(Some(paused))?,
                Ok(event) => {
                    if let Some(end) = self.take(event) {
                        return Ok(end);
                    }
                }
                // Of what has passed only a part may count.
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
                Err(_) if self.overdue.is_none() => return Ok(End::TimedOut),
                Err(_) if self.reader_is_slow.load(Ordering::Relaxed) => self.allow(GRACE),
                Err(_) => return Ok(End::Overdue),
            }
        }
    }

    /// Takes one event into account; the end, if it is one.
    fn take(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Record(Record::Unknown(text)) => {
                note(format_args!("a control record that is not understood: {}", plain(&text)));
            }
            Event::Record(Record::Trace { address, bytes }) => self.region.place.set(Some((address, bytes))),
            Event::Record(record) => {
                self.verdict.apply(record);
                if self.verdict.status().is_some() {
                    self.allow(GRACE);
                }
            }
            Event::Error(error) => self.errors.push(error),
            Event::ConsoleBegan | Event::Paused(_) => {}
            Event::ConsoleEnded { firmware } => {
                self.firmware = firmware;
                self.console_ended = true;
            }
            Event::LogEnded => self.log_ended = true,
            Event::OutputClosed => return Some(End::OutputClosed),
            Event::Leave => return Some(End::Left),
            Event::Signal(signal) => return Some(End::Signal(signal)),
        }
        (self.console_ended && self.log_ended).then_some(End::Closed)
    }

    fn allow(&mut self, grace: Duration) {
        self.overdue = Some(Instant::now() + grace);
    }

    /// After the machine's end: what it had sent is still on its way. A reader that does not read must not
    /// hold us up.
    fn settle(&mut self, queue: &Receiver<Event>) {
        let until = Instant::now() + GRACE;
        while !(self.console_ended && self.log_ended) {
            let Ok(event) = queue.recv_timeout(until.saturating_duration_since(Instant::now())) else {
                return;
            };
            // Whatever it is: the end is decided.
            let _ = self.take(event);
        }
    }
}

fn tell_stats(sink: StatsSink, stats: Option<&str>) -> Result<()> {
    let line = stats.map(|json| format!("{json}\n"));
    match (sink, line) {
        (StatsSink::None, _) => {}
        (_, None) => note("the run ended without statistics"),
        (StatsSink::Stderr, Some(line)) => _ = io::stderr().write_all(line.as_bytes()),
        (StatsSink::File(mut file), Some(line)) => {
            file.write_all(line.as_bytes()).context("cannot write the statistics")?;
        }
    }
    Ok(())
}

/// Says what is known of a machine that ended without a verdict.
fn tell_unknown(player: &Player, ended: ExitStatus, firmware: &str, words: &str) {
    let name = player.name();
    let how = match ended.code() {
        // It calls each end a failure, and says which in its words.
        Some(_) if matches!(player, Player::Bochs(_)) => format!("Bochs ended ({ended})"),
        Some(QEMU_EXIT_STATUS) => "the kernel ended it and gave no status".to_owned(),
        // With `-no-reboot`, that is what becomes of a triple fault.
        Some(0) => "it was reset or switched off; a triple fault does that, and a boot loader that gives up".to_owned(),
        Some(_) => format!("{name} failed ({ended})"),
        None => format!("{name} was killed ({ended})"),
    };
    note(format_args!("the machine ended without a verdict: {how}"));
    tell_firmware(firmware);
    if !words.is_empty() {
        note(format_args!("{name} says:\n{words}"));
    }
}

fn tell_firmware(text: &str) {
    if !text.is_empty() {
        note(format_args!("the last words of firmware and boot loader:\n{text}"));
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
