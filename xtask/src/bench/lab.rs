//! The laboratory: runs programs on machines that count instructions, on Jotun's kernels and on Linux, several machines
//! side by side, which do not disturb each other.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    panic::resume_unwind,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use abi::channel::LOAD_WORD;
use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::linux::Linux;
use crate::{child, comparison::Setup, notes::note, options::Kind, project::RunDir};

/// What a program runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum System {
    Jotun(Setup),
    /// Debian's kernel, on this number of CPUs.
    Linux(u8),
}

impl System {
    /// A kernel of Jotun's, as `compare` names it.
    pub(crate) fn jotun(setup: &str) -> Self {
        Self::Jotun(Setup::parse(setup).unwrap_or_else(|why| unreachable!("{setup}: {why}")))
    }

    pub(crate) fn cpus(self) -> u8 {
        match self {
            Self::Jotun(setup) => setup.cpus,
            Self::Linux(cpus) => cpus,
        }
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
    pub(crate) machine: Kind,
    /// Parameters of the extension that is the system's strategy, with colons between them.
    pub(crate) parameters: &'static str,
}

impl Job {
    pub(crate) fn new(system: System, program: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let program = program.into_iter().map(Into::into).collect();
        Self { system, program, recorded: false, machine: Kind::Bochs, parameters: "" }
    }

    /// This job on QEMU instead of Bochs if the system has one CPU: QEMU counts the same instructions much faster.
    pub(crate) fn quickly(self) -> Self {
        let machine = if self.system.cpus() == 1 { Kind::Icount } else { self.machine };
        Self { machine, ..self }
    }

    /// This job on a kernel that records.
    pub(crate) fn recorded(self) -> Self {
        Self { recorded: true, ..self }
    }

    /// What it is and where, for people.
    fn name(&self) -> String {
        let parameters = if self.parameters.is_empty() { "" } else { " with " };
        let program = self.program.first().map_or("", String::as_str);
        format!("{program} on {}{parameters}{}", self.system.name(), self.parameters)
    }
}

/// What a run came to.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Run {
    /// What the program wrote, also if it failed later.
    pub(crate) output: String,
    /// Why the run did not end well.
    pub(crate) failure: Option<String>,
    /// The kernel's statistics; none of Linux's.
    pub(crate) statistics: BTreeMap<String, u64>,
    /// The profile's report, if the kernel recorded.
    pub(crate) report: Value,
}

/// Where runs are made. A clone is the same place, for another benchmark.
#[derive(Clone)]
pub(crate) struct Lab {
    /// Fewer points, shorter runs.
    pub(crate) quick: bool,
    /// The CPUs of the benchmarks that go over several.
    pub(crate) cpus: Vec<u8>,
    pub(crate) linux: Option<Arc<Linux>>,
    /// How often Linux is booted for a figure.
    pub(crate) boots: usize,
    /// When a run is given up.
    pub(crate) timeout: Duration,
    /// Set by Ctrl-C.
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) dir: Arc<RunDir>,
    /// The hands that all benchmarks share.
    pub(crate) hands: Arc<Hands>,
    /// The benchmark's place among those that are under way: whose is smaller is served first.
    pub(crate) place: usize,
    /// Whether any of the benchmark's runs has begun.
    pub(crate) begun: Arc<AtomicBool>,
}

/// As many runs at a time as the host has CPUs, for all callers together.
pub(crate) struct Hands {
    queue: Mutex<Queue>,
    changed: Condvar,
}

struct Queue {
    free: usize,
    /// The places of the callers that wait for a hand.
    waiting: Vec<usize>,
}

/// A hand at work.
struct Hand<'a>(&'a Hands);

impl Default for Hands {
    fn default() -> Self {
        let free = thread::available_parallelism().map_or(1, usize::from);
        Self { queue: Mutex::new(Queue { free, waiting: Vec::new() }), changed: Condvar::new() }
    }
}

impl Hands {
    /// Waits for a hand: a caller with a smaller place gets one first.
    fn take(&self, place: usize) -> Hand<'_> {
        let mut queue = self.queue();
        queue.waiting.push(place);
        let behind = |queue: &mut Queue| queue.free == 0 || queue.waiting.iter().any(|other| *other < place);
        queue = self.changed.wait_while(queue, behind).unwrap_or_else(PoisonError::into_inner);
        queue.free -= 1;
        if let Some(at) = queue.waiting.iter().position(|other| *other == place) {
            queue.waiting.swap_remove(at);
        }
        self.changed.notify_all();
        Hand(self)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        self.0.queue().free += 1;
        self.0.changed.notify_all();
    }
}

impl Lab {
    /// The laboratory for the benchmark at another place.
    pub(crate) fn at(&self, place: usize) -> Self {
        Self { place, begun: Arc::default(), ..self.clone() }
    }

    /// Whether any of the benchmark's runs has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether the user has had enough.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Makes all of these runs; results in the order of the jobs.
    pub(crate) fn run(&self, jobs: &[Job]) -> Vec<Run> {
        let numbered: Vec<_> = jobs.iter().enumerate().collect();
        self.side_by_side(&numbered, |(number, job)| self.one(*number, job, 0))
    }

    /// Makes all of these runs, those on Linux several times, each time in a boot that differs; results in the order of the
    /// jobs.
    pub(crate) fn run_boots(&self, jobs: &[Job]) -> Vec<Vec<Run>> {
        let boots = |job: &Job| if matches!(job.system, System::Linux(_)) { self.boots } else { 1 };
        let numbered: Vec<_> = jobs
            .iter()
            .enumerate()
            .flat_map(|(number, job)| (0..boots(job)).map(move |boot| (number, job, boot)))
            .collect();
        let mut runs = self.side_by_side(&numbered, |(number, job, boot)| self.one(*number, job, *boot)).into_iter();
        jobs.iter().map(|job| runs.by_ref().take(boots(job)).collect()).collect()
    }

    /// Does something with each of these, in their order as hands get free; results in their order.
    pub(crate) fn side_by_side<A: Sync, B: Send>(&self, all: &[A], work: impl Fn(&A) -> B + Sync) -> Vec<B> {
        thread::scope(|scope| {
            let work = &work;
            let begin = |one| {
                let hand = self.hands.take(self.place);
                self.begun.fetch_or(!self.stopped(), Ordering::Relaxed);
                scope.spawn(move || {
                    let _hand = hand;
                    work(one)
                })
            };
            let under_way: Vec<_> = all.iter().map(begin).collect();
            under_way.into_iter().map(|run| run.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        })
    }

    fn one(&self, number: usize, job: &Job, boot: usize) -> Run {
        let name = job.name();
        if self.stopped() {
            return Run { failure: Some(format!("{name}: stopped before it began")), ..Run::default() };
        }
        note(format_args!("{name}, {}", job.machine.name()));
        let run = match job.system {
            System::Jotun(setup) => self.on_jotun(number, setup, job),
            System::Linux(cpus) => self.on_linux(number, cpus, job, boot),
        };
        let named = |why: &str| format!("{name}: {why}");
        match run {
            Ok(run) => Run { failure: run.failure.as_deref().map(named), ..run },
            Err(error) => Run { failure: Some(named(&format!("{error:#}"))), ..Run::default() },
        }
    }

    fn on_jotun(&self, number: usize, setup: Setup, job: &Job) -> Result<Run> {
        let mut options: Vec<OsString> = setup.options().into_iter().map(OsString::from).collect();
        options.push(format!("--machine={}", job.machine.name()).into());
        options.push(format!("--timeout={}", self.timeout.as_secs_f64()).into());
        if let (Some(extension), false) = (setup.variant.strategy.load, job.parameters.is_empty()) {
            // The kernel takes the last of several such words.
            options.push(format!("--append={LOAD_WORD}{extension}:{}", job.parameters).into());
        }
        let program: Vec<OsString> = job.program.iter().map(OsString::from).collect();
        let place = |what: &str| self.dir.path().join(format!("{what}-{}-{number}", self.place));
        let (run, report) = if job.recorded {
            options.push("--region".into());
            let out = place("profile");
            let run = child::profile(&options, &program, Stdio::null(), &out)?;
            let json = fs::read(out.join("report.json")).unwrap_or_default();
            // Traces are large.
            let _ = fs::remove_dir_all(&out);
            (run, serde_json::from_slice(&json).unwrap_or_default())
        } else {
            (child::run(&options, &program, Stdio::null(), &place("stats"))?, Value::Null)
        };
        let (output, failure) = (String::from_utf8_lossy(&run.output).into_owned(), run.failure());
        Ok(Run { output, failure, statistics: run.statistics, report })
    }

    fn on_linux(&self, number: usize, cpus: u8, job: &Job, boot: usize) -> Result<Run> {
        let Some(linux) = &self.linux else { bail!("Linux was not asked for") };
        let dir: PathBuf = self.dir.path().join(format!("linux-{}-{number}-{boot}", self.place));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        linux.run(job, cpus, boot, &dir, self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_smaller_place_gets_the_next_hand() {
        let hands = Hands { queue: Mutex::new(Queue { free: 1, waiting: Vec::new() }), changed: Condvar::new() };
        let served = Mutex::new(Vec::new());
        let first = hands.take(9);
        thread::scope(|scope| {
            for place in [2, 0, 1] {
                let (hands, served) = (&hands, &served);
                scope.spawn(move || {
                    let _hand = hands.take(place);
                    served.lock().unwrap().push(place);
                });
            }
            while hands.queue().waiting.len() < 3 {
                thread::yield_now();
            }
            drop(first);
        });
        assert_eq!(served.into_inner().unwrap(), [0, 1, 2]);
        assert_eq!(hands.queue().free, 1);
    }
}
