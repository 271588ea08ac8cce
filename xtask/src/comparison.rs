//! What several kernels made of the same program: samples, their medians and spreads, and how they are shown.

use std::{collections::BTreeMap, fs, path::Path};

use abi::strategies::{self, GIANT, STRATEGIES, UP};
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    options::{Affinity, Lock, MOST_CPUS, Variant},
    profile::{grouped, percent, table},
};

/// The page, with a place for the data.
const PAGE: &str = include_str!("comparison.html");

/// A kernel, its CPUs, and how it ties threads to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Setup {
    pub(crate) variant: Variant,
    pub(crate) cpus: u8,
    pub(crate) affinity: Affinity,
}

/// What stands behind a variant with strict affinity.
const STRICT: &str = ":strict";

/// Several CPUs with the strategy that is usual for them.
const SMP: &str = "smp";

impl Setup {
    /// Reads `up`, `STRATEGY:N` or `STRATEGY:N/LOCK`, the latter two with `:strict` behind them or not; `smp` is the giant
    /// lock.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let unknown = || {
            let locks: Vec<_> = Lock::value_variants().iter().map(|lock| name(*lock)).collect();
            let several = STRATEGIES.iter().filter(|strategy| strategy.several).map(|strategy| strategy.name);
            format!(
                "a variant is `up`, `STRATEGY:N` with one of {} and 1 to {MOST_CPUS} CPUs, or `{GIANT}:N/LOCK` with one of \
                 {}; `{SMP}:N` is `{GIANT}:N`; `{STRICT}` behind it leaves threads where they started",
                several.collect::<Vec<_>>().join(", "),
                locks.join(", ")
            )
        };
        if text == UP {
            return Ok(Self { variant: Variant::UP, cpus: 1, affinity: Affinity::Soft });
        }
        let (text, affinity) =
            text.strip_suffix(STRICT).map_or((text, Affinity::Soft), |text| (text, Affinity::Strict));
        let (strategy, cpus) = text.split_once(':').ok_or_else(unknown)?;
        let (cpus, lock) = cpus.split_once('/').map_or((cpus, None), |(cpus, lock)| (cpus, Some(lock)));
        let strategy = if strategy == SMP { GIANT } else { strategy };
        let strategy = strategies::find(strategy).filter(|strategy| strategy.several).ok_or_else(unknown)?;
        let cpus = cpus.parse().ok().filter(|cpus| (1..=MOST_CPUS).contains(cpus)).ok_or_else(unknown)?;
        let lock = match lock {
            None => Lock::Ticket,
            Some(lock) if strategy.locks => Lock::from_str(lock, false).map_err(|_| unknown())?,
            Some(_) => return Err(unknown()),
        };
        Ok(Self { variant: Variant { strategy, lock }, cpus, affinity })
    }

    /// As the user may write it, and as it is shown.
    pub(crate) fn name(&self) -> String {
        let Variant { strategy, lock } = self.variant;
        if !strategy.several {
            return strategy.name.to_owned();
        }
        let lock = if lock == Lock::Ticket { String::new() } else { format!("/{}", name(lock)) };
        let strict = if self.affinity == Affinity::Strict { STRICT } else { "" };
        format!("{}:{}{lock}{strict}", strategy.name, self.cpus)
    }

    /// As `run` takes it.
    pub(crate) fn options(&self) -> Vec<String> {
        let Variant { strategy, lock } = self.variant;
        if !strategy.several {
            return vec![format!("--strategy={}", strategy.name)];
        }
        vec![
            format!("--strategy={}", strategy.name),
            format!("--smp={}", self.cpus),
            format!("--lock={}", name(lock)),
            format!("--affinity={}", name(self.affinity)),
        ]
    }
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// One run's figures, from the kernel's statistics. Cycles are those of all CPUs together.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Sample {
    /// From the end of the boot to the end of the first process.
    pub(crate) wall_cycles: u64,
    pub(crate) tsc_hz: u64,
    pub(crate) user: u64,
    pub(crate) kernel: u64,
    pub(crate) spin: u64,
    pub(crate) idle: u64,
    pub(crate) entries: u64,
    pub(crate) lock_contended: u64,
    /// What each container used when it ended, on the average, in pages of memory: the program's own, page tables,
    /// and page directories with the CPUs' copies.
    pub(crate) pages_per_container: f64,
    pub(crate) tables_per_container: f64,
    pub(crate) directories_per_container: f64,
}

impl Sample {
    /// None if the statistics lack what counts.
    pub(crate) fn of(statistics: &BTreeMap<String, u64>) -> Option<Self> {
        let get = |name: &str| statistics.get(name).copied();
        let or_none = |name: &str| get(name).unwrap_or(0);
        let (user, kernel, spin) = (get("user_cycles")?, get("kernel_cycles")?, or_none("spin_cycles"));
        let cpus = get("cpus").unwrap_or(1).max(1);
        // The boot CPU counts from the end of the boot on. The others have been idle for longer.
        let first = |state: &str| get(&format!("cpu0_{state}_cycles"));
        let wall = match (first("user"), first("kernel"), first("spin"), first("idle")) {
            (Some(user), Some(kernel), Some(spin), Some(idle)) => user + kernel + spin + idle,
            _ => user + kernel + spin + get("idle_cycles")?,
        };
        let idle = (wall * cpus).saturating_sub(user + kernel + spin);
        let ended = or_none("containers_made").saturating_sub(or_none("containers_live")).max(1);
        let used = |what: &str| or_none(&format!("ended_containers_{what}")) as f64 / ended as f64;
        Some(Self {
            wall_cycles: wall,
            tsc_hz: get("tsc_hz").filter(|hz| *hz > 0)?,
            user,
            kernel,
            spin,
            idle,
            entries: ["system_call", "exception", "interrupt"]
                .iter()
                .map(|kind| or_none(&format!("entries_{kind}")))
                .sum(),
            lock_contended: or_none("lock_contended"),
            pages_per_container: used("pages"),
            tables_per_container: used("tables"),
            directories_per_container: used("directories"),
        })
    }

    fn seconds(&self) -> f64 {
        self.wall_cycles as f64 / self.tsc_hz as f64
    }

    /// A part of all CPUs' time.
    pub(crate) fn share(&self, part: u64) -> f64 {
        part as f64 / (self.user + self.kernel + self.spin + self.idle).max(1) as f64
    }
}

/// A figure of several runs.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    fn of(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> Self {
        let mut figures: Vec<f64> = samples.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        match figures.len() {
            0 => Self::default(),
            count => Self {
                median: (figures[(count - 1) / 2] + figures[count / 2]) / 2.0,
                least: figures[0],
                most: figures[count - 1],
            },
        }
    }
}

/// What a machine's clock is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Clock {
    /// It counts instructions: one run tells all.
    Instructions,
    /// The host's CPUs execute the program.
    Hardware,
    /// QEMU translates the program. What comes out has two speeds, run by run, that have nothing to do with the program.
    Translator,
}

impl Clock {
    /// Rounds that are made at least, and unless more are asked for.
    pub(crate) fn rounds(self) -> (u16, u16) {
        match self {
            Self::Instructions => (1, 1),
            Self::Hardware => (1, 5),
            Self::Translator => (7, 7),
        }
    }
}

/// Runs that are this much slower than others, with none between them, are a group of their own.
const GROUPS_APART: f64 = 1.25;

/// The two groups that the times of a variant fall into, if they do: how many runs, and the median time of each.
fn groups(samples: &[Sample]) -> Option<[(usize, f64); 2]> {
    let mut seconds: Vec<f64> = samples.iter().map(Sample::seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let ratio = |at: &usize| seconds[*at] / seconds[at - 1];
    // One run alone is an accident.
    let at = (2..seconds.len().saturating_sub(1)).max_by(|a, b| ratio(a).total_cmp(&ratio(b)))?;
    let group = |part: &[f64]| (part.len(), part[part.len() / 2]);
    (ratio(&at) >= GROUPS_APART).then(|| [group(&seconds[..at]), group(&seconds[at..])])
}

/// A variant's row.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) variant: String,
    pub(crate) cpus: u8,
    pub(crate) samples: Vec<Sample>,
    pub(crate) seconds: Spread,
    pub(crate) wall_cycles: Spread,
    /// Against the first variant: its time by this one's, of each the median, or on QEMU's translator the least.
    /// None where that cannot be believed.
    pub(crate) speed_up: Option<f64>,
    /// The two groups that the times fall into, each with its number of runs and its median in seconds.
    pub(crate) groups: Option<[(usize, f64); 2]>,
    pub(crate) user: Spread,
    pub(crate) kernel: Spread,
    pub(crate) spin: Spread,
    pub(crate) idle: Spread,
    /// Contended acquisitions among the entries to the kernel.
    pub(crate) contended: Spread,
    pub(crate) pages_per_container: Spread,
    pub(crate) tables_per_container: Spread,
    pub(crate) directories_per_container: Spread,
}

/// All rows.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) program: String,
    pub(crate) machine: &'static str,
    pub(crate) clock: Clock,
    pub(crate) rows: Vec<Row>,
}

impl Comparison {
    pub(crate) fn new(
        program: String,
        (machine, clock): (&'static str, Clock),
        setups: Vec<Setup>,
        runs: Vec<Vec<Sample>>,
    ) -> Self {
        let typical = |samples: &[Sample]| {
            let seconds = Spread::of(samples, Sample::seconds);
            if clock == Clock::Translator { seconds.least } else { seconds.median }
        };
        let first = runs.first().map_or(0.0, |samples| typical(samples));
        let first_cpus = setups.first().map_or(1, |setup| setup.cpus);
        // More CPUs make a program at most as many times faster as there are more of them; the translator may say else.
        let is_possible = |factor: f64, setup: &Setup| {
            clock != Clock::Translator || factor <= f64::from(setup.cpus) / f64::from(first_cpus)
        };
        let row = |(setup, samples): (Setup, Vec<Sample>)| {
            let of = |figure: &dyn Fn(&Sample) -> f64| Spread::of(&samples, figure);
            let speed_up = (!samples.is_empty()).then(|| first / typical(&samples));
            Row {
                variant: setup.name(),
                cpus: setup.cpus,
                seconds: of(&Sample::seconds),
                wall_cycles: of(&|sample| sample.wall_cycles as f64),
                speed_up: speed_up.filter(|factor| is_possible(*factor, &setup)),
                groups: groups(&samples).filter(|_| clock != Clock::Instructions),
                user: of(&|sample| sample.share(sample.user)),
                kernel: of(&|sample| sample.share(sample.kernel)),
                spin: of(&|sample| sample.share(sample.spin)),
                idle: of(&|sample| sample.share(sample.idle)),
                contended: of(&|sample| sample.lock_contended as f64 / sample.entries.max(1) as f64),
                pages_per_container: of(&|sample| sample.pages_per_container),
                tables_per_container: of(&|sample| sample.tables_per_container),
                directories_per_container: of(&|sample| sample.directories_per_container),
                samples,
            }
        };
        Self { program, machine, clock, rows: setups.into_iter().zip(runs).map(row).collect() }
    }

    /// The table for the terminal.
    pub(crate) fn text(&self) -> String {
        let head = [
            "variant",
            "runs",
            "ms",
            "least",
            "most",
            "speed-up",
            "user",
            "kernel",
            "spinning",
            "idle",
            "contended",
            "pages",
            "tables",
            "directories",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for row in &self.rows {
            let ms = |seconds: f64| format!("{:.3}", seconds * 1e3);
            let mut cells = vec![row.variant.clone(), row.samples.len().to_string()];
            if row.samples.is_empty() {
                cells.push("nothing measured".to_owned());
            } else {
                cells.extend([ms(row.seconds.median), ms(row.seconds.least), ms(row.seconds.most)]);
                cells.push(row.speed_up.map_or("?".to_owned(), |factor| format!("{factor:.3}")));
                cells
                    .extend([row.user, row.kernel, row.spin, row.idle, row.contended].map(|part| percent(part.median)));
                let memory = [row.pages_per_container, row.tables_per_container, row.directories_per_container];
                cells.extend(memory.map(|part| format!("{:.2}", part.median)));
            }
            rows.push(cells);
        }
        let mut text =
            format!("{} on {}, medians; memory of a container, in pages\n{}", self.program, self.machine, table(&rows));
        if self.clock == Clock::Translator {
            text +=
                "on QEMU's translator: speed-ups are of the least times, and ? is one that so many CPUs cannot give\n";
        }
        for row in &self.rows {
            if let Some([(quick, quick_time), (slow, slow_time)]) = row.groups {
                text += &format!(
                    "{}: the times fall into two groups, {quick} near {:.3} ms and {slow} near {:.3} ms; \
                     docs/profiling.md says why\n",
                    row.variant,
                    quick_time * 1e3,
                    slow_time * 1e3
                );
            }
        }
        if self.clock == Clock::Instructions {
            let cycles = |row: &Row| format!("{} {}", row.variant, grouped(row.wall_cycles.median as u64));
            let all: Vec<_> = self.rows.iter().map(cycles).collect();
            text += &format!("instructions: {}\n", all.join(", "));
        }
        text
    }

    /// Writes the comparison as JSON and as a page.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self).context("cannot write the comparison as JSON")?;
        let (before, after) = PAGE.split_once("/*COMPARISON*/").context("comparison.html has no place for data")?;
        let page = [before, &json.replace("</", "<\\/").replace("<!--", "<\\!--"), after].concat();
        for (name, text) in [("compare.json", json), ("compare.html", page)] {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_read_and_named() {
        for text in [
            "up",
            "giant:1",
            "giant:64",
            "giant:4/clh",
            "giant:2/tas",
            "giant:2:strict",
            "giant:4/mcs:strict",
            "baton:3",
        ] {
            assert_eq!(Setup::parse(text).unwrap().name(), text);
        }
        assert_eq!(Setup::parse("giant:2/ticket"), Setup::parse("giant:2"));
        assert_eq!(Setup::parse("smp:2/clh"), Setup::parse("giant:2/clh"));
        assert_eq!(Setup::parse("baton:3").unwrap().options()[..2], ["--strategy=baton", "--smp=3"]);
        assert_eq!(
            Setup::parse("giant:2/mcs").unwrap().options(),
            ["--strategy=giant", "--smp=2", "--lock=mcs", "--affinity=soft"]
        );
        assert!(Setup::parse("giant:2:strict").unwrap().options().contains(&"--affinity=strict".to_owned()));
        for text in [
            "",
            "upp",
            "smp",
            "giant:",
            "giant:0",
            "giant:65",
            "giant:2/",
            "giant:2/foo",
            "up/clh",
            "up:1",
            "baton:2/mcs",
            "other:2",
            "up:strict",
            "smp:strict",
            "giant:2:soft",
            "giant:x/clh",
        ] {
            let why = Setup::parse(text).unwrap_err();
            assert!(why.contains("ticket, mcs, clh, tas"), "{text}: {why}");
        }
    }

    fn sample(user: u64, kernel: u64, spin: u64, idle: u64, cpus: u64) -> Sample {
        let mut statistics: BTreeMap<String, u64> = BTreeMap::new();
        let mut set = |name: &str, value| _ = statistics.insert(name.to_owned(), value);
        set("user_cycles", user);
        set("kernel_cycles", kernel);
        set("spin_cycles", spin);
        // Of the other CPUs, during the boot.
        set("idle_cycles", idle + 1000 * (cpus - 1));
        set("cpus", cpus);
        let wall = (user + kernel + spin + idle) / cpus;
        for (state, cycles) in [("user", wall), ("kernel", 0), ("spin", 0), ("idle", 0)] {
            set(&format!("cpu0_{state}_cycles"), cycles);
        }
        set("tsc_hz", 1000);
        set("entries_system_call", 80);
        set("entries_interrupt", 20);
        set("lock_contended", 25);
        set("containers_made", 5);
        set("containers_live", 1);
        set("ended_containers_pages", 80);
        set("ended_containers_tables", 10);
        set("ended_containers_directories", 2);
        Sample::of(&statistics).unwrap()
    }

    fn comparison() -> Comparison {
        let setups = ["up", "giant:2", "giant:4"].map(|text| Setup::parse(text).unwrap()).to_vec();
        let up = vec![sample(600, 400, 0, 0, 1), sample(700, 500, 0, 0, 1), sample(600, 300, 0, 0, 1)];
        let two = vec![sample(600, 400, 150, 50, 2), sample(600, 400, 100, 100, 2)];
        Comparison::new("prog </script>".to_owned(), ("bochs", Clock::Instructions), setups, vec![up, two, Vec::new()])
    }

    /// Runs of these lengths, on one CPU.
    fn runs(lengths: &[u64]) -> Vec<Sample> {
        lengths.iter().map(|length| sample(*length, 0, 0, 0, 1)).collect()
    }

    #[test]
    fn the_translator_is_believed_as_far_as_can_be() {
        let setups = ["up", "giant:2", "giant:4"].map(|text| Setup::parse(text).unwrap()).to_vec();
        let lengths: [&[u64]; 3] =
            [&[344, 121, 346, 122, 350, 125, 343], &[80, 82, 81, 83, 80, 85, 81], &[20, 21, 22, 21, 20, 20, 22]];
        let runs = |clock| {
            let samples = lengths.map(runs).to_vec();
            Comparison::new("prog".to_owned(), ("qemu", clock), setups.clone(), samples)
        };
        let on_translator = runs(Clock::Translator);
        let speed_ups: Vec<_> = on_translator.rows.iter().map(|row| row.speed_up).collect();
        assert_eq!(speed_ups, [Some(1.0), Some(121.0 / 80.0), None], "six times on four CPUs");
        assert_eq!(on_translator.rows[0].groups, Some([(3, 0.122), (4, 0.346)]));
        assert_eq!(on_translator.rows[1].groups, None);
        let text = on_translator.text();
        assert!(text.contains("up: the times fall into two groups, 3 near 122.000 ms and 4 near 346.000 ms"), "{text}");
        let with_kvm = runs(Clock::Hardware);
        assert_eq!(with_kvm.rows[2].speed_up, Some(343.0 / 21.0), "the host's CPUs are believed");
    }

    #[test]
    fn one_slow_run_is_no_group() {
        assert_eq!(groups(&runs(&[100, 101, 102, 100, 300])), None);
        assert_eq!(groups(&runs(&[100, 101, 124, 126])), None);
        assert_eq!(groups(&runs(&[100, 126])), None);
        assert_eq!(groups(&[]), None);
    }

    #[test]
    fn medians_and_speed_ups() {
        let [up, two, none] = &comparison().rows[..] else { panic!("three rows") };
        assert_eq!((up.seconds.median, up.seconds.least, up.seconds.most), (1.0, 0.9, 1.2));
        assert_eq!(up.speed_up, Some(1.0));
        assert_eq!((two.seconds.median, two.speed_up), (0.6, Some(1.0 / 0.6)));
        assert_eq!((two.spin.least, two.spin.most), (100.0 / 1200.0, 150.0 / 1200.0));
        let memory = [two.pages_per_container, two.tables_per_container, two.directories_per_container];
        assert_eq!((two.contended.median, memory.map(|part| part.median)), (0.25, [20.0, 2.5, 0.5]));
        assert_eq!(none.seconds, Spread::default());
    }

    #[test]
    fn the_table_names_what_could_not_be_measured() {
        let text = comparison().text();
        assert!(text.lines().any(|line| line.contains("giant:4") && line.contains("nothing measured")), "{text}");
        assert!(text.contains("instructions: up 1,000, giant:2 600"), "{text}");
    }

    #[test]
    fn statistics_that_lack_something_are_none() {
        assert_eq!(Sample::of(&BTreeMap::new()), None);
    }

    #[test]
    fn the_page_needs_nothing_else() {
        for part in ["http:", "https:", "src=", "@import", "fetch("] {
            assert!(!PAGE.contains(part), "{part}");
        }
    }
}
