//! The laboratory: runs programs on Bochs, on Jotun's kernels and on Linux, several machines side by side. Bochs
//! counts instructions, so that they do not disturb each other.

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

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
    /// Whether the kernel records what happens between the program's own calls of `trace`.
    pub(crate) recorded: bool,
}

impl Job {
    pub(crate) fn new(system: System, program: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { system, program: program.into_iter().map(Into::into).collect(), recorded: false }
    }

    /// The same on a kernel that records.
    pub(crate) fn recorded(self) -> Self {
        Self { recorded: true, ..self }
    }
}

/// What a run came to.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Run {
    /// What the program wrote, also if it failed later.
    pub(crate) output: String,
    /// Why the run did not end well.
    pub(crate) failure: Option<String>,
    /// The profile's report, if the kernel recorded.
    pub(crate) report: Value,
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

    /// Makes all of these runs; results in the order of the jobs.
    pub(crate) fn run(&self, jobs: &[Job]) -> Vec<Run> {
        let numbered: Vec<_> = jobs.iter().enumerate().collect();
        self.side_by_side(&numbered, |(number, job)| self.one(*number, job))
    }

    /// Does something with each of these, with as many at a time as the host has CPUs; results in their order.
    pub(crate) fn side_by_side<A: Sync, B: Send>(&self, all: &[A], work: impl Fn(&A) -> B + Sync) -> Vec<B> {
        let next = AtomicUsize::new(0);
        let hands = thread::available_parallelism().map_or(1, usize::from).min(all.len());
        let hand = || {
            let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            let mine = numbers.map_while(|number| Some((number, all.get(number)?)));
            mine.map(|(number, one)| (number, work(one))).collect::<Vec<_>>()
        };
        let mut done: Vec<(usize, B)> = thread::scope(|scope| {
            let hands: Vec<_> = (0..hands).map(|_| scope.spawn(hand)).collect();
            hands
                .into_iter()
                .flat_map(|hand| hand.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        done.sort_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, result)| result).collect()
    }

    fn one(&self, number: usize, job: &Job) -> Run {
        let name = format!("{} on {}", job.program.first().map_or("", String::as_str), job.system.name());
        if self.stopped() {
            return Run { failure: Some(format!("{name}: stopped before it began")), ..Run::default() };
        }
        note(format_args!("{name}"));
        let run = match job.system {
            System::Jotun(setup) => self.on_jotun(number, setup, job),
            System::Linux(cpus) => self.on_linux(number, cpus, &job.program),
        };
        let named = |why: &str| format!("{name}: {why}");
        match run {
            Ok(run) => Run { failure: run.failure.as_deref().map(named), ..run },
            Err(error) => Run { failure: Some(named(&format!("{error:#}"))), ..Run::default() },
        }
    }

    fn on_jotun(&self, number: usize, setup: Setup, job: &Job) -> Result<Run> {
        let mut options: Vec<OsString> = setup.options().into_iter().map(OsString::from).collect();
        options.push("--machine=bochs".into());
        options.push(format!("--timeout={}", self.timeout.as_secs_f64()).into());
        let program: Vec<OsString> = job.program.iter().map(OsString::from).collect();
        let place = self.dir.path().join(format!("run-{number}"));
        let (run, report) = if job.recorded {
            options.push("--region".into());
            let run = child::profile(&options, &program, Stdio::null(), &place)?;
            let json = fs::read(place.join("report.json")).unwrap_or_default();
            // Traces are large.
            let _ = fs::remove_dir_all(&place);
            (run, serde_json::from_slice(&json).unwrap_or_default())
        } else {
            (child::run(&options, &program, Stdio::null(), &place)?, Value::Null)
        };
        Ok(Run { output: String::from_utf8_lossy(&run.output).into_owned(), failure: run.failure(), report })
    }

    fn on_linux(&self, number: usize, cpus: u8, program: &[String]) -> Result<Run> {
        let Some(linux) = &self.linux else { bail!("Linux was not asked for") };
        let dir: PathBuf = self.dir.path().join(format!("linux-{number}"));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        linux.run(cpus, program, &dir, self.timeout)
    }
}
