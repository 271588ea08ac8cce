//! `cargo xtask test`.

use std::{
    io::{BufRead, BufReader, Write, stdout},
    panic::resume_unwind,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use abi::strategies::{GIANT, Strategy};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::check::{all_but_kernels, exclude_guests, kernel};
use crate::{
    build::{self, Flavour},
    options::{self, Lock, Variant},
    packages::{self, Use, tool},
    project,
};

/// The package of the boot tests.
const BOOT_TESTS: &str = "boot-tests";

/// Run everything that CI runs: format, lints, host tests, boot tests
///
/// All steps run even if one fails, but for boot tests of what could not be built. A summary ends the
/// output, and its last line counts the tests: `N passed, N failed`. The status is 0 if none failed.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask test
  cargo xtask test --host                       nothing that boots a machine
  cargo xtask test --boot uefi                  the boot tests with `uefi` in their name
  cargo xtask test --boot --strategy baton      the boot tests, those of several CPUs with another strategy
  cargo xtask test --boot --strategy application --cpus 2,4,8 soak
                                                on each of these numbers of CPUs, in place of the tests' own
  cargo xtask test --every-lock                 all queue algorithms of the giant lock
  cargo xtask test --miri                       undefined behaviour looked for in the host tests")]
pub(crate) struct Test {
    /// Only what runs on the host: format, lints, host tests
    #[arg(long, conflicts_with = "boot")]
    host: bool,

    /// Only the boot tests
    #[arg(long)]
    boot: bool,

    /// Only the host tests of what the kernel is made of, under Miri: takes minutes and a nightly toolchain
    #[arg(long, conflicts_with_all = ["host", "boot"])]
    miri: bool,

    /// The strategy of the boot tests that have several CPUs
    #[arg(long, value_name = "NAME", default_value = GIANT, value_parser = options::strategy, conflicts_with_all = ["host", "miri"])]
    strategy: &'static Strategy,

    /// The numbers of CPUs of the boot tests that have several, in place of each test's own
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = options::cpus, conflicts_with_all = ["host", "miri"])]
    cpus: Vec<u8>,

    /// Build and boot the giant lock's kernels of all queue algorithms, not only the first and the last
    #[arg(long, conflicts_with_all = ["host", "miri"])]
    every_lock: bool,

    /// Only tests with this text in their name, no format, no lints
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
}

/// The toolchain that has Miri.
const NIGHTLY: &str = "nightly";

/// What the kernel is made of and the host can run.
const KERNEL_CRATES: [&str; 7] = ["abi", "cpulocal", "giantlock", "slabs", "trace", "files", "containers"];

/// What a step came to.
#[derive(Default, PartialEq, Eq, Debug)]
struct Outcome {
    passed: u64,
    failed: u64,
    /// Names of the failed tests.
    names: Vec<String>,
}

/// A finished step.
struct Step {
    name: String,
    outcome: Outcome,
    time: Duration,
}

impl Test {
    /// Runs the steps and sums them up.
    pub(crate) fn execute(self) -> Result<u8> {
        if self.miri {
            let miri = step(&mut stdout(), "host tests under Miri", |out| tests(out, self.miri_tests()?));
            return Ok(summary(&[miri]));
        }
        if !self.strategy.several {
            bail!("the strategy `{}` is for one CPU: name one for several", self.strategy.name);
        }
        if self.strategy.load.is_some() && self.cpus.contains(&1) {
            bail!("the strategy `{}` needs a CPU beside the boot CPU: name 2 or more", self.strategy.name);
        }
        let (host, boot) = (!self.boot, !self.host);
        if boot {
            packages::ensure(&[Use::Boot, Use::Efi, Use::Ovmf, Use::Test])?;
        }
        let mut ready = false;
        // Each of the two keeps one core busy for most of the time.
        let mut steps = beside(
            |out| {
                let mut steps = Vec::new();
                if host && self.filter.is_none() {
                    steps.extend(checks().into_iter().map(|(name, command)| step(out, &name, |_| check(command))));
                }
                if host {
                    steps.push(step(out, "host tests and doctests", |out| tests(out, self.host_tests())));
                    steps.push(step(out, "the kernel's calls on the host", |out| tests(out, self.kernel_tests())));
                }
                steps
            },
            |out| {
                let mut steps = Vec::new();
                if boot {
                    steps.push(step(out, "build of what boots", |_| build_all(&self.kernels())));
                    ready = steps.last().is_some_and(|built| built.outcome.failed == 0);
                }
                if host {
                    steps.push(step(out, "models", |out| tests(out, self.models())));
                }
                steps
            },
        );
        if ready {
            // A machine with several CPUs has the host's to itself but for those with one, so it goes on for long.
            steps.extend(beside(
                |out| [step(out, "boot tests", |out| tests(out, self.boot_tests(&["--lib", "--test", "boot"])?))],
                |out| [step(out, "boot tests: several CPUs", |out| tests(out, self.boot_tests(&["--test", "smp"])?))],
            ));
        }
        Ok(summary(&steps))
    }

    /// The kernels that are booted. A kernel takes most of a minute to build, so those of two queue algorithms stand for all
    /// of the giant lock's, and one for those of other strategies; their code is tested on the host and by lints here.
    fn kernels(&self) -> Vec<Variant> {
        let stands_for_all = |variant: &Variant| variant.lock == Lock::Ticket || *variant == Variant::giant(Lock::Tas);
        Variant::all().into_iter().filter(|variant| self.every_lock || stands_for_all(variant)).collect()
    }

    fn host_tests(&self) -> Command {
        let mut cargo = project::cargo("test");
        cargo.args(["--workspace", "--no-fail-fast", "--exclude", BOOT_TESTS]);
        exclude_guests(&mut cargo);
        cargo.args(&self.filter);
        cargo
    }

    /// The tests of the kernel's calls, which run on the host.
    fn kernel_tests(&self) -> Command {
        let mut cargo = project::cargo("test");
        cargo.args(["--package", "kernel", "--features", "smp"]).args(&self.filter);
        cargo
    }

    /// The models of the giant lock and of the application kernel, for loom, with fewer preemptions than a run without the
    /// bound explores. They are built with another cfg, so in a place of their own.
    fn models(&self) -> Command {
        let mut cargo = project::cargo("test");
        cargo.args(["--package", "giantlock", "--package", "application", "--release", "--test", "loom"]);
        cargo.args(&self.filter);
        cargo.env("LOOM_MAX_PREEMPTIONS", "2");
        cargo.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", project::target().join("loom"));
        cargo
    }

    /// The crates whose code is in the kernel. Their tests do less where Miri would take hours.
    fn miri_tests(&self) -> Result<Command> {
        let has_miri = Command::new("rustup").args(["run", NIGHTLY, "cargo", "miri", "--version"]).output();
        if !has_miri.is_ok_and(|output| output.status.success()) {
            bail!("there is no Miri here; to have it: rustup toolchain install {NIGHTLY} --component miri,rust-src");
        }
        let mut rustup = Command::new("rustup");
        rustup.args(["run", NIGHTLY, "cargo", "miri", "test", "--no-fail-fast"]).current_dir(project::root());
        rustup.args(KERNEL_CRATES.iter().flat_map(|name| ["--package", name])).args(&self.filter);
        // Its own place: another compiler's files would be made anew each time.
        rustup.env("CARGO_TARGET_DIR", project::target().join("miri"));
        // The table of frames lives as long as the machine, so tests leak theirs.
        rustup.env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-ignore-leaks").env("PROPTEST_CASES", "2");
        Ok(rustup)
    }

    /// The queue algorithms of the kernels that are booted.
    fn locks(&self) -> Vec<String> {
        let giants = self.kernels().into_iter().filter(|variant| variant.strategy.name == GIANT);
        giants.filter_map(|variant| Some(variant.lock.to_possible_value()?.get_name().to_owned())).collect()
    }

    /// The boot tests of these targets.
    fn boot_tests(&self, targets: &[&str]) -> Result<Command> {
        let mut cargo = project::cargo("test");
        cargo.args(["--package", BOOT_TESTS, "--no-fail-fast"]).args(targets).args(&self.filter);
        cargo
            .env("JOTUN_STRATEGY", self.strategy.name)
            .env("JOTUN_CPUS", self.cpus.iter().map(u8::to_string).collect::<Vec<_>>().join(","))
            .env("JOTUN_LOCKS", self.locks().join(" "))
            .env("JOTUN_XTASK", project::xtask()?)
            .env("JOTUN_TARGET", project::target());
        Ok(cargo)
    }
}

/// Format, lints and the links of comments, each with its name.
fn checks() -> Vec<(String, Command)> {
    let mut format = project::cargo("fmt");
    format.args(["--all", "--check"]);
    let plain = Variant::all().into_iter().map(|variant| kernel("clippy", variant, false));
    let traced = build::IN_ALL_FLAVOURS.map(|variant| kernel("clippy", variant, true));
    let lints = all_but_kernels("clippy").into_iter().chain(plain).chain(traced);
    let mut all = vec![("format".to_owned(), format)];
    for (name, mut command) in lints {
        command.args(["--", "-D", "warnings"]);
        all.push((format!("clippy: {name}"), command));
    }
    all.extend(links().map(|(name, command)| (format!("links in comments: {name}"), command)));
    all
}

/// A link in a comment names something that is there: a rename may have left another one behind.
fn links() -> [(String, Command); 2] {
    let mut host = project::cargo("doc");
    host.args(["--quiet", "--workspace"]);
    exclude_guests(&mut host);
    let host = ("what runs on the host".to_owned(), host);
    let [_, giant] = build::IN_ALL_FLAVOURS;
    [host, kernel("doc", giant, true)].map(|(name, mut command)| {
        command.args(["--no-deps", "--document-private-items"]);
        command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
        (name, command)
    })
}

fn build_all(kernels: &[Variant]) -> Result<Outcome> {
    let some = build::IN_ALL_FLAVOURS;
    build::build_flavours(&[(kernels, Flavour::Plain), (&some, Flavour::Traced), (&some, Flavour::Checked)])?;
    if tool("musl-gcc").is_some() {
        // Not part of the image: what the image holds must not depend on this compiler being here.
        build::c_programs("musl-gcc", "-musl", &project::stage()?.join(build::C_DIRECTORY))?;
    }
    let mut boot_tests = project::cargo("test");
    boot_tests.args(["--quiet", "--no-run", "--package", BOOT_TESTS]);
    check(boot_tests)
}

/// Runs two rows of steps side by side. What the second says is kept until the first is through.
fn beside<First, Second>(
    first: impl FnOnce(&mut dyn Write) -> First,
    second: impl FnOnce(&mut dyn Write) -> Second + Send,
) -> Vec<Step>
where
    First: IntoIterator<Item = Step>,
    Second: IntoIterator<Item = Step> + Send,
{
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            let mut said = Vec::new();
            (second(&mut said), said)
        });
        let mut steps: Vec<_> = first(&mut stdout()).into_iter().collect();
        let (others, said) = second.join().unwrap_or_else(|panic| resume_unwind(panic));
        // An error is not reported if the words cannot be written: the summary could not be either.
        _ = stdout().write_all(&said);
        steps.extend(others);
        steps
    })
}

/// Runs one step under a heading. A step that cannot be run has failed.
fn step(out: &mut dyn Write, name: &str, run: impl FnOnce(&mut dyn Write) -> Result<Outcome>) -> Step {
    let start = Instant::now();
    let outcome = writeln!(out, "\n== {name} ==").context("cannot write").and_then(|()| run(out));
    let outcome = outcome.unwrap_or_else(|error| {
        _ = writeln!(out, "{error:#}");
        Outcome { failed: 1, ..Outcome::default() }
    });
    Step { name: name.to_owned(), outcome, time: start.elapsed() }
}

/// A step that passes or fails as a whole; only its failure is counted.
fn check(mut command: Command) -> Result<Outcome> {
    let status = command.stdin(Stdio::null()).status().context("cannot start cargo")?;
    Ok(Outcome { failed: u64::from(!status.success()), ..Outcome::default() })
}

/// `cargo test`, its output passed on and counted.
fn tests(out: &mut dyn Write, mut command: Command) -> Result<Outcome> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut outcome = Outcome::default();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(|lines| lines.split(b'\n')) {
        let line = line.context("cannot read the tests' output")?;
        outcome.count(&String::from_utf8_lossy(&line));
        out.write_all(&line).and_then(|()| out.write_all(b"\n")).context("cannot write")?;
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() && outcome.failed == 0 {
        // Something did not compile, or a test program died.
        outcome.failed = 1;
    }
    Ok(outcome)
}

impl Outcome {
    /// Takes a line of a test program's output into account.
    fn count(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            let number = |what: &str| -> u64 {
                let words: Vec<&str> = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
                let at = words.iter().position(|&word| word == what);
                at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
            };
            self.passed += number("passed");
            self.failed += number("failed");
        } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.names.push(name.to_owned());
        }
    }
}

fn summary(steps: &[Step]) -> u8 {
    println!("\n== summary ==");
    let (mut passed, mut failed) = (0, 0);
    for Step { name, outcome, time } in steps {
        let verdict = if outcome.failed == 0 { "ok    " } else { "FAILED" };
        println!("{verdict}  {:6.1} s  {name}", time.as_secs_f64());
        for name in &outcome.names {
            println!("                  {name}");
        }
        passed += outcome.passed;
        failed += outcome.failed;
    }
    println!("{passed} passed, {failed} failed");
    u8::from(failed > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed_over_test_programs() {
        let mut outcome = Outcome::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.50s",
        ] {
            outcome.count(line);
        }
        assert_eq!(outcome, Outcome { passed: 12, failed: 1, names: vec!["a::c".into()] });
    }

    #[test]
    fn rows_of_steps_run_side_by_side() {
        let (tell, told) = std::sync::mpsc::channel();
        let done = |out: &mut dyn Write, name| step(out, name, |_| Ok(Outcome { passed: 1, ..Outcome::default() }));
        let steps = beside(
            |out| {
                told.recv().expect("the other row has begun");
                vec![done(out, "a"), done(out, "b")]
            },
            |out| {
                tell.send(()).expect("somebody waits");
                Some(done(out, "c"))
            },
        );
        assert_eq!(steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn a_step_that_cannot_run_has_failed() {
        let mut said = Vec::new();
        let step = step(&mut said, "broken", |_| anyhow::bail!("no such tool"));
        assert_eq!(step.outcome.failed, 1);
        assert_eq!(String::from_utf8_lossy(&said), "\n== broken ==\nno such tool\n");
        assert_eq!(summary(&[step]), 1);
        assert_eq!(summary(&[]), 0);
    }
}
