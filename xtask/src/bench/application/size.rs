//! How much the application kernel is, and how complex: papers/000, table V and figure 8.
//!
//! Lines are counted as docs/ARCHITECTURE.md counts them: without comments, blank lines and tests. Complexity is McCabe's, by
//! the program `lizard`, which knows Rust: that of the PATH, or the one of PyPI, which comes into the target directory.

use std::{
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::super::{
    lab::Lab,
    linux,
    report::{Cell, Limit, Section, Table, Target, head},
};
use crate::{packages, project};

/// The version of lizard that is fetched.
const LIZARD: &str = "1.24.3";

/// A part of the port: what it is, where it lies, and how many lines the paper's has.
type Part = (&'static str, &'static [&'static str], Option<f64>);

const APPLICATION: &[&str] = &["application/src"];
const DRIVER: &[&str] = &["application/src/bin/apkern/device.rs", "application/src/bin/apkern/main.rs"];
const BOOTSTRAP: &[&str] = &["user/bootstrap/src"];
const ROOMS: &[&str] = &[
    "kernel/src/core/extensions",
    "kernel/src/arch/extension",
    "kernel/src/calls/extensions.rs",
    "kernel/src/core/files/devices.rs",
];

const PARTS: [Part; 6] = [
    ("application kernel, the next row included", APPLICATION, Some(2400.0 + 360.0)),
    ("its driver: the device and its start", DRIVER, Some(360.0)),
    ("launcher and bootstrap thread", BOOTSTRAP, Some(260.0)),
    ("library of all extensions", &["user/extension/src"], None),
    ("extensions in the uniprocessor kernel, their own files", ROOMS, None),
    ("library that it shares with the kernel: processors, timers, descriptor tables", &["hardware/src"], Some(920.0)),
];

/// What is compared in figure 8: there with Linux, FreeBSD and L4, here with the kernel beside it and the giant lock.
const COMPARED: [(&str, &[&str]); 4] = [
    ("application kernel", APPLICATION),
    ("bootstrap thread", BOOTSTRAP),
    ("the kernel", &["kernel/src", "containers/src", "files/src", "slabs/src", "hardware/src"]),
    ("the giant lock", &["giantlock/src", "kernel/src/strategies", "cpulocal/src"]),
];

/// Complexities that are counted together.
const BINS: [RangeInclusive<u32>; 6] = [1..=1, 2..=2, 3..=5, 6..=10, 11..=20, 21..=u32::MAX];

/// The page that lists the lines of the kernel that are there for extensions.
const LISTED: &str = "docs/extensions.md";

/// Lines and complexity.
pub(in crate::bench) fn size(lab: &Lab) -> Section {
    let lines = |paths: &[&str]| sources(paths).iter().map(|path| lines_of_code(path)).sum::<usize>() as f64;
    let changed = fs::read_to_string(project::root().join(LISTED)).ok().and_then(|page| listed(&page));
    let mut table = Table { title: "Lines of code (papers/000, table V)".into(), ..Table::default() };
    table.head = head(["part", "lines", "papers/000"]);
    let row = |name: &str, lines, paper| vec![Cell::text(name), Cell::count(lines), Cell::count(paper)];
    table.rows = PARTS.iter().map(|(name, paths, paper)| row(name, Some(lines(paths)), *paper)).collect();
    table.rows.push(row("elsewhere in the uniprocessor kernel", changed, Some(0.0)));
    let target =
        |what: &str, measured, limit, why| Target { what: what.into(), measured, limit: Limit::AtMost(limit), why };
    let targets = vec![
        target("lines of the application kernel", Some(lines(APPLICATION)), 2400.0, "it does more than the paper's"),
        target(
            "lines of launcher and bootstrap thread",
            Some(lines(BOOTSTRAP)),
            500.0,
            "half of it are signals, which the paper leaves out, and a program finds no trace of the device",
        ),
        target(
            "lines elsewhere in the uniprocessor kernel",
            changed,
            60.0,
            "docs/extensions.md lists them: interrupts, held pages, and what CPUs that the kernel does not know need to be safe",
        ),
    ];
    let (histogram, failures) = match histogram(lab) {
        Ok(table) => (Some(table), Vec::new()),
        Err(why) => (None, vec![format!("complexity: {why:#}")]),
    };
    Section {
        name: "size",
        title: "Size and complexity of the application kernel (papers/000, table V and figure 8)",
        text: vec![
            "Lines without comments, blank lines and tests; those elsewhere in the kernel are listed one by one in \
             docs/extensions.md. McCabe's cyclomatic complexity as `lizard` counts it: functions by their complexity, in \
             percent of all functions of the part."
                .to_owned(),
        ],
        tables: [table].into_iter().chain(histogram).collect(),
        targets,
        failures,
        ..Section::default()
    }
}

/// The sources below these paths, without tests.
fn sources(paths: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = paths.iter().map(|path| project::root().join(path)).collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| entry.path()).filter(|path| !path.ends_with("tests")));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found.retain(|path| !["tests.rs", "testing.rs"].iter().any(|name| path.ends_with(name)));
    found.sort();
    found
}

fn lines_of_code(source: &Path) -> usize {
    let text = fs::read_to_string(source).unwrap_or_default();
    text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//")).count()
}

/// The sum of the lines that the page lists in its tables of places, lines and reasons.
fn listed(page: &str) -> Option<f64> {
    let number = |row: &str| row.split('|').nth(2)?.trim().parse::<f64>().ok();
    page.lines().filter(|line| line.starts_with("| `")).filter_map(number).reduce(|sum, lines| sum + lines)
}

/// Functions by their complexity, part by part.
fn histogram(lab: &Lab) -> Result<Table> {
    let mut table = Table { title: "Cyclomatic complexity (papers/000, figure 8)".into(), ..Table::default() };
    table.head = head(["part", "functions", "mean"]);
    table.head.extend(BINS.iter().map(|bin| match (*bin.start(), *bin.end()) {
        (start, u32::MAX) => format!("{start} and more"),
        (start, end) if start == end => format!("{start}"),
        (start, end) => format!("{start}–{end}"),
    }));
    // A piece of work for a hand, as a run is.
    let lizard = lab.side_by_side(&[()], |()| lizard()).remove(0)?;
    let rows = lab.side_by_side(&COMPARED, |(name, paths)| row(&lizard, name, paths));
    table.rows = rows.into_iter().collect::<Result<_>>()?;
    Ok(table)
}

/// The functions of a part by their complexity.
fn row(lizard: &Path, name: &str, paths: &[&str]) -> Result<Vec<Cell>> {
    let list = linux::run(Command::new(lizard).args(["--languages", "rust", "--csv"]).args(sources(paths)))?;
    let all = complexities(&list);
    let whole = all.len().max(1) as f64;
    let mean = f64::from(all.iter().sum::<u32>()) / whole;
    let bins = BINS.iter().map(|bin| all.iter().filter(|one| bin.contains(one)).count() as f64 / whole);
    let row = vec![Cell::text(name), Cell::Count(all.len() as f64), Cell::Ratio(mean)];
    Ok(row.into_iter().chain(bins.map(Cell::Share)).collect())
}

/// The complexities in lizard's list: lines of the function's length, its complexity, and more.
fn complexities(list: &str) -> Vec<u32> {
    list.lines().filter_map(|line| line.split(',').nth(1)?.parse().ok()).collect()
}

/// Finds lizard, or fetches it.
fn lizard() -> Result<PathBuf> {
    if let Some(found) = packages::tool("lizard") {
        return Ok(found);
    }
    let place = project::target().join(format!("lizard-{LIZARD}"));
    let program = place.join("bin/lizard");
    if !program.exists() {
        let how = || {
            format!(
                "`lizard` is not here; Debian's `python3-venv` and a way to PyPI get it, or `pip install lizard=={LIZARD}`"
            )
        };
        linux::run(Command::new("python3").args(["-m", "venv"]).arg(&place)).with_context(how)?;
        let pip = place.join("bin/pip");
        linux::run(Command::new(pip).args(["install", "--quiet", &format!("lizard=={LIZARD}")])).with_context(how)?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_there() {
        for (name, paths, _) in PARTS {
            assert!(paths.iter().all(|path| !sources(&[path]).is_empty()), "{name}");
        }
        let all = sources(&["containers/src"]);
        assert!(all.iter().all(|path| !path.iter().any(|part| part == "tests")), "{all:?}");
    }

    #[test]
    fn the_listed_lines_are_added_up() {
        let page = "| where | lines | what |\n| --- | --- | --- |\n| `a.rs` | 14 | x |\n\n| `b.rs`, `c.rs` | 30 | y |\n| d | 5 | z |\n";
        assert_eq!(listed(page), Some(44.0));
        assert_eq!(listed("no table"), None);
    }

    #[test]
    fn complexities_are_the_second_column() {
        let list = "NLOC,CCN,token\n49,16,481,3,52,\"clone@17-68@a.rs\",\"a.rs\",\"clone\"\n3,1,9,0,3,\"x\"\n";
        assert_eq!(complexities(list), [16, 1]);
    }
}
