//! What the tour prints with: headings, paragraphs, tables, and statistics to fill them.

use programs::native;
use std::time::Duration;

/// Width of the text.
const WIDTH: usize = 78;

/// A numbered heading.
pub(super) fn heading(number: usize, title: &str) {
    let line = format!("{number}. {title}");
    println!("\n{line}\n{}", "-".repeat(line.len()));
}

/// Text, broken into lines at spaces.
pub(super) fn say(text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            println!();
            column = 0;
        }
        if column > 0 {
            print!(" ");
            column += 1;
        }
        print!("{word}");
        column += length;
    }
    println!();
}

/// A table: the first column to the left, the others to the right, the first row as its head.
pub(super) fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    println!();
    for (index, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("    {}", cells.collect::<Vec<_>>().join("   ").trim_end());
        if index == 0 {
            println!("    {}", "-".repeat(widths.iter().sum::<usize>() + 3 * (columns - 1)));
        }
    }
    println!();
}

/// A row of a table.
pub(super) fn row(cells: &[&dyn std::fmt::Display]) -> Vec<String> {
    cells.iter().map(|cell| cell.to_string()).collect()
}

/// A number with separators between the thousands.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in the unit that suits it.
pub(super) fn time(duration: Duration) -> String {
    match duration.as_nanos() {
        0..10_000 => format!("{} ns", duration.as_nanos()),
        10_000..10_000_000 => format!("{} µs", duration.as_micros()),
        _ => format!("{} ms", duration.as_millis()),
    }
}

/// The statistics at one moment.
pub(super) struct Moment(String);

impl Moment {
    /// Now.
    pub(super) fn now() -> Result<Moment, String> {
        native::statistics().map(Moment).map_err(|error| format!("the kernel gives no statistics: errno {error}"))
    }

    /// The statistic called `name`; 0 if there is none.
    pub(super) fn get(&self, name: &str) -> u64 {
        abi::native::value(&self.0, name).unwrap_or(0)
    }

    /// Whether there is a statistic called `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        abi::native::value(&self.0, name).is_some()
    }

    /// How many CPUs are up.
    pub(super) fn cpus(&self) -> u64 {
        self.get("cpus").max(1)
    }

    /// How much `name` has grown since `before`.
    pub(super) fn since(&self, before: &Moment, name: &str) -> u64 {
        self.get(name).saturating_sub(before.get(name))
    }
}

/// What a container uses at one moment.
pub(super) struct Container(String);

impl Container {
    /// That of process `pid`; 0 is the tour's own.
    pub(super) fn of(pid: i32) -> Result<Container, String> {
        native::container(pid).map(Container).map_err(|error| format!("no container of process {pid}: errno {error}"))
    }

    /// A row of a table with [`HEAD`](Container::HEAD).
    pub(super) fn row(&self, when: &str) -> Vec<String> {
        let mut row = vec![when.to_owned()];
        let values = Container::HEAD[1..].iter().map(|name| abi::native::value(&self.0, name).unwrap_or(0).to_string());
        row.extend(values);
        row
    }

    /// The CPU that owns its page directory, if it has one that a CPU owns.
    pub(super) fn owner(&self) -> Option<u64> {
        abi::native::value(&self.0, "owner")
    }

    /// The head of a table of containers.
    pub(super) const HEAD: [&str; 6] = ["container", "pages", "tables", "directories", "processes", "threads"];

    /// The head as a row.
    pub(super) fn head() -> Vec<String> {
        Container::HEAD.map(str::to_owned).to_vec()
    }
}
