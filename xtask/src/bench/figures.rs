//! The lines by which the programs `bench` and `bench-native` tell what operations cost.

use std::collections::BTreeMap;

use super::{
    lab::{Job, Lab, Run},
    report::Cell,
};

/// Figures of a program by the operations' names, and why others are missing.
#[derive(Default)]
pub(super) struct Figures {
    /// Ticks of one operation, the median of a run, for each run in order of size.
    pub(super) medians: BTreeMap<String, Vec<f64>>,
    pub(super) failures: Vec<String>,
}

/// Runs programs that time operations; figures in the order of the jobs.
pub(super) fn measure(lab: &Lab, jobs: &[Job]) -> Vec<Figures> {
    let runs = lab.run_boots(jobs);
    jobs.iter().zip(&runs).map(|(job, runs)| Figures::of(runs, &job.system.name())).collect()
}

impl Figures {
    /// What the outputs of several runs tell; `system` is named with each failure.
    fn of(runs: &[Run], system: &str) -> Self {
        let mut figures = Self::default();
        for run in runs {
            figures.failures.extend(run.failure.clone());
            run.output.lines().for_each(|line| figures.take(line, system));
        }
        figures.medians.values_mut().for_each(|all| all.sort_by(f64::total_cmp));
        // What happens in each boot is told once.
        figures.failures.sort();
        figures.failures.dedup();
        figures
    }

    fn take(&mut self, line: &str, system: &str) {
        if let Some(rest) = line.strip_prefix("figure ") {
            let mut words = rest.split(' ');
            let hundredths = |word: Option<&str>| word?.parse::<f64>().ok();
            if let (Some(name), Some(median)) = (words.next(), hundredths(words.next())) {
                self.medians.entry(name.to_owned()).or_default().push(median / 100.0);
            }
        } else if let Some(rest) = line.strip_prefix("failed ") {
            let (name, why) = rest.split_once(": ").unwrap_or((rest, "it does not say why"));
            self.failures.push(format!("{name} on {system}: {why}"));
        }
    }

    /// The median of the runs.
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        let all = self.medians.get(name)?;
        let count = all.len();
        Some((all.get(count.checked_sub(1)? / 2)? + all.get(count / 2)?) / 2.0)
    }

    /// The median and the spread, as a table shows them.
    pub(super) fn cell(&self, name: &str) -> Cell {
        match (self.get(name), self.medians.get(name).map(Vec::as_slice)) {
            (Some(median), Some([least, .., most])) => Cell::Spread { median, least: *least, most: *most },
            (figure, _) => Cell::count(figure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_failures_are_read_and_other_words_are_not() {
        let output = "random: ready\nfigure null 7550 7500 7600\nfailed fork: Function not implemented\nfigure x\n";
        let failure = Some("bench on up: ended with status 101: oh".into());
        let run = Run { output: output.into(), failure, ..Run::default() };
        let figures = Figures::of(&[run], "up");
        assert_eq!(figures.get("null"), Some(75.5));
        assert_eq!(figures.cell("null"), Cell::Count(75.5));
        assert_eq!(figures.medians.len(), 1);
        assert_eq!(
            figures.failures,
            ["bench on up: ended with status 101: oh", "fork on up: Function not implemented"]
        );
    }

    #[test]
    fn of_several_runs_the_median_counts_and_the_spread_is_shown() {
        let run = |figure| Run { output: format!("figure null {figure} 1 1\nfailed x: no\n"), ..Run::default() };
        let figures = Figures::of(&[run(900_000), run(100_000), run(120_000)], "linux:1");
        assert_eq!(figures.get("null"), Some(1200.0));
        assert_eq!(figures.cell("null").show(), "1,200 (1,000–9,000)");
        assert_eq!(figures.failures, ["x on linux:1: no"]);
        assert_eq!(Figures::of(&[run(100), run(300)], "linux:1").get("null"), Some(2.0));
        assert_eq!(figures.cell("y"), Cell::Nothing);
    }
}
