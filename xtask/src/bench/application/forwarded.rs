//! What single calls, faults and operations take when their thread and the kernel are on different CPUs: papers/000,
//! table II.

use super::{
    super::{
        BENCHMARKS, entry,
        figures::{self, Figures},
        lab::{Job, Lab, Run, System},
        report::{Cell, Limit, Section, Table, Target, head},
    },
    LOCAL, USUAL, WAITS, Way,
};

/// papers/000, table II: `getpid` on Simics, on Linux 2.4.26 and through the application kernel.
const PAPER: [f64; 2] = [74.0, 860.0];

/// Operations of the program `bench`, quick and thorough.
const OPERATIONS: [&[&str]; 2] = [
    &["thread", "fork", "exec"],
    &["open", "read", "write", "map", "signal", "futex", "pipe", "thread", "fork", "vfork", "exec"],
];

/// What a forwarded `getpid` may take.
fn limit(way: Way) -> f64 {
    match way.parameters {
        "" => 430.0,
        _ => 75.0,
    }
}

const WHY: &str = "docs/application-figures.md has the steps one by one";

/// Calls, page faults and operations beside those of the uniprocessor kernel.
pub(in crate::bench) fn forwarded(lab: &Lab) -> Section {
    let (single, targets, mut failures) = single(lab);
    let (operations, further) = operations(lab);
    failures.extend(further);
    Section {
        name: "forwarded",
        title: "Calls through the application kernel (papers/000, table II)",
        text: vec![
            "A program on CPU 1, and the bootstrap kernel on CPU 0 with nothing else to do. `getpid` is the mean of 10,000 calls, from \
             the trap to the program's next instruction; the page fault is the shortest of 256 that deliver an empty page. CPU 0 \
             and CPU 1 execute an instruction each in a tick, so this is the time from one to the other and back. The paper \
             has counted on Simics, where its Linux takes 74 by itself."
                .to_owned(),
        ],
        tables: vec![single, operations],
        targets,
        failures,
        ..Section::default()
    }
}

/// A call and a page fault.
fn single(lab: &Lab) -> (Table, Vec<Target>, Vec<String>) {
    let mut jobs = vec![Job::new(System::jotun("up"), ["null-call"])];
    let ways = || WAITS.into_iter().chain([LOCAL]);
    jobs.extend(ways().map(|way| way.job(2, ["null-call"])));
    let runs = lab.run(&jobs);
    let mut table = Table { title: "A call and a page fault, forwarded".into(), ..Table::default() };
    table.head = head(["", "`getpid`", "papers/000", "page fault"]);
    let row = |name: &str, paper: Option<f64>, run: &Run| {
        let ticks = |what| Cell::count(entry::ticks(run, what));
        vec![Cell::text(name), ticks(entry::CALL), Cell::count(paper), ticks(entry::FAULT)]
    };
    table.rows.push(row("`up`", Some(PAPER[0]), &runs[0]));
    let mut targets = Vec::new();
    for (way, run) in ways().zip(&runs[1..]) {
        table.rows.push(row(way.name, (way == USUAL).then_some(PAPER[1]), run));
        targets.push(Target {
            what: format!("`getpid` through the application kernel, {}", way.name),
            measured: entry::ticks(run, entry::CALL),
            limit: Limit::AtMost(limit(way)),
            why: WHY,
        });
    }
    (table, targets, runs.into_iter().filter_map(|run| run.failure).collect())
}

/// Operations of the program `bench`.
fn operations(lab: &Lab) -> (Table, Vec<String>) {
    let names = OPERATIONS[usize::from(!lab.quick)];
    let words: Vec<&str> = ["bench", "--rounds", "1"].into_iter().chain(names.iter().copied()).collect();
    let jobs = [Job::new(System::jotun("up"), words.clone()), USUAL.job(2, words)];
    let figures: [Figures; 2] =
        figures::measure(lab, &jobs).try_into().unwrap_or_else(|_| unreachable!("as many as jobs"));
    let [up, application] = figures;
    let mut table = Table { title: "Operations through the application kernel".into(), ..Table::default() };
    table.head = head(["operation", "up", "application", "application / up"]);
    for &name in names {
        let about = BENCHMARKS.iter().find(|(_, known, _)| *known == name).map_or("", |(_, _, about)| about);
        table.rows.push(vec![
            Cell::text(format!("{name}: {about}")),
            up.cell(name),
            application.cell(name),
            Cell::ratio(application.get(name), up.get(name)),
        ]);
    }
    (table, up.failures.into_iter().chain(application.failures).collect())
}
