//! `cargo xtask bench`.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use signal_hook::{consts::SIGINT, flag};

use crate::{
    bench::{self, BENCHMARKS, LINUX_WORDS, Lab, Linux, report::Report},
    build::{self, Flavour},
    machine::bochs,
    notes::note,
    options,
    packages::{self, Use},
    project::{self, RunDir},
};

/// Where results go unless told otherwise, in Cargo's target directory.
const DIRECTORY: &str = "bench";

/// CPUs of the benchmarks that go over several, quick and thorough.
const CPUS: [&[u8]; 2] = [&[1, 2, 4], &[1, 2, 3, 4, 5, 6, 7, 8]];

/// How often Linux is booted for a figure, quick and thorough.
const BOOTS: [usize; 2] = [1, 3];

/// When a run is given up: most take seconds, but hosts differ.
const TIMEOUT: Duration = Duration::from_secs(1800);

/// Another system to run the same programs on.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Other {
    /// Debian's kernel for virtual machines, which apt downloads
    Linux,
}

/// Measure in instructions: single operations, the papers' tables, the locks; Linux beside them
///
/// Without names: all benchmarks. Each one's tables are shown as soon as they are there, and written as
/// bench.json, bench.html with charts, and the charts as pictures. The figures are the same on every
/// host. A benchmark that fails is named and the others are measured all the same; the status is then 1, as if `growth`
/// finds that an operation gets dearer among strangers.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask bench                                    all of them
  cargo xtask bench --quick                            fewer points, shorter runs
  cargo xtask bench null pipe thread --against linux   some operations, and on Debian's kernel too
  cargo xtask bench sweep --cpus 1,2,4,8               user share and CPUs, the papers' figures
  cargo xtask bench parallel mix                       programs of eight threads; several programs at once
  cargo xtask bench application                        the application kernel beside the papers' figures
  cargo xtask bench growth --against linux             what operations cost among 10 to 10,000 strangers
  cargo xtask bench --against linux --write-docs       docs/results.md and its tables in other pages
  cargo xtask bench --list                             their names")]
pub(crate) struct Bench {
    /// Which benchmarks; `micro` and `native` are all single operations of the kind, `application` is what the papers
    /// on the application kernel have measured
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Show the names that there are
    #[arg(long)]
    list: bool,

    /// Fewer points and shorter runs: figures are rougher
    #[arg(long)]
    quick: bool,

    /// Measure this system too, on the same machine with the same programs
    #[arg(long, value_enum, value_name = "SYSTEM")]
    against: Option<Other>,

    /// CPUs of the benchmarks that go over several [default: 1 to 8; quick: 1,2,4]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = cpus)]
    cpus: Vec<u8>,

    /// Give a run up after this time [default: 1800]
    #[arg(long, value_name = "SECONDS", value_parser = options::seconds)]
    timeout: Option<Duration>,

    /// The directory for the results [default: target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Write docs/results.md, its charts, and its tables in other pages anew: of all benchmarks
    #[arg(long, conflicts_with = "names")]
    write_docs: bool,

    /// Take what the last build left, look at no source
    #[arg(long, hide = true)]
    no_build: bool,
}

/// A number of CPUs that the machine can have.
fn cpus(text: &str) -> Result<u8, String> {
    let bounds = || format!("Bochs takes {} to {} CPUs", bochs::CPUS.start(), bochs::CPUS.end());
    text.parse().ok().filter(|cpus| bochs::CPUS.contains(cpus)).ok_or_else(bounds)
}

impl Bench {
    /// Measures; the status is 0 if nothing failed.
    pub(crate) fn execute(self) -> Result<u8> {
        if self.list {
            let list: String = BENCHMARKS.iter().map(|(_, name, about)| format!("{name:14} {about}\n")).collect();
            let _ = std::io::stdout().lock().write_all(list.as_bytes());
            return Ok(0);
        }
        // What is wrong is said before anything is installed, built or run.
        let benchmarks = bench::chosen(&self.names)?;
        let out = self.out.clone().unwrap_or_else(|| project::target().join(DIRECTORY));
        fs::create_dir_all(&out).with_context(|| format!("cannot make the directory {}", out.display()))?;
        let json = out.join("bench.json");
        // Earlier results stay until there are others.
        let writable = File::options().append(true).create(true).open(&json);
        writable.with_context(|| format!("cannot write {}", json.display()))?;
        packages::ensure(&[Use::Boot, Use::Bochs])?;
        if !self.no_build {
            let kernels = bench::kernels(&benchmarks);
            build::build_flavours(&[(&kernels.plain, Flavour::Plain), (&kernels.recording, Flavour::Traced)])?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        flag::register(SIGINT, stop.clone()).context("cannot watch for signals")?;
        let (mut failures, mut broken) = (Vec::new(), Vec::new());
        let linux = self.linux(&mut failures);
        let no_linux = failures.first().cloned();
        let mut cpus = self.cpus.clone();
        if cpus.is_empty() {
            cpus = CPUS[usize::from(!self.quick)].to_vec();
        }
        cpus.sort_unstable();
        cpus.dedup();
        let lab = Lab {
            quick: self.quick,
            cpus,
            linux: linux.map(Arc::new),
            boots: BOOTS[usize::from(!self.quick)],
            timeout: self.timeout.unwrap_or(TIMEOUT),
            stop,
            dir: Arc::new(RunDir::new()?),
            hands: Arc::default(),
            place: 0,
            begun: Arc::default(),
        };
        let mut report = Report { command: self.command(), setting: setting(&lab, no_linux), sections: Vec::new() };
        bench::run(&lab, &benchmarks, |section| {
            let _ = std::io::stdout().lock().write_all(section.text().as_bytes());
            failures.extend(section.failures.iter().cloned());
            broken.extend(section.broken.iter().cloned());
            report.sections.push(section);
            // All may take hours: what is there stays, whatever comes.
            bench::write(&report, &out)
        })?;
        if !report.sections.is_empty() {
            note(format_args!("written to {}: bench.html, bench.json and the charts", out.display()));
        }
        // Pages do not lose what was not measured because the user has had enough.
        if self.write_docs && !lab.stopped() {
            bench::write_document(&report, &project::root().join("docs"))?;
            note("docs/results.md and its tables in other pages are written anew");
        }
        failures.iter().for_each(|failure| note(format_args!("not measured: {failure}")));
        broken.iter().for_each(|what| note(format_args!("broken: {what}")));
        Ok(match (lab.stopped(), failures.is_empty() && broken.is_empty()) {
            (true, _) => 130,
            (false, true) => 0,
            (false, false) => 1,
        })
    }

    /// Linux, if it is wanted and to be had; without it the other results are worth having.
    fn linux(&self, failures: &mut Vec<String>) -> Option<Linux> {
        self.against?;
        let linux = Linux::fetch().and_then(|linux| {
            let programs = project::target().join(build::MUSL).join("release");
            let own = ["bench", "growth", "scaling", "teams", "linux-init"].map(|name| (name, programs.join(name)));
            let all = own.into_iter().chain([("busybox", packages::busybox()?)]);
            Ok(all.fold(linux, |linux, (name, file)| linux.with(name, file)))
        });
        linux.map_err(|error| failures.push(format!("Linux: {error:#}"))).ok()
    }

    /// The command as the user has typed it.
    fn command(&self) -> String {
        let mut words: Vec<String> = std::env::args().skip(2).filter(|word| word != "--no-build").collect();
        // Where the results are put has no part in them.
        if let Some(at) = words.iter().position(|word| word == "--out") {
            words.drain(at..words.len().min(at + 2));
        }
        ["cargo xtask bench".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
    }
}

/// What it was measured on and with; `no_linux` is why there is no Linux beside it, if there was to be one.
fn setting(lab: &Lab, no_linux: Option<String>) -> Vec<(String, String)> {
    let tell = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(project::root()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
    };
    let unknown = || "unknown".to_owned();
    let bochs = tell("dpkg-query", &["--show", "--showformat=${Version}", "bochs"]).unwrap_or_else(unknown);
    let qemu = tell("dpkg-query", &["--show", "--showformat=${Version}", "qemu-system-x86"]).unwrap_or_else(unknown);
    let commit = tell("git", &["describe", "--always", "--dirty"]).unwrap_or_else(unknown);
    let rustc = tell("rustc", &["--version"]).unwrap_or_else(unknown);
    let mut setting = vec![
        ("machine".to_owned(), format!("Bochs {bochs}, {}: an instruction on every CPU is a tick", bochs::CPU)),
        (
            "machine for single operations on one CPU".to_owned(),
            format!("QEMU {qemu}, `-icount shift=0,sleep=off`: likewise"),
        ),
        ("Jotun".to_owned(), format!("{commit}, {rustc}")),
    ];
    if let Some(linux) = &lab.linux {
        let words = format!("Debian's {}, `{LINUX_WORDS}`; the median of {} boots", linux.version, lab.boots);
        setting.push(("Linux".to_owned(), words));
    }
    setting.extend(no_linux.map(|why| ("not measured".to_owned(), why)));
    let kind = if lab.quick { "quick: fewer points, shorter runs" } else { "thorough" };
    setting.push(("runs".to_owned(), kind.to_owned()));
    setting
}
