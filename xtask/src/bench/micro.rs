//! What single operations cost, on Jotun's kernels and on Linux.

use super::{
    BENCHMARKS, LINUX_WORDS, figures,
    lab::{Job, Lab, System},
    report::{Cell, Chart, Limit, Section, Series, Table, Target},
};

/// Operations that can also be done between two CPUs, by adding this to their names.
const ON_TWO: [&str; 1] = ["pipe"];

/// Rounds of each operation.
const ROUNDS: [(bool, &str); 2] = [(true, "1"), (false, "5")];

/// What is to be reached: operation, at most so much, as a part of Linux, and what stands in the way.
const PARTS: [(&str, f64, &str); 12] = [
    (
        "vfork",
        6.0,
        "the extended state is copied, a control block filled and moved to its place, and parent and child are found by name at each step; \"Where the instructions go\" has the functions",
    ),
    (
        "fork",
        4.0,
        "every page that a child may write is entered in tables of its own and given back; \"Where the instructions go\" has the functions",
    ),
    (
        "exec",
        4.0,
        "a dozen page faults of the new program and the calls that it begins with, each of which finds regions, tables and pages by a search; \"Where the instructions go\" has the functions",
    ),
    (
        "thread",
        4.0,
        "a quarter of it is the library's own work, and the stack is mapped, protected and unmapped, each of which looks for its regions and for its pages; \"Where the instructions go\" has the functions",
    ),
    ("pipe-fork", 4.0, ACROSS),
    (
        "open",
        4.0,
        "a third of it is the walk of the path, the rest is copying it from user memory, an open file and a descriptor made and given back, and two ways into the kernel; \"Where the instructions go\" has the functions",
    ),
    ("futex", 3.0, SWITCH),
    ("pipe", 4.0, AGAIN),
    ("read", 1.6, COPY),
    ("write", 1.7, COPY),
    (
        "signal",
        2.0,
        "the frame is built and copied to the user's stack and back, the extended state with it, by a walk of the page tables each; that a thread has a signal means that the scheduler chooses anew; \"Where the instructions go\" has the functions",
    ),
    (
        "magic",
        3.0,
        "the walk of a path of three names, one of which leads elsewhere, and what any open of a file takes",
    ),
];

const COPY: &str = "512 of the instructions are the copying itself, eight bytes at a time, on both systems; the rest is finding descriptor, open file, inode, object, the object's page and the user's page, each checked";

const SWITCH: &str = "there and back is two wake-ups, two waits and two switches. The switches, which keep all registers and the extended state, charge a thread for its time and look for signals, are the largest part, then the wake-ups; and each step finds its thread by name, checked, as no reference outlives a visit to the kernel; \"Where the instructions go\" has the functions";
const ACROSS: &str = "it is a pipe between threads and two switches of containers: each switch finds the old and the new container by name, checked, notes which CPU runs which container, for the sake of CPUs that the kernel for one does not have, and loads the page directory; \"Where the instructions go\" has the rest under `pipe`";
const AGAIN: &str = "there and back is two writes that complete the other's read, two reads that wait and two switches. The switches are the largest part, as with futexes, then the wake-ups, which carry the byte across; and each call finds descriptor, open file and inode by name, each step its thread; \"Where the instructions go\" has the functions";

/// The operations of a Linux program.
pub(super) fn linux_programs(lab: &Lab, names: &[&str]) -> Section {
    let rounds = ROUNDS.iter().find(|(quick, _)| *quick == lab.quick).map_or("5", |(_, rounds)| rounds);
    let words = |two: bool| -> Vec<String> {
        let further = names.iter().filter(|name| two && ON_TWO.contains(name)).map(|name| format!("{name}-2"));
        let names = names.iter().map(|&name| name.to_owned());
        ["bench", "--rounds", rounds].map(str::to_owned).into_iter().chain(names).chain(further).collect()
    };
    let mut systems = vec![System::jotun("up"), System::jotun("giant:1"), System::jotun("giant:2")];
    if lab.linux.is_some() {
        systems.extend([System::Linux(1), System::Linux(2)]);
    }
    let two = |system: &System| system.name().ends_with('2');
    let jobs: Vec<_> = systems.iter().map(|system| Job::new(*system, words(two(system))).quickly()).collect();
    let figures = figures::measure(lab, &jobs);
    let get = |system: usize, name: &str| figures.get(system).and_then(|figures| figures.get(name));
    let [up, smp_1, smp_2, linux_1, linux_2] = [0, 1, 2, 3, 4];

    let mut table = Table { title: "Instructions for one operation".into(), ..Table::default() };
    table.head = ["operation", "up", "giant:1", "giant:2"].map(str::to_owned).to_vec();
    if lab.linux.is_some() {
        table.head.extend(["linux:1", "linux:2", "linux:1 / up", "linux:2 / giant:2"].map(str::to_owned));
    }
    let both = names.iter().flat_map(|&name| {
        let about = BENCHMARKS.iter().find(|(_, known, _)| *known == name).map_or("", |(_, _, about)| about);
        let two = ON_TWO.contains(&name).then(|| (format!("{name}-2"), format!("{about}, on two CPUs")));
        std::iter::once((name.to_owned(), about.to_owned())).chain(two)
    });
    for (name, about) in both {
        let mut row = vec![Cell::text(format!("{name}: {about}"))];
        row.extend([up, smp_1, smp_2].map(|system| Cell::count(get(system, &name))));
        if lab.linux.is_some() {
            row.extend([linux_1, linux_2].map(|system| figures[system].cell(&name)));
            row.push(Cell::ratio(get(linux_1, &name), get(up, &name)));
            row.push(Cell::ratio(get(linux_2, &name), get(smp_2, &name)));
        }
        table.rows.push(row);
    }

    let mut targets = Vec::new();
    if names.contains(&"null") {
        let why = "docs/entry-path.md has every instruction";
        targets.push(target("null call, uniprocessor kernel", get(up, "null"), Limit::AtMost(75.0), why));
        targets.push(target("null call, kernel for several CPUs", get(smp_1, "null"), Limit::AtMost(100.0), why));
    }
    if lab.linux.is_some() {
        for (name, part, why) in PARTS {
            if names.contains(&name) {
                let measured = get(linux_1, name).zip(get(up, name)).map(|(linux, jotun)| linux / jotun);
                targets.push(target(
                    &format!("{name}: Linux's time divided by Jotun's"),
                    measured,
                    Limit::AtLeast(part),
                    why,
                ));
            }
        }
    }
    let mut text = vec![
        "One static binary, `bench`, on all systems. Each operation is made many times between two readings of the time-stamp counter; the median of the rounds. `up` is the uniprocessor kernel, `giant:N` that for several CPUs on N of them."
            .to_owned(),
        "What is on one CPU is counted by QEMU (`--machine icount`), what is on two by Bochs. The figures of one CPU are within one in a hundred of those that Bochs gives, where the timer's interrupts come after fewer instructions."
            .to_owned(),
        "Both count every repetition of a `rep stosb` or `rep movsq` as an instruction: `clear` is what a page costs that is cleared byte by byte. Jotun's kernel clears and copies eight bytes at a time, which counts 512 for a page."
            .to_owned(),
    ];
    if let Some(linux) = &lab.linux {
        text.push(format!(
            "`linux:N` is Debian's {} with `{LINUX_WORDS}` on the same machines; like all of Debian's it clears each allocation \
             (`init_on_alloc`). It is booted {} times, each time so that the program begins at another moment between two \
             interrupts of the timer: the median, and in brackets the least and the most. A boot whose clock is wrong is left \
             out and named.",
            linux.version, lab.boots
        ));
    }
    Section {
        name: "micro",
        title: "Operations of a Linux program",
        text,
        tables: vec![table],
        targets,
        failures: figures.into_iter().flat_map(|figures| figures.failures).collect(),
        ..Section::default()
    }
}

fn target(what: &str, measured: Option<f64>, limit: Limit, why: &'static str) -> Target {
    Target { what: what.to_owned(), measured, limit, why }
}

/// The operations of native programs.
pub(super) fn native(lab: &Lab, names: &[&str]) -> Section {
    let systems = ["up", "giant:1"].map(System::jotun);
    let jobs = systems.map(|system| Job::new(system, ["bench-native"]).quickly());
    let figures = figures::measure(lab, &jobs);
    let mut table = Table { title: "Instructions for one operation".into(), ..Table::default() };
    table.head = ["operation", "up", "giant:1"].map(str::to_owned).to_vec();
    for &name in names {
        let about = BENCHMARKS.iter().find(|(_, known, _)| *known == name).map_or("", |(_, _, about)| about);
        let mut row = vec![Cell::text(format!("{name}: {about}"))];
        row.extend(figures.iter().map(|figures| Cell::count(figures.get(name))));
        table.rows.push(row);
    }
    let mut targets = Vec::new();
    if names.contains(&"start") {
        let why = "three calls and two switches, of which clearing the stack's page is a tenth and cannot be less; the rest is two switches, the process's control block, the container's page tables made and given back, and telling the parent";
        let measured = figures[0].get("start");
        targets.push(target(
            "native container, process, thread: make, run, exit, reap",
            measured,
            Limit::AtMost(5000.0),
            why,
        ));
    }
    Section {
        name: "native",
        title: "Operations of native programs",
        text: vec![
            "The package `bench-native`, all of its processes on one CPU. `start` includes the first run of a new process up to its end, and waiting for it."
                .to_owned(),
        ],
        tables: vec![table],
        targets,
        failures: figures.into_iter().flat_map(|figures| figures.failures).collect(),
        ..Section::default()
    }
}

/// Threads that only compute: what is lost when the kernel is not needed.
pub(super) fn compute(lab: &Lab) -> Section {
    let cpus: Vec<u8> = lab.cpus.iter().copied().filter(|&cpus| cpus > 1).collect();
    let mut systems = vec![System::jotun("giant:1")];
    systems.extend(cpus.iter().map(|cpus| System::jotun(&format!("giant:{cpus}"))));
    if lab.linux.is_some() {
        systems.push(System::Linux(1));
        // It boots for long, and with eight CPUs its figures on Bochs still differ from boot to boot.
        systems.extend(cpus.iter().filter(|cpus| **cpus == 2).map(|&cpus| System::Linux(cpus)));
    }
    let word = |system: &System| format!("compute-{}", system.cpus());
    let jobs: Vec<_> = systems.iter().map(|system| Job::new(*system, ["bench".to_owned(), word(system)])).collect();
    let figures = figures::measure(lab, &jobs);
    let speed_up = |linux: bool, cpus: u8| {
        let ticks = |wanted: u8| {
            let like = |system: &&System| matches!(system, System::Linux(_)) == linux && system.cpus() == wanted;
            let at = systems.iter().position(|system| like(&system))?;
            figures[at].get(&word(&systems[at]))
        };
        Some(f64::from(cpus) * ticks(1)? / ticks(cpus)?)
    };
    let mut table = Table { title: "Speed-up of threads that only compute".into(), ..Table::default() };
    table.head = ["CPUs", "Jotun"].map(str::to_owned).to_vec();
    table.head.extend(lab.linux.iter().map(|_| "Linux".to_owned()));
    let cell = |linux, cpus| speed_up(linux, cpus).map_or(Cell::Nothing, |gain| Cell::text(format!("{gain:.3}")));
    for &cpus in &cpus {
        let mut row = vec![Cell::text(cpus.to_string()), cell(false, cpus)];
        row.extend(lab.linux.iter().map(|_| cell(true, cpus)));
        table.rows.push(row);
    }
    let wanted = [(2, 1.99), (8, 7.9)].into_iter().filter(|(own, _)| cpus.contains(own));
    let targets = wanted.map(|(cpus, limit)| {
        let why = "the timer's interrupts, and what the other threads of the system do meanwhile";
        target(&format!("user work only, speed-up on {cpus} CPUs"), speed_up(false, cpus), Limit::AtLeast(limit), why)
    });
    let line = |linux: bool, name: &str| {
        let points = [1].into_iter().chain(cpus.iter().copied());
        let points = points.filter_map(|cpus| Some((f64::from(cpus), speed_up(linux, cpus)?))).collect();
        Series { name: name.to_owned(), points, bound: false }
    };
    let mut series = vec![line(false, "Jotun")];
    series.extend(lab.linux.iter().map(|_| line(true, "Linux")));
    let chart = Chart {
        name: "compute".into(),
        title: "Threads that only compute".into(),
        x: "CPUs".into(),
        y: "speed-up".into(),
        series,
    };
    Section {
        name: "compute",
        title: "Work in user mode alone",
        text: vec![
            "N threads of one program, each bound to a CPU of its own and with the same loop, from the moment when all are there to the end of the last: N times what one takes on one CPU, by what N take."
                .to_owned(),
        ],
        targets: targets.collect(),
        tables: vec![table],
        charts: vec![chart],
        failures: figures.into_iter().flat_map(|figures| figures.failures).collect(),
        ..Section::default()
    }
}
