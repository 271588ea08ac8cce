//! The report: every figure once, as `report.json` has it. The terminal's text and the HTML page show these.

use serde::Serialize;
use trace::{Stream, Trace, layout::RECORD_BYTES};

use super::{
    bound::Bound,
    forwarded,
    lock::{self, Counts, Lock, Skew},
    timeline::{Line, State, Timeline},
};

/// A profile's figures. Times are in cycles of the time-stamp counter; on Bochs that is instructions.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Report {
    /// What was run where: names and values as the trace has them.
    pub(crate) about: Vec<(String, String)>,
    pub(crate) tsc_hz: u64,
    pub(crate) wall: u64,
    pub(crate) seconds: f64,
    pub(crate) cpus: Vec<Shares>,
    /// Of all CPUs.
    pub(crate) total: Shares,
    /// Whether each CPU's four times add up to the wall time.
    pub(crate) sums_agree: bool,
    pub(crate) lock: Lock,
    pub(crate) bound: Option<Bound>,
    /// What application processors have forwarded to the boot CPU, by name.
    pub(crate) forwarded: Vec<forwarded::Figures>,
    pub(crate) counts: Counts,
    /// The CPUs' counters, as the kernel compared them when they came up.
    pub(crate) clocks: Vec<Clock>,
    pub(crate) skew: Vec<Skew>,
    pub(crate) cost: Cost,
}

/// A CPU's time-stamp counter beside CPU 0's, in ticks.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Clock {
    pub(crate) cpu: usize,
    /// How far ahead it was found to be.
    pub(crate) ahead: i64,
    /// At most by how much that is wrong.
    pub(crate) doubt: u64,
    /// What was taken off its stamps.
    pub(crate) corrected: i64,
}

/// How a CPU's time divides (papers/001 table 1).
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Shares {
    pub(crate) name: String,
    pub(crate) user: u64,
    pub(crate) kernel: u64,
    pub(crate) spin: u64,
    pub(crate) idle: u64,
}

/// What measuring cost.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
    /// Cycles to write a record, as the kernel measured at boot; on Bochs instructions.
    pub(crate) cycles_per_event: Option<f64>,
    /// Of all CPUs' time.
    pub(crate) share: Option<f64>,
}

impl Shares {
    fn of(name: String, line: &Line) -> Self {
        let mut shares = Self { name, ..Self::default() };
        for span in &line.spans {
            let time = match span.state {
                State::User => &mut shares.user,
                State::Kernel(_) => &mut shares.kernel,
                State::Spin(_) => &mut shares.spin,
                State::Idle => &mut shares.idle,
            };
            *time += span.end - span.start;
        }
        shares
    }

    pub(crate) fn sum(&self) -> u64 {
        self.user + self.kernel + self.spin + self.idle
    }

    /// User, kernel, spinning and idle as parts of one.
    pub(crate) fn parts(&self) -> [f64; 4] {
        let sum = self.sum().max(1) as f64;
        [self.user, self.kernel, self.spin, self.idle].map(|time| time as f64 / sum)
    }
}

impl Report {
    pub(crate) fn of(trace: &Trace, timeline: &Timeline) -> Self {
        // A CPU that was told not to record says nothing about its time.
        let recorded = |cpu: usize| match trace.about("trace_cpu").and_then(|only| only.parse::<usize>().ok()) {
            Some(only) => only == cpu,
            None => true,
        };
        let lines = timeline.lines.iter().enumerate().filter(|(cpu, _)| recorded(*cpu));
        let cpus: Vec<Shares> = lines.map(|(cpu, line)| Shares::of(line.name(cpu), line)).collect();
        let mut total = Shares { name: "all".into(), ..Shares::default() };
        for cpu in &cpus {
            total.user += cpu.user;
            total.kernel += cpu.kernel;
            total.spin += cpu.spin;
            total.idle += cpu.idle;
        }
        let visits = lock::in_order(timeline);
        let lock = Lock::of(timeline, &visits);
        let lockless: u64 = lock.lockless.iter().map(|cause| cause.figures.hold.total).sum();
        let wall = timeline.wall();
        Self {
            about: trace.about.lines().filter_map(|line| line.split_once(' ')).map(owned).collect(),
            tsc_hz: trace.tsc_hz,
            wall,
            seconds: wall as f64 / trace.tsc_hz.max(1) as f64,
            sums_agree: cpus.iter().all(|cpu| cpu.sum() == wall),
            // What is done in the kernel without the lock keeps no other CPU from anything, as in user mode.
            // What bounds the speed-up with a lock does not where a kernel is not entered from all CPUs.
            bound: Bound::of(cpus.len(), total.user + lockless, total.kernel - lockless, visits.len() as u64, wall)
                .filter(|_| !timeline.lines.iter().any(|line| line.is_application)),
            forwarded: forwarded::figures(&timeline.forwarded),
            counts: Counts::of(timeline),
            clocks: clocks(trace),
            skew: lock::skew(&visits),
            cost: cost(trace, timeline, wall * cpus.len() as u64),
            lock,
            cpus,
            total,
        }
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn clocks(trace: &Trace) -> Vec<Clock> {
    let further = trace.streams.iter().enumerate().skip(1);
    let clock = |(cpu, stream): (usize, &Stream)| Clock {
        cpu,
        ahead: stream.skew,
        doubt: stream.skew_error,
        corrected: stream.correction(),
    };
    further.map(clock).collect()
}

fn cost(trace: &Trace, timeline: &Timeline, time: u64) -> Cost {
    let events: u64 = timeline.lines.iter().map(|line| line.events).sum();
    let each = (trace.record_cost > 0).then(|| trace.record_cost as f64 / 1024.0);
    Cost {
        events,
        bytes: events * RECORD_BYTES as u64,
        dropped: timeline.lines.iter().map(|line| line.dropped).sum(),
        cycles_per_event: each,
        share: each.map(|each| each * events as f64 / time.max(1) as f64),
    }
}
