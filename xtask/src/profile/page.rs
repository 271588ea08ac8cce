//! `report.html`: the timeline and the tables in one file that needs nothing else.
//!
//! The page's code is in `page.html`; what it shows is put in as two JSON texts, the report as
//! `report.json` has it and the timeline in flat arrays of numbers.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    causes, chrome, forwarded,
    lock::{self, HandOver},
    report::Report,
    timeline::{Line, State, Timeline, Visit},
};

/// The page, with two places for data.
const PAGE: &str = include_str!("page.html");

/// Texts that many spans share.
#[derive(Default)]
struct Labels {
    all: Vec<[String; 3]>,
    last: std::collections::HashMap<[String; 3], usize>,
}

impl Labels {
    /// The index of a kind, a name and a thread.
    fn index(&mut self, kind: &str, name: String, who: String) -> usize {
        let label = [kind.to_owned(), name, who];
        *self.last.entry(label.clone()).or_insert_with(|| {
            self.all.push(label);
            self.all.len() - 1
        })
    }
}

/// The page's text.
pub(crate) fn html(report: &Report, timeline: &Timeline, visits: &[Visit]) -> Result<String> {
    let mut labels = Labels::default();
    let cpus: Vec<Value> = timeline.lines.iter().map(|line| cpu(timeline, line, &mut labels)).collect();
    let locks = lock::hand_overs(visits).map(|HandOver { from, to }| [from, to]);
    let mut arrows: Vec<_> = locks.chain(forwarded::arrows(&timeline.forwarded)).collect();
    arrows.sort_by_key(|[_, to]| to.1);
    let arrows: Vec<_> = arrows.into_iter().flatten().flat_map(|(cpu, at)| [cpu as u64, at]).collect();
    let timeline = json!({"end": timeline.end(), "cpus": cpus, "arrows": arrows, "labels": labels.all});
    let report = serde_json::to_string(report).context("cannot write the report as JSON")?;
    // A name of a program must not end the script that it stands in.
    let safe = |text: String| text.replace("</", "<\\/").replace("<!--", "<\\!--");
    let (before, rest) = PAGE.split_once("/*REPORT*/").context("page.html has no place for the report")?;
    let (between, after) = rest.split_once("/*TIMELINE*/").context("page.html has no place for the timeline")?;
    Ok([before, &safe(report), between, &safe(timeline.to_string()), after].concat())
}

/// Spans as start, length, label; what is within them likewise; moments as time, label.
fn cpu(timeline: &Timeline, line: &Line, labels: &mut Labels) -> Value {
    let mut spans = Vec::new();
    for span in &line.spans {
        let (kind, name) = match span.state {
            State::Idle => continue,
            State::User => ("user", String::new()),
            State::Kernel(cause) => ("kernel", cause.map_or(String::new(), causes::name)),
            State::Spin(cause) => ("spin", causes::name(cause)),
        };
        let label = labels.index(kind, name, timeline.name(span.who));
        spans.extend([span.start, span.end - span.start, label as u64]);
    }
    let mut nested = Vec::new();
    for inner in &line.nested {
        let label = labels.index("level 2", causes::name(inner.cause), String::new());
        nested.extend([inner.start, inner.end - inner.start, label as u64]);
    }
    let mut points = Vec::new();
    for point in &line.points {
        if let Some((name, detail)) = chrome::label(point.event) {
            let label = labels.index(name, detail, timeline.name(point.who));
            points.extend([point.at, label as u64]);
        }
    }
    json!({"spans": spans, "nested": nested, "points": points})
}
