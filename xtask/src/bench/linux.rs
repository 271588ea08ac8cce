//! The other system: Debian's kernel, on the same machines, with the same programs.
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

use super::{
    entry::wait,
    lab::{Job, Run},
};
use crate::{
    image::{archive::Archive, iso},
    machine::{Player, bochs, die_with_us, qemu},
    notes::note,
    options::{Kind, Machine},
    packages::tool,
    project,
};

/// Debian's package that always depends on the newest kernel for virtual machines.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// Memory in MiB: as Jotun has by default, and room for what Debian's kernel unpacks.
const MEMORY: u32 = 512;

/// What the kernel is told that concerns what is measured. It is to leave aside the instructions that move bytes: both
/// machines count each byte of them, which no CPU does that has them. And an idle CPU is to halt: Bochs does not end an
/// `mwait` when another CPU writes to what it watches, so that a woken thread would sleep until the timer's next
/// interrupt.
pub(crate) const WORDS: &str = "mitigations=off clearcpuid=erms,fsrm idle=halt";

/// Timer interrupts in a second, as Debian has set them.
const HZ: u64 = 250;

/// The clock's rate, and what the kernel is told about it.
const fn clock(machine: Kind) -> (u64, &'static str) {
    match machine {
        // CPUID says 3.5 GHz. A kernel that believes it sets its timer for twenty times too soon.
        Kind::Bochs => (100_000_000, "tsc_early_khz=100000"),
        Kind::Qemu | Kind::Icount => (1_000_000_000, "tsc_early_khz=1000000"),
    }
}

/// The clock that the kernel is to have: the time-stamp counter, or what it is called until it was measured once more.
const CLOCKS: [&str; 2] = ["tsc", "tsc-early"];

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

    /// Runs a program to its end. Boots of different numbers differ in what a program cannot know; `dir` is an empty
    /// directory.
    pub(super) fn run(&self, job: &Job, cpus: u8, boot: usize, dir: &Path, timeout: Duration) -> Result<Run> {
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
        let [name, arguments @ ..] = &job.program[..] else { bail!("no program was named") };
        let (_, rate) = clock(job.machine);
        // No messages, which would be in what is measured.
        let words =
            format!("console=ttyS0 quiet {WORDS} {rate} rdinit=/init -- {boot} /bin/{name} {}", arguments.join(" "));
        iso::make_linux(dir, &dir.join(ISO), &self.kernel, &files, &words)?;
        let ended = play(&Machine { memory: MEMORY, ..Machine::of(job.machine) }, cpus, dir, timeout)?;
        let console = fs::read(dir.join(CONSOLE)).unwrap_or_default();
        let _ = fs::remove_dir_all(dir);
        Ok(verdict(&String::from_utf8_lossy(&console).replace('\r', ""), ended, job.machine))
    }
}

/// What the console's text tells; `ended` is whether the machine has ended by itself.
fn verdict(console: &str, ended: bool, machine: Kind) -> Run {
    let status = console.lines().find_map(|line| line.strip_prefix("linux-init: "));
    if let (Some(_), Some(why)) = (status, wrong_clock(console, machine)) {
        // Its figures would be wrong, and are not to be seen.
        return Run { failure: Some(why), ..Run::default() };
    }
    let failure = match status {
        Some("status 0") => None,
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
fn wrong_clock(console: &str, machine: Kind) -> Option<String> {
    let timer = clock(machine).0 / HZ;
    let Some(told) = console.lines().find_map(|line| line.strip_prefix("linux-clock: ")) else {
        return Some("it did not tell what its clock is".to_owned());
    };
    let right = told.split_once(' ').is_some_and(|(clock, ticks)| {
        CLOCKS.contains(&clock) && ticks.parse().is_ok_and(|ticks: u64| ticks.abs_diff(timer) <= timer / 20)
    });
    (!right).then(|| format!("its clock is wrong: {told} ticks a timer interrupt; {} and {timer} are right", CLOCKS[0]))
}

/// Runs the machine; whether it has ended by itself.
fn play(machine: &Machine, cpus: u8, dir: &Path, timeout: Duration) -> Result<bool> {
    let mut command = match machine.player(cpus, dir, ISO)? {
        Player::Bochs(plan) => {
            plan.write(&format!("mode=file, dev={CONSOLE}"), bochs::GO)?;
            plan.command()
        }
        Player::Qemu(arguments) | Player::Counter(arguments) => {
            let mut command = Command::new(qemu::PROGRAM);
            command.args(arguments).args(["-chardev", "null,id=log"]);
            command.arg("-chardev").arg(qemu::file_option("file,id=console,path=", &dir.join(CONSOLE)));
            command
        }
    };
    // Bochs' debugger listens there, and ends at the end of its input.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    die_with_us(&mut command);
    let mut child = command.spawn().context("cannot start the machine")?;
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
pub(super) fn run(command: &mut Command) -> Result<String> {
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
        let on_bochs = |console: &str, ended| verdict(console, ended, Kind::Bochs);
        assert_eq!(on_bochs(good, true), Run { output: good.to_owned(), ..Run::default() });
        let why = |console: &str, ended| on_bochs(console, ended).failure.unwrap();
        assert_eq!(why("linux-clock: tsc 400000\nlinux-init: status 101\n", true), "ended with status 101");
        assert!(why("Kernel panic\n\n", true).ends_with("its last words: Kernel panic"));
        assert_eq!(why("figure null 1 1 1\n", false), "no end within the time");
    }

    #[test]
    fn figures_by_a_wrong_clock_are_withheld() {
        let run =
            |clock: &str, machine| verdict(&format!("{clock}figure null 1 1 1\nlinux-init: status 0\n"), true, machine);
        for (clock, why) in [
            ("linux-clock: tsc 19500\n", "tsc 19500 ticks"),
            ("linux-clock: hpet 400000\n", "hpet"),
            ("", "did not tell"),
        ] {
            let run = run(clock, Kind::Bochs);
            assert!(run.failure.unwrap().contains(why), "{clock}");
            assert_eq!(run.output, "");
        }
        assert!(run("linux-clock: tsc 400000\n", Kind::Icount).failure.is_some());
        assert_eq!(run("linux-clock: tsc 4000000\n", Kind::Icount).failure, None);
    }
}
