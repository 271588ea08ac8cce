//! The papers' measurements: papers/001's two processes, papers/004's sweep, and seL4's delay between calls.

use super::{
    lab::{Lab, System},
    points::{Count, Point, measure},
    report::{Cell, Chart, Limit, Section, Series, Table, Target, head},
};
use crate::profile::Bound;

/// Ticks of a window, quick and thorough: slices of a million.
const WINDOWS: [u64; 2] = [2_000_000, 5_000_000];

pub(super) fn window(lab: &Lab) -> u64 {
    WINDOWS[usize::from(!lab.quick)]
}

/// The kernel for several CPUs on so many.
fn smp(cpus: u8) -> System {
    System::jotun(&format!("smp:{cpus}"))
}

/// Instructions of the call `burn` besides those that it is asked for, from `syscall` to `sysret`, on the
/// uniprocessor kernel.
const COMING_AND_GOING: u32 = 100;

/// papers/001's workload: 36 % of the instructions in the kernel, in visits of about 4,000.
const KERNEL_VISIT: u32 = 4_000;
const USER: u32 = (KERNEL_VISIT + COMING_AND_GOING) * 64 / 36;

/// papers/001, section 5: of the multiprocessor kernel on one CPU and on two, against the uniprocessor kernel.
const PAPER_SPEED_UPS: [f64; 2] = [0.98, 1.2];

/// papers/001 table 1.
const PAPER_SHARES: [[&str; 4]; 2] =
    [["UP, papers/001", "64 %", "36 %", "< 0.1 %"], ["SMP, 2 CPUs, papers/001", "55–59 %", "20–22 %", "20–23 %"]];

/// Two processes that compute and call the kernel.
pub(super) fn two_processes(lab: &Lab) -> Section {
    let point = |place| Point { processes: 2, user: USER, burn: Some(KERNEL_VISIT), place };
    let [free, bound, moved] = [0, 1, 2];
    let points = ["free", "bound", "moved"].map(point).to_vec();
    let mut wanted = [System::jotun("up"), smp(1), smp(2)].map(|system| (system, points.clone())).to_vec();
    wanted.push((System::jotun("smp:2:strict"), points[..1].to_vec()));
    let (counts, failures) = measure(lab, window(lab), &wanted);
    let [up, smp_1, smp_2, strict] = [0, 1, 2, 3];
    let speed_up =
        |system: usize, point: usize| Some(counts[system][point]?.throughput() / counts[up][point]?.throughput());

    let mut shares = Table { title: "Shares of time (papers/001, table 1)".into(), ..Table::default() };
    shares.head = head(["", "user", "kernel", "spinning", "idle"]);
    let row = |name: &str, count: Option<Count>| {
        let mut row = vec![Cell::text(name)];
        row.extend(
            [|c: &Count| c.user, |c: &Count| c.kernel, |c: &Count| c.spin, |c: &Count| c.idle]
                .map(|part| count.as_ref().map_or(Cell::Nothing, |count| Cell::Share(count.share(part(count))))),
        );
        row
    };
    let paper = |row: [&str; 4]| row.map(Cell::text).into_iter().chain([Cell::Nothing]).collect::<Vec<_>>();
    shares.rows = vec![
        paper(PAPER_SHARES[0]),
        row("UP", counts[up][free]),
        row("SMP, 1 CPU", counts[smp_1][free]),
        paper(PAPER_SHARES[1]),
        row("SMP, 2 CPUs", counts[smp_2][free]),
    ];

    let limits = counts[up][free]
        .and_then(|count| Bound::of(2, count.user as u64, count.kernel as u64, count.calls as u64, count.ticks as u64));
    let mut gains = Table { title: "Throughput against the uniprocessor kernel".into(), ..Table::default() };
    gains.head = head(["", "SMP, 1 CPU", "SMP, 2 CPUs"]);
    gains.rows.push(vec![Cell::text("papers/001"), Cell::Ratio(PAPER_SPEED_UPS[0]), Cell::Ratio(PAPER_SPEED_UPS[1])]);
    let precise = |value: Option<f64>| value.map_or(Cell::Nothing, |value| Cell::text(format!("{value:.4}")));
    for (name, point) in [
        ("the kernel's placing", free),
        ("bound to a CPU each by `sched_setaffinity`", bound),
        ("no affinity: moved to the next CPU every 10 ms", moved),
    ] {
        gains.rows.push(vec![Cell::text(name), precise(speed_up(smp_1, point)), precise(speed_up(smp_2, point))]);
    }
    let stays = precise(speed_up(strict, free));
    gains.rows.push(vec![Cell::text("the paper's rule: a thread stays where it started"), Cell::Nothing, stays]);
    for (name, value) in [
        ("Amdahl's law, as papers/001 section 5 has it", limits.as_ref().map(|limits| limits.amdahl)),
        (
            "closed system with one server, times as random as can be",
            limits.as_ref().map(|limits| limits.closed_system),
        ),
        ("if they never collide", limits.as_ref().map(|limits| limits.ceiling)),
    ] {
        gains.rows.push(vec![Cell::text(name), Cell::Nothing, precise(value)]);
    }
    let slower = speed_up(smp_1, free).map(|gain| (1.0 / gain - 1.0) * 100.0);
    let reached = speed_up(smp_2, free).zip(limits).map(|(gain, limits)| gain / limits.amdahl);
    Section {
        name: "two-processes",
        title: "Two processes (papers/001, sections 4 and 5)",
        text: vec![format!(
            "Two processes in containers of their own, each {USER} instructions in user mode, then a call that \
             executes {KERNEL_VISIT} in the kernel, for {} ticks. The paper's benchmark ran beside about 100 threads \
             of its system on a Pentium II, and 36 % of its time was in the kernel: here that share is set. One \
             CPU in the kernel does not keep the other from computing, so more than Amdahl's law allows is possible: \
             two processes of the same rhythm soon find one in which they do not collide.",
            window(lab)
        )],
        tables: vec![shares, gains],
        targets: vec![
            Target {
                what: "two processes: SMP build on one CPU slower than UP, in percent".into(),
                measured: slower,
                limit: Limit::AtMost(1.0),
                why: "the lock's instructions in every visit",
            },
            Target {
                what: "two processes: speed-up on 2 CPUs as a part of Amdahl's bound".into(),
                measured: reached,
                limit: Limit::AtLeast(0.97),
                why: "waits for the lock",
            },
        ],
        failures,
        ..Section::default()
    }
}

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
    /// The bound of a serialised kernel.
    fn bound(&self, cpus: u8) -> f64 {
        f64::from(cpus).min(1.0 / self.kernel_share)
    }

    /// The least part of the bound that is reached away from the knee: where CPUs and what the kernel allows are
    /// neither nearly the same.
    fn least(&self) -> Option<f64> {
        let knee = |cpus: u8| (0.7..1.5).contains(&(f64::from(cpus) * self.kernel_share));
        let away = self.reached.iter().filter(|(cpus, _)| !knee(*cpus));
        away.map(|(cpus, gain)| gain / self.bound(*cpus)).reduce(f64::min)
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
            Series { name: "its bound".into(), points: points(&|cpus, _| self.bound(cpus)), bound: true },
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
    table.head = head(["workload", "kernel share", "smp:1 / up"]);
    table.head.extend(lab.cpus.iter().map(|cpus| format!("{cpus} CPU{}", if *cpus == 1 { "" } else { "s" })));
    table.head.extend(["1 / kernel share", "least part of the bound"].map(str::to_owned));
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
            what: format!("{what}: least part of the bound, away from the knee"),
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

const READING: &str = "The bound is min(CPUs, 1 / kernel share), drawn broken, with the kernel's share as it is measured on \
                       one CPU: instructions with the lock held. Away from the knee is where CPUs times kernel share is \
                       below 0.7 or above 1.5.";

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
                "{PROCESSES} processes of one thread, each with instructions in user mode and then a call of so many in \
                 the kernel, for {} ticks: work done. The paper's figures 6 to 8 show its application kernel.",
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
    let point = |&user: &u32| (format!("{user} instructions"), Point { processes: 1, user, burn: None, place: "free" });
    let all: Vec<_> = delays.iter().map(point).collect();
    let (curves, failures) = curves(lab, &all, true);
    let measured: Vec<_> = curves.iter().flatten().collect();
    let (table, chart) = shown(lab, &measured, "delay", "User work between calls that do nothing");
    Section {
        name: "delay",
        title: "Delay between calls (as in seL4's benchmarks)",
        text: vec![
            "A process on each CPU, which computes for so many instructions and makes a call that does nothing. seL4's \
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
