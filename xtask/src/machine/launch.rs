//! Starts a machine with its channels.
//!
//! QEMU has the console on its standard input and output, log and monitor on file descriptors that it inherits, and
//! where it counts instructions also the console's output. Bochs can have a console in both directions without loss in
//! one way only, a TCP connection that it makes; log and debugger share its standard streams.

use std::{
    ffi::OsString,
    io::{self, PipeReader, PipeWriter, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::{
    io::FdFlags,
    process::{self, Pid},
};

use super::{
    bochs::{self, Plan},
    debugger::{Connection, Debugger, Talk},
    monitor::{Cpu, Monitor},
    qemu, streams,
};
use crate::notes::note;

/// QEMU's console. While a reader is slow, the serial line's transmitter stays full and the machine runs on.
const CONSOLE: &str = "stdio,id=console,signal=off";

/// The console where instructions are counted: its output goes to QEMU's log of it, because there QEMU stops the
/// machine with all clocks until the reader has room. QEMU's standard output, where it would not, goes nowhere.
const COUNTED_CONSOLE: &str = "stdio,id=console,signal=off,logfile=/dev/fdset/2,logappend=on";

/// The emulator, and how it is started.
pub(crate) enum Player {
    /// QEMU, with these arguments without its channels.
    Qemu(Vec<OsString>),
    /// Likewise, as a counter of instructions.
    Counter(Vec<OsString>),
    /// Bochs.
    Bochs(Plan),
}

/// A machine that was started.
pub(super) struct Launched {
    /// The emulator.
    pub(super) child: Child,
    /// The console.
    pub(super) input: Box<dyn Write + Send>,
    pub(super) output: Box<dyn Read + Send>,
    /// The log channel.
    pub(super) log: Box<dyn Read + Send>,
    /// What the log channel shares its stream with.
    pub(super) talk: Option<Talk>,
    pub(super) probe: Probe,
}

/// Looks into a machine.
pub(super) enum Probe {
    Qemu(Monitor),
    Bochs(Debugger),
}

impl Probe {
    /// Stops the machine and looks where its CPUs are.
    pub(super) fn cpus(&self) -> Result<Vec<Cpu>> {
        match self {
            Self::Qemu(monitor) => monitor.cpus(),
            Self::Bochs(debugger) => debugger.cpus(),
        }
    }
}

impl Probe {
    /// Writes a part of the stopped machine's memory to a file. QEMU's is a file already.
    pub(super) fn write_memory(&self, address: u64, bytes: u64, file: &Path) -> Result<()> {
        match self {
            Self::Qemu(_) => Ok(()),
            Self::Bochs(debugger) => debugger.write_memory(address, bytes, file),
        }
    }
}

impl Player {
    /// As the user knows it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Qemu(_) | Self::Counter(_) => "QEMU",
            Self::Bochs(_) => "Bochs",
        }
    }

    /// Starts it; with `print` it shows the command first.
    pub(super) fn launch(&self, print: bool) -> Result<Launched> {
        match self {
            Self::Qemu(arguments) => launch_qemu(arguments, false, print),
            Self::Counter(arguments) => launch_qemu(arguments, true, print),
            Self::Bochs(plan) => launch_bochs(plan, print),
        }
    }
}

fn launch_qemu(arguments: &[OsString], counts: bool, print: bool) -> Result<Launched> {
    let mut command = Command::new(qemu::PROGRAM);
    command.args(arguments);
    let (log, log_end) = channel(&mut command, 1)?;
    // Appending, since QEMU would otherwise cut the file, and a pipe cannot be cut.
    command.args(["-chardev", "file,id=log,path=/dev/fdset/1,append=on"]);
    let counted = counts.then(|| channel(&mut command, 2)).transpose()?;
    command.args(["-chardev", if counts { COUNTED_CONSOLE } else { CONSOLE }]);
    if print {
        // A shell can run this line as it is: without the monitor, the log on standard error.
        let words: Vec<OsString> = command.get_args().map(OsString::from).collect();
        let output = counted.as_ref().map(|(_, end)| format!(" {}>&1 >/dev/null", end.as_raw_fd()));
        let (line, output) = (qemu::shell_line(qemu::PROGRAM, &words), output.unwrap_or_default());
        note(format_args!("{line} {}>&2{output}", log_end.as_raw_fd()));
    }
    let (monitor, socket) = Monitor::new()?;
    command.args(Monitor::arguments(&socket));
    inherit(&socket)?;
    let mut child = spawn(command, qemu::PROGRAM, if counts { Stdio::null() } else { Stdio::piped() })?;
    let input = Box::new(child.stdin.take().context("no input")?);
    let output: Box<dyn Read + Send> = match counted {
        Some((output, _)) => Box::new(output),
        None => Box::new(child.stdout.take().context("no output")?),
    };
    Ok(Launched { child, input, output, log: Box::new(log), talk: None, probe: Probe::Qemu(monitor) })
}

/// A pipe whose writing end QEMU inherits, as a set of file descriptors with this number.
fn channel(command: &mut Command, set: u32) -> Result<(PipeReader, PipeWriter)> {
    let (ours, theirs) = io::pipe().context("cannot make a pipe")?;
    command.args(["-add-fd", &format!("fd={},set={set}", theirs.as_raw_fd())]);
    inherit(&theirs)?;
    Ok((ours, theirs))
}

fn launch_bochs(plan: &Plan, print: bool) -> Result<Launched> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port for the console")?;
    let ours = listener.local_addr().context("no free port for the console")?;
    plan.write(&format!("mode=socket-client, dev={ours}"), bochs::GO)?;
    let command = plan.command();
    if print {
        // As a shell takes it; the console then goes nowhere, and port 0xE9 to standard output.
        let words: Vec<OsString> = command.get_args().map(OsString::from).collect();
        let line = qemu::shell_line(bochs::PROGRAM, &words);
        note(format_args!("cd {} && TZ=UTC TERM=xterm {line}", plan.dir.display()));
    }
    let mut child = spawn(command, bochs::PROGRAM, Stdio::piped())?;
    let Some(console) = accept(&listener, &mut child)? else {
        let words = child.stderr.take().map(streams::errors).and_then(|thread| thread.join().ok());
        bail!("Bochs did not start the machine:\n{}", bochs::reason(&words.unwrap_or_default()));
    };
    let theirs = console.peer_addr().context("the console has no other end")?;
    // What input there is goes at once, not when the last was acknowledged.
    console.set_nodelay(true).context("cannot set up the console")?;
    let input = console.try_clone().context("cannot set up the console")?;
    let (commands, words) = (child.stdin.take().context("no input")?, child.stdout.take().context("no output")?);
    let connection = Connection { ours, theirs };
    let (debugger, talk) = Debugger::new(plan.cpus, Pid::from_child(&child), commands, connection);
    let (input, output, log) = (Box::new(input), Box::new(console), Box::new(words));
    Ok(Launched { child, input, output, log, talk: Some(talk), probe: Probe::Bochs(debugger) })
}

/// The connection that Bochs makes; none if it ends before.
fn accept(listener: &TcpListener, bochs: &mut Child) -> Result<Option<TcpStream>> {
    listener.set_nonblocking(true).context("cannot wait for Bochs")?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).context("cannot set up the console")?;
                return Ok(Some(stream));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("cannot wait for Bochs"),
        }
        if bochs.try_wait().context("cannot wait for Bochs")?.is_some() {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn spawn(mut command: Command, program: &str, output: Stdio) -> Result<Child> {
    command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
    // A group of its own: ^C is for us, and we end the machine.
    command.process_group(0);
    die_with_us(&mut command);
    command.spawn().with_context(|| format!("cannot start {program}"))
}

/// Lets QEMU have a file descriptor; it keeps its number.
fn inherit(end: &impl AsFd) -> Result<()> {
    rustix::io::fcntl_setfd(end, FdFlags::empty()).context("cannot hand a file descriptor on")
}

/// Ends the command if xtask ends in a way that leaves it no time to do that itself.
#[expect(unsafe_code, reason = "the standard library has no safe way to say this")]
pub(crate) fn die_with_us(command: &mut Command) {
    let ask = || process::set_parent_process_death_signal(Some(process::Signal::KILL)).map_err(Into::into);
    // SAFETY: between fork and exec the closure makes one system call; it allocates nothing and takes
    // no lock.
    unsafe { command.pre_exec(ask) };
}
