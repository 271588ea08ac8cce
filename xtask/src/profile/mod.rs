//! From a trace to figures and pictures.
//!
//! [`timeline`] puts the records of each CPU together to spans and visits to the kernel; [`report`] makes of
//! these every figure there is. What is written are views of the two: [`text`] and [`page`] for people,
//! `report.json`, [`chrome`] and [`folded`] for other tools.

pub(crate) mod bound;
pub(crate) mod causes;
mod chrome;
mod distribution;
mod folded;
mod forwarded;
mod lock;
mod page;
pub(crate) mod report;
mod table;
mod text;
pub(crate) mod timeline;

#[cfg(test)]
mod tests;

use std::{fs, path::Path};

use anyhow::{Context, Result};
use trace::Trace;

pub(crate) use self::table::{grouped, percent, table};
pub(crate) use self::timeline::STRATEGY;
use self::{report::Report, timeline::Timeline};

/// A trace and all that is made of it.
pub(crate) struct Profile {
    pub(crate) trace: Trace,
    timeline: Timeline,
    pub(crate) report: Report,
}

/// The trace's own file.
pub(crate) const TRACE: &str = "trace.jotun";

impl Profile {
    pub(crate) fn new(trace: Trace) -> Self {
        let timeline = Timeline::of(&trace);
        let report = Report::of(&trace, &timeline);
        Self { trace, timeline, report }
    }

    /// The report for the terminal.
    pub(crate) fn text(&self) -> String {
        text::text(&self.report)
    }

    /// Writes the trace and all views of it into a directory.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let visits = lock::in_order(&self.timeline);
        let json = serde_json::to_string_pretty(&self.report).context("cannot write the report as JSON")?;
        write(directory, TRACE, &self.trace.write())?;
        write(directory, "report.json", json.as_bytes())?;
        write(directory, "report.html", page::html(&self.report, &self.timeline, &visits)?.as_bytes())?;
        let events = chrome::json(&self.timeline, self.trace.tsc_hz, lock::hand_overs(&visits));
        write(directory, "trace.json", events.as_bytes())?;
        let stacks = folded::folded(&self.timeline);
        write(directory, "stacks.folded", stacks.as_bytes())?;
        match folded::graph(&stacks)? {
            Some(image) => write(directory, "flames.svg", &image),
            None => Ok(()),
        }
    }
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
