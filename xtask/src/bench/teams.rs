//! papers/000, section "Performance evaluation": programs of eight threads, and several programs at once.

use abi::strategies::{APPLICATION, GIANT};

use super::{
    figures::{self, Figures},
    lab::{Job, Lab, System},
    report::{Cell, Chart, Section, Series, Table, head},
};

/// A column of papers/000, table IV: speed-ups on 2, 3, … processors; the last of one is missing there.
type Column = &'static [f64];

/// A program: its name, its title, and what papers/000, table IV, has for Linux 2.4.26 and for the application kernel.
struct Program {
    name: &'static str,
    title: &'static str,
    linux: Column,
    application_kernel: Column,
}

const PROGRAMS: [Program; 3] = [
    Program {
        name: "radix",
        title: "Radix sort",
        linux: &[2.0433, 3.3758, 4.0885, 5.1898, 5.9562, 6.9355, 8.0009],
        application_kernel: &[1.0834, 2.5174, 3.7227, 4.8200, 5.5736, 6.1934, 6.0924],
    },
    Program {
        name: "fft",
        title: "FFT",
        linux: &[1.6916, 2.2930, 2.5090, 2.8456, 2.9927, 3.1732, 3.3272],
        application_kernel: &[1.0401, 1.8654, 2.3235, 2.6323, 2.8626, 3.0188, 3.0745],
    },
    Program {
        name: "lu",
        title: "LU",
        linux: &[1.9217, 2.9430, 3.5053, 4.0857, 4.7706, 5.3277, 6.0084],
        application_kernel: &[1.2662, 2.0795, 2.9941, 3.8009, 5.0445, 5.1628],
    },
];

const MIX: Program = Program {
    name: "mix",
    title: "Multiprogramming",
    linux: &[1.5049, 1.6627, 1.6850, 1.6782, 1.6845, 1.6803, 1.6839],
    application_kernel: &[0.9705, 1.1375, 1.1779, 1.1878, 1.1962, 1.2059],
};

/// The programs of the mix, as `teams` names them, and what they are.
const MIXED: [(&str, &str); 6] = [
    ("gzip", "`gzip` of a symbol table, where the paper has a compiler"),
    ("find", "`find` over all files"),
    ("grep", "`grep linux` in the symbol table"),
    ("find-grep", "`find` and `grep data`, by a pipe"),
    ("fft", "FFT of 1,024 points, 8 threads"),
    ("lu", "LU, 8 threads"),
];

/// What each system came to.
pub(super) struct Measured {
    systems: Vec<System>,
    figures: Vec<Figures>,
    pub(super) failures: Vec<String>,
}

/// The uniprocessor kernel and the strategies for several CPUs, with Linux beside them if it is wanted.
fn systems(lab: &Lab) -> Vec<System> {
    let mut systems = vec![System::jotun("up")];
    // The slowest first, so that none is left alone in the end.
    for &cpus in lab.cpus.iter().rev() {
        systems.push(System::jotun(&format!("{GIANT}:{cpus}")));
        // One CPU is the bootstrap kernel's.
        systems.extend((cpus > 1).then(|| System::jotun(&format!("{APPLICATION}:{cpus}"))));
    }
    if lab.linux.is_some() {
        // It boots for long, and with eight CPUs its figures on Bochs differ from boot to boot.
        let further = lab.cpus.iter().copied().filter(|cpus| *cpus == 2);
        systems.extend([1].into_iter().chain(further).map(System::Linux));
    }
    systems
}

/// Runs the program `teams` on these systems.
pub(super) fn measure(lab: &Lab, systems: Vec<System>, words: impl Fn(System) -> Vec<String>) -> Measured {
    let program = |system: &System| ["teams".to_owned()].into_iter().chain(words(*system)).collect::<Vec<_>>();
    let jobs: Vec<_> = systems.iter().map(|system| Job::new(*system, program(system))).collect();
    let mut figures = figures::measure(lab, &jobs);
    let failures = figures.iter_mut().flat_map(|figures| std::mem::take(&mut figures.failures)).collect();
    Measured { systems, figures, failures }
}

impl Measured {
    fn ticks(&self, system: &str, figure: &str) -> Option<f64> {
        let at = self.systems.iter().position(|own| own.name() == system)?;
        self.figures[at].get(figure)
    }

    /// Whether this system was measured.
    pub(super) fn has(&self, system: &str) -> bool {
        self.systems.iter().any(|own| own.name() == system)
    }

    /// Of a system against the uniprocessor kernel.
    pub(super) fn speed_up(&self, figure: &str, system: &str) -> Option<f64> {
        Some(self.ticks("up", figure)? / self.ticks(system, figure)?)
    }

    /// Of a strategy against the uniprocessor kernel.
    fn of(&self, strategy: &str, figure: &str, cpus: u8) -> Option<f64> {
        self.speed_up(figure, &format!("{strategy}:{cpus}"))
    }

    /// Against the same kernel on one CPU.
    pub(super) fn linux(&self, figure: &str, cpus: u8) -> Option<f64> {
        Some(self.ticks("linux:1", figure)? / self.ticks(&format!("linux:{cpus}"), figure)?)
    }
}

/// How a column of a speed-up table is found.
type Finder<'a> = (&'a str, &'a dyn Fn(u8) -> Option<f64>);

/// Speed-ups of a program: the columns, then the paper's; and the same as a chart.
fn speed_ups(lab: &Lab, program: &Program, columns: &[Finder]) -> (Table, Chart) {
    // The paper has none on one processor, where it would be about one.
    let paper = |column: Column| move |cpus: u8| column.get(usize::from(cpus).checked_sub(2)?).copied();
    let (linux, application_kernel) = (paper(program.linux), paper(program.application_kernel));
    let papers: [Finder; 2] =
        [("Linux 2.4, papers/000", &linux), ("application kernel, papers/000", &application_kernel)];
    let columns: Vec<_> = columns.iter().chain(&papers).collect();
    let title = format!("{}: speed-up (papers/000, table IV)", program.title);
    let mut table = Table { title: title.clone(), ..Table::default() };
    table.head = head(["CPUs"]).into_iter().chain(columns.iter().map(|(name, _)| (*name).to_owned())).collect();
    for &cpus in &lab.cpus {
        let cells = columns.iter().map(|(_, find)| find(cpus).map_or(Cell::Nothing, Cell::Ratio));
        table.rows.push([Cell::text(cpus.to_string())].into_iter().chain(cells).collect());
    }
    let series = columns.iter().map(|(name, find)| {
        let points = lab.cpus.iter().filter_map(|&cpus| Some((f64::from(cpus), find(cpus)?))).collect();
        Series { name: (*name).to_owned(), points, bound: false }
    });
    let chart = Chart {
        name: format!("teams-{}", program.name),
        title,
        x: "CPUs".into(),
        y: "speed-up".into(),
        series: series.collect(),
    };
    (table, chart)
}

/// Programs of eight threads.
pub(super) fn parallel(lab: &Lab) -> Section {
    let sizes: [&str; 3] = if lab.quick { ["radix=65536", "fft=4096", "lu=128"] } else { ["radix", "fft", "lu"] };
    let measured = measure(lab, systems(lab), |_| sizes.map(str::to_owned).to_vec());
    let mut section = Section {
        name: "parallel",
        title: "Programs of eight threads (papers/000)",
        text: vec![
            "Radix sort, Fourier transform and LU decomposition with eight threads each, written anew after SPLASH-2's \
             and smaller than the paper's; each checks its result. As in the paper the time is that of the whole \
             program against the uniprocessor kernel, data that one thread makes included; `threads alone` is the part \
             in which all eight work."
                .to_owned(),
            "Each new page is cleared in the kernel, one at a time, and Bochs counts every byte of it: the most part of \
             what radix sort, which touches a page for every 512 keys, loses on many CPUs."
                .to_owned(),
        ],
        ..Section::default()
    };
    let mut table = Table { title: "Instructions on the uniprocessor kernel".into(), ..Table::default() };
    table.head = head(["program", "whole", "with eight threads", "part with eight threads"]);
    for program in &PROGRAMS {
        let threads = format!("{}-threads", program.name);
        let (whole, part) = (measured.ticks("up", program.name), measured.ticks("up", &threads));
        let share = whole.zip(part).map_or(Cell::Nothing, |(whole, part)| Cell::Share(part / whole));
        table.rows.push(vec![Cell::text(program.title), Cell::count(whole), Cell::count(part), share]);
        let giant = |cpus| measured.of(GIANT, program.name, cpus);
        let giant_alone = |cpus| measured.of(GIANT, &threads, cpus);
        let application = |cpus| measured.of(APPLICATION, program.name, cpus);
        let application_alone = |cpus| measured.of(APPLICATION, &threads, cpus);
        let linux = |cpus| measured.linux(program.name, cpus);
        let mut columns: Vec<Finder> = vec![
            (GIANT, &giant),
            ("giant, threads alone", &giant_alone),
            (APPLICATION, &application),
            ("application, threads alone", &application_alone),
        ];
        columns.extend(lab.linux.iter().map(|_| -> Finder { ("Linux 6.1", &linux) }));
        let (speed_ups, chart) = speed_ups(lab, program, &columns);
        section.tables.push(speed_ups);
        section.charts.push(chart);
    }
    section.tables.insert(0, table);
    section.failures = measured.failures;
    section
}

/// Several programs at once.
pub(super) fn mix(lab: &Lab) -> Section {
    let words = |system: System| {
        let size = if lab.quick { "=100" } else { "" };
        let alone = (system == System::jotun("up")).then(|| format!("alone{size}"));
        alone.into_iter().chain([format!("mix{size}")]).collect()
    };
    let measured = measure(lab, systems(lab), words);
    let alone = |name: &str| measured.ticks("up", &format!("alone-{name}"));
    let all: Option<f64> = MIXED.iter().map(|(name, _)| alone(name)).sum();
    let longest = MIXED.iter().filter_map(|(name, _)| alone(name)).reduce(f64::max);
    let mut table = Table { title: "The programs one after the other, uniprocessor kernel".into(), ..Table::default() };
    table.head = head(["program", "instructions", "part of all"]);
    for (name, about) in MIXED {
        let share = alone(name).zip(all).map_or(Cell::Nothing, |(own, all)| Cell::Share(own / all));
        table.rows.push(vec![Cell::text(about), Cell::count(alone(name)), share]);
    }
    let giant = |cpus| measured.of(GIANT, MIX.name, cpus);
    let application = |cpus| measured.of(APPLICATION, MIX.name, cpus);
    let linux = |cpus| measured.linux(MIX.name, cpus);
    let bound = |cpus: u8| Some(f64::from(cpus).min(all? / longest?));
    let mut columns: Vec<Finder> = vec![(GIANT, &giant), ("its bound", &bound), (APPLICATION, &application)];
    columns.extend(lab.linux.iter().map(|_| -> Finder { ("Linux 6.1", &linux) }));
    let (speed_ups, mut chart) = speed_ups(lab, &MIX, &columns);
    chart.series[1].bound = true;
    Section {
        name: "mix",
        title: "Several programs at once (papers/000)",
        text: vec![
            "Six programs started at once, and the time until the last has ended, against the uniprocessor kernel. The \
             bound is the number of CPUs, or all work by the longest program, which cannot be shared out; neither the \
             kernel nor the parallel programs' own bounds are in it. Each program's result is checked. A CPU that has \
             nothing left to do takes a process that waits for another."
                .to_owned(),
        ],
        tables: vec![table, speed_ups],
        charts: vec![chart],
        failures: measured.failures,
        ..Section::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_columns_begin_with_two_processors() {
        for program in PROGRAMS.iter().chain([&MIX]) {
            assert_eq!(program.linux.len(), 7, "{}", program.name);
            assert!((6..=7).contains(&program.application_kernel.len()), "{}", program.name);
        }
    }

    #[test]
    fn speed_ups_are_against_the_uniprocessor_kernel_and_missing_ones_are_told() {
        let figures = |ticks: f64| Figures { medians: [("mix".to_owned(), vec![ticks])].into(), failures: Vec::new() };
        let measured = Measured {
            systems: vec![System::jotun("up"), System::jotun("giant:2"), System::Linux(1), System::Linux(2)],
            figures: vec![figures(300.0), figures(200.0), figures(400.0), figures(250.0)],
            failures: Vec::new(),
        };
        assert_eq!((measured.of(GIANT, "mix", 2), measured.linux("mix", 2)), (Some(1.5), Some(1.6)));
        assert_eq!((measured.of(GIANT, "mix", 3), measured.of(GIANT, "fft", 2)), (None, None));
    }
}
