//! The giant lock's queue algorithms, fought over.

use clap::ValueEnum;
use serde_json::Value;

use super::{
    lab::{Job, Lab, System},
    papers::window,
    points::{Point, measure},
    report::{Cell, Chart, Limit, Section, Series, Table, Target, head},
};
use crate::options::Lock;

/// Instructions that a visit executes in the kernel besides coming and going.
const BURN: u32 = 1000;

/// Ticks for which waits are recorded.
const RECORDED: u64 = 3_000_000;

/// Every CPU asks for the lock again as soon as it has given it back.
pub(super) fn locks(lab: &Lab) -> Section {
    let locks = Lock::value_variants().iter().filter_map(|lock| lock.to_possible_value());
    let locks: Vec<String> = locks.map(|lock| lock.get_name().to_owned()).collect();
    // Doubling shows how they grow.
    let mut cpus: Vec<u8> = lab.cpus.iter().copied().filter(|cpus| cpus.is_power_of_two()).collect();
    cpus.sort_unstable_by(|a, b| b.cmp(a));
    let setups: Vec<_> = cpus.iter().flat_map(|&cpus| locks.iter().map(move |lock| (cpus, lock))).collect();
    let wanted: Vec<_> = setups
        .iter()
        .map(|&(cpus, lock)| {
            let point = Point { processes: cpus, user: 0, burn: Some(BURN), place: "free", passes: None };
            (System::jotun(&format!("giant:{cpus}/{lock}")), vec![point])
        })
        .collect();
    let (counts, failures) = measure(lab, window(lab), &wanted);
    // What each visit adds to what it is asked to do, from one to the next of whatever CPU.
    let beside = |lock: &str, cpus: u8| {
        let at = setups.iter().position(|(own, name)| *own == cpus && *name == lock)?;
        let count = counts[at][0]?;
        Some(count.ticks / count.calls - f64::from(BURN))
    };
    cpus.sort_unstable();
    let mut table =
        Table { title: format!("Instructions of a visit beside the {BURN} that it is asked for"), ..Table::default() };
    table.head = head(["lock"]);
    table.head.extend(cpus.iter().map(|cpus| format!("{cpus} CPU{}", if *cpus == 1 { "" } else { "s" })));
    let mut series = Vec::new();
    for lock in &locks {
        let found: Vec<_> = cpus.iter().map(|&cpus| (cpus, beside(lock, cpus))).collect();
        let cells = found.iter().map(|(_, cost)| Cell::count(*cost));
        table.rows.push([Cell::text(lock.as_str())].into_iter().chain(cells).collect());
        let points = found.iter().filter_map(|(cpus, cost)| Some((f64::from(*cpus), (*cost)?))).collect();
        series.push(Series { name: lock.clone(), points, bound: false });
    }
    let fair = fairness(lab, &locks, cpus.last().copied().unwrap_or(1));
    let chart = Chart {
        name: "locks".into(),
        title: "The giant lock handed over".into(),
        x: "CPUs that all want it".into(),
        y: "instructions of a visit beside its own".into(),
        series,
    };
    Section {
        name: "locks",
        title: "Queue algorithms of the giant lock",
        text: vec![format!(
            "A process on each CPU that does nothing but call the kernel, {BURN} instructions each time: the time from one visit to the next, of any CPU, less these. On one CPU that is the way out and in again. With several the way of one CPU overlaps with the visits of the rest, and the remainder is the part of a call that deals with the lock and its hand-over."
        )],
        tables: vec![table, fair.table],
        charts: vec![chart],
        targets: fair.targets,
        failures: failures.into_iter().chain(fair.failures).collect(),
        ..Section::default()
    }
}

/// The waits of each CPU, from the kernel's records.
struct Fairness {
    table: Table,
    targets: Vec<Target>,
    failures: Vec<String>,
}

fn fairness(lab: &Lab, locks: &[String], cpus: u8) -> Fairness {
    let point = Point { processes: cpus, user: 0, burn: Some(BURN), place: "free", passes: None };
    let words = || ["throughput".to_owned(), RECORDED.to_string(), point.to_string()];
    let job = |lock: &String| Job::new(System::jotun(&format!("giant:{cpus}/{lock}")), words()).recorded();
    let runs = lab.run(&locks.iter().map(job).collect::<Vec<_>>());
    let mut table = Table { title: format!("Waits for the lock, {cpus} CPUs all asking"), ..Table::default() };
    table.head = head([
        "lock",
        "waits",
        "mean wait",
        "longest wait",
        "longest / mean",
        "longest hold",
        "longest wait / longest hold",
    ]);
    let mut targets = Vec::new();
    for (lock, run) in locks.iter().zip(&runs) {
        let figure = |path: &str| run.report.pointer(&format!("/lock/all/{path}")).and_then(Value::as_f64);
        let (mean, longest, hold) = (figure("wait/mean"), figure("wait/max"), figure("hold/max"));
        let row = [Cell::count(figure("wait/count")), Cell::count(mean), Cell::count(longest)];
        let row = row.into_iter().chain([Cell::ratio(longest, mean), Cell::count(hold), Cell::ratio(longest, hold)]);
        table.rows.push([Cell::text(lock.as_str())].into_iter().chain(row).collect());
        // It has no queue.
        if lock != "tas" {
            targets.push(Target {
                what: format!("{lock}: longest wait by longest hold, {cpus} CPUs all asking"),
                measured: longest.zip(hold).map(|(wait, hold)| wait / hold),
                limit: Limit::AtMost(cpus.into()),
                why: "hand-overs come on top of the holds",
            });
        }
    }
    Fairness { table, targets, failures: runs.into_iter().filter_map(|run| run.failure).collect() }
}
