//! What single calls, faults and operations take when their thread and the kernel are on different CPUs: papers/000,
//! table II.

use super::{
    super::{
        BENCHMARKS, entry,
        figures::{self, Figures},
        lab::{Job, Lab, Run, System},
        report::{Cell, Limit, Section, Table, Target, head},
    },
    INTERRUPT, LOCAL, USUAL, WAITS, WHY, Way,
};

/// papers/000, table II: `getpid` on Simics, on Linux 2.4.26 and through the application kernel.
const PAPER: [f64; 2] = [74.0, 860.0];

/// Operations of the program `bench`, quick and thorough.
const OPERATIONS: [&[&str]; 2] = [
    &["thread", "fork", "exec"],
    &["open", "read", "write", "map", "signal", "futex", "pipe", "thread", "fork", "vfork", "exec"],
];

/// How many calls are made that follow each other, how many others, and the instructions between these: enough for a
/// bootstrap thread that does not poll to sleep when the next one comes.
const CALLS: [&str; 1] = ["10000"];
const APART: [&str; 2] = ["1000", "5000"];

/// What a forwarded `getpid` may take.
fn limit(way: Way) -> f64 {
    match way {
        LOCAL => 75.0,
        Way { parameters: INTERRUPT, .. } => 900.0,
        _ => 430.0,
    }
}

/// Calls, page faults and operations beside those of the uniprocessor kernel.
pub(in crate::bench) fn forwarded(lab: &Lab) -> Section {
    let (single, targets, mut failures) = single(lab);
    let (operations, further) = operations(lab);
    failures.extend(further);
    Section {
        name: "forwarded",
        title: "Calls through the application kernel (papers/000, table II)",
        text: vec![
            "A program on CPU 1, and the bootstrap kernel on CPU 0 with nothing else to do. `getpid` is counted from the trap to \
             the program's next instruction: the mean of 10,000 calls that follow each other, and of 1,000 with 5,000 \
             instructions in user mode between them, in which a bootstrap thread that does not poll goes to sleep. The \
             page fault is the shortest of 256 that deliver an empty page. CPU 0 and CPU 1 execute an instruction each in a \
             tick, so this is the time from one to the other and back. The paper has counted on Simics, where its Linux \
             takes 74 by itself."
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
    let ways = || WAITS.into_iter().chain([LOCAL]);
    let jobs = |calls: &[&str]| {
        let program: Vec<&str> = ["null-call"].iter().chain(calls).copied().collect();
        let further: Vec<_> = ways().map(|way| way.job(2, program.clone())).collect();
        [vec![Job::new(System::jotun("up"), program)], further].concat()
    };
    let following = jobs(&CALLS);
    let runs = lab.run(&[following.clone(), jobs(&APART)].concat());
    let (following, apart) = runs.split_at(following.len());
    let mut table = Table { title: "A call and a page fault, forwarded".into(), ..Table::default() };
    table.head = head(["", "`getpid`, one after the other", "with a gap", "papers/000", "page fault"]);
    let row = |name: &str, paper: Option<f64>, index: usize| {
        let ticks = |runs: &[Run], what| Cell::count(entry::ticks(&runs[index], what));
        let [call, gap, fault] =
            [ticks(following, entry::CALL), ticks(apart, entry::CALL), ticks(following, entry::FAULT)];
        vec![Cell::text(name), call, gap, Cell::count(paper), fault]
    };
    table.rows.push(row("`up`", Some(PAPER[0]), 0));
    let mut targets = Vec::new();
    for (index, way) in ways().enumerate() {
        table.rows.push(row(way.name, (way == USUAL).then_some(PAPER[1]), index + 1));
        targets.push(Target {
            what: format!("`getpid` through the application kernel, {}, with a gap", way.name),
            measured: entry::ticks(&apart[index + 1], entry::CALL),
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
