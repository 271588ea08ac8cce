//! The experiments of docs/smp-guide.md: two processes with more and more kernel, one program on three strategies, and what
//! the guide says one learns from them.

use super::{
    lab::{Job, Lab, Run, System},
    report::{Cell, Limit, Section, Table, Target, head},
};
use crate::comparison::Sample;

/// Instructions of a call in the kernel, and how many calls each process makes.
const VISIT: u64 = 4_000;
const CALLS: u64 = 2_000;

/// Rounds of the loop in user mode between two calls.
const ROUNDS: [u64; 4] = [7_000, 2_000, 500, 100];

/// What a target of a lesson begins with. A host test looks for one for each lesson of the guide.
const LESSON: &str = "guide: ";

/// One row: the same work on each kernel.
struct Row {
    rounds: u64,
    up: Sample,
    one: Sample,
    two: Sample,
}

impl Row {
    fn speed_up(&self, of: &Sample) -> f64 {
        self.up.wall_cycles as f64 / of.wall_cycles as f64
    }

    fn kernel_share(&self) -> f64 {
        self.up.kernel as f64 / (self.up.user + self.up.kernel).max(1) as f64
    }

    fn spinning(&self) -> f64 {
        self.two.share(self.two.spin)
    }

    /// The part of the entries that waited.
    fn waited(&self) -> f64 {
        self.two.lock_contended as f64 / self.two.entries.max(1) as f64
    }

    fn cells(&self) -> Vec<Cell> {
        let precise = |value: f64| Cell::text(format!("{value:.3}"));
        vec![
            Cell::Count(self.rounds as f64),
            Cell::Share(self.kernel_share()),
            precise(self.speed_up(&self.one)),
            precise(self.speed_up(&self.two)),
            Cell::Share(self.spinning()),
            Cell::Share(self.waited()),
        ]
    }
}

/// The experiment.
pub(super) fn guide(lab: &Lab) -> Section {
    let systems = ["up", "giant:1", "giant:2"].map(System::jotun);
    let jobs =
        ROUNDS.iter().flat_map(|&rounds| systems.map(|system| Job::new(system, ["two-processes", &order(rounds)])));
    let runs = lab.run(&jobs.collect::<Vec<_>>());
    let row = |(&rounds, runs): (&u64, &[Run])| {
        let [up, one, two] = runs else { return None };
        let sample = |run: &Run| Sample::of(&run.statistics).filter(|_| run.failure.is_none());
        Some(Row { rounds, up: sample(up)?, one: sample(one)?, two: sample(two)? })
    };
    let rows: Vec<_> = ROUNDS.iter().zip(runs.chunks(systems.len())).filter_map(row).collect();
    let mut targets = if rows.len() == ROUNDS.len() { lessons(&rows) } else { Vec::new() };
    let (table, further, failures) = three(lab);
    targets.extend(further);
    let missed = targets.iter().filter(|target| target.met() == Some(false));
    Section {
        name: "guide",
        title: "Two processes with more and more kernel",
        text: vec![format!(
            "The experiment of docs/smp-guide.md: `two-processes`, {CALLS} calls of {VISIT} instructions by each process, the same \
             user time between all of them. Speed-ups are against `up`."
        )],
        broken: missed.map(|target| format!("{}; docs/smp-guide.md teaches it", target.what)).collect(),
        tables: vec![
            Table {
                title: "Rounds between calls".into(),
                head: head([
                    "rounds",
                    "kernel's share, `up`",
                    "`giant:1`",
                    "`giant:2`",
                    "spinning on two",
                    "calls that waited",
                ]),
                rows: rows.iter().map(Row::cells).collect(),
            },
            table,
        ],
        targets,
        failures: runs.into_iter().filter_map(|run| run.failure).chain(failures).collect(),
        ..Section::default()
    }
}

/// The argument of the package `two-processes`.
fn order(rounds: u64) -> String {
    let (calls, rounds) = (CALLS / 16, rounds / 16);
    (VISIT << 40 | calls << 24 | rounds).to_string()
}

/// Bytes that the program of the second experiment reads with a call, and its threads.
const BLOCKS: [u64; 2] = [64, 4096];
const THREADS: &str = "4";

/// What a target of a lesson of the second experiment begins with. A test looks for one for each.
const THREE: &str = "three strategies: ";

/// Measures one program on three strategies, first with many calls and then with few. Returns the table, the lessons, and the
/// runs that have failed.
fn three(lab: &Lab) -> (Table, Vec<Target>, Vec<String>) {
    let systems = ["up", "giant:4", "application:4"].map(System::jotun);
    let jobs = BLOCKS.iter().flat_map(|block| {
        systems.map(|system| Job::new(system, ["checksum", "/bin/checksum", &block.to_string(), THREADS]))
    });
    let runs = lab.run(&jobs.collect::<Vec<_>>());
    let measured = runs.chunks(systems.len()).map(|runs| {
        let sample = |run: &Run| Sample::of(&run.statistics).filter(|_| run.failure.is_none());
        runs.iter().map(sample).collect::<Option<Vec<_>>>()?.try_into().ok()
    });
    let measured: Option<Vec<[Sample; 3]>> = measured.collect();
    let measured = measured.unwrap_or_default();
    let row = |(block, [up, giant, application]): (&u64, &[Sample; 3])| {
        let speed_up = |of: &Sample| Cell::text(format!("{:.3}", up.wall_cycles as f64 / of.wall_cycles as f64));
        vec![
            Cell::Count(*block as f64),
            Cell::Share(up.share(up.kernel)),
            speed_up(giant),
            Cell::Share(giant.share(giant.spin)),
            speed_up(application),
        ]
    };
    let table = Table {
        title: "One program on three strategies".into(),
        head: head(["bytes", "kernel's share, `up`", "`giant:4`", "spinning", "`application:4`"]),
        rows: BLOCKS.iter().zip(&measured).map(row).collect(),
    };
    let targets = match &measured[..] {
        [many, few] => lessons_of_three(many, few),
        _ => Vec::new(),
    };
    (table, targets, runs.into_iter().filter_map(|run| run.failure).collect())
}

/// What the guide teaches about three strategies, by the runs with many calls and with few.
fn lessons_of_three(many: &[Sample; 3], few: &[Sample; 3]) -> Vec<Target> {
    let speed_up = |[up, giant, application]: &[Sample; 3]| {
        [giant, application].map(|of| up.wall_cycles as f64 / of.wall_cycles as f64)
    };
    let ([giant, application], [quick, apart]) = (speed_up(many), speed_up(few));
    let lesson = |what: &str, measured, limit| Target {
        what: format!("{THREE}{what}"),
        measured: Some(measured),
        limit,
        why: "the guide's sentence is to be put right",
    };
    vec![
        lesson("Many calls bound both. Speed-up of `giant:4`", giant, Limit::AtMost(2.0)),
        lesson(
            "Many calls are dear where they are forwarded. Speed-up of `application:4`",
            application,
            Limit::AtMost(0.9),
        ),
        lesson("With few calls both gain. Speed-up of `giant:4`", quick, Limit::AtLeast(3.0)),
        lesson("With few calls both gain. Speed-up of `application:4`", apart, Limit::AtLeast(2.0)),
        lesson(
            "With few calls both gain. Speed-up of `application:4`, beside three CPUs that compute",
            apart,
            Limit::AtMost(3.0),
        ),
    ]
}

/// What the guide teaches, each as a figure with a limit.
fn lessons(rows: &[Row]) -> Vec<Target> {
    let least = |figure: &dyn Fn(&Row) -> f64| rows.iter().map(figure).fold(f64::MAX, f64::min);
    let most = |figure: &dyn Fn(&Row) -> f64| rows.iter().map(figure).fold(f64::MIN, f64::max);
    let (less, more): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.kernel_share() < 0.5);
    let busiest = most(&|row| row.spinning() + row.two.share(row.two.user + row.two.kernel));
    let full = more.last().map(|row| row.speed_up(&row.two));
    let lesson = |what: &str, measured, limit| Target {
        what: format!("{LESSON}{what}"),
        measured,
        limit,
        why: "the guide's sentence is to be put right",
    };
    vec![
        lesson(
            "One CPU pays for the lock, and little. Speed-up of `giant:1`, the least",
            Some(least(&|row| row.speed_up(&row.one))),
            Limit::AtLeast(0.98),
        ),
        lesson(
            "The kernel's share is the limit. Speed-up of `giant:2` times that share, the most",
            Some(most(&|row| row.speed_up(&row.two) * row.kernel_share())),
            Limit::AtMost(1.02),
        ),
        lesson("Spinning takes the rest. Work and spinning of all time, the most", Some(busiest), Limit::AtLeast(0.95)),
        lesson(
            "A second CPU may gain next to nothing. Speed-up of `giant:2` with the most kernel",
            full,
            Limit::AtMost(1.15),
        ),
        lesson(
            "There is a threshold. Calls that waited with less than half in the kernel, the most",
            less.iter().map(|row| row.waited()).reduce(f64::max),
            Limit::AtMost(0.02),
        ),
        lesson(
            "There is a threshold. Calls that waited with more than half in the kernel, the least",
            more.iter().map(|row| row.waited()).reduce(f64::min),
            Limit::AtLeast(0.95),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(user: u64, kernel: u64, walls: [u64; 3], contended: u64) -> Row {
        let sample = |wall, spin, lock_contended| Sample {
            wall_cycles: wall,
            tsc_hz: 1,
            user,
            kernel,
            spin,
            idle: 0,
            entries: 100,
            lock_contended,
            pages_per_container: 0.0,
            tables_per_container: 0.0,
            directories_per_container: 0.0,
        };
        let [up, one, two] = walls;
        Row {
            rounds: 1,
            up: sample(up, 0, 0),
            one: sample(one, 0, 0),
            two: sample(two, (2 * two).saturating_sub(user + kernel), contended),
        }
    }

    #[test]
    fn a_lesson_that_no_longer_holds_is_noticed() {
        let verdicts = |rows: &[Row]| lessons(rows).iter().map(|lesson| lesson.met() == Some(true)).collect::<Vec<_>>();
        let quiet = || row(900, 100, [1000, 1000, 505], 0);
        assert_eq!(verdicts(&[quiet(), row(100, 900, [1000, 1005, 910], 99)]), [true; 6]);
        // The second CPU gains what it cannot, calls do not wait.
        assert_eq!(verdicts(&[quiet(), row(100, 900, [1000, 1005, 600], 3)]), [true, false, true, false, true, false]);
        // The lock is dear on one CPU, and calls wait where there is little kernel.
        let dear = row(900, 100, [1000, 1050, 505], 50);
        assert_eq!(verdicts(&[dear, row(100, 900, [1000, 1005, 910], 99)]), [false, true, true, true, false, true]);
    }

    #[test]
    fn each_lesson_of_three_strategies_is_measured_and_taught() {
        let guide = include_str!("../../../docs/smp-guide.md");
        let (_, part) = guide.split_once("\n## The same program on three strategies\n").unwrap();
        let (part, _) = part.split_once("\n## ").unwrap();
        let taught: Vec<_> = part.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("**")).collect();
        let sample = |_| row(900, 100, [1000, 1000, 505], 0).up;
        let samples = std::array::from_fn(sample);
        let measured: Vec<_> = lessons_of_three(&samples, &samples).into_iter().map(|target| target.what).collect();
        assert!(taught.iter().all(|(lesson, _)| measured.iter().any(|what| what.contains(lesson))), "{taught:?}");
        assert!(measured.iter().all(|what| taught.iter().any(|(lesson, _)| what.contains(lesson))), "{measured:?}");
    }

    #[test]
    fn the_order_is_the_guide_s() {
        assert_eq!(order(7_000), (4_000_u64 << 40 | 125 << 24 | 437).to_string());
    }
}
