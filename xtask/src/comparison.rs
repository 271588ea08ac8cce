//! What several kernels made of the same program: samples, their medians and spreads, and how they are shown.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    options::{Lock, MOST_CPUS, Variant},
    profile::{grouped, percent, table},
};

/// The page, with a place for the data.
const PAGE: &str = include_str!("comparison.html");

/// A kernel and its CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Setup {
    pub(crate) variant: Variant,
    pub(crate) cpus: u8,
}

impl Setup {
    /// Reads `up`, `smp:N` or `smp:N/LOCK`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let unknown = || {
            let locks: Vec<_> = Lock::value_variants().iter().map(|lock| name(*lock)).collect();
            format!(
                "a variant is `up`, `smp:N` or `smp:N/LOCK` with 1 to {MOST_CPUS} CPUs and one of {}",
                locks.join(", ")
            )
        };
        if text == "up" {
            return Ok(Self { variant: Variant::Up, cpus: 1 });
        }
        let (cpus, lock) = text
            .strip_prefix("smp:")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "ticket")))
            .ok_or_else(unknown)?;
        let cpus = cpus.parse().ok().filter(|cpus| (1..=MOST_CPUS).contains(cpus)).ok_or_else(unknown)?;
        let lock = Lock::from_str(lock, false).map_err(|_| unknown())?;
        Ok(Self { variant: Variant::Smp(lock), cpus })
    }

    /// As the user writes it.
    pub(crate) fn name(&self) -> String {
        match self.variant {
            Variant::Up => "up".to_owned(),
            Variant::Smp(Lock::Ticket) => format!("smp:{}", self.cpus),
            Variant::Smp(lock) => format!("smp:{}/{}", self.cpus, name(lock)),
        }
    }

    /// As `run` takes it.
    pub(crate) fn options(&self) -> Vec<String> {
        match self.variant {
            Variant::Up => vec!["--up".to_owned()],
            Variant::Smp(lock) => vec![format!("--smp={}", self.cpus), format!("--lock={}", name(lock))],
        }
    }
}

fn name(lock: Lock) -> String {
    lock.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
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
    fn share(&self, part: u64) -> f64 {
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

/// A variant's row.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) variant: String,
    pub(crate) cpus: u8,
    pub(crate) samples: Vec<Sample>,
    pub(crate) seconds: Spread,
    pub(crate) wall_cycles: Spread,
    /// Against the first variant: its median time by this one's times.
    pub(crate) speed_up: Spread,
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
    pub(crate) rows: Vec<Row>,
}

impl Comparison {
    pub(crate) fn new(program: String, machine: &'static str, setups: Vec<Setup>, runs: Vec<Vec<Sample>>) -> Self {
        let first = Spread::of(runs.first().map_or(&[], Vec::as_slice), Sample::seconds).median;
        let row = |(setup, samples): (Setup, Vec<Sample>)| {
            let of = |figure: &dyn Fn(&Sample) -> f64| Spread::of(&samples, figure);
            Row {
                variant: setup.name(),
                cpus: setup.cpus,
                seconds: of(&Sample::seconds),
                wall_cycles: of(&|sample| sample.wall_cycles as f64),
                speed_up: of(&|sample| first / sample.seconds()),
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
        Self { program, machine, rows: setups.into_iter().zip(runs).map(row).collect() }
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
                cells.push(format!("{:.3}", row.speed_up.median));
                cells
                    .extend([row.user, row.kernel, row.spin, row.idle, row.contended].map(|part| percent(part.median)));
                let memory = [row.pages_per_container, row.tables_per_container, row.directories_per_container];
                cells.extend(memory.map(|part| format!("{:.2}", part.median)));
            }
            rows.push(cells);
        }
        let mut text =
            format!("{} on {}, medians; memory of a container, in pages\n{}", self.program, self.machine, table(&rows));
        if self.machine == "bochs" {
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
        for text in ["up", "smp:1", "smp:64", "smp:4/clh", "smp:2/tas"] {
            assert_eq!(Setup::parse(text).unwrap().name(), text);
        }
        assert_eq!(Setup::parse("smp:2/ticket"), Setup::parse("smp:2"));
        assert_eq!(Setup::parse("smp:2/mcs").unwrap().options(), ["--smp=2", "--lock=mcs"]);
        for text in ["", "upp", "smp", "smp:", "smp:0", "smp:65", "smp:2/", "smp:2/foo", "up/clh", "smp:x/clh"] {
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
        let setups = ["up", "smp:2", "smp:4"].map(|text| Setup::parse(text).unwrap()).to_vec();
        let up = vec![sample(600, 400, 0, 0, 1), sample(700, 500, 0, 0, 1), sample(600, 300, 0, 0, 1)];
        let two = vec![sample(600, 400, 150, 50, 2), sample(600, 400, 100, 100, 2)];
        Comparison::new("prog </script>".to_owned(), "bochs", setups, vec![up, two, Vec::new()])
    }

    #[test]
    fn medians_and_speed_ups() {
        let [up, two, none] = &comparison().rows[..] else { panic!("three rows") };
        assert_eq!((up.seconds.median, up.seconds.least, up.seconds.most), (1.0, 0.9, 1.2));
        assert_eq!(up.speed_up.median, 1.0);
        assert_eq!((two.seconds.median, two.speed_up.median), (0.6, 1.0 / 0.6));
        assert_eq!((two.spin.least, two.spin.most), (100.0 / 1200.0, 150.0 / 1200.0));
        let memory = [two.pages_per_container, two.tables_per_container, two.directories_per_container];
        assert_eq!((two.contended.median, memory.map(|part| part.median)), (0.25, [20.0, 2.5, 0.5]));
        assert_eq!(none.seconds, Spread::default());
    }

    #[test]
    fn the_table_names_what_could_not_be_measured() {
        let text = comparison().text();
        assert!(text.lines().any(|line| line.contains("smp:4") && line.contains("nothing measured")), "{text}");
        assert!(text.contains("instructions: up 1,000, smp:2 600"), "{text}");
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
