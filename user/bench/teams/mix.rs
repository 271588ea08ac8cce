//! Several programs at once, as the multiprogramming benchmark of papers/000: `find` over all files, `grep` in a
//! symbol table, both of them by a pipe, a job that computes, and the two parallel programs FFT and LU. The paper's
//! job that computes is a compiler; here it is `gzip`. The tools are busybox's.

use super::{now, tell};
use std::fmt::Write;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

/// How many files there are to find, unless told otherwise; everything else goes with it.
pub(crate) const SIZE: usize = 500;

/// Files in a directory.
const FULL: usize = 50;

/// Lines of the symbol table for each file that there is to find: in the paper there are 11.
const LINES: usize = 11;

pub(crate) const PLACE: &str = "/tmp/mix";
const TREE: &str = "/tmp/mix/tree";
const SYMBOLS: &str = "/tmp/mix/System.map";
const BUSYBOX: &str = "/bin/busybox";

/// A program, or two by a pipe.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    commands: Vec<Vec<String>>,
}

/// All of them.
const ALL: [&str; 6] = ["gzip", "find", "grep", "find-grep", "fft", "lu"];

fn jobs(size: usize) -> [Job; 6] {
    let job = Job::new;
    let me = &*me();
    let rows = format!("lu={}", rows(size));
    [
        job("gzip", &[&[BUSYBOX, "gzip", "-c", SYMBOLS]]),
        job("find", &[&[BUSYBOX, "find", TREE]]),
        job("grep", &[&[BUSYBOX, "grep", "linux", SYMBOLS]]),
        job("find-grep", &[&[BUSYBOX, "find", TREE], &[BUSYBOX, "grep", "data"]]),
        job("fft", &[&[me, "fft=1024"]]),
        job("lu", &[&[me, &rows]]),
    ]
}

/// The path of this program.
pub(crate) fn me() -> String {
    let me = std::env::current_exe().unwrap_or_default();
    me.to_str().unwrap_or("teams").to_owned()
}

/// Rows of the matrix: at least some blocks, at most half of the paper's.
fn rows(size: usize) -> usize {
    (size / 64 * 16).clamp(64, 256)
}

/// Runs all at once, and tells how long it is until the last has ended.
pub(crate) fn at_once(size: usize) -> Result<(), String> {
    let ticks = prepared(size, &ALL, |jobs| {
        let before = now();
        let started: Vec<_> = jobs.iter().map(Job::start).collect::<Result<_, _>>()?;
        jobs.iter().zip(started).try_for_each(|(job, started)| job.wait(started))?;
        Ok(now() - before)
    })?;
    tell("mix", ticks);
    Ok(())
}

/// Runs one after the other, and tells of each.
pub(crate) fn alone(size: usize) -> Result<(), String> {
    let all: Vec<_> = prepared(size, &ALL, |jobs| {
        let one = |job: &Job| {
            let before = now();
            job.wait(job.start()?)?;
            Ok((job.name, now() - before))
        };
        jobs.iter().map(one).collect()
    })?;
    all.iter().for_each(|(name, ticks)| tell(&format!("alone-{name}"), *ticks));
    Ok(())
}

/// Runs what works on the files while they are there, with the programs of these names, and looks at their results.
pub(crate) fn prepared<R>(
    size: usize,
    names: &[&str],
    run: impl FnOnce(&[Job]) -> Result<R, String>,
) -> Result<R, String> {
    let symbols = symbols(size);
    let io = |error: std::io::Error| format!("{PLACE}: {error}");
    let _ = fs::remove_dir_all(PLACE);
    for directory in 0..size.div_ceil(FULL) {
        let path = format!("{TREE}/{directory}");
        fs::create_dir_all(&path).map_err(io)?;
        let files = (directory * FULL..size).take(FULL).map(|file| format!("{path}/{}", name(file)));
        files.into_iter().try_for_each(|file| File::create(file).map(drop)).map_err(io)?;
    }
    fs::write(SYMBOLS, &symbols).map_err(io)?;
    let jobs: Vec<_> = jobs(size).into_iter().filter(|job| names.contains(&job.name)).collect();
    let done = run(&jobs)?;
    check(size, names, &symbols)?;
    fs::remove_dir_all(PLACE).map_err(io)?;
    Ok(done)
}

/// The name of a file: every eighth is data.
fn name(file: usize) -> String {
    format!("{}-{file}", if file.is_multiple_of(8) { "data" } else { "text" })
}

/// The symbol table: every hundredth line is Linux's.
fn symbols(size: usize) -> String {
    let mut text = String::new();
    for line in 0..LINES * size {
        let (address, name) = (0xc010_0000 + 37 * line, if line.is_multiple_of(100) { "linux" } else { "kernel" });
        let _ = writeln!(text, "{address:08x} T {name}_symbol_{}", line * 7919 % 10_007);
    }
    text
}

/// Where a job's output goes.
fn output(name: &str) -> String {
    format!("{PLACE}/{name}.out")
}

impl Job {
    pub(crate) fn new(name: &'static str, commands: &[&[&str]]) -> Self {
        let words = |command: &&[&str]| command.iter().map(|word| (*word).to_owned()).collect();
        Self { name, commands: commands.iter().map(words).collect() }
    }

    pub(crate) fn start(&self) -> Result<Vec<Child>, String> {
        let mut started: Vec<Child> = Vec::new();
        for (index, words) in self.commands.iter().enumerate() {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            if let Some(from) = started.last_mut().and_then(|child| child.stdout.take()) {
                command.stdin(from);
            }
            if index + 1 < self.commands.len() {
                command.stdout(Stdio::piped());
            } else {
                command.stdout(File::create(output(self.name)).map_err(|error| error.to_string())?);
            }
            started.push(command.spawn().map_err(|error| format!("{}: {error}", words.join(" ")))?);
        }
        Ok(started)
    }

    pub(crate) fn wait(&self, started: Vec<Child>) -> Result<(), String> {
        for mut child in started {
            let status = child.wait().map_err(|error| error.to_string())?;
            if !status.success() {
                return Err(format!("{}: {status}", self.name));
            }
        }
        Ok(())
    }
}

/// Whether the tools have found what is there.
fn check(size: usize, names: &[&str], symbols: &str) -> Result<(), String> {
    let lines = |name: &str| {
        let text = fs::read(output(name)).map_err(|error| format!("{name}: {error}"))?;
        Ok::<_, String>(text.iter().filter(|byte| **byte == b'\n').count())
    };
    let wanted = [
        ("find", 1 + size.div_ceil(FULL) + size),
        ("grep", (LINES * size).div_ceil(100)),
        ("find-grep", size.div_ceil(8)),
    ];
    for (name, wanted) in wanted.into_iter().filter(|(name, _)| names.contains(name)) {
        let found = lines(name)?;
        if found != wanted {
            return Err(format!("{name} has found {found} lines instead of {wanted}"));
        }
    }
    let unpacked = Command::new(BUSYBOX).args(["gzip", "-dc", &output("gzip")]).output();
    match unpacked {
        Ok(unpacked) if unpacked.stdout == symbols.as_bytes() => Ok(()),
        Ok(_) => Err("gzip has not packed what was there".to_owned()),
        Err(error) => Err(format!("gzip: {error}")),
    }
}
