//! Programs of one thread, one at a time: papers/000, table III.

use super::{
    super::{
        figures::{self, Figures},
        lab::{Job, Lab, System},
        report::{Cell, Limit, Section, Table, Target, head},
    },
    MIGRATE, USUAL, WHY, Way,
};

/// A program: its figure, its title, and the speed-ups of papers/000, table III, on 2, 3, … processors of Linux 2.4.26 and of
/// the application kernel.
struct Program {
    name: &'static str,
    title: &'static str,
    linux: [f64; 7],
    application_kernel: [f64; 7],
}

const PROGRAMS: [Program; 3] = [
    Program {
        name: "find",
        title: "find",
        linux: [0.9803, 0.9795, 0.9807, 0.9804, 0.9800, 0.9795, 0.9776],
        application_kernel: [0.7844, 0.8284, 0.8641, 0.8690, 0.8748, 0.8784, 0.8831],
    },
    Program {
        name: "compiler",
        title: "A compiler",
        linux: [1.0015, 1.0033, 1.0047, 1.0053, 1.0047, 1.0050, 1.0055],
        application_kernel: [0.8976, 0.9125, 0.9218, 0.9230, 0.9244, 0.9252, 0.9260],
    },
    Program {
        name: "gzip",
        title: "gzip",
        linux: [1.0008, 1.0012, 1.0014, 1.0016, 1.0016, 1.0017, 1.0017],
        application_kernel: [0.9461, 0.9461, 0.9462, 0.9462, 0.9462, 0.9462, 0.9462],
    },
];

/// The ways to load the application kernel that are compared.
const PLACES: [Way; 2] = [USUAL, MIGRATE];

/// Files that `find` finds, quick and thorough; everything else goes with it.
const SIZES: [&str; 2] = ["single=100", "single=500"];

/// What was measured: the kernel for one CPU, and for each number of CPUs each way.
struct Measured {
    cpus: Vec<u8>,
    up: Figures,
    application: Vec<Figures>,
}

impl Measured {
    /// Against the kernel for one CPU.
    fn speed_up(&self, program: &Program, cpus: usize, way: usize) -> Option<f64> {
        let figure = format!("single-{}", program.name);
        Some(self.up.get(&figure)? / self.application[cpus * PLACES.len() + way].get(&figure)?)
    }

    fn table(&self, program: &Program) -> Table {
        let mut table =
            Table { title: format!("{}: speed-up (papers/000, table III)", program.title), ..Table::default() };
        table.head = head(["CPUs"]);
        table.head.extend(PLACES.map(|way| way.name.to_owned()));
        table.head.extend(["application kernel, papers/000", "Linux 2.4, papers/000"].map(str::to_owned));
        for (index, &cpus) in self.cpus.iter().enumerate() {
            let ratio = |value: Option<f64>| value.map_or(Cell::Nothing, |value| Cell::text(format!("{value:.3}")));
            let mut row = vec![Cell::text(cpus.to_string())];
            row.extend((0..PLACES.len()).map(|way| ratio(self.speed_up(program, index, way))));
            let paper = [program.application_kernel, program.linux];
            row.extend(paper.map(|column| ratio(column.get(usize::from(cpus) - 2).copied())));
            table.rows.push(row);
        }
        table
    }

    /// How near to the paper's it comes, where that is least so.
    fn target(&self, program: &Program, (index, way): (usize, &Way)) -> Target {
        let part = |(at, cpus): (usize, &u8)| {
            let paper = program.application_kernel.get(usize::from(*cpus) - 2)?;
            Some(self.speed_up(program, at, index)? / paper)
        };
        Target {
            what: format!("{}, {}: the least part of papers/000's speed-up", program.title, way.name),
            measured: self.cpus.iter().enumerate().filter_map(part).reduce(f64::min),
            limit: Limit::AtLeast(1.0),
            why: WHY,
        }
    }
}

/// Programs of one thread.
pub(in crate::bench) fn single(lab: &Lab) -> Section {
    let program = ["teams", SIZES[usize::from(!lab.quick)]];
    let cpus: Vec<u8> = lab.cpus.iter().copied().filter(|&cpus| cpus > 1).collect();
    let mut jobs = vec![Job::new(System::jotun("up"), program)];
    jobs.extend(cpus.iter().flat_map(|&cpus| PLACES.map(|way| way.job(cpus, program))));
    let mut all = figures::measure(lab, &jobs).into_iter();
    let up = all.next().unwrap_or_default();
    let measured = Measured { cpus, up, application: all.collect() };
    let mut table = Table { title: "Single programs, kernel for one CPU".into(), ..Table::default() };
    table.head = head(["program", "instructions"]);
    let count = |program: &Program| Cell::count(measured.up.get(&format!("single-{}", program.name)));
    table.rows = PROGRAMS.iter().map(|program| vec![Cell::text(program.title), count(program)]).collect();
    let mut section = Section {
        name: "single",
        title: "One program at a time through the application kernel (papers/000, table III)",
        text: vec![
            "`find` over files in memory and `gzip` of a symbol table, both of busybox, and `compiler`, which makes code of \
             assignments and keeps its trees, in the place of the paper's GCC: the time from the start of each to its \
             end, that on the kernel for one CPU by that on N CPUs. One thread cannot gain by more CPUs; what is shown \
             is what forwarding costs it."
                .to_owned(),
        ],
        tables: vec![table],
        ..Section::default()
    };
    section.tables.extend(PROGRAMS.iter().map(|program| measured.table(program)));
    section.targets = PROGRAMS
        .iter()
        .flat_map(|program| PLACES.iter().enumerate().map(|way| measured.target(program, way)))
        .collect();
    section.failures = [measured.up].into_iter().chain(measured.application).flat_map(|one| one.failures).collect();
    section
}
