//! Starts QEMU with its channels: console on its standard input and output, log and monitor on file
//! descriptors that it inherits.

use std::{
    ffi::OsString,
    io::{self, PipeReader},
    os::{
        fd::{AsFd, AsRawFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use rustix::{io::FdFlags, process};

use super::{monitor::Monitor, qemu};
use crate::notes::note;

/// A machine that was started.
pub(super) struct Launched {
    /// QEMU; the console is on its standard input and output.
    pub(super) qemu: Child,
    /// The log channel.
    pub(super) log: PipeReader,
    /// The monitor.
    pub(super) monitor: Monitor,
}

/// Starts QEMU; with `print` it shows the command first.
pub(super) fn launch(arguments: &[OsString], print: bool) -> Result<Launched> {
    let (log, log_end) = io::pipe().context("cannot make a pipe")?;
    let number = log_end.as_raw_fd();
    let mut command = Command::new(qemu::PROGRAM);
    command.args(arguments);
    command.args(["-chardev", "stdio,id=console,signal=off"]);
    // Appending, since QEMU would otherwise cut the file, and a pipe cannot be cut.
    command.args(["-add-fd", &format!("fd={number},set=1")]);
    command.args(["-chardev", "file,id=log,path=/dev/fdset/1,append=on"]);
    if print {
        // A shell can run this line as it is: without the monitor, the log on standard error.
        let words: Vec<OsString> = command.get_args().map(OsString::from).collect();
        note(format_args!("{} {number}>&2", qemu::shell_line(qemu::PROGRAM, &words)));
    }
    let (monitor, socket) = Monitor::new()?;
    command.args(Monitor::arguments(&socket));
    inherit(&log_end)?;
    inherit(&socket)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own: ^C is for us, and we end QEMU.
    command.process_group(0);
    die_with_us(&mut command);
    let qemu = command.spawn().with_context(|| format!("cannot start {}", qemu::PROGRAM))?;
    Ok(Launched { qemu, log, monitor })
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
