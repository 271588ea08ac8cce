//! The trace for <https://ui.perfetto.dev> and chrome://tracing: the JSON format of trace events.
//!
//! A track for each CPU, its events in the order of their times. Complete events (`X`) on a track nest: a state, within
//! the kernel what interrupted it. Flow arrows lead from a release of the lock to the acquisition that waited for it, and from
//! a message to the boot CPU and back.
//! All times are whole nanoseconds, the unit of the viewers, so that adjacent spans do not overlap by a rounding.

use std::{cmp::Reverse, fmt::Write};

use serde_json::{Value, json};
use trace::{Event, To};

use super::{
    causes, forwarded,
    lock::HandOver,
    timeline::{Line, State, Timeline, fault_end},
};

/// The JSON text. Times are in microseconds, as the format wants them.
pub(crate) fn json(timeline: &Timeline, hz: u64, hand_overs: impl Iterator<Item = HandOver>) -> String {
    let mut text = String::from("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
    let name = json!({"ph": "M", "pid": 0, "tid": 0, "name": "process_name", "args": {"name": "Jotun"}});
    let _ = write!(text, "{name}");
    let mut add = |event: Value| _ = write!(text, ",\n{event}");
    let mut arrows = vec![Vec::new(); timeline.lines.len()];
    let locks = hand_overs.map(|HandOver { from, to }| ("lock", [from, to]));
    let messages = forwarded::arrows(&timeline.forwarded).map(|arrow| ("message", arrow));
    for (id, (name, [from, to])) in locks.chain(messages).enumerate() {
        let (begin, end) = (ns(from.1, hz), ns(to.1, hz));
        // The end of a span is no part of it: the arrow begins within the holder's.
        for (phase, cpu, at) in [("s", from.0, begin.saturating_sub(1)), ("f", to.0, end)] {
            let arrow = json!({"ph": phase, "bp": "e", "id": id, "pid": 0, "tid": cpu, "ts": moment(at), "name": name, "cat": name});
            arrows[cpu].push(Placed { at, length: 0, event: arrow });
        }
    }
    for ((cpu, line), mut events) in timeline.lines.iter().enumerate().zip(arrows) {
        add(json!({"ph": "M", "pid": 0, "tid": cpu, "name": "thread_name", "args": {"name": line.name(cpu)}}));
        spans(timeline, cpu, line, hz, &mut events);
        events.extend(line.points.iter().filter_map(|point| {
            let ((name, detail), at) = (label(point.event)?, ns(point.at, hz));
            let args = json!({"what": detail, "thread": timeline.name(point.who)});
            let event = json!({"ph": "i", "s": "t", "pid": 0, "tid": cpu, "ts": moment(at), "name": name, "cat": "event", "args": args});
            Some(Placed { at, length: 0, event })
        }));
        // Of those that begin together the longest is the outermost.
        events.sort_by_key(|placed| (placed.at, Reverse(placed.length)));
        events.into_iter().for_each(|placed| add(placed.event));
    }
    text.push_str("\n]}\n");
    text
}

/// An event and when it is, in nanoseconds.
#[derive(Clone)]
struct Placed {
    at: u64,
    length: u64,
    event: Value,
}

/// The whole nanoseconds of a number of cycles.
fn ns(cycles: u64, hz: u64) -> u64 {
    (u128::from(cycles) * 1_000_000_000 / u128::from(hz.max(1))) as u64
}

/// A moment in microseconds. Its reader may cut off digits below a nanosecond, and 0.289, being no binary fraction,
/// would lose one: a tenth more keeps it.
fn moment(ns: u64) -> f64 {
    (ns as f64 + 0.1) / 1000.0
}

fn spans(timeline: &Timeline, cpu: usize, line: &Line, hz: u64, events: &mut Vec<Placed>) {
    let mut complete = |start: u64, end: u64, name: String, category: &str, who: String| {
        let (at, length) = (ns(start, hz), ns(end, hz) - ns(start, hz));
        let args = json!({"thread": who, "cycles": end - start});
        let event = json!({"ph": "X", "pid": 0, "tid": cpu, "ts": moment(at), "dur": length as f64 / 1000.0, "name": name, "cat": category, "args": args});
        events.push(Placed { at, length, event });
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
        Event::Posted => ("message", "posted to the boot CPU".to_owned()),
        Event::Replied { cycles } => ("answer", format!("{cycles} cycles ago")),
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
