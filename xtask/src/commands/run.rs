//! `cargo xtask run`.

use std::{
    fs::File,
    io::{IsTerminal, LineWriter},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;

use super::{Console, kernel_words};
use crate::{
    build::{self, Flavour},
    image::{Modules, iso},
    machine::{
        self,
        session::{LogSink, Session, StatsSink},
    },
    notes, options, packages,
    project::RunDir,
};

/// The program of `--interactive`.
const SHELL: &str = "sh";

/// What the machine boots, in the directory of the run.
pub(super) const ISO: &str = "jotun.iso";

/// Boot Jotun under QEMU or Bochs and run a program in it
///
/// Standard output is the program's output and nothing else, standard input reaches the program; the
/// kernel's log and xtask's own words go to standard error. On a terminal the keys are the program's,
/// and Ctrl-] ends the machine.
///
/// The exit status is the program's (128 plus the signal's number if one killed it). Otherwise: 70 the
/// kernel panicked, 71 the machine ended without a verdict, 124 the time-out, 125 xtask itself failed,
/// 130 Ctrl-C.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask run --smp 2                       the tour, on two CPUs
  cargo xtask run --up                          the tour, on the uniprocessor kernel
  cargo xtask run --smp 2 -i                    a shell, with the tools of busybox
  cargo xtask run -- sh -c 'find / | grep data | wc -l'
  cargo xtask run --smp 4 -- hello-std a b      a program of the image, with arguments
  cargo xtask run --smp 4 -- ./prog x y         a static Linux binary from the host
  cargo xtask run --smp 4 --lock mcs -- ./prog  the same with another giant lock
  ls | cargo xtask run -q -- cat-stdin | wc -l
  cargo xtask run --timeout 20 --stats - -- threads-std
  cargo xtask run --machine bochs --smp 4 -- ./prog       the same, counted in instructions
  cargo xtask run --rootfs tree -- /usr/bin/busybox find /

Without --smp and --up: the kernel for several CPUs, on two.")]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) build: options::Build,

    #[command(flatten)]
    machine: options::Machine,

    /// Run a shell, unless a program is named, and leave the kernel's log out; `exit` or Ctrl-D ends the shell,
    /// and with it the machine
    #[arg(short, long)]
    interactive: bool,

    /// Stop the machine after this time, less what it waited for the host's CPUs; the status is then 124
    #[arg(long, value_name = "SECONDS", value_parser = options::seconds)]
    timeout: Option<Duration>,

    /// A kernel that checks its arithmetic and its own assertions, and panics where one does not hold
    #[arg(long)]
    checked: bool,

    /// Write the kernel's log to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// Leave the kernel's log out; why a program cannot be run is said all the same
    #[arg(short, long, conflicts_with = "log")]
    quiet: bool,

    /// Write kernel statistics as JSON to this file when the run ends; `-` is standard error
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,

    #[command(flatten)]
    payload: options::Payload,
}

impl Run {
    /// Builds, boots and runs; the status of the run.
    pub(crate) fn execute(mut self) -> Result<u8> {
        if self.interactive && self.payload.program.is_empty() {
            self.payload.program = vec![SHELL.into()];
        }
        let cpus = self.build.cpus();
        // What is wrong with the options is said before anything is installed or built.
        packages::ensure(self.machine.uses(cpus)?)?;
        let log = self.log_sink()?;
        let stats = self.stats_sink()?;
        let terminal = machine::is_terminal();
        let built = build::build(&self.build, if self.checked { Flavour::Checked } else { Flavour::Plain })?;

        let mut dir = RunDir::new()?;
        let mut modules = Modules::prepare(&self.payload, &built, dir.path(), terminal)?;
        let input_ended = !terminal && self.machine.kind().has_input_ahead() && modules.take_input(dir.path())?;
        modules.fit(self.machine.memory)?;
        let iso = dir.path().join(ISO);
        let console = if terminal { Console::Terminal(machine::terminal_size()) } else { Console::Pipe };
        let words = kernel_words(&self.build, self.machine.kind(), console, self.stats.is_some(), &self.payload);
        iso::make(dir.path(), &iso, &built.kernel, &modules, iso::Style::Run, &words)?;
        if self.machine.print {
            dir.keep();
        }
        if terminal && !self.quiet {
            notes::note("Ctrl-] ends the machine");
        }
        let session = Session {
            player: self.machine.player(cpus, dir.path(), ISO)?,
            symbols: &built.symbols,
            terminal,
            input_ended,
            timeout: self.timeout,
            log,
            stats,
            print: self.machine.print,
            region: Default::default(),
        };
        session.run()
    }

    fn log_sink(&self) -> Result<LogSink> {
        Ok(match &self.log {
            Some(path) => LogSink::File(LineWriter::new(create(path)?)),
            // It would break into the lines that are being typed.
            None if self.quiet || self.interactive => LogSink::Drop,
            None if std::io::stderr().is_terminal() => LogSink::Terminal,
            None => LogSink::Plain,
        })
    }

    fn stats_sink(&self) -> Result<StatsSink> {
        Ok(match &self.stats {
            None => StatsSink::None,
            Some(path) if path.as_os_str() == "-" => StatsSink::Stderr,
            Some(path) => StatsSink::File(create(path)?),
        })
    }
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}
