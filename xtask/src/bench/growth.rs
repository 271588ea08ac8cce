//! What operations cost among more and more strangers: whatever they have nothing to do with must not make them dearer.
//!
//! The program `growth` makes the strangers and times the operation. A further operation is a line of [`ROWS`] here and
//! one of `OPERATIONS` there.

use super::{
    figures,
    lab::{Job, Lab, System},
    report::{Cell, Limit, Section, Table, Target},
};

/// How many strangers there are.
const SIZES: [u32; 4] = [10, 100, 1_000, 10_000];

/// How an operation may grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Growth {
    /// Not at all.
    None,
    /// With the logarithm of the number of strangers: it searches a tree.
    Logarithm,
}

/// An operation: its name in the program, what it is, how it may grow, and the most instructions that it may take among
/// the fewest strangers, if there is such a limit.
type Row = (&'static str, &'static str, Growth, Option<f64>);

const ROWS: [Row; 15] = [
    ("epoll-idle", "`epoll_wait`, N descriptors watched, none ready", Growth::None, None),
    ("epoll-one", "a byte written, told by `epoll_wait` and read, N others watched", Growth::None, None),
    ("epoll-ctl", "`epoll_ctl` adds a descriptor to N and removes it", Growth::Logarithm, None),
    ("epoll-shared", "a byte to one of N threads in `epoll_wait` of one `epoll`, and one back", Growth::None, None),
    ("poll", "`poll` of N descriptors, none ready: for each", Growth::None, Some(150.0)),
    ("herd", "a byte to a process and back, for which it polls, N other processes poll", Growth::None, None),
    ("futex-wake", "a futex woken on which no thread waits, N other threads wait", Growth::None, None),
    ("fork", "a process copied, ended, waited for, among N others", Growth::None, None),
    ("wait", "`wait4` of any child, one that has not ended, among N other processes", Growth::None, None),
    ("kill-group", "a signal to a group of one process, among N others", Growth::None, None),
    ("load-average", "`/proc/loadavg` opened, read, closed, among N processes", Growth::None, None),
    ("open", "a file opened and closed, N descriptors in use", Growth::None, None),
    ("map", "two pages mapped and unmapped, N regions with no room between", Growth::Logarithm, None),
    ("protect", "rights taken from a page and given back, N other regions", Growth::Logarithm, None),
    ("touch", "a page dropped and touched anew, N other regions", Growth::Logarithm, None),
];

/// What all that is measured beside the operation may add: interrupts, and the odd line of code more.
const NOISE: f64 = 1.25;

/// The figures of one operation on one system, by size.
type Line = Vec<(u32, Option<f64>)>;

/// Measures all of them.
pub(super) fn growth(lab: &Lab) -> Section {
    // What is looked for is a slope, and each line of the table has a machine of its own.
    let lab = &Lab { boots: 1, ..lab.clone() };
    let mut systems = vec![System::jotun("up")];
    systems.extend(lab.linux.iter().map(|_| System::Linux(1)));
    let sizes = if lab.quick { &SIZES[..3] } else { &SIZES };
    let words = |name: &str| -> Vec<String> {
        ["growth".to_owned(), name.to_owned()].into_iter().chain(sizes.iter().map(u32::to_string)).collect()
    };
    let all: Vec<_> = ROWS.iter().flat_map(|row| systems.iter().map(move |system| (row, *system))).collect();
    let jobs: Vec<_> = all.iter().map(|((name, ..), system)| Job::new(*system, words(name)).quickly()).collect();
    let measured = figures::measure(lab, &jobs);

    let mut section = Section { name: "growth", title: "Among strangers", text: text(), ..Section::default() };
    let mut table = Table { title: "Instructions for one operation among N strangers".into(), ..Table::default() };
    table.head = ["operation", "system"].map(str::to_owned).to_vec();
    table.head.extend(sizes.iter().map(u32::to_string));
    for ((row, system), figures) in all.iter().zip(measured) {
        let line: Line = sizes.iter().map(|size| (*size, figures.get(&format!("{}-{size}", row.0)))).collect();
        let mut cells = vec![Cell::text(format!("{}: {}", row.0, row.1)), Cell::text(system.name())];
        cells.extend(sizes.iter().map(|size| figures.cell(&format!("{}-{size}", row.0))));
        table.rows.push(cells);
        section.failures.extend(figures.failures);
        if let System::Jotun(_) = system {
            section.targets.extend(targets(row, &line));
        }
    }
    section.tables.push(table);
    let missed = section.targets.iter().filter(|target| target.met() == Some(false));
    section.broken = missed.map(|target| format!("growth: {}", target.what)).collect();
    section
}

/// What is to be reached: among the most strangers the operation takes no longer than its growth allows.
fn targets((name, _, growth, limit): &Row, line: &Line) -> Vec<Target> {
    let measured: Vec<_> = line.iter().filter_map(|(size, figure)| Some((f64::from(*size), (*figure)?))).collect();
    let (Some(&(few, least)), Some(&(many, most))) = (measured.first(), measured.last()) else { return Vec::new() };
    let factor = match growth {
        Growth::None => NOISE,
        Growth::Logarithm => NOISE * many.ln() / few.ln(),
    };
    let slope = Target {
        what: format!("{name}: time among {many} strangers divided by that among {few}"),
        measured: Some(most / least),
        limit: Limit::AtMost(factor),
        why: "it looks at strangers",
    };
    let limit = limit.map(|limit| Target {
        what: format!("{name}: instructions"),
        measured: Some(most),
        limit: Limit::AtMost(limit),
        why: "each descriptor, open file and inode is found by its name, checked",
    });
    [slope].into_iter().chain(limit).collect()
}

fn text() -> Vec<String> {
    vec![
        "The program `growth` makes N strangers, whatever the operation has nothing to do with, and times it among them. Where a size is missing, as many cannot be made. All is counted by QEMU, on one CPU, and Linux is booted once for each operation."
            .to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_told_from_a_constant_and_a_logarithm() {
        let verdicts = |growth, figures: [f64; 4]| -> Vec<_> {
            let line: Line = SIZES.into_iter().zip(figures.map(Some)).collect();
            targets(&("x", "", growth, Some(150.0)), &line).iter().map(Target::met).collect()
        };
        assert_eq!(verdicts(Growth::None, [100.0, 100.0, 101.0, 110.0]), [Some(true), Some(true)]);
        assert_eq!(verdicts(Growth::None, [100.0, 110.0, 140.0, 180.0]), [Some(false), Some(false)]);
        assert_eq!(verdicts(Growth::Logarithm, [40.0, 75.0, 110.0, 145.0]), [Some(true), Some(true)]);
        assert_eq!(verdicts(Growth::Logarithm, [40.0, 400.0, 4000.0, 40000.0]), [Some(false), Some(false)]);
        let line = [(10, Some(40.0)), (100, Some(41.0)), (1000, None)].to_vec();
        assert_eq!(targets(&("x", "", Growth::None, None), &line)[0].met(), Some(true), "what was not measured");
    }
}
