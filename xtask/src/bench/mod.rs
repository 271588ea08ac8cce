//! Benchmarks on the machine that counts instructions.
//!
//! [`BENCHMARKS`] are the names that there are. Each belongs to a [`Kind`]; what is asked for of one kind is
//! measured together and makes a [`report::Section`]. [`lab`] runs programs, on Jotun and on Linux; [`report`],
//! [`chart`] and [`page`] show what came out.

mod application;
mod chart;
mod entry;
mod figures;
mod growth;
mod guide;
mod history;
mod lab;
mod linux;
mod locks;
mod micro;
mod page;
mod papers;
mod points;
mod pools;
mod regions;
pub(crate) mod report;
mod scaling;
mod teams;
mod two_processes;

use std::{fs, panic::resume_unwind, path::Path, thread};

use abi::strategies::{GIANT, SUBSYSTEMS};
use anyhow::{Context, Result, bail};

use crate::{
    options::{Lock, Variant},
    suggest::did_you_mean,
};

pub(crate) use self::{
    lab::Lab,
    linux::{Linux, WORDS as LINUX_WORDS},
};
use report::{Report, Section};

/// What is measured together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Single operations of a Linux program.
    Micro,
    /// Single operations of native programs.
    Native,
    /// Threads that only compute.
    Compute,
    /// The experiment of docs/smp-guide.md.
    Guide,
    /// The benchmark of papers/001.
    TwoProcesses,
    /// The throughput of papers/004.
    Sweep,
    /// User work between calls, as seL4 has it.
    Delay,
    /// The parallel programs of papers/000.
    Parallel,
    /// The multiprogramming benchmark of papers/000.
    Mix,
    /// Threads that wait before they work.
    Pools,
    /// The giant lock's queue algorithms.
    Locks,
    /// Single operations on all CPUs at once.
    Scaling,
    /// The way into the kernel and back.
    Entry,
    /// Whole operations, function by function.
    Where,
    /// Operations among strangers.
    Growth,
    /// Calls through the application kernel.
    Forwarded,
    /// The throughput of the application kernel.
    Capacity,
    /// Programs of one thread through the application kernel.
    Single,
    /// Lines and complexity of the application kernel.
    Size,
}

impl Kind {
    const ALL: [Self; 19] = [
        Self::Micro,
        Self::Native,
        Self::Entry,
        Self::Where,
        Self::Growth,
        Self::Compute,
        Self::Guide,
        Self::TwoProcesses,
        Self::Sweep,
        Self::Delay,
        Self::Parallel,
        Self::Mix,
        Self::Pools,
        Self::Locks,
        Self::Scaling,
        Self::Forwarded,
        Self::Capacity,
        Self::Single,
        Self::Size,
    ];

    /// The name by which all of the kind are asked for.
    fn name(self) -> &'static str {
        match self {
            Self::Micro => "micro",
            Self::Native => "native",
            Self::Compute => "compute",
            Self::Guide => "guide",
            Self::TwoProcesses => "two-processes",
            Self::Sweep => "sweep",
            Self::Delay => "delay",
            Self::Parallel => "parallel",
            Self::Mix => "mix",
            Self::Pools => "pools",
            Self::Locks => "locks",
            Self::Scaling => "scaling",
            Self::Entry => "entry",
            Self::Where => "where",
            Self::Growth => "growth",
            Self::Forwarded => "forwarded",
            Self::Capacity => "capacity",
            Self::Single => "single",
            Self::Size => "size",
        }
    }

    fn run(self, lab: &Lab, names: &[&'static str]) -> Section {
        match self {
            Self::Micro => micro::linux_programs(lab, names),
            Self::Native => micro::native(lab, names),
            Self::Compute => micro::compute(lab),
            Self::Guide => guide::guide(lab),
            Self::TwoProcesses => two_processes::two_processes(lab),
            Self::Sweep => papers::sweep(lab),
            Self::Delay => papers::delay(lab),
            Self::Parallel => teams::parallel(lab),
            Self::Mix => teams::mix(lab),
            Self::Pools => pools::pools(lab),
            Self::Locks => locks::locks(lab),
            Self::Scaling => scaling::scaling(lab),
            Self::Entry => entry::entry(lab),
            Self::Where => entry::places(lab),
            Self::Growth => growth::growth(lab),
            Self::Forwarded => application::forwarded(lab),
            Self::Capacity => application::capacity(lab),
            Self::Single => application::single(lab),
            Self::Size => application::size(lab),
        }
    }
}

/// A benchmark: its kind, its name, and what it is.
pub(crate) type Benchmark = (Kind, &'static str, &'static str);

/// All there are, in the order in which they are shown.
pub(crate) const BENCHMARKS: [Benchmark; 36] = [
    (Kind::Micro, "null", "`getpid`, which does nothing: from `syscall` to the next instruction"),
    (Kind::Micro, "getppid", "the parent's number, the loop around the call included"),
    (Kind::Micro, "open", "a file opened by its name and closed"),
    (Kind::Micro, "magic", "`/proc/self/exe` opened and closed"),
    (Kind::Micro, "read", "4 KiB read from a file"),
    (Kind::Micro, "write", "4 KiB written to a file"),
    (Kind::Micro, "signal", "a signal sent to itself and handled"),
    (Kind::Micro, "map", "a page mapped, touched and unmapped"),
    (Kind::Micro, "clear", "4 KiB cleared by `rep stosb`, in user mode"),
    (Kind::Micro, "futex", "two threads wake each other by a futex, there and back"),
    (Kind::Micro, "pipe", "a byte through a pipe and one back, two threads"),
    (Kind::Micro, "pipe-fork", "a byte through a pipe and one back, two processes"),
    (Kind::Micro, "thread", "a thread made, run, ended, joined"),
    (Kind::Micro, "fork", "a process copied, ended, waited for"),
    (Kind::Micro, "vfork", "a process made in its parent's memory, ended, waited for"),
    (Kind::Micro, "exec", "a process copied, turned into a program that ends at once, waited for"),
    (Kind::Native, "start", "container, process and thread made, run, ended, reaped"),
    (Kind::Native, "message", "a message and its answer, two containers"),
    (Kind::Native, "switch", "from one container to another, by `sched_yield`"),
    (Kind::Entry, "entry", "the null call function by function, with one CPU and several, recorded or not"),
    (Kind::Where, "where", "operations of Linux programs, function by function"),
    (Kind::Growth, "growth", "operations among more and more strangers: fails if one gets dearer"),
    (Kind::Compute, "compute", "threads that only compute, on several CPUs"),
    (
        Kind::Guide,
        "guide",
        "two processes with more and more kernel: fails if docs/smp-guide.md teaches what is not so",
    ),
    (Kind::TwoProcesses, "two-processes", "papers/001: two processes that compute and call the kernel"),
    (Kind::Sweep, "sweep", "papers/004: share of user work and CPUs, three lengths of kernel visits"),
    (Kind::Delay, "delay", "user work between calls that do nothing, as in seL4's benchmarks"),
    (Kind::Parallel, "parallel", "papers/000: radix sort, FFT and LU with eight threads"),
    (Kind::Mix, "mix", "papers/000: find, grep, gzip, FFT and LU at once"),
    (Kind::Pools, "pools", "threads that wait before they work, with soft and with strict affinity"),
    (Kind::Locks, "locks", "ticket, mcs, clh, tas: hand-over and fairness"),
    (Kind::Scaling, "scaling", "calls on all CPUs at once: with the giant lock, with locks of subsystems"),
    (Kind::Forwarded, "forwarded", "calls, faults and operations through the application kernel (papers/000)"),
    (Kind::Capacity, "capacity", "papers/004: throughput of the application kernel, and what its formula allows"),
    (Kind::Single, "single", "papers/000: find, a compiler and gzip, one at a time through the application kernel"),
    (Kind::Size, "size", "papers/000: lines and cyclomatic complexity of the application kernel"),
];

/// What `application` stands for: the figures of papers/000 and 004.
const APPLICATION: [Kind; 6] = [Kind::Parallel, Kind::Mix, Kind::Forwarded, Kind::Capacity, Kind::Single, Kind::Size];

/// Names that stand for several benchmarks.
const GROUPS: [&str; 3] = ["micro", "native", "application"];

/// The benchmarks of these names, all if there are none; names of groups stand for all in them.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<Benchmark>> {
    for name in names {
        let known = || BENCHMARKS.iter().map(|benchmark| benchmark.1).chain(GROUPS);
        if !known().any(|known| known == name) {
            let list: Vec<_> = known().collect();
            bail!("there is no benchmark `{name}`.{} There are: {}", did_you_mean(name, known()), list.join(", "));
        }
    }
    let is_of = |kind: Kind, name: &str| name == kind.name() || name == "application" && APPLICATION.contains(&kind);
    let wanted =
        |(kind, own, _): &&Benchmark| names.is_empty() || names.iter().any(|name| name == own || is_of(*kind, name));
    Ok(BENCHMARKS.iter().filter(wanted).copied().collect())
}

/// The kernels that benchmarks run on.
pub(crate) struct Kernels {
    pub(crate) plain: Vec<Variant>,
    pub(crate) recording: Vec<Variant>,
}

/// The kernels that these benchmarks run on.
pub(crate) fn kernels(benchmarks: &[Benchmark]) -> Kernels {
    let usual = [Variant::UP, Variant::giant(Lock::Ticket)];
    let has = |kind: Kind| benchmarks.iter().any(|(own, ..)| *own == kind);
    let of = |strategy: &'static str| Variant::all().into_iter().filter(move |own| own.strategy.name == strategy);
    let locks: Vec<Variant> = of(GIANT).collect();
    let mut recording = if has(Kind::Locks) { locks.clone() } else { Vec::new() };
    let mut plain = if has(Kind::Locks) { [&usual[..1], &locks].concat() } else { usual.to_vec() };
    if has(Kind::Scaling) {
        plain.extend(of(SUBSYSTEMS).take(1));
    }
    if has(Kind::Entry) {
        recording.extend(usual.iter().filter(|variant| !recording.contains(variant)).copied().collect::<Vec<_>>());
    }
    Kernels { plain, recording }
}

/// Runs them, and hands over a section for each kind in their order. All are under way at once, so that no hand is idle
/// while the last run of a kind goes on; those that have not begun when the user has had enough are left out.
pub(crate) fn run(lab: &Lab, benchmarks: &[Benchmark], mut take: impl FnMut(Section) -> Result<()>) -> Result<()> {
    let names = |kind: Kind| benchmarks.iter().filter(|(own, ..)| *own == kind).map(|(_, name, _)| *name).collect();
    let kinds: Vec<(Kind, Vec<_>)> = Kind::ALL.map(|kind| (kind, names(kind))).into();
    let kinds = kinds.into_iter().filter(|(_, names)| !names.is_empty());
    thread::scope(|scope| {
        let begin = |(place, (kind, names)): (usize, (Kind, Vec<&'static str>))| {
            let lab = lab.at(place);
            scope.spawn(move || Some(kind.run(&lab, &names)).filter(|_| lab.has_begun()))
        };
        let sections: Vec<_> = kinds.enumerate().map(begin).collect();
        let mut sections = sections.into_iter().map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)));
        sections.try_for_each(|section| section.map_or(Ok(()), &mut take))
    })
}

/// Writes a report into a directory: JSON, a page, and each chart as a picture.
pub(crate) fn write(report: &Report, directory: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(report).context("cannot write the report as JSON")?;
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("bench.json", &json)?;
    write("bench.html", &page::html(report))?;
    charts(report, directory)
}

/// Writes the charts as pictures.
fn charts(report: &Report, directory: &Path) -> Result<()> {
    for chart in report.sections.iter().flat_map(|section| &section.charts) {
        let path = directory.join(format!("{}.svg", chart.name));
        fs::write(&path, chart::svg(chart)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Writes the report as the document of results, with the figures of the page that it takes the place of, its charts beside the other pictures, and its tables into the pages that
/// show them.
pub(crate) fn write_document(report: &Report, docs: &Path) -> Result<()> {
    let write =
        |path: &Path, text: &str| fs::write(path, text).with_context(|| format!("cannot write {}", path.display()));
    let results = docs.join("results.md");
    let earlier = fs::read_to_string(&results).unwrap_or_default();
    write(&results, &history::with_earlier(&report.markdown("images/bench"), &earlier))?;
    let entries = fs::read_dir(docs).with_context(|| format!("cannot read {}", docs.display()))?;
    let entries: Vec<_> = entries.collect::<Result<_, _>>().context("cannot read an entry")?;
    let pages = entries.into_iter().map(|entry| entry.path()).chain(docs.parent().map(|root| root.join("README.md")));
    for path in pages.filter(|path| path.exists()) {
        if path.extension().is_some_and(|end| end == "md") {
            let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let filled = regions::filled(&page, |title| report.table(title));
            if filled != page {
                write(&path, &filled)?;
            }
        }
    }
    let images = docs.join("images/bench");
    fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
    charts(report, &images)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<&'static str> {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        chosen(&words).unwrap().into_iter().map(|(_, name, _)| name).collect()
    }

    #[test]
    fn benchmarks_are_chosen_by_name_or_kind() {
        assert_eq!(names(&["pipe", "null"]), ["null", "pipe"]);
        assert_eq!(names(&["native", "sweep"]), ["start", "message", "switch", "sweep"]);
        assert_eq!(names(&["application"]), ["parallel", "mix", "forwarded", "capacity", "single", "size"]);
        assert_eq!(names(&[]).len(), BENCHMARKS.len());
    }

    #[test]
    fn an_unknown_name_is_answered_with_all_there_are() {
        let why = chosen(&["nul".to_owned()]).unwrap_err().to_string();
        assert!(
            why.starts_with("there is no benchmark `nul`. Did you mean `null`? There are: null, getppid,"),
            "{why}"
        );
        assert!(why.ends_with("forwarded, capacity, single, size, micro, native, application"), "{why}");
    }
}
