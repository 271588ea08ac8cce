//! The program `throughput`: what processes get done that compute and call the kernel.

use std::{collections::BTreeMap, fmt};

use super::lab::{Job, Lab, Run, System};

/// What is measured in one window: a number of processes, each with `user` instructions between two calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Point {
    pub(super) processes: u8,
    pub(super) user: u32,
    /// Instructions that a call executes in the kernel besides coming and going; none is a call that does nothing.
    pub(super) burn: Option<u32>,
    pub(super) place: &'static str,
    /// Passes of exponential user times that each process draws before it ends; none has the same time again and again,
    /// and is measured in a window.
    pub(super) passes: Option<u32>,
}

impl fmt::Display for Point {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let burn = self.burn.map_or("null".to_owned(), |burn| burn.to_string());
        write!(to, "{}:{}:{burn}:{}", self.processes, self.user, self.place)?;
        self.passes.map_or(Ok(()), |passes| write!(to, ":{passes}"))
    }
}

/// What was counted in one window, of all CPUs together.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Count {
    /// Ticks of the window.
    pub(super) ticks: f64,
    pub(super) user: f64,
    pub(super) kernel: f64,
    pub(super) spin: f64,
    pub(super) idle: f64,
    /// System calls.
    pub(super) calls: f64,
    /// Entries that had to wait for the lock.
    pub(super) contended: f64,
}

impl Count {
    /// What gets done: instructions in user mode per tick. Each call comes after as many of them, but is counted only
    /// when it is whole, and a window has few of those that come seldom.
    pub(super) fn throughput(&self) -> f64 {
        self.user / self.ticks.max(1.0)
    }

    /// The kernel's part of the work.
    pub(super) fn kernel_share(&self) -> f64 {
        self.kernel / (self.user + self.kernel).max(1.0)
    }

    /// A part of all time.
    pub(super) fn share(&self, part: f64) -> f64 {
        part / (self.user + self.kernel + self.spin + self.idle).max(1.0)
    }

    fn of(values: &BTreeMap<&str, f64>) -> Option<Self> {
        let get = |name: &str| values.get(name).copied();
        Some(Self {
            ticks: get("ticks")?,
            user: get("user_cycles")?,
            kernel: get("kernel_cycles")?,
            spin: get("spin_cycles")?,
            idle: get("idle_cycles")?,
            calls: get("entries_system_call")?,
            contended: get("lock_contended")?,
        })
    }
}

/// Measures the points on each system, in windows of this number of ticks: a count for each system and point, and what
/// could not be measured.
pub(super) fn measure(
    lab: &Lab,
    window: u64,
    wanted: &[(System, Vec<Point>)],
) -> (Vec<Vec<Option<Count>>>, Vec<String>) {
    let words = |points: &[Point]| -> Vec<String> {
        let points = points.iter().map(Point::to_string);
        ["throughput".to_owned(), window.to_string()].into_iter().chain(points).collect()
    };
    let jobs: Vec<_> = wanted.iter().map(|(system, points)| Job::new(*system, words(points))).collect();
    let runs = lab.run(&jobs);
    let counts = wanted.iter().zip(&runs).map(|((_, points), run)| counts(run, points)).collect();
    (counts, runs.into_iter().filter_map(|run| run.failure).collect())
}

fn counts(run: &Run, points: &[Point]) -> Vec<Option<Count>> {
    let lines = values(run);
    points.iter().map(|point| Count::of(lines.get(point.to_string().as_str())?)).collect()
}

/// What a run tells of its points: lines `point POINT NAME=VALUE…`.
pub(super) fn values<'a>(run: &'a Run) -> BTreeMap<&'a str, BTreeMap<&'a str, f64>> {
    let value = |(name, value): (_, &str)| Some((name, value.parse().ok()?));
    let values =
        |fields: &'a str| fields.split(' ').filter_map(|field| field.split_once('=')).filter_map(value).collect();
    let lines = run.output.lines().filter_map(|line| line.strip_prefix("point ")?.split_once(' '));
    lines.map(|(point, fields)| (point, values(fields))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_by_their_points() {
        let point = |processes, burn| Point { processes, user: 604, burn, place: "free", passes: None };
        let output = "words\npoint 20:604:4:free ticks=100 user_cycles=60 kernel_cycles=40 spin_cycles=0 idle_cycles=0 \
                      entries_system_call=5 lock_contended=1 migrations=0\npoint 1:604:null:free ticks=1\n";
        let run = Run { output: output.into(), ..Run::default() };
        let points = [point(1, None), point(20, Some(4)), point(3, Some(4))];
        let counts = counts(&run, &points);
        assert_eq!((counts[0], counts[2]), (None, None));
        let count = counts[1].unwrap();
        assert_eq!((count.throughput(), count.kernel_share(), count.share(count.user)), (0.6, 0.4, 0.6));
    }
}
