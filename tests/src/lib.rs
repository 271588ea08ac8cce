//! Boots Jotun in a test and hands back what came out.
//!
//! A test says what is to be run with [`Jotun`] and looks at the [`Outcome`]: standard output byte for
//! byte, the kernel's log, the status, the statistics. Each run is a machine of its own.
//!
//! Relies on `cargo xtask test`, which builds first; the runs here take what it left. With
//! `cargo test -p boot-tests` after a `cargo xtask run` the same happens.

mod monitor;
mod outcome;
mod place;
mod strategy;

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

pub use monitor::{Monitor, MonitorSocket};
pub use outcome::Outcome;
pub use place::{Scratch, busybox, c_program, kernel, locks, native_package, root, std_program, target, xtask};
pub use strategy::{fewest, kernel_cpus, leaves_out, numbers, program_cpus};

/// Seconds after which a run is given up, unless the test says otherwise. What a machine waits for the host's CPUs is not
/// counted, so that tests do not fail because the host is busy.
const PATIENCE: &str = "60";

/// A run to come: `Jotun::new().args(["hello-std", "a"]).run()`.
#[must_use]
pub struct Jotun {
    cpus: Vec<OsString>,
    options: Vec<OsString>,
    program: Vec<OsString>,
    stdin: Vec<u8>,
    timeout: OsString,
}

/// Makes a test on the uniprocessor kernel, and on the kernel for several CPUs with `cpus` of them, or with the numbers that
/// are named.
pub fn on_up_and_smp(cpus: u8, test: impl Fn(Jotun)) {
    test(Jotun::new());
    numbers(&[cpus]).into_iter().for_each(|cpus| test(Jotun::new().smp(cpus)));
}

/// Makes a test on the uniprocessor kernel, and on the kernel for several CPUs if numbers of them are named.
pub fn on_up(test: impl Fn(Jotun)) {
    test(Jotun::new());
    numbers(&[]).into_iter().for_each(|cpus| test(Jotun::new().smp(cpus)));
}

/// Makes random system calls for this number of seconds, which the machine must survive without losing anything.
#[track_caller]
pub fn fuzz(jotun: Jotun, seconds: u32) {
    let jotun = jotun.memory(512).timeout(f64::from(600 + 4 * seconds));
    let outcome = jotun.args(["fuzz", &seconds.to_string(), "1"]).run().expect(0).expect_all_back();
    assert_eq!(outcome.text().lines().last(), Some("ok fuzz"), "{outcome}");
    assert!(!outcome.stderr.contains("the kernel stopped") && !outcome.log.contains("] ERROR "), "{outcome}");
}

/// A base archive that needs far more memory than firmware and boot loader, since a large file is in it besides the usual
/// ones, and its size in MiB, rounded up. While it is unpacked it is in memory twice.
pub fn large_base(scratch: &Scratch) -> (PathBuf, u32) {
    const LARGE: usize = 20 << 20;
    let mut bytes = fs::read(target().join("jotun/base.cpio")).expect("the base was built");
    let magic = b"070701";
    let trailer = bytes.windows(magic.len()).rposition(|window| window == magic).expect("a trailer");
    let trailer = bytes.split_off(trailer);
    // Inode, mode, owner, group, links, time, size, four numbers of devices, length of the name, sum; cpio(5), "newc".
    let fields = [0, 0o100_644, 0, 0, 1, 0, LARGE, 0, 0, 0, 0, "large\0".len(), 0];
    bytes.extend(magic);
    bytes.extend(fields.iter().flat_map(|field| format!("{field:08X}").into_bytes()));
    bytes.extend(b"large\0");
    bytes.resize(bytes.len() + LARGE, 0);
    bytes.extend(trailer);
    let mebibytes = bytes.len().div_ceil(1 << 20).try_into().expect("less than 4 PiB");
    (scratch.file("base", bytes), mebibytes)
}

impl Default for Jotun {
    fn default() -> Self {
        Self::new()
    }
}

impl Jotun {
    /// A run of the tour on the uniprocessor kernel, with nothing on standard input.
    pub fn new() -> Self {
        Self {
            cpus: vec!["--up".into()],
            options: Vec::new(),
            program: Vec::new(),
            stdin: Vec::new(),
            timeout: PATIENCE.into(),
        }
    }

    /// The kernel for several CPUs on this number of them: with the giant lock and its ticket lock, or with the
    /// strategy that `cargo xtask test --strategy` names.
    pub fn smp(self, cpus: u8) -> Self {
        self.strategy(&strategy::chosen(), cpus)
    }

    /// The kernel of a strategy, on this number of CPUs.
    pub fn strategy(mut self, name: &str, cpus: u8) -> Self {
        self.cpus = ["--strategy", name, "--smp", &cpus.to_string()].map(Into::into).into();
        self
    }

    /// The program and its arguments, as behind the two dashes of `cargo xtask run`.
    pub fn args(mut self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.program.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// What standard input holds before its end.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Memory in MiB.
    pub fn memory(self, mebibytes: u32) -> Self {
        self.option("--memory").option(mebibytes.to_string())
    }

    /// A kernel that panics where its arithmetic overflows or an assertion of its own does not hold.
    pub fn checked(self) -> Self {
        self.option("--checked")
    }

    /// Boots by UEFI.
    pub fn uefi(self) -> Self {
        self.option("--uefi")
    }

    /// CPU model, as QEMU names it.
    pub fn cpu(self, model: &str) -> Self {
        self.option("--cpu").option(model)
    }

    /// Words at the end of the kernel's command line.
    pub fn append(self, words: &str) -> Self {
        self.option("--append").option(words)
    }

    /// A directory laid over the image's file system.
    pub fn rootfs(self, dir: &Path) -> Self {
        self.option("--rootfs").option(dir)
    }

    /// A variable of the program's environment.
    pub fn env(self, name: &str, value: &str) -> Self {
        self.option("--env").option(format!("{name}={value}"))
    }

    /// Another archive in place of the base.
    pub fn base(self, archive: &Path) -> Self {
        self.option("--base").option(archive)
    }

    /// Seconds after which the machine is stopped (status 124), less what it waited for the host's CPUs.
    pub fn timeout(mut self, seconds: f64) -> Self {
        self.timeout = seconds.to_string().into();
        self
    }

    /// Any word for `cargo xtask run`.
    pub fn option(mut self, word: impl AsRef<OsStr>) -> Self {
        self.options.push(word.as_ref().to_owned());
        self
    }

    /// Runs the machine to its end.
    pub fn run(self) -> Outcome {
        let scratch = Scratch::new("run");
        let (log, stats) = (scratch.path().join("log"), scratch.path().join("stats"));
        let mut command = Command::new(xtask());
        command.args(["run", "--no-build"]).args(&self.cpus).env("CARGO_TARGET_DIR", target());
        command.arg("--log").arg(&log).arg("--stats").arg(&stats);
        command.arg("--timeout").arg(&self.timeout).args(&self.options);
        command.arg("--").args(&self.program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("xtask starts");
        if let Some(mut stdin) = child.stdin.take() {
            // A thread, lest both sides wait for each other. A program may leave its input unread.
            let bytes = self.stdin;
            thread::spawn(move || _ = stdin.write_all(&bytes));
        }
        let output = child.wait_with_output().expect("xtask ends");
        Outcome::new(output, &log, &stats)
    }
}
