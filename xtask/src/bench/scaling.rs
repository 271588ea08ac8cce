//! How much more of one kind of calls several CPUs make than one: what finer locks than the giant one are for.

use abi::strategies::{GIANT, SUBSYSTEMS};

use super::{
    figures::{self, Figures},
    lab::{Job, Lab, System},
    report::{Cell, Limit, Section, Table, Target, head},
};

/// What the program `scaling` does: its name, what it is, how many CPUs a unit of it keeps busy, and how much more is wanted
/// on [`CPUS`].
struct Work {
    name: &'static str,
    title: &'static str,
    of_unit: u8,
    wanted: f64,
}

/// The CPUs for which targets are set.
const CPUS: u8 = 8;

const fn work(name: &'static str, title: &'static str, of_unit: u8, wanted: f64) -> Work {
    Work { name, title, of_unit, wanted }
}

const WORKS: [Work; 9] = [
    work("getpid", "`getpid`", 1, 7.9),
    work("clock", "`clock_gettime`", 1, 7.9),
    work("faults", "16 pages mapped, touched and unmapped, in a process on each CPU", 1, 6.5),
    work("faults-in-one", "the same, by threads of one process", 1, 4.0),
    work("read", "4 KiB read, of a file for each CPU", 1, 6.0),
    work("open", "a file opened and closed, in a directory for each CPU", 1, 4.0),
    work("pipe", "a byte through a pipe and one back, a pair of processes on two CPUs", 2, 3.8),
    work("futex", "two processes hand over a futex, on two CPUs", 2, 3.8),
    work("fork", "a process copied, ended, waited for", 1, 4.0),
];

impl Work {
    /// How many units there are on this number of CPUs.
    fn units(&self, cpus: u8) -> u8 {
        cpus / self.of_unit
    }

    /// Ticks of an operation while this number of units is at it.
    fn ticks(&self, figures: &Figures, units: u8) -> Option<f64> {
        figures.get(&format!("{}-{units}", self.name))
    }

    /// How much more is done on all CPUs than by one unit.
    fn gain(&self, figures: &Figures, cpus: u8) -> Option<f64> {
        let units = self.units(cpus);
        Some(f64::from(units) * self.ticks(figures, 1)? / self.ticks(figures, units)?)
    }
}

/// Single operations, by one CPU and by all.
pub(super) fn scaling(lab: &Lab) -> Section {
    let cpus = lab.cpus.iter().copied().max().unwrap_or(CPUS).max(2);
    let strategies = [GIANT, SUBSYSTEMS].map(|strategy| System::jotun(&format!("{strategy}:{cpus}")));
    let systems: Vec<_> = strategies.into_iter().chain(lab.linux.is_some().then_some(System::Linux(cpus))).collect();
    let words = || ["scaling".to_owned(), cpus.to_string()].into_iter().chain(WORKS.iter().map(|one| one.name.into()));
    let jobs: Vec<_> = systems.iter().map(|system| Job::new(*system, words())).collect();
    let measured = figures::measure(lab, &jobs);
    Section {
        name: "scaling",
        title: "Calls on all CPUs at once",
        text: vec![format!(
            "The same operation by one process, bound to a CPU, and by as many as there are CPUs, each bound to its own: ticks of \
             one operation where one process is alone, and how much more is done by all together on {cpus} CPUs. With the giant lock \
             the kernel's part is done by one CPU at a time."
        )],
        tables: vec![table(&systems, &measured, cpus)],
        targets: targets(&measured[1], cpus),
        failures: measured.into_iter().flat_map(|figures| figures.failures).collect(),
        ..Section::default()
    }
}

fn table(systems: &[System], measured: &[Figures], cpus: u8) -> Table {
    let mut table = Table { title: format!("One operation, and the gain on {cpus} CPUs"), ..Table::default() };
    table.head = head(["operation"]);
    table.head.extend(systems.iter().flat_map(|system| [system.name(), "gain".to_owned()]));
    table.rows = WORKS
        .iter()
        .map(|work| {
            let cells = measured.iter().flat_map(|figures| {
                let gain = work.gain(figures, cpus).map_or(Cell::Nothing, Cell::Ratio);
                [Cell::count(work.ticks(figures, 1)), gain]
            });
            [Cell::text(work.title)].into_iter().chain(cells).collect()
        })
        .collect();
    table
}

fn targets(subsystems: &Figures, cpus: u8) -> Vec<Target> {
    let target = |work: &Work| Target {
        what: format!("{}: gain on {cpus} CPUs with `{SUBSYSTEMS}`", work.name),
        measured: work.gain(subsystems, cpus),
        limit: Limit::AtLeast(work.wanted),
        why: "what is behind a lock that all of them take",
    };
    WORKS.iter().filter(|_| cpus == CPUS).map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_is_by_units() {
        let medians = [("pipe-1", 4000.0), ("pipe-4", 5000.0)].map(|(name, ticks)| (name.to_owned(), vec![ticks]));
        let figures = Figures { medians: medians.into(), failures: Vec::new() };
        let pipe = WORKS.iter().find(|work| work.name == "pipe").unwrap();
        assert_eq!(pipe.gain(&figures, 8), Some(3.2));
        assert_eq!(pipe.gain(&figures, 4), None);
    }
}
