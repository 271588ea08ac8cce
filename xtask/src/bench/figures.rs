//! The lines by which the programs `bench` and `bench-native` tell what operations cost.

use std::collections::BTreeMap;

use super::lab::Run;

/// Figures of one run by the operations' names, and why others are missing.
#[derive(Default)]
pub(super) struct Figures {
    /// Ticks of one operation, the median.
    pub(super) medians: BTreeMap<String, f64>,
    pub(super) failures: Vec<String>,
}

impl Figures {
    /// What a run's output tells; `system` is named with each failure.
    pub(super) fn of(run: &Run, system: &str) -> Self {
        let mut figures = Self { failures: run.failure.iter().cloned().collect(), ..Self::default() };
        for line in run.output.lines() {
            if let Some(rest) = line.strip_prefix("figure ") {
                let mut words = rest.split(' ');
                let hundredths = |word: Option<&str>| word?.parse::<f64>().ok();
                if let (Some(name), Some(median)) = (words.next(), hundredths(words.next())) {
                    figures.medians.insert(name.to_owned(), median / 100.0);
                }
            } else if let Some(rest) = line.strip_prefix("failed ") {
                let (name, why) = rest.split_once(": ").unwrap_or((rest, "it does not say why"));
                figures.failures.push(format!("{name} on {system}: {why}"));
            }
        }
        figures
    }

    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.medians.get(name).copied()
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
        let figures = Figures::of(&run, "up");
        assert_eq!(figures.get("null"), Some(75.5));
        assert_eq!(figures.medians.len(), 1);
        assert_eq!(
            figures.failures,
            ["bench on up: ended with status 101: oh", "fork on up: Function not implemented"]
        );
    }
}
