//! The dialogue with Bochs' debugger, which Debian's Bochs always has.
//!
//! It talks on Bochs' standard streams, and the log channel comes out among its words; [`Talk`] tells
//! them apart. Where the kernel executes `xchg bx, bx`, all of the machine stands still until we let it
//! go on. The kernel does that twice, for two things that need a fixed moment:
//!
//! - Before it looks for input the first time: what input there is goes into the connection now, so that
//!   it arrives at the same instruction in each run.
//! - Before the end: the console's last bytes may still be on their way, and Bochs' end would lose them
//!   if input is left unread in the same connection. See [`Paused::go_on`].

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    path::Path,
    process::ChildStdin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::monitor::{Cpu, Registers};

/// The instruction that halts a CPU.
const HLT: u8 = 0xf4;

/// How long an answer may take: no longer than Bochs needs on a busy host, or to write a part of memory.
const PATIENCE: Duration = Duration::from_secs(60);

/// Both ends of the console's connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) ours: SocketAddr,
    pub(super) theirs: SocketAddr,
}

/// Where commands go.
type Commands = Arc<Mutex<ChildStdin>>;

/// Where the kernel has all of physical memory.
const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

/// The command that writes a part of physical memory to a file.
fn write_memory(commands: &Commands, address: u64, bytes: u64, file: &Path) -> Result<()> {
    command(commands, &format!("writemem \"{}\" {:#x} {bytes}", file.display(), DIRECT_MAP + address))
}

fn command(commands: &Commands, line: &str) -> Result<()> {
    let mut to = commands.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(to, "{line}").and_then(|()| to.flush()).context("Bochs takes no commands")
}

/// A machine that stands still.
#[derive(Clone, Debug)]
pub(super) struct Paused {
    commands: Commands,
    console: Connection,
}

impl Paused {
    /// Writes a part of physical memory to a file, before the machine goes on.
    pub(super) fn write_memory(&self, address: u64, bytes: u64, file: &Path) {
        // Without the file, its reader will say so.
        let _ = write_memory(&self.commands, address, bytes, file);
    }

    /// Lets the machine go on.
    pub(super) fn go_on(self) {
        // A machine that is gone needs no word.
        let _ = command(&self.commands, "c");
    }

    /// Lets the machine go on when all that it sent on the console has been read.
    pub(super) fn go_on_when_read(self) {
        thread::spawn(move || {
            while under_way(&fs::read_to_string("/proc/net/tcp").unwrap_or_default(), self.console) {
                thread::sleep(Duration::from_millis(1));
            }
            self.go_on();
        });
    }
}

/// Whether the table of TCP connections shows bytes from the console that have not been read yet.
fn under_way(table: &str, Connection { ours, theirs }: Connection) -> bool {
    // Fields: number, local address, remote address, state, length of the queues `sending:receiving`.
    let queues = |local: SocketAddr, remote: SocketAddr| {
        let ends = |(text, address): (&str, SocketAddr)| text.ends_with(&format!(":{:04X}", address.port()));
        table.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, from, to, _, queues, ..] = fields[..] else { return None };
            let (sending, receiving) = queues.split_once(':')?;
            ([(from, local), (to, remote)].into_iter().all(ends)).then_some((sending, receiving))
        })
    };
    let waits = |length: &str| length.bytes().any(|digit| digit != b'0');
    queues(theirs, ours).is_some_and(|(sending, _)| waits(sending))
        || queues(ours, theirs).is_some_and(|(_, receiving)| waits(receiving))
}

/// What a line of Bochs' standard output is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// The guest's, from the log channel.
    Guest(&'a [u8]),
    /// The debugger's: the guest has asked for a pause.
    Pause,
    /// Anything else of the debugger's.
    Words,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Running,
    Stopped,
}

/// Tells guest and debugger apart, line by line.
pub(super) struct Talk {
    /// How many CPUs the debugger tells of whenever it stops.
    cpus: u8,
    state: State,
    /// A stop was asked for, which may come in the middle of a guest's line.
    interrupted: Arc<AtomicBool>,
    answers: Sender<String>,
    paused: Paused,
}

impl Talk {
    /// A machine that stands still because the guest asked for it.
    pub(super) fn paused(&self) -> Paused {
        self.paused.clone()
    }

    /// Whose line it is.
    pub(super) fn sort<'a>(&mut self, line: &'a [u8]) -> Heard<'a> {
        const STOPPED: &str = "Next at t=";
        const BREAKPOINT: &str = " Magic breakpoint";
        let text = String::from_utf8_lossy(line);
        match self.state {
            // The banner ends with the first instruction of each CPU.
            State::Starting if next_of(&text, self.cpus - 1).is_some() => self.state = State::Running,
            State::Starting => {}
            // Another CPU may have been in the middle of a line, of which the beginning is lost.
            State::Running if text.rfind('(').and_then(|at| after_cpu(&text[at..])) == Some(BREAKPOINT) => {
                return Heard::Pause;
            }
            // Of CPU 0 it comes before the news that the machine stands still, of others behind what CPU 0 does next.
            State::Stopped if after_cpu(&text) == Some(BREAKPOINT) => return Heard::Pause,
            State::Running if text.starts_with(STOPPED) => self.state = State::Stopped,
            State::Running if text.contains(STOPPED) && self.interrupted.load(Ordering::Relaxed) => {
                self.state = State::Stopped;
            }
            // Where the machine ended.
            State::Running if after_cpu(&text).is_some_and(|rest| rest.starts_with(".[")) => {}
            State::Running => return Heard::Guest(line),
            // The echo of the command by which it goes on.
            State::Stopped if text.starts_with("<bochs:") && text.ends_with("> c") => self.state = State::Running,
            State::Stopped => _ = self.answers.send(text.into_owned()),
        }
        Heard::Words
    }
}

/// What follows the number of a CPU in parentheses.
fn after_cpu(text: &str) -> Option<&str> {
    let (number, rest) = text.strip_prefix('(')?.split_once(')')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(rest)
}

/// The debugger, for questions.
pub(super) struct Debugger {
    cpus: u8,
    bochs: Pid,
    commands: Commands,
    interrupted: Arc<AtomicBool>,
    answers: Receiver<String>,
}

impl Debugger {
    /// A debugger of this number of CPUs, and its listener.
    pub(super) fn new(cpus: u8, bochs: Pid, commands: ChildStdin, console: Connection) -> (Self, Talk) {
        let (sender, answers) = std::sync::mpsc::channel();
        let commands = Arc::new(Mutex::new(commands));
        let interrupted = Arc::new(AtomicBool::new(false));
        let paused = Paused { commands: commands.clone(), console };
        let talk = Talk { cpus, state: State::Starting, interrupted: interrupted.clone(), answers: sender, paused };
        (Self { cpus, bochs, commands, interrupted, answers }, talk)
    }

    /// Stops the machine and looks where its CPUs are.
    pub(super) fn cpus(&self) -> Result<Vec<Cpu>> {
        // What was said at the guest's own pauses is no answer.
        self.answers.try_iter().for_each(drop);
        self.interrupted.store(true, Ordering::Relaxed);
        kill_process(self.bochs, Signal::INT).context("cannot interrupt Bochs")?;
        let user = (0..self.cpus).map(|number| self.answer(|line| in_user_mode(line, number)));
        let user: Vec<bool> = user.collect::<Result<_>>()?;
        (0..self.cpus).zip(user).map(|(number, user)| self.cpu(number, user)).collect()
    }

    /// Looks where a CPU is; the machine stands still.
    fn cpu(&self, number: u8, user: bool) -> Result<Cpu> {
        command(&self.commands, &format!("set $cpu = {number}"))?;
        command(&self.commands, "r")?;
        let rbp = self.answer(|line| register(line, "rbp"))?;
        let rip = self.answer(|line| register(line, "rip"))?;
        let halted = self.two_words(rip.wrapping_sub(1)).is_some_and(|(before, _)| before as u8 == HLT);
        let registers = Registers { rip, rbp, halted, user };
        Ok(Cpu::new(registers, |address| self.two_words(address)))
    }

    /// What is read from the next line of an answer that holds such a thing.
    fn answer<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<T> {
        loop {
            let line = self.answers.recv_timeout(PATIENCE).context("Bochs' debugger does not answer")?;
            if let Some(value) = read(&line) {
                return Ok(value);
            }
        }
    }

    /// Writes a part of physical memory to a file; the machine stands still, in the kernel's address space on
    /// whatever CPU.
    pub(super) fn write_memory(&self, address: u64, bytes: u64, file: &Path) -> Result<()> {
        write_memory(&self.commands, address, bytes, file)?;
        // Commands are worked off in order: when this is answered, the file is there.
        command(&self.commands, "r")?;
        loop {
            let line = self.answers.recv_timeout(PATIENCE).context("Bochs' debugger does not answer")?;
            if register(&line, "rip").is_some() {
                return Ok(());
            }
        }
    }

    fn two_words(&self, address: u64) -> Option<(u64, u64)> {
        command(&self.commands, &format!("x /2gx {address:#x}")).ok()?;
        self.answer(memory).ok()
    }
}

/// The place of a CPU's next instruction, `(0) [0x…] CS:RIP …`, from `CS` on.
fn next_of(line: &str, cpu: u8) -> Option<&str> {
    let rest = line.strip_prefix(&format!("({cpu}) [0x"))?;
    Some(rest.split_once("] ")?.1)
}

/// Whether a CPU's next instruction is a program's.
fn in_user_mode(line: &str, cpu: u8) -> Option<bool> {
    let place = next_of(line, cpu)?;
    let selector = u16::from_str_radix(place.split_once(':')?.0, 16).ok()?;
    Some(selector & 3 == 3)
}

/// A register of the debugger's list, `rip: ffffffff_80236a19`.
fn register(line: &str, name: &str) -> Option<u64> {
    let value = line.strip_prefix(name)?.strip_prefix(": ")?;
    u64::from_str_radix(&value.replace('_', ""), 16).ok()
}

/// Two words of memory, `0x… <bogus+ 0>:⇥0x…⇥0x…`.
fn memory(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_once(">:")?.1.split_whitespace();
    let mut word = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    Some((word()?, word()?))
}

#[cfg(test)]
#[path = "debugger_tests.rs"]
mod tests;
