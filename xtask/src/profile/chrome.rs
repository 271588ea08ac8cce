//! The trace for <https://ui.perfetto.dev> and chrome://tracing: the JSON format of trace events.
//!
//! A track for each CPU. Complete events (`X`) on a track nest: a state, within the kernel what interrupted
//! it. Flow arrows lead from a release of the lock to the acquisition that waited for it.

use std::fmt::Write;

use serde_json::json;
use trace::{Event, To};

use super::{
    causes,
    lock::HandOver,
    timeline::{Line, State, Timeline, fault_end},
};

/// The JSON text. Times are in microseconds, as the format wants them.
pub(crate) fn json(timeline: &Timeline, hz: u64, hand_overs: impl Iterator<Item = HandOver>) -> String {
    let us = |cycles: u64| cycles as f64 * 1e6 / hz as f64;
    let mut text = String::from("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
    let name = json!({"ph": "M", "pid": 0, "tid": 0, "name": "process_name", "args": {"name": "Jotun"}});
    let _ = write!(text, "{name}");
    let mut add = |event: serde_json::Value| _ = write!(text, ",\n{event}");
    for (cpu, line) in timeline.lines.iter().enumerate() {
        add(json!({"ph": "M", "pid": 0, "tid": cpu, "name": "thread_name", "args": {"name": format!("CPU {cpu}")}}));
        spans(timeline, cpu, line, &us, &mut add);
        for point in &line.points {
            if let Some((name, detail)) = label(point.event) {
                let at = us(point.at);
                add(json!({"ph": "i", "s": "t", "pid": 0, "tid": cpu, "ts": at, "name": name, "cat": "event",
                    "args": {"what": detail, "thread": timeline.name(point.who)}}));
            }
        }
    }
    for (id, HandOver { from, to }) in hand_overs.enumerate() {
        let arrow = |phase: &str, (cpu, at): (usize, u64)| json!({"ph": phase, "bp": "e", "id": id, "pid": 0, "tid": cpu, "ts": us(at), "name": "lock", "cat": "lock"});
        // The end of a span is no part of it: the arrow begins within the holder's.
        add(arrow("s", (from.0, from.1.saturating_sub(1))));
        add(arrow("f", to));
    }
    text.push_str("\n]}\n");
    text
}

fn spans(
    timeline: &Timeline,
    cpu: usize,
    line: &Line,
    us: &impl Fn(u64) -> f64,
    add: &mut impl FnMut(serde_json::Value),
) {
    let mut complete = |start: u64, end: u64, name: String, category: &str, who: String| {
        // From the rounded ends, so that neighbours touch and do not overlap.
        let (from, to) = (us(start), us(end));
        add(json!({"ph": "X", "pid": 0, "tid": cpu, "ts": from, "dur": to - from, "name": name, "cat": category,
            "args": {"thread": who, "cycles": end - start}}));
    };
    for span in &line.spans {
        let (name, category) = match span.state {
            State::Idle => continue,
            State::User => (timeline.name(span.who), "user"),
            State::Kernel(cause) => (cause.map_or("kernel".to_owned(), causes::name), "kernel"),
            State::Spin(cause) => (format!("spinning: {}", causes::name(cause)), "spin"),
        };
        complete(span.start, span.end, name, category, timeline.name(span.who));
    }
    for inner in &line.nested {
        complete(inner.start, inner.end, causes::name(inner.cause), "level 2", String::new());
    }
}

/// A moment's name and what is to be said of it; none for what shows otherwise.
pub(crate) fn label(event: Event) -> Option<(&'static str, String)> {
    Some(match event {
        Event::Switch { thread, process } => ("switch", format!("to thread {thread} of process {process}")),
        Event::Fault { end, page } => ("fault", format!("{} at {:#x}", fault_end(end), page << 12)),
        Event::DirectoryCopy { container } => ("directory copy", format!("of container {container}")),
        Event::IpiSent { vector, to: Event::ALL } => ("IPI", format!("vector {vector:#x} to several CPUs")),
        Event::IpiSent { vector, to } => ("IPI", format!("vector {vector:#x} to CPU {to}")),
        Event::AnsweredOutside { cycles } => {
            ("answered", format!("another CPU's request, without the lock, in {cycles} cycles"))
        }
        Event::Answered => ("answered", "another CPU's request, while spinning".to_owned()),
        Event::Shootdown { cpus, cycles } => ("shootdown", format!("{cpus} CPUs answered within {cycles} cycles")),
        Event::Mark { value } => ("mark", format!("{value}")),
        Event::Begin => ("recording on", String::new()),
        Event::End => ("recording off", String::new()),
        Event::Leave { to: To::User | To::Idle | To::Kernel }
        | Event::Enter { .. }
        | Event::Requested
        | Event::Acquired { .. }
        | Event::Woken
        | Event::Name { .. } => return None,
    })
}
