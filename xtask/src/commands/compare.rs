//! `cargo xtask compare`.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{IsTerminal, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use signal_hook::{consts::SIGINT, flag};

use super::profile::BENCHMARK;
use crate::{
    build::{self, Flavour},
    child,
    comparison::{Clock, Comparison, Sample, Setup},
    machine::qemu,
    notes::note,
    options::{self, Accel, Kind},
    packages,
    project::{self, RunDir},
};

/// Where the comparison goes unless told otherwise, in Cargo's target directory.
const DIRECTORY: &str = "compare";

/// Compare kernels: the same program on the uniprocessor kernel and on several CPUs, with any giant lock
///
/// Runs the program on each variant in turn, several rounds, so that what the host does meanwhile strikes all
/// alike, and shows the medians with their spread: wall time, speed-up against the first variant, where the
/// time went, waits for the lock, page directories. On the terminal, and in a directory as compare.html and
/// compare.json. What is read from standard input is the same for all; the program's output is not shown.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask compare                                                the benchmark of two processes
  cargo xtask compare --variants up,giant:1,giant:2,giant:4 -- ./prog args
  cargo xtask compare --variants giant:4/ticket,giant:4/clh,giant:4/tas -- ./prog
  cargo xtask compare --machine icount --variants up,giant:1 -- null-call
  cargo xtask compare --machine qemu -- ./prog                       quick, and less to be believed

Without --machine it is KVM where that works, else Bochs, which counts instructions. QEMU's translator has two speeds
that have nothing to do with the program: there seven rounds at least are made, and the least times compared.

A variant is `up`, the uniprocessor kernel; or `giant:N`, the kernel for several CPUs on N of them, with the
ticket lock, of which `smp:N` is a synonym; or `giant:N/LOCK` with another lock: mcs, clh, tas. With `:strict` behind it (`giant:4:strict`) threads
stay on the CPU that they started on.")]
pub(crate) struct Compare {
    /// What is compared, the first being what the others are held against
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "up,giant:1,giant:2", value_parser = Setup::parse)]
    variants: Vec<Setup>,

    /// Rounds; in each, every variant has its turn [default: 1 where instructions are counted, 5 with KVM, 7 on QEMU's
    /// translator, where there are no fewer]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,

    #[command(flatten)]
    machine: options::Machine,

    /// Stop a run after this time
    #[arg(long, value_name = "SECONDS", value_parser = options::seconds)]
    timeout: Option<Duration>,

    /// The directory for the result [default: target/compare]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Take what the last build left, look at no source
    #[arg(long, hide = true)]
    no_build: bool,

    #[command(flatten)]
    payload: options::Payload,
}

impl Compare {
    /// Runs all and compares. The status is 0 if all runs ended with 0, else that of the first that did not.
    pub(crate) fn execute(mut self) -> Result<u8> {
        for (index, setup) in self.variants.iter().enumerate() {
            if self.variants[..index].contains(setup) {
                bail!("--variants names `{}` twice", setup.name());
            }
        }
        let out = self.out.clone().unwrap_or_else(|| project::target().join(DIRECTORY));
        fs::create_dir_all(&out).with_context(|| format!("cannot make the directory {}", out.display()))?;
        // Now, rather than when everything has been measured.
        let json = out.join("compare.json");
        File::create(&json).with_context(|| format!("cannot write {}", json.display()))?;
        let clock = self.choose_clock();
        for setup in &self.variants {
            packages::ensure(self.machine.uses(setup.cpus)?)?;
        }
        if self.payload.program.is_empty() {
            self.payload.program = vec![BENCHMARK.into()];
        }
        if !self.no_build {
            let mut kernels: Vec<_> = self.variants.iter().map(|setup| setup.variant).collect();
            kernels.dedup();
            build::build_variants(&kernels, Flavour::Plain)?;
        }
        let dir = RunDir::new()?;
        let input = dir.path().join("input");
        let mut bytes = Vec::new();
        if !std::io::stdin().is_terminal() {
            std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        }
        fs::write(&input, bytes).context("cannot keep the input")?;
        let (runs, status) = self.run_all(self.rounds(clock), &input, dir.path())?;
        let program: Vec<_> = self.payload.program.iter().map(|word| word.to_string_lossy()).collect();
        let machine = (self.machine.kind().name(), clock);
        let comparison = Comparison::new(program.join(" "), machine, self.variants, runs);
        let _ = std::io::stdout().lock().write_all(comparison.text().as_bytes());
        comparison.write(&out)?;
        note(format_args!("written to {}: compare.html, compare.json", out.display()));
        Ok(status)
    }

    /// Takes a machine whose figures can be believed, unless the user has chosen one, and tells what its clock is good
    /// for.
    fn choose_clock(&mut self) -> Clock {
        let kvm = qemu::kvm().is_ok();
        self.machine.prefer(if kvm { Kind::Qemu } else { Kind::Bochs });
        match self.machine.kind() {
            kind if kind.counts_instructions() => Clock::Instructions,
            _ if kvm && self.machine.accel != Accel::Tcg => Clock::Hardware,
            _ => Clock::Translator,
        }
    }

    /// How many rounds are made.
    fn rounds(&self, clock: Clock) -> u16 {
        let (least, usual) = clock.rounds();
        let rounds = self.rounds.unwrap_or(usual);
        if rounds < least {
            note(format_args!("{rounds} rounds say too little on QEMU's translator: there will be {least}"));
        }
        rounds.max(least)
    }

    /// Runs all rounds; samples by variant, and the status. Ctrl-C ends it with what there is.
    fn run_all(&self, rounds: u16, input: &Path, dir: &Path) -> Result<(Vec<Vec<Sample>>, u8)> {
        let stop = Arc::new(AtomicBool::new(false));
        flag::register(SIGINT, stop.clone()).context("cannot watch for signals")?;
        let mut runs = vec![Vec::new(); self.variants.len()];
        let mut status = 0;
        let mut output: Option<Vec<u8>> = None;
        let stopped = || stop.load(Ordering::Relaxed);
        'rounds: for round in 1..=rounds {
            for (setup, samples) in self.variants.iter().zip(&mut runs) {
                if stopped() {
                    break 'rounds;
                }
                note(format_args!("round {round} of {rounds}: {}", setup.name()));
                let run = self.run(setup, input, dir)?;
                if stopped() && run.status != 0 {
                    // It was stopped as well, which says nothing about the program.
                    break 'rounds;
                }
                if run.status != 0 {
                    note(format_args!("{} ended with status {}:\n{}", setup.name(), run.status, run.words));
                    status = if status == 0 { run.status } else { status };
                }
                match Sample::of(&run.statistics) {
                    Some(sample) => samples.push(sample),
                    None => {
                        note(format_args!("{} gave no statistics, and does not count in round {round}", setup.name()))
                    }
                }
                if output.get_or_insert_with(|| run.output.clone()) != &run.output && round == 1 {
                    note(format_args!("{} wrote something else than {}", setup.name(), self.variants[0].name()));
                }
            }
        }
        if stopped() {
            note("stopped; this is what was measured until then");
            status = if status == 0 { 130 } else { status };
        }
        Ok((runs, status))
    }

    fn run(&self, setup: &Setup, input: &Path, dir: &Path) -> Result<child::Run> {
        let mut options: Vec<OsString> = setup.options().into_iter().map(OsString::from).collect();
        options.extend(self.machine_options());
        options.extend(self.payload_options());
        let input = File::open(input).context("cannot read the input again")?;
        child::run(&options, &self.payload.program, input.into(), &dir.join("stats"))
    }

    fn machine_options(&self) -> Vec<OsString> {
        let machine = &self.machine;
        let mut words: Vec<OsString> = Vec::new();
        let mut option = |name: &str, value: &str| words.push(format!("{name}={value}").into());
        option("--machine", machine.kind().name());
        option("--memory", &machine.memory.to_string());
        match machine.accel {
            Accel::Auto => {}
            Accel::Tcg => option("--accel", "tcg"),
            Accel::Kvm => option("--accel", "kvm"),
        }
        machine.cpu.iter().for_each(|cpu| option("--cpu", cpu));
        self.timeout.iter().for_each(|timeout| option("--timeout", &timeout.as_secs_f64().to_string()));
        words.extend(machine.uefi.then(|| "--uefi".into()));
        for argument in &machine.further {
            words.extend(["--qemu".into(), argument.clone()]);
        }
        words
    }

    fn payload_options(&self) -> Vec<OsString> {
        let payload = &self.payload;
        let mut words: Vec<OsString> = Vec::new();
        payload.rootfs.iter().for_each(|dir| words.extend(["--rootfs".into(), dir.into()]));
        payload.environment.iter().for_each(|variable| words.extend(["--env".into(), variable.clone()]));
        payload.append.iter().for_each(|append| words.extend(["--append".into(), append.into()]));
        words
    }
}
