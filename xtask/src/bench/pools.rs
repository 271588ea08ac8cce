//! Threads that wait before they work: what soft affinity is for, beside the rule of papers/001.

use super::{
    lab::{Lab, System},
    report::{Cell, Limit, Section, Table, Target, head},
    teams::{self, Measured},
};

/// A workload of the program `teams`, what it is, and the least speed-up that is wanted on some numbers of CPUs.
struct Workload {
    name: &'static str,
    title: &'static str,
    wanted: &'static [(u8, f64)],
}

const WORKLOADS: [Workload; 8] = [
    Workload { name: "barrier=2", title: "2 threads meet at a barrier, 8 times", wanted: &[(2, 1.9)] },
    Workload { name: "barrier=4", title: "4 threads", wanted: &[(2, 1.9), (4, 3.8)] },
    Workload { name: "barrier=8", title: "8 threads", wanted: &[(4, 3.8)] },
    Workload { name: "pool=2", title: "2 threads wait for jobs on a condition variable", wanted: &[(2, 1.9)] },
    Workload { name: "pool=4", title: "4 threads", wanted: &[(2, 1.9), (4, 3.8)] },
    Workload { name: "pool=8", title: "8 threads", wanted: &[(4, 3.8)] },
    Workload { name: "jobs=6", title: "6 threads with 1 to 6 million instructions each", wanted: &[(2, 1.75)] },
    Workload { name: "sleepers=12", title: "12 processes sleep and work in turn", wanted: &[(2, 1.9)] },
];

impl Workload {
    /// As the program tells its figure.
    fn figure(&self) -> String {
        self.name.replace('=', "-")
    }
}

/// The kernel with soft affinity and with strict, on this number of CPUs.
fn setups(cpus: u8) -> [String; 2] {
    ["", ":strict"].map(|affinity| format!("giant:{cpus}{affinity}"))
}

/// Speed-ups of threads that wait before they work.
pub(super) fn pools(lab: &Lab) -> Section {
    let cpus: Vec<u8> = lab.cpus.iter().copied().filter(|cpus| [2, 4].contains(cpus)).collect();
    let mut systems = vec![System::jotun("up")];
    systems.extend(cpus.iter().rev().flat_map(|&cpus| setups(cpus)).map(|setup| System::jotun(&setup)));
    if lab.linux.is_some() {
        systems.extend([1].iter().chain(&cpus).map(|&cpus| System::Linux(cpus)));
    }
    let measured = teams::measure(lab, systems, |_| WORKLOADS.iter().map(|one| one.name.to_owned()).collect());
    Section {
        name: "pools",
        title: "Threads that wait before they work",
        text: vec![
            "Where a thread began says nothing about where it should work if it waits first: an idle CPU begins one after \
             the other, and when all are woken they are on few CPUs. With soft affinity, which is what there is without \
             further words, a CPU that has time takes a thread that waits; with strict affinity, papers/001's rule, a thread \
             stays where it began. Speed-ups of the whole program against the uniprocessor kernel."
                .to_owned(),
        ],
        tables: vec![table(&measured, &cpus)],
        targets: targets(&measured, &cpus),
        failures: measured.failures,
        ..Section::default()
    }
}

fn table(measured: &Measured, cpus: &[u8]) -> Table {
    let mut table = Table { title: "Speed-up".into(), ..Table::default() };
    table.head = head(["workload"]);
    let linux = measured.has("linux:1");
    for cpus in cpus {
        table.head.extend([format!("{cpus} CPUs"), format!("{cpus} CPUs, strict")]);
        table.head.extend(linux.then(|| format!("Linux, {cpus} CPUs")));
    }
    for workload in &WORKLOADS {
        let figure = workload.figure();
        let cell = |speed_up: Option<f64>| speed_up.map_or(Cell::Nothing, Cell::Ratio);
        let mut row = vec![Cell::text(workload.title)];
        for &cpus in cpus {
            row.extend(setups(cpus).map(|setup| cell(measured.speed_up(&figure, &setup))));
            row.extend(linux.then(|| cell(measured.linux(&figure, cpus))));
        }
        table.rows.push(row);
    }
    table
}

fn targets(measured: &Measured, measured_on: &[u8]) -> Vec<Target> {
    let wanted = WORKLOADS.iter().flat_map(|workload| workload.wanted.iter().map(move |wanted| (workload, *wanted)));
    let target = |(workload, (cpus, least)): (&Workload, (u8, f64))| Target {
        what: format!("{}: speed-up on {cpus} CPUs", workload.name),
        measured: measured.speed_up(&workload.figure(), &setups(cpus)[0]),
        limit: Limit::AtLeast(least),
        why: "the kernel's part, and threads that wait until an idle CPU takes them",
    };
    wanted.filter(|(_, (cpus, _))| measured_on.contains(cpus)).map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_named_as_the_program_tells_them() {
        assert_eq!(WORKLOADS.map(|workload| workload.figure())[7], "sleepers-12");
        assert_eq!(setups(2), ["giant:2", "giant:2:strict"]);
    }
}
