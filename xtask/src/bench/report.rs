//! What benchmarks came to, in the one form from which table, page, document and JSON are made.

use serde::Serialize;

use crate::profile::{grouped, table};

/// All of a run of `cargo xtask bench`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Report {
    /// The command that makes it again.
    pub(crate) command: String,
    /// What it was measured on and with: a name and what it is.
    pub(crate) setting: Vec<(String, String)>,
    pub(crate) sections: Vec<Section>,
}

/// What one benchmark, or several that were measured together, came to.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Paragraphs: what was done, and how the tables are to be read.
    pub(crate) text: Vec<String>,
    pub(crate) tables: Vec<Table>,
    pub(crate) charts: Vec<Chart>,
    pub(crate) targets: Vec<Target>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
    /// What was measured and must not be so: the command fails.
    pub(crate) broken: Vec<String>,
}

/// A table; its first column are names.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    /// Nothing was measured.
    Nothing,
    Text(String),
    /// A number that is shown without decimals.
    Count(f64),
    /// A number that is shown with two decimals.
    Ratio(f64),
    /// A part of one, shown in percent.
    Share(f64),
    /// Counts of several runs.
    Spread {
        median: f64,
        least: f64,
        most: f64,
    },
}

/// Lines over a common axis.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Chart {
    /// The file name without its ending.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) series: Vec<Series>,
}

/// A line of a chart.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Drawn broken: a bound, not a measurement. It has the colour of the line before.
    pub(crate) bound: bool,
}

/// Something that was to be reached.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) what: String,
    /// None if it was not measured.
    pub(crate) measured: Option<f64>,
    pub(crate) limit: Limit,
    /// What stands in the way if it is missed.
    pub(crate) why: &'static str,
}

/// Which side of a number is the good one.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    /// None if it was not measured.
    pub(crate) fn met(&self) -> Option<bool> {
        self.measured.map(|measured| match self.limit {
            Limit::AtMost(limit) => measured <= limit,
            Limit::AtLeast(limit) => measured >= limit,
        })
    }

    fn cells(&self) -> Vec<String> {
        let limit = match self.limit {
            Limit::AtMost(limit) => format!("≤ {}", number(limit)),
            Limit::AtLeast(limit) => format!("≥ {}", number(limit)),
        };
        let verdict = match self.met() {
            None => "not measured",
            Some(true) => "met",
            Some(false) => "missed",
        };
        vec![self.what.clone(), limit, self.measured.map_or("–".to_owned(), number), verdict.to_owned()]
    }
}

/// A number as short as its size allows.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => grouped(value.round() as u64),
        _ if value.fract() == 0.0 => format!("{value}"),
        _ => format!("{value:.3}"),
    }
}

impl Cell {
    /// A number that may be missing.
    pub(crate) fn count(value: Option<f64>) -> Self {
        value.map_or(Self::Nothing, Self::Count)
    }

    /// A quotient of numbers that may be missing.
    pub(crate) fn ratio(part: Option<f64>, whole: Option<f64>) -> Self {
        part.zip(whole)
            .filter(|(_, whole)| *whole != 0.0)
            .map_or(Self::Nothing, |(part, whole)| Self::Ratio(part / whole))
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// As it is shown.
    pub(crate) fn show(&self) -> String {
        match self {
            Self::Nothing => "–".to_owned(),
            Self::Text(text) => text.clone(),
            Self::Count(value) => count(*value),
            Self::Spread { median, least, most } if count(*least) == count(*most) => count(*median),
            Self::Spread { median, least, most } => format!("{} ({}–{})", count(*median), count(*least), count(*most)),
            Self::Ratio(value) => format!("{value:.2}"),
            Self::Share(value) => format!("{:.1} %", value * 100.0),
        }
    }
}

/// A number without decimals.
fn count(value: f64) -> String {
    grouped(value.round() as u64)
}

/// The names of a table's columns.
pub(crate) fn head<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

impl Table {
    /// All rows as they are shown, the head being the first.
    pub(crate) fn shown(&self) -> Vec<Vec<String>> {
        let rows = self.rows.iter().map(|row| row.iter().map(Cell::show).collect());
        std::iter::once(self.head.clone()).chain(rows).collect()
    }
}

/// The table of targets, its head being the first row.
pub(crate) fn targets(targets: &[Target]) -> Vec<Vec<String>> {
    let head = head(["target", "limit", "measured", "verdict"]);
    std::iter::once(head).chain(targets.iter().map(Target::cells)).collect()
}

impl Section {
    /// For the terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("== {}: {} ==\n", self.name, self.title);
        for shown in &self.tables {
            text += &format!("\n{}\n{}", shown.title, table(&shown.shown()));
        }
        if !self.targets.is_empty() {
            text += &format!("\nTargets\n{}", table(&targets(&self.targets)));
        }
        for failure in &self.failures {
            text += &format!("\nnot measured: {failure}\n");
        }
        for what in &self.broken {
            text += &format!("\nbroken: {what}\n");
        }
        text + "\n"
    }
}

/// What the reader of any figure has to know first.
const THREATS: &str = include_str!("threats.md");

impl Report {
    /// The table of this title in Markdown, if it has rows.
    pub(crate) fn table(&self, title: &str) -> Option<String> {
        let all = self.sections.iter().flat_map(|section| &section.tables);
        let table = all.into_iter().find(|table| table.title == title && !table.rows.is_empty())?;
        let shown = table.shown();
        Some(rows(&shown[..1], &shown[1..]))
    }

    /// As a document in Markdown; charts are images that lie in `images`.
    pub(crate) fn markdown(&self, images: &str) -> String {
        let mut text = format!(
            "# Results\n\nThis page is written by the command\n\n    {}\n\nand no figure in it by hand. {}\n\n",
            self.command,
            "`cargo xtask bench --help` tells what there is; the numbers are instructions unless said otherwise."
        );
        text += &rows(
            &[head(["", ""])],
            &self.setting.iter().map(|(name, what)| vec![name.clone(), what.clone()]).collect::<Vec<_>>(),
        );
        text += &format!("\n{THREATS}");
        let all: Vec<Target> = self.sections.iter().flat_map(|section| section.targets.clone()).collect();
        text += "\n## Targets\n\n";
        let shown = targets(&all);
        text += &rows(&shown[..1], &shown[1..]);
        let missed: Vec<_> = all.iter().filter(|target| target.met() == Some(false)).collect();
        if !missed.is_empty() {
            text += "\nWhat stands in the way of those that are missed:\n\n";
            for target in missed {
                text += &format!("- {}: {}\n", target.what, target.why);
            }
        }
        for section in &self.sections {
            text += &format!("\n## {}\n", section.title);
            for paragraph in &section.text {
                text += &format!("\n{paragraph}\n");
            }
            for table in &section.tables {
                let shown = table.shown();
                text += &format!("\n### {}\n\n{}", table.title, rows(&shown[..1], &shown[1..]));
            }
            for chart in &section.charts {
                text += &format!("\n![{}]({images}/{}.svg)\n", chart.title, chart.name);
            }
            for failure in &section.failures {
                text += &format!("\nNot measured: {failure}\n");
            }
        }
        text
    }
}

/// A table in Markdown.
fn rows(head: &[Vec<String>], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        format!(
            "| {} |\n",
            cells.iter().map(|cell| cell.replace('|', "\\|").replace('<', "&lt;")).collect::<Vec<_>>().join(" | ")
        )
    };
    let columns = head.first().map_or(0, Vec::len);
    let rule: Vec<String> = (0..columns).map(|column| if column == 0 { "---" } else { "---:" }.to_owned()).collect();
    head.iter().map(|row| line(row)).chain([line(&rule)]).chain(rows.iter().map(|row| line(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(measured: Option<f64>, limit: Limit) -> Target {
        Target { what: "a thing".into(), measured, limit, why: "because" }
    }

    #[test]
    fn targets_are_met_or_missed_or_neither() {
        assert_eq!(target(Some(75.0), Limit::AtMost(75.0)).met(), Some(true));
        assert_eq!(target(Some(75.1), Limit::AtMost(75.0)).met(), Some(false));
        assert_eq!(target(Some(1.98), Limit::AtLeast(1.99)).met(), Some(false));
        assert_eq!(target(None, Limit::AtLeast(1.0)).met(), None);
    }

    #[test]
    fn the_document_explains_what_was_missed() {
        let table = Table {
            title: "t".into(),
            head: head(["a|b", "n"]),
            rows: vec![vec![Cell::text("x"), Cell::Count(1234.4)]],
        };
        let missed = vec![target(Some(2000.0), Limit::AtMost(1000.0)), target(Some(1.0), Limit::AtMost(2.0))];
        let section = Section {
            title: "S",
            tables: vec![table],
            targets: missed,
            failures: vec!["f: no".into()],
            ..Section::default()
        };
        let report =
            Report { command: "cargo xtask bench".into(), setting: Vec::new(), sections: vec![section.clone()] };
        let text = report.markdown("images");
        for part in [
            "| a\\|b | n |\n| --- | ---: |\n| x | 1,234 |",
            "| a thing | ≤ 1,000 | 2,000 | missed |",
            "- a thing: because\n",
            "Not measured: f: no",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert_eq!(text.matches("because").count(), 1);
        assert!(section.text().contains("not measured: f: no"));
    }

    #[test]
    fn cells_say_when_there_is_nothing() {
        assert_eq!(Cell::ratio(Some(3.0), Some(2.0)).show(), "1.50");
        assert_eq!(Cell::ratio(Some(3.0), None), Cell::Nothing);
        assert_eq!(Cell::ratio(Some(3.0), Some(0.0)), Cell::Nothing);
        assert_eq!(Cell::count(None).show(), "–");
        assert_eq!(Cell::Share(0.355).show(), "35.5 %");
    }
}
