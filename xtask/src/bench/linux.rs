//! The other system: Debian's kernel, on the same machine, with the same programs.
//!
//! The kernel is taken out of Debian's package, which apt downloads without installing it. Its file system is
//! an archive with `linux-init` as the first process, which runs one program and switches the machine off.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{entry::wait, lab::Run};
use crate::{
    image::{archive::Archive, iso},
    machine::{
        bochs::{self, Plan},
        die_with_us,
    },
    notes::note,
    options::{Kind, Machine},
    packages::tool,
    project,
};

/// Debian's package that always depends on the newest kernel for virtual machines.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// Memory in MiB: as Jotun has by default, and room for what Debian's kernel unpacks.
const MEMORY: u32 = 512;

/// What the kernel is told. No messages, which would be in what is measured. And the clock's rate: CPUID says 3.5 GHz
/// where the machine has 100 MHz, and a kernel that believes it sets its timer for twenty times too soon.
const WORDS: &str = "console=ttyS0 quiet mitigations=off tsc_early_khz=100000 rdinit=/init --";

/// Ticks of the time-stamp counter between two timer interrupts: 100 MHz by Debian's 250 in a second.
const TIMER: u64 = 400_000;

/// The clock that the kernel is to have.
const CLOCK: &str = "tsc";

/// The file for the console, in a run's directory.
const CONSOLE: &str = "console";

/// What it boots, in a run's directory.
const ISO: &str = "linux.iso";

/// A kernel that can be booted.
pub(crate) struct Linux {
    kernel: PathBuf,
    /// Its version, as in the file's name.
    pub(crate) version: String,
    /// Programs from the host: name and file.
    programs: Vec<(String, PathBuf)>,
}

impl Linux {
    /// Finds the kernel below Cargo's target directory, or fetches it.
    pub(crate) fn fetch() -> Result<Self> {
        let all = project::target().join("linux");
        fs::create_dir_all(&all).with_context(|| format!("cannot make {}", all.display()))?;
        if kernel_below(&all).is_none() {
            download(&all)?;
        }
        let kernel = kernel_below(&all).context("there is no kernel in Debian's package")?;
        let name = kernel.file_name().unwrap_or_default().to_string_lossy();
        let version = name.trim_start_matches("vmlinuz-").to_owned();
        Ok(Self { kernel, version, programs: Vec::new() })
    }

    /// Takes a program along, as `/bin/NAME`.
    pub(crate) fn with(mut self, name: &str, file: PathBuf) -> Self {
        self.programs.push((name.to_owned(), file));
        self
    }

    /// Runs a program to its end; `dir` is an empty directory.
    pub(super) fn run(&self, cpus: u8, program: &[String], dir: &Path, timeout: Duration) -> Result<Run> {
        let mut archive = Archive::default();
        for (path, mode) in [("dev", 0o755), ("proc", 0o555), ("sys", 0o555), ("tmp", 0o1777)] {
            archive.directory(path, mode);
        }
        for (name, file) in &self.programs {
            let path = if name == "linux-init" { "init".to_owned() } else { format!("bin/{name}") };
            archive.program(&path, file)?;
        }
        let files = dir.join("init.cpio");
        archive.write(&files)?;
        let [name, arguments @ ..] = program else { bail!("no program was named") };
        let words = format!("{WORDS} /bin/{name} {}", arguments.join(" "));
        iso::make_linux(dir, &dir.join(ISO), &self.kernel, &files, &words)?;
        let machine = Machine { memory: MEMORY, ..Machine::of(Kind::Bochs) };
        let plan = Plan::new(&machine, cpus, dir.to_owned(), ISO);
        let ended = play(&plan, timeout)?;
        let console = fs::read(dir.join(CONSOLE)).unwrap_or_default();
        let _ = fs::remove_dir_all(dir);
        Ok(verdict(&String::from_utf8_lossy(&console).replace('\r', ""), ended))
    }
}

/// What the console's text tells; `ended` is whether the machine has ended by itself.
fn verdict(console: &str, ended: bool) -> Run {
    let status = console.lines().find_map(|line| line.strip_prefix("linux-init: "));
    let failure = match status {
        Some("status 0") => wrong_clock(console),
        Some(other) => Some(format!("ended with {other}")),
        None if ended => {
            let last = console.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing at all");
            Some(format!("the machine ended too early; its last words: {last}"))
        }
        None => Some("no end within the time".to_owned()),
    };
    Run { output: console.to_owned(), failure, ..Run::default() }
}

/// Why the kernel's clock is none to measure with, if so: it has another clock, or another rate of its timer, than it
/// believes.
fn wrong_clock(console: &str) -> Option<String> {
    let Some(told) = console.lines().find_map(|line| line.strip_prefix("linux-clock: ")) else {
        return Some("it did not tell what its clock is".to_owned());
    };
    let right = told.split_once(' ').is_some_and(|(clock, ticks)| {
        clock == CLOCK && ticks.parse().is_ok_and(|ticks: u64| ticks.abs_diff(TIMER) <= TIMER / 20)
    });
    (!right).then(|| format!("its clock is wrong: {told} ticks a timer interrupt; {CLOCK} and {TIMER} are right"))
}

/// Runs the machine; whether it has ended by itself.
fn play(plan: &Plan, timeout: Duration) -> Result<bool> {
    plan.write(&format!("mode=file, dev={CONSOLE}"), bochs::GO)?;
    let mut command = plan.command();
    // The debugger listens there, and ends at the end of its input.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    die_with_us(&mut command);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", bochs::PROGRAM))?;
    let input = child.stdin.take();
    let ended = wait(&mut child, timeout);
    drop(input);
    if !matches!(ended, Ok(true)) {
        let _ = child.kill();
        let _ = child.wait();
    }
    ended
}

/// The newest kernel that was unpacked there.
fn kernel_below(all: &Path) -> Option<PathBuf> {
    let files = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut kernels: Vec<_> = files(all.to_owned()).flat_map(|package| files(package.join("boot"))).collect();
    kernels.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")));
    kernels.sort();
    kernels.pop()
}

/// Has apt download the package, and unpacks it.
fn download(all: &Path) -> Result<()> {
    for name in ["apt-get", "apt-cache", "dpkg-deb"] {
        if tool(name).is_none() {
            bail!("--against linux takes Debian's kernel, and {name} is not here; the other results need no Linux");
        }
    }
    let about = run(Command::new("apt-cache").args(["show", "--no-all-versions", PACKAGE]))
        .context("apt knows of no Debian kernel; `apt-get update` as root may help")?;
    let name = dependency(&about).with_context(|| format!("apt does not tell on what {PACKAGE} depends"))?;
    note(format_args!("fetching Debian's package {name}"));
    run(Command::new("apt-get").args(["download", &name]).current_dir(all))
        .with_context(|| format!("apt cannot download {name}"))?;
    let packages = fs::read_dir(all).with_context(|| format!("cannot read {}", all.display()))?;
    let file = packages.flatten().map(|entry| entry.path()).find(|path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        file.starts_with(&format!("{name}_")) && file.ends_with(".deb")
    });
    let file = file.with_context(|| format!("apt has left no package {name} in {}", all.display()))?;
    // In two steps: what lies under the name is whole.
    let new = all.join(format!("new-{}", std::process::id()));
    run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&new)).context("cannot unpack Debian's kernel")?;
    let _ = fs::remove_file(&file);
    fs::rename(&new, all.join(&name)).with_context(|| format!("cannot name {}", new.display()))
}

/// The first package that one depends on.
fn dependency(about: &str) -> Option<String> {
    let depends = about.lines().find_map(|line| line.strip_prefix("Depends: "))?;
    depends.split([' ', ',']).next().map(str::to_owned)
}

/// A command's standard output, if it succeeds.
fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("{name} ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_package_is_found() {
        let about = "Package: linux-image-cloud-amd64\nDepends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\n";
        assert_eq!(dependency(about).as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(dependency("Package: x\n"), None);
    }

    #[test]
    fn the_verdict_is_the_first_process_s() {
        let good = "linux-clock: tsc 400123\nfigure null 1 1 1\nlinux-init: status 0\n";
        assert_eq!(verdict(good, true), Run { output: good.to_owned(), ..Run::default() });
        let why = |console: &str, ended| verdict(console, ended).failure.unwrap();
        assert_eq!(why("linux-init: status 101\n", true), "ended with status 101");
        assert!(why("Kernel panic\n\n", true).ends_with("its last words: Kernel panic"));
        assert_eq!(why("figure null 1 1 1\n", false), "no end within the time");
        assert!(why("linux-clock: tsc 19500\nlinux-init: status 0\n", true).contains("tsc 19500 ticks"));
        assert!(why("linux-clock: hpet 400000\nlinux-init: status 0\n", true).contains("hpet"));
        assert!(why("linux-init: status 0\n", true).contains("did not tell"));
    }
}
