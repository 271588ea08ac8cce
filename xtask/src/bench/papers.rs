//! Throughput on more and more CPUs: papers/004's sweep, and seL4's delay between calls.

use super::{
    lab::{Lab, System},
    points::{Point, measure},
    report::{Cell, Chart, Limit, Section, Series, Table, Target, head},
};
/// Ticks of a window, quick and thorough: slices of a million.
const WINDOWS: [u64; 2] = [2_000_000, 5_000_000];

pub(super) fn window(lab: &Lab) -> u64 {
    WINDOWS[usize::from(!lab.quick)]
}

/// The kernel for several CPUs, on this number of them.
pub(super) fn smp(cpus: u8) -> System {
    System::jotun(&format!("giant:{cpus}"))
}

/// Instructions of the call `burn` besides those that it is asked for, from `syscall` to `sysret`, on the
/// uniprocessor kernel.
pub(super) const COMING_AND_GOING: u32 = 100;

/// Speed-ups at several CPUs of one workload.
struct Curve {
    name: String,
    /// Against one CPU of the same kernel: CPUs and speed-up.
    reached: Vec<(u8, f64)>,
    /// The throughput of one CPU against the uniprocessor kernel's.
    against_up: Option<f64>,
    /// The kernel's part of the work on one CPU, the lock held.
    kernel_share: f64,
}

impl Curve {
    /// What a serialised kernel lets expect.
    fn estimate(&self, cpus: u8) -> f64 {
        f64::from(cpus).min(1.0 / self.kernel_share)
    }

    /// The least part of the estimate that is reached away from the knee: where CPUs and what the kernel allows are
    /// neither nearly the same.
    fn least(&self) -> Option<f64> {
        let knee = |cpus: u8| (0.7..1.5).contains(&(f64::from(cpus) * self.kernel_share));
        let away = self.reached.iter().filter(|(cpus, _)| !knee(*cpus));
        away.map(|(cpus, gain)| gain / self.estimate(*cpus)).reduce(f64::min)
    }

    /// Throughput on 8 CPUs by that on 4.
    fn decline(&self) -> Option<f64> {
        let at = |wanted: u8| self.reached.iter().find(|(cpus, _)| *cpus == wanted).map(|(_, gain)| *gain);
        Some(at(8)? / at(4)?)
    }

    fn series(&self) -> [Series; 2] {
        let points = |of: &dyn Fn(u8, f64) -> f64| {
            self.reached.iter().map(|&(cpus, gain)| (f64::from(cpus), of(cpus, gain))).collect()
        };
        [
            Series { name: self.name.clone(), points: points(&|_, gain| gain), bound: false },
            Series { name: "its estimate".into(), points: points(&|cpus, _| self.estimate(cpus)), bound: true },
        ]
    }

    fn row(&self, cpus: &[u8]) -> Vec<Cell> {
        let mut row = vec![Cell::text(&self.name), Cell::Share(self.kernel_share)];
        row.push(self.against_up.map_or(Cell::Nothing, Cell::Ratio));
        for wanted in cpus {
            let found = self.reached.iter().find(|(cpus, _)| cpus == wanted);
            row.push(found.map_or(Cell::Nothing, |(_, gain)| Cell::Ratio(*gain)));
        }
        row.push(Cell::Ratio(1.0 / self.kernel_share));
        row.push(self.least().map_or(Cell::Nothing, Cell::Share));
        row
    }
}

/// Measures workloads on the uniprocessor kernel and on several CPUs: a curve for each.
fn curves(lab: &Lab, named: &[(String, Point)], by_cpu: bool) -> (Vec<Option<Curve>>, Vec<String>) {
    let points = |cpus: u8| -> Vec<Point> {
        let processes = |point: &Point| if by_cpu { cpus } else { point.processes };
        named.iter().map(|(_, point)| Point { processes: processes(point), ..*point }).collect()
    };
    let mut cpus = lab.cpus.clone();
    if !cpus.contains(&1) {
        cpus.insert(0, 1);
    }
    // The slowest first, so that none is left alone in the end.
    cpus.sort_unstable_by(|a, b| b.cmp(a));
    let mut wanted: Vec<_> = cpus.iter().map(|&cpus| (smp(cpus), points(cpus))).collect();
    wanted.push((System::jotun("up"), points(1)));
    let (counts, failures) = measure(lab, window(lab), &wanted);
    let at = |wanted: u8| cpus.iter().position(|&cpus| cpus == wanted);
    let curve = |(index, (name, _)): (usize, &(String, Point))| {
        let one = counts[at(1)?][index]?;
        let mut reached: Vec<_> = cpus
            .iter()
            .zip(&counts)
            .filter_map(|(&cpus, counts)| Some((cpus, counts[index]?.throughput() / one.throughput())))
            .collect();
        reached.sort_by_key(|(cpus, _)| *cpus);
        let up = counts.last().and_then(|counts| counts[index]);
        let against_up = up.map(|up| one.throughput() / up.throughput());
        Some(Curve { name: name.clone(), reached, against_up, kernel_share: one.kernel_share() })
    };
    (named.iter().enumerate().map(curve).collect(), failures)
}

/// A table and a chart of curves.
fn shown(lab: &Lab, curves: &[&Curve], name: &str, title: &str) -> (Table, Chart) {
    let mut table = Table { title: title.to_owned(), ..Table::default() };
    table.head = head(["workload", "kernel share", "giant:1 / up"]);
    table.head.extend(lab.cpus.iter().map(|cpus| format!("{cpus} CPU{}", if *cpus == 1 { "" } else { "s" })));
    table.head.extend(["1 / kernel share", "least part of the estimate"].map(str::to_owned));
    table.rows = curves.iter().map(|curve| curve.row(&lab.cpus)).collect();
    let chart = Chart {
        name: name.to_owned(),
        title: title.to_owned(),
        x: "CPUs".into(),
        y: "speed-up against one CPU".into(),
        series: curves.iter().flat_map(|curve| curve.series()).collect(),
    };
    (table, chart)
}

const COLLISIONS: &str = "where CPUs times kernel share is above 1.5 the kernel is full, and each call waits: that the lock is \
                          free is seen some instructions later, and the wait is counted with the lock held, which weighs the \
                          more the shorter the call is";

/// Targets of several curves.
fn targets(curves: &[&Curve], what: &str) -> Vec<Target> {
    let least = curves.iter().filter_map(|curve| curve.least()).reduce(f64::min);
    let decline = curves.iter().filter_map(|curve| curve.decline()).reduce(f64::min);
    vec![
        Target {
            what: format!("{what}: least part of the estimate, away from the knee"),
            measured: least,
            limit: Limit::AtLeast(0.95),
            why: COLLISIONS,
        },
        Target {
            what: format!("{what}: least of throughput on 8 CPUs by that on 4"),
            measured: decline,
            limit: Limit::AtLeast(1.0),
            why: COLLISIONS,
        },
    ]
}

const READING: &str = "The estimate is min(CPUs, 1 / kernel share), drawn broken, with the kernel's share as it is measured on \
                       one CPU. It is no bound: a call's first and last instructions count as the kernel's, but are executed \
                       without the lock, which shows where calls are short. Away from the knee is where CPUs times kernel \
                       share is below 0.7 or above 1.5.";

/// papers/004 section 5.2: kernel visits, and user shares in thousandths.
const VISITS: [u32; 3] = [151, 451, 4510];
const USER_SHARES: [u32; 6] = [800, 900, 925, 950, 970, 990];
const PROCESSES: u8 = 20;

/// The throughput of papers/004.
pub(super) fn sweep(lab: &Lab) -> Section {
    let shares: &[u32] = if lab.quick { &[800, 950] } else { &USER_SHARES };
    let point = |visit: u32, share: u32| {
        let point = Point {
            processes: PROCESSES,
            user: visit * share / (1000 - share),
            burn: Some(visit - COMING_AND_GOING),
            place: "free",
            passes: None,
        };
        (format!("{} % user", f64::from(share) / 10.0), point)
    };
    let all: Vec<_> = VISITS.iter().flat_map(|&visit| shares.iter().map(move |&share| point(visit, share))).collect();
    let (curves, failures) = curves(lab, &all, false);
    let mut section = Section {
        name: "sweep",
        title: "User share and CPUs (papers/004, section 5.2)",
        text: vec![
            format!(
                "{PROCESSES} processes of one thread, each with instructions in user mode and then a call of as many in the kernel, for {} ticks: work done. The paper's figures 6 to 8 show its application kernel.",
                window(lab)
            ),
            READING.to_owned(),
        ],
        failures,
        ..Section::default()
    };
    let mut measured: Vec<&Curve> = Vec::new();
    for (index, visit) in VISITS.iter().enumerate() {
        let some: Vec<_> = curves.iter().skip(index * shares.len()).take(shares.len()).flatten().collect();
        let (table, chart) = shown(lab, &some, &format!("sweep-{visit}"), &format!("Calls of {visit} instructions"));
        section.tables.push(table);
        section.charts.push(chart);
        measured.extend(some);
    }
    section.targets = targets(&measured, "sweep");
    section
}

/// Instructions in user mode between two calls.
const DELAYS: [u32; 8] = [0, 500, 1000, 2000, 4000, 8000, 16000, 32000];

/// seL4's delay between calls, one process a CPU.
pub(super) fn delay(lab: &Lab) -> Section {
    let delays: &[u32] = if lab.quick { &[500, 4000] } else { &DELAYS };
    let point = |&user: &u32| {
        let point = Point { processes: 1, user, burn: None, place: "free", passes: None };
        (format!("{user} instructions"), point)
    };
    let all: Vec<_> = delays.iter().map(point).collect();
    let (curves, failures) = curves(lab, &all, true);
    let measured: Vec<_> = curves.iter().flatten().collect();
    let (table, chart) = shown(lab, &measured, "delay", "User work between calls that do nothing");
    Section {
        name: "delay",
        title: "Delay between calls (as in seL4's benchmarks)",
        text: vec![
            "A process on each CPU, which computes for the given number of instructions and makes a call that does nothing. seL4's \
             big lock has, from 1 to 4 cores (Haswell, 64 bit, round trips of messages), 1.83 times the throughput with \
             500 cycles between and 3.94 times with 32,000."
                .to_owned(),
            READING.to_owned(),
        ],
        targets: targets(&measured, "delay"),
        tables: vec![table],
        charts: vec![chart],
        failures,
        ..Section::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve() -> Curve {
        let reached = vec![(1, 1.0), (2, 1.9), (4, 2.0), (8, 2.1)];
        Curve { name: "c".into(), reached, against_up: Some(0.9), kernel_share: 0.4 }
    }

    #[test]
    fn the_knee_does_not_count() {
        // 2 CPUs times 0.4 is within it, 4 is above, 1 below.
        let least = curve().least().unwrap();
        assert!((least - 2.0 / 2.5).abs() < 1e-12, "{least}");
        assert_eq!(curve().decline(), Some(1.05));
        assert_eq!(Curve { reached: vec![(2, 1.9)], ..curve() }.least(), None);
    }

    #[test]
    fn rows_are_as_wide_as_the_head() {
        let row = curve().row(&[1, 2, 3]);
        assert_eq!(row.len(), 3 + 3 + 2);
        assert_eq!(row[5], Cell::Nothing);
    }
}
