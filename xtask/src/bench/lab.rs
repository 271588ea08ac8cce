//! The laboratory: runs programs on Bochs, on Jotun's kernels and on Linux, several machines side by side. Bochs
//! counts instructions, so that they do not disturb each other.

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::linux::Linux;
use crate::{child, comparison::Setup, notes::note, project::RunDir};

/// What a program runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum System {
    Jotun(Setup),
    /// Debian's kernel, on so many CPUs.
    Linux(u8),
}

impl System {
    /// A kernel of Jotun's, as `compare` names it.
    pub(crate) fn jotun(setup: &str) -> Self {
        Self::Jotun(Setup::parse(setup).unwrap_or_else(|why| unreachable!("{setup}: {why}")))
    }

    /// As tables name it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Jotun(setup) => setup.name(),
            Self::Linux(cpus) => format!("linux:{cpus}"),
        }
    }
}

/// A run to come.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) system: System,
    /// The program, as the image names it, and its arguments.
    pub(crate) program: Vec<String>,
}

impl Job {
    pub(crate) fn new(system: System, program: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { system, program: program.into_iter().map(Into::into).collect() }
    }
}

/// What a run came to.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Run {
    /// What the program wrote, also if it failed later.
    pub(crate) output: String,
    /// Why the run did not end well.
    pub(crate) failure: Option<String>,
}

/// Where runs are made.
pub(crate) struct Lab {
    /// Fewer points, shorter runs.
    pub(crate) quick: bool,
    /// The CPUs of the benchmarks that go over several.
    pub(crate) cpus: Vec<u8>,
    pub(crate) linux: Option<Linux>,
    /// When a run is given up.
    pub(crate) timeout: Duration,
    /// Set by Ctrl-C.
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) dir: RunDir,
}

impl Lab {
    /// Whether the user has had enough.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Makes all of these runs, as many at a time as the host has CPUs; results in the order of the jobs.
    pub(crate) fn run(&self, jobs: &[Job]) -> Vec<Run> {
        let next = AtomicUsize::new(0);
        let runs = Mutex::new(vec![Run::default(); jobs.len()]);
        let hands = thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
        thread::scope(|scope| {
            for _ in 0..hands {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = jobs.get(number) else { break };
                        let run = self.one(number, job);
                        runs.lock().unwrap_or_else(PoisonError::into_inner)[number] = run;
                    }
                });
            }
        });
        runs.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn one(&self, number: usize, job: &Job) -> Run {
        let name = format!("{} on {}", job.program.first().map_or("", String::as_str), job.system.name());
        if self.stopped() {
            return Run { failure: Some(format!("{name}: stopped before it began")), ..Run::default() };
        }
        note(format_args!("{name}"));
        let run = match job.system {
            System::Jotun(setup) => self.on_jotun(number, setup, &job.program),
            System::Linux(cpus) => self.on_linux(number, cpus, &job.program),
        };
        let named = |why: &str| format!("{name}: {why}");
        match run {
            Ok(run) => Run { failure: run.failure.as_deref().map(named), ..run },
            Err(error) => Run { failure: Some(named(&format!("{error:#}"))), ..Run::default() },
        }
    }

    fn on_jotun(&self, number: usize, setup: Setup, program: &[String]) -> Result<Run> {
        let mut options: Vec<OsString> = setup.options().into_iter().map(OsString::from).collect();
        options.push("--machine=bochs".into());
        options.push(format!("--timeout={}", self.timeout.as_secs_f64()).into());
        let program: Vec<OsString> = program.iter().map(OsString::from).collect();
        let stats = self.dir.path().join(format!("stats-{number}"));
        let run = child::run(&options, &program, Stdio::null(), &stats)?;
        let failure = (run.status != 0).then(|| {
            // Its own words come last.
            let last = run.words.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
            format!("ended with status {}: {last}", run.status)
        });
        Ok(Run { output: String::from_utf8_lossy(&run.output).into_owned(), failure })
    }

    fn on_linux(&self, number: usize, cpus: u8, program: &[String]) -> Result<Run> {
        let Some(linux) = &self.linux else { bail!("Linux was not asked for") };
        let dir: PathBuf = self.dir.path().join(format!("linux-{number}"));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        linux.run(cpus, program, &dir, self.timeout)
    }
}
