//! `cargo xtask debug`.

use std::{
    ffi::OsString,
    fs::{self, File},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use signal_hook::{consts::SIGINT, flag};

use super::{Console, kernel_words};
use crate::{
    build::{self, Flavour},
    image::{Modules, iso},
    machine::{die_with_us, qemu},
    notes::note,
    options::{self, Kind},
    packages::{self, Use},
    project::{self, RunDir},
};

/// Start QEMU stopped, with gdb attached and the kernel's symbols loaded
///
/// The machine waits at its very first instruction. A good way to begin is `hbreak kernel::kernel_main` and
/// `continue`: before the boot loader has put the kernel there, only a hardware breakpoint holds.
/// Console output and kernel log go to files, which are named at the start. Ctrl-C in gdb interrupts
/// the machine; leaving gdb ends it.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask debug --up
  cargo xtask debug --smp 2 -- hello-std a b
  cargo xtask debug --up --ex 'hbreak kernel::kernel_main' --ex continue
  cargo xtask debug --no-gdb                    for a debugger of your own

Each CPU is a thread of gdb's: `info threads`, `thread 2`.")]
pub(crate) struct Debug {
    #[command(flatten)]
    build: options::Build,

    #[command(flatten)]
    machine: options::Machine,

    /// A command for gdb to begin with; may be repeated
    #[arg(long, value_name = "COMMAND")]
    ex: Vec<OsString>,

    /// Let gdb end after the commands of --ex
    #[arg(long)]
    batch: bool,

    /// Attach no gdb: say how to, and wait
    #[arg(long, conflicts_with_all = ["ex", "batch"])]
    no_gdb: bool,

    #[command(flatten)]
    payload: options::Payload,
}

impl Debug {
    /// Starts both; the status is gdb's, or 0.
    pub(crate) fn execute(self) -> Result<u8> {
        if self.machine.kind() != Kind::Qemu {
            bail!("gdb attaches to QEMU only: leave --machine out");
        }
        let mut uses = vec![Use::Boot];
        uses.extend(self.machine.uefi.then_some([Use::Efi, Use::Ovmf]).into_iter().flatten());
        uses.extend((!self.no_gdb).then_some(Use::Debug));
        packages::ensure(&uses)?;
        let built = build::build(&self.build, Flavour::Plain)?;

        let dir = RunDir::new()?;
        let modules = Modules::prepare(&self.payload, &built, dir.path(), false)?;
        modules.fit(self.machine.memory)?;
        let iso = dir.path().join("jotun.iso");
        let words = kernel_words(&self.build, self.machine.kind(), Console::Plain, false, &self.payload);
        iso::make(dir.path(), &iso, &built.kernel, &modules, iso::Style::Run, &words)?;

        let port = free_port()?;
        let files = Files::new()?;
        let mut qemu = self.start(&iso, port, &files)?;
        note(format_args!("console: {}", files.console.display()));
        note(format_args!("kernel log: {}", files.log.display()));
        let symbols = built.symbols.display();
        if self.no_gdb {
            note(format_args!("attach with: gdb -ex 'target remote 127.0.0.1:{port}' {symbols}"));
            let status = qemu.wait().context("cannot wait for QEMU")?;
            note(format_args!("the machine ended ({status})"));
            return Ok(0);
        }
        let gdb = self.gdb(&built.symbols, port);
        let _ = qemu.kill();
        let _ = qemu.wait();
        gdb
    }

    fn start(&self, iso: &Path, port: u16, files: &Files) -> Result<Child> {
        let mut command = Command::new(qemu::PROGRAM);
        command.args(qemu::arguments(&self.machine, self.build.cpus(), iso)?);
        for (name, path) in [("console", &files.console), ("log", &files.log)] {
            command.arg("-chardev").arg(qemu::file_option(&format!("file,id={name},path="), path));
        }
        command.args(["-S", "-gdb", &format!("tcp:127.0.0.1:{port}")]);
        if self.machine.print {
            let words: Vec<OsString> = command.get_args().map(OsString::from).collect();
            note(qemu::shell_line(qemu::PROGRAM, &words));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if !self.no_gdb {
            // Ctrl-C is for gdb alone, which then stops the guest and not QEMU.
            command.process_group(0);
        }
        die_with_us(&mut command);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", qemu::PROGRAM))?;
        // An argument that QEMU does not take ends it at once, and it has said why.
        std::thread::sleep(Duration::from_millis(200));
        match child.try_wait().context("cannot wait for QEMU")? {
            Some(status) => bail!("QEMU ended at once ({status})"),
            None => Ok(child),
        }
    }

    fn gdb(&self, symbols: &Path, port: u16) -> Result<u8> {
        // The terminal sends Ctrl-C to us as well; gdb knows what to do with it.
        let ignored = std::sync::Arc::default();
        flag::register(SIGINT, ignored).context("cannot watch for signals")?;
        let mut gdb = Command::new("gdb");
        gdb.arg("-q").args(self.batch.then_some("-batch"));
        gdb.args(["-ex", "set confirm off", "-ex", "set pagination off"]);
        // Before the directory in which the kernel was built: the checkout may have moved since.
        gdb.arg("-d").arg(project::root());
        gdb.args(["-ex", &format!("target remote 127.0.0.1:{port}")]);
        for command in &self.ex {
            gdb.arg("-ex").arg(command);
        }
        let status = gdb.arg(symbols).status().context("cannot start gdb")?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
    }
}

/// The files that take the machine's output.
struct Files {
    console: PathBuf,
    log: PathBuf,
}

impl Files {
    fn new() -> Result<Self> {
        let dir = project::target().join("debug-session");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let files = Self { console: dir.join("console"), log: dir.join("log") };
        for path in [&files.console, &files.log] {
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(files)
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port for gdb")?;
    Ok(listener.local_addr().context("no free port for gdb")?.port())
}
