//! What each CPU was doing when, put together from its records.
//!
//! Times are cycles since the beginning of the recording, on CPU 0's clock. A CPU is in one state at a time,
//! so its spans are disjoint and fill the recorded time; that the four shares add up to the wall
//! time is a property of this construction, and checked nevertheless.

use std::collections::BTreeMap;

use trace::{Cause, Class, Event, FaultEnd, From, To, Trace};

use super::forwarded::{self, Forwarded};
use crate::guest;
use abi::strategies::APPLICATION;

/// The line of the text about a run that names the strategy.
pub(crate) const STRATEGY: &str = "strategy";

/// Another CPU's request.
const REQUEST: Cause = Cause::new(Class::Interrupt, abi::vectors::REQUEST as u64);

/// What a CPU is doing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum State {
    /// It runs a program.
    User,
    /// It is in the kernel; without a cause if recording began there.
    Kernel(Option<Cause>),
    /// It waits for the giant lock.
    Spin(Cause),
    /// It has nothing to do.
    Idle,
}

/// The thread that a CPU runs; zeros: none, or none that is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Who {
    pub(crate) thread: u32,
    pub(crate) process: u32,
}

/// A time in one state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) state: State,
    pub(crate) who: Who,
}

/// One stay at level 1, complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Visit {
    pub(crate) cpu: usize,
    pub(crate) who: Who,
    pub(crate) cause: Cause,
    /// The level rose.
    pub(crate) enter: u64,
    /// The lock was found taken; if the trace does not say when, at once.
    pub(crate) requested: u64,
    /// The lock was there; `None` in a kernel without.
    pub(crate) acquired: Option<u64>,
    pub(crate) contended: bool,
    pub(crate) depth: u8,
    /// The level fell.
    pub(crate) leave: u64,
}

impl Visit {
    /// Cycles of waiting for the lock. An acquisition without waiting is the kernel's own work.
    pub(crate) fn wait(&self) -> u64 {
        if self.contended { self.start() - self.requested } else { 0 }
    }

    /// Cycles with the lock or, in a kernel without, in the kernel.
    pub(crate) fn hold(&self) -> u64 {
        self.leave - self.start()
    }

    /// Since when it had the kernel to itself.
    pub(crate) fn start(&self) -> u64 {
        self.acquired.unwrap_or(self.enter)
    }
}

/// A stay at level 2, within a visit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Nested {
    pub(crate) cause: Cause,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Something that happened at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Point {
    pub(crate) at: u64,
    pub(crate) event: Event,
    pub(crate) who: Who,
}

/// One CPU.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Line {
    /// Disjoint, in order, filling the recorded time.
    pub(crate) spans: Vec<Span>,
    pub(crate) visits: Vec<Visit>,
    pub(crate) nested: Vec<Nested>,
    /// Whether it is an application processor: "the kernel" is then the application kernel, and it spins for an answer of
    /// the boot CPU.
    pub(crate) is_application: bool,
    pub(crate) points: Vec<Point>,
    /// How many records it left.
    pub(crate) events: u64,
    /// How many found no room.
    pub(crate) dropped: u64,
}

impl Line {
    /// What the CPU is called.
    pub(crate) fn name(&self, cpu: usize) -> String {
        format!("CPU {cpu}{}", if self.is_application { " (application)" } else { "" })
    }
}

/// All CPUs.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Timeline {
    pub(crate) lines: Vec<Line>,
    /// When recording was on: disjoint, in order.
    pub(crate) windows: Vec<(u64, u64)>,
    /// Programs' names by process.
    pub(crate) names: BTreeMap<u32, String>,
    /// What application processors have forwarded, in the order of their returns.
    pub(crate) forwarded: Vec<Forwarded>,
    /// The stamp of the beginning.
    pub(crate) origin: u64,
}

impl Timeline {
    /// Cycles that were recorded.
    pub(crate) fn wall(&self) -> u64 {
        self.windows.iter().map(|(start, end)| end - start).sum()
    }

    /// The end of the last window.
    pub(crate) fn end(&self) -> u64 {
        self.windows.last().map_or(0, |window| window.1)
    }

    /// The name of a thread's program, its process and its own number.
    pub(crate) fn name(&self, who: Who) -> String {
        match (who, self.names.get(&who.process)) {
            (Who { thread: 0, .. }, _) => "nobody".to_owned(),
            (Who { thread, .. }, Some(name)) => format!("{name}/{thread}"),
            (Who { thread, process }, None) => format!("{process}/{thread}"),
        }
    }

    /// Puts a trace together.
    pub(crate) fn of(trace: &Trace) -> Self {
        let moments: Vec<Vec<(u64, Event)>> = trace.streams.iter().map(moments).collect();
        let origin = moments.iter().filter_map(|line| line.first()).map(|moment| moment.0).min().unwrap_or(0);
        let moments: Vec<Vec<(u64, Event)>> = moments
            .into_iter()
            .map(|line| line.into_iter().map(|(at, event)| (at - origin, event)).collect())
            .collect();
        let windows = windows(trace, &moments);
        let lines = trace.streams.iter().zip(&moments).map(|(stream, moments)| {
            let mut line = line(moments, &windows);
            (line.events, line.dropped) = (stream.records.len() as u64, stream.dropped);
            line
        });
        let mut lines: Vec<Line> = lines.collect();
        for (cpu, line) in lines.iter_mut().enumerate() {
            line.visits.iter_mut().for_each(|visit| visit.cpu = cpu);
            line.is_application = cpu > 0 && trace.about(STRATEGY) == Some(APPLICATION);
        }
        let forwarded = lines.first().map_or(Vec::new(), |boot| forwarded::of(&moments, boot));
        Self { lines, windows, names: names(trace), forwarded, origin }
    }
}

/// A CPU's events on CPU 0's clock.
fn moments(stream: &trace::Stream) -> Vec<(u64, Event)> {
    let on_one_clock = |stamp: u64| stamp.saturating_add_signed(stream.correction().saturating_neg());
    let events = stream.records.iter().filter_map(|record| Some((on_one_clock(record.stamp), Event::of(record.word)?)));
    events.filter(|(_, event)| !matches!(event, Event::Name { .. })).collect()
}

fn names(trace: &Trace) -> BTreeMap<u32, String> {
    let mut bytes: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for record in trace.streams.iter().flat_map(|stream| &stream.records) {
        if let Some(Event::Name { process, part }) = Event::of(record.word) {
            let name = bytes.entry(process).or_default();
            // A process that runs another program begins with part 0 again.
            name.truncate(usize::from(part) * 8);
            name.extend(record.stamp.to_le_bytes());
        }
    }
    let text = |name: &[u8]| guest::text(name.split(|byte| *byte == 0).next().unwrap_or_default());
    bytes.into_iter().map(|(process, name)| (process, text(&name))).collect()
}

/// When recording was on. It ends for all when the first ring is full, since it is unknown what that CPU
/// did then.
fn windows(trace: &Trace, moments: &[Vec<(u64, Event)>]) -> Vec<(u64, u64)> {
    let last = |line: &Vec<(u64, Event)>| line.last().map(|moment| moment.0);
    let full = trace.streams.iter().zip(moments).filter(|(stream, _)| stream.dropped > 0).filter_map(|(_, m)| last(m));
    let end = full.min().or_else(|| moments.iter().filter_map(last).max()).unwrap_or(0);
    let mut switches: Vec<(u64, bool)> = moments
        .iter()
        .flatten()
        .filter_map(|&(at, event)| match event {
            Event::Begin => Some((at, true)),
            Event::End => Some((at, false)),
            _ => None,
        })
        .collect();
    switches.sort_unstable_by_key(|switch| switch.0);
    // A trace whose beginning is not said begins with its first record.
    let mut since = switches.first().is_none_or(|first| !first.1).then_some(0);
    let mut windows = Vec::new();
    for (at, on) in switches {
        match (since, on) {
            (None, true) => since = Some(at),
            (Some(start), false) => {
                windows.push((start, at));
                since = None;
            }
            _ => {}
        }
    }
    windows.extend(since.map(|start| (start, end)));
    windows.iter_mut().for_each(|window| *window = (window.0.min(end), window.1.min(end)));
    windows.retain(|(start, end)| start < end);
    windows
}

/// A visit that is under way.
struct Open {
    cause: Cause,
    enter: u64,
    requested: Option<u64>,
    acquired: Option<u64>,
    contended: bool,
    depth: u8,
    who: Who,
}

/// Puts one CPU's events together.
fn line(moments: &[(u64, Event)], windows: &[(u64, u64)]) -> Line {
    let mut line = Line::default();
    let end = windows.last().map_or(0, |window| window.1);
    let first = moments.iter().find_map(|(_, event)| match event {
        Event::Enter { from: From::User, .. } => Some(State::User),
        Event::Enter { from: From::Idle, .. } => Some(State::Idle),
        Event::Leave { to: To::User | To::Idle } => Some(State::Kernel(None)),
        _ => None,
    });
    let (mut state, mut since, mut who) = (first.unwrap_or(State::Idle), 0, Who::default());
    let mut open: Option<Open> = None;
    // Cause and thread of the visit before.
    let mut last: Option<(Cause, Who)> = None;
    let mut inner: Vec<(Cause, u64)> = Vec::new();
    let mut change = |since: &mut u64, state: State, who: Who, at: u64| {
        let span = Span { start: *since, end: at, state, who };
        line.spans.extend(windows.iter().filter_map(|window| clipped(span, *window)));
        *since = at;
    };
    for &(at, event) in moments.iter().take_while(|moment| moment.0 <= end) {
        match event {
            Event::Enter { cause, from: From::Kernel } => inner.push((cause, at)),
            Event::Leave { to: To::Kernel } => {
                line.nested.extend(inner.pop().map(|(cause, start)| Nested { cause, start, end: at }));
            }
            Event::Enter { cause, from } => {
                // Without its end, an older visit lasted until recording went off; `from` says where it led.
                let off = windows.iter().map(|window| window.1).find(|off| *off >= since);
                if let Some(off) = off.filter(|off| open.is_some() && *off <= at) {
                    change(&mut since, state, who, off);
                }
                let before = if from == From::Idle { State::Idle } else { State::User };
                change(&mut since, before, if from == From::Idle { Who::default() } else { who }, at);
                state = State::Kernel(Some(cause));
                open =
                    Some(Open { cause, enter: at, requested: None, acquired: None, contended: false, depth: 0, who });
            }
            Event::Acquired { depth, contended } => {
                if let Some(visit) = &mut open {
                    if contended && visit.acquired.is_none() {
                        change(&mut since, State::Spin(visit.cause), who, at);
                        state = State::Kernel(Some(visit.cause));
                        visit.contended = true;
                    }
                    visit.acquired.get_or_insert(at);
                    visit.depth = visit.depth.max(depth);
                }
            }
            Event::Woken if open.is_none() => {
                // The lock is given away by then, but the program does not run yet.
                change(&mut since, State::Kernel(last.map(|last| last.0)), last.map_or(who, |last| last.1), at);
            }
            Event::Requested => {
                if let Some(visit) = open.as_mut().filter(|visit| visit.requested.is_none()) {
                    change(&mut since, state, who, at);
                    state = State::Spin(visit.cause);
                    visit.requested = Some(at);
                }
            }
            Event::Posted => {
                if let Some(visit) = &open {
                    change(&mut since, state, who, at);
                    state = State::Spin(visit.cause);
                }
                line.points.push(Point { at, event, who });
            }
            Event::Leave { to } => {
                change(&mut since, state, open.as_ref().map_or(who, |visit| visit.who), at);
                last = open.as_ref().map(|visit| (visit.cause, visit.who));
                line.visits.extend(open.take().map(|visit| Visit {
                    cpu: 0,
                    who: visit.who,
                    cause: visit.cause,
                    enter: visit.enter,
                    requested: visit.requested.unwrap_or(visit.enter),
                    acquired: visit.acquired,
                    contended: visit.contended,
                    depth: visit.depth,
                    leave: at,
                }));
                state = if to == To::Idle { State::Idle } else { State::User };
                inner.clear();
            }
            Event::AnsweredOutside { cycles } => {
                let began = at.saturating_sub(cycles.into()).max(since);
                change(&mut since, state, who, began);
                change(&mut since, State::Kernel(Some(REQUEST)), who, at);
                line.points.push(Point { at, event, who });
            }
            _ => {
                if let (Event::Replied { .. } | Event::Switch { .. }, State::Spin(cause)) = (event, state) {
                    // The answer has come, or the thread waits for it without a CPU.
                    change(&mut since, state, who, at);
                    state = State::Kernel(Some(cause));
                }
                if let Event::Switch { thread, process } = event {
                    who = Who { thread, process };
                }
                line.points.push(Point { at, event, who });
            }
        }
    }
    change(&mut since, state, if state == State::Idle { Who::default() } else { who }, end);
    line
}

/// The part of a span that lies in a window.
fn clipped(span: Span, (from, to): (u64, u64)) -> Option<Span> {
    let span = Span { start: span.start.max(from), end: span.end.min(to), ..span };
    (span.start < span.end).then_some(span)
}

/// How a fault ended, in words.
pub(crate) fn fault_end(end: FaultEnd) -> &'static str {
    match end {
        FaultEnd::Resolved => "page delivered",
        FaultEnd::SpuriousDirectory => "spurious: directory copied from",
        FaultEnd::SpuriousTlb => "spurious: stale TLB entry",
        FaultEnd::Refused => "refused",
    }
}
