//! The way into the kernel and back, instruction by instruction, as Bochs' debugger lists them.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use abi::channel::TRACE_WORD;
use anyhow::{Context, Result, bail};

use super::{
    lab::{Job, Lab, Run, System},
    report::{Cell, Limit, Section, Table, Target, head},
};
use crate::{
    backtrace,
    build::{self, Flavour},
    commands::{Console, kernel_words},
    image::{Modules, iso},
    machine::{
        bochs::{self, Plan},
        die_with_us,
    },
    options::{self, Kind, Lock, Machine, Payload, Variant},
};

/// What it boots, in a run's directory.
const ISO: &str = "entry.iso";

/// What the debugger does: goes on after the kernel's own pause at its start, then from the program's stop
/// before the call to that behind it, which is never as far as this.
const COMMANDS: &str = "c\nc\ntrace on\ns 10000000\nq\n";

/// Records for a kernel that records, enough for what happens until then.
const RECORDS: u32 = 1 << 16;

/// A kernel: its column, the variant, and whether it records.
type Kernel = (&'static str, Variant, bool);

const KERNELS: [Kernel; 4] = [
    ("up", Variant::UP, false),
    ("giant:1", Variant::giant(Lock::Ticket), false),
    ("up, recording", Variant::UP, true),
    ("giant:1, recording", Variant::giant(Lock::Ticket), true),
];

/// The null call, function by function.
pub(super) fn entry(lab: &Lab) -> Section {
    let found = lab.side_by_side(&KERNELS, |kernel| steps(lab, *kernel));
    let mut section = Section {
        name: "entry",
        title: "The way into the kernel and back",
        text: vec![
            "Every instruction of one `getpid`, from `syscall` to `sysret`, by the innermost function of Jotun's that it is part \
             of, inlined or not, in the order in which they are reached. docs/entry-path.md tells what each step is for."
                .to_owned(),
        ],
        ..Section::default()
    };
    let mut columns = Vec::new();
    for ((name, ..), steps) in KERNELS.into_iter().zip(found) {
        match steps {
            Ok(steps) => columns.push((name, steps)),
            Err(error) => section.failures.push(format!("entry on {name}: {error:#}")),
        }
    }
    let total = |wanted: &str| {
        let column = columns.iter().find(|(name, _)| *name == wanted);
        column.map(|(_, steps)| steps.len() as f64)
    };
    for (name, limit) in [("up", 75.0), ("giant:1", 100.0)] {
        section.targets.push(Target {
            what: format!("entry path of the null call, {name}"),
            measured: total(name),
            limit: Limit::AtMost(limit),
            why: "the lock's steps are counted one by one in the table below",
        });
    }
    let (whole, failures) = whole(lab);
    section.tables.extend([whole, table(&columns)]);
    section.failures.extend(failures);
    section
}

/// The beginnings of the lines of `null-call`: `getpid: 63.00 ticks a call, …` and `page fault: 1025 ticks, …`.
pub(super) const CALL: &str = "getpid: ";
pub(super) const FAULT: &str = "page fault: ";

/// The ticks that a line of `null-call` tells.
pub(super) fn ticks(run: &Run, what: &str) -> Option<f64> {
    let line = run.output.lines().find_map(|line| line.strip_prefix(what));
    line?.split(' ').next()?.parse().ok()
}

/// What the program `null-call` measures: the null call as a whole, and the shortest of its page faults.
fn whole(lab: &Lab) -> (Table, Vec<String>) {
    let jobs = ["up", "giant:1"].map(|system| Job::new(System::jotun(system), ["null-call"]).quickly());
    let runs = lab.run(&jobs);
    let row = |name: &str, what: &str| {
        let cells = runs.iter().map(|run| Cell::count(ticks(run, what)));
        std::iter::once(Cell::text(name)).chain(cells).collect()
    };
    let table = Table {
        title: "Into the kernel and back".into(),
        head: head(["instructions", "kernel for one CPU", "kernel for several, ticket lock, no other CPU in the way"]),
        rows: vec![
            row("`getpid`, from `syscall` to the program's next instruction", CALL),
            row("the shortest of 256 page faults that deliver an empty page", FAULT),
        ],
    };
    (table, runs.into_iter().filter_map(|run| run.failure).collect())
}

/// Instructions of each function, for each kernel.
fn table(columns: &[(&str, Vec<String>)]) -> Table {
    let mut names: Vec<&String> = Vec::new();
    // The longest way has the most functions, and so the best order.
    let mut longest: Vec<_> = columns.iter().map(|(_, steps)| steps).collect();
    longest.sort_by_key(|steps| std::cmp::Reverse(steps.len()));
    for name in longest.into_iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut table = Table { title: "Instructions of the null call".into(), ..Table::default() };
    table.head = std::iter::once("function").chain(columns.iter().map(|(name, _)| *name)).map(str::to_owned).collect();
    for name in names {
        let count = |steps: &Vec<String>| steps.iter().filter(|step| *step == name).count();
        let cells = columns.iter().map(|(_, steps)| match count(steps) {
            0 => Cell::Nothing,
            count => Cell::Count(count as f64),
        });
        table.rows.push(std::iter::once(Cell::text(name.as_str())).chain(cells).collect());
    }
    let sums = columns.iter().map(|(_, steps)| Cell::Count(steps.len() as f64));
    table.rows.push(std::iter::once(Cell::text("all")).chain(sums).collect());
    table
}

/// The functions of all instructions of a null call.
fn steps(lab: &Lab, kernel: Kernel) -> Result<Vec<String>> {
    let (all, symbols) = listed(lab, kernel, &["null-call", "stop"])?;
    // The call first, which is the program's, and so is what comes behind.
    let kernel: Vec<u64> = all.iter().skip(1).take_while(|step| step.kernel).map(|step| step.address).collect();
    if kernel.is_empty() {
        bail!("Bochs' debugger has listed no call");
    }
    let functions = backtrace::functions(&symbols, &kernel)?;
    Ok(std::iter::once("syscall".to_owned()).chain(functions).collect())
}

/// All that a program executes between its two stops, and where the kernel's symbols are.
fn listed(lab: &Lab, (name, variant, recording): Kernel, program: &[&str]) -> Result<(Vec<Step>, PathBuf)> {
    let dir = lab.dir.path().join(format!("{}-{name}", program.join("-")).replace([':', ',', ' '], "-"));
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let affinity = options::Affinity::Soft;
    let options = options::Build {
        up: false,
        smp: Some(1),
        strategy: variant.strategy,
        lock: variant.lock,
        affinity,
        no_build: true,
    };
    let built = build::build(&options, if recording { Flavour::Traced } else { Flavour::Plain })?;
    let payload = Payload {
        rootfs: None,
        environment: Vec::new(),
        base: None,
        append: None,
        program: program.iter().map(OsString::from).collect(),
    };
    let modules = Modules::prepare(&payload, &built, &dir, false)?;
    let mut words = kernel_words(&options, Kind::Bochs, Console::Pipe, false, &payload);
    words.extend(recording.then(|| format!("{TRACE_WORD}1x{RECORDS}")));
    iso::make(&dir, &dir.join(ISO), &built.kernel, &modules, iso::Style::Run, &words)?;
    let transcript = transcript(&Plan::new(&Machine::of(Kind::Bochs), 1, dir.clone(), ISO), &dir, lab.timeout)?;
    let _ = fs::remove_dir_all(&dir);
    Ok((executed(&transcript), built.symbols))
}

/// What the debugger says while it does what it is to do.
fn transcript(plan: &Plan, dir: &Path, timeout: Duration) -> Result<String> {
    const OUTPUT: &str = "transcript";
    plan.write("mode=null", COMMANDS)?;
    let path = dir.join(OUTPUT);
    let output = fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = plan.command();
    command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
    die_with_us(&mut command);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", bochs::PROGRAM))?;
    if !wait(&mut child, timeout)? {
        let _ = child.kill();
        let _ = child.wait();
        bail!("no end within the time");
    }
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Whether Bochs has ended within the time.
pub(super) fn wait(child: &mut Child, timeout: Duration) -> Result<bool> {
    let begin = Instant::now();
    while begin.elapsed() < timeout {
        if child.try_wait().context("cannot wait for Bochs")?.is_some() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(false)
}

/// An executed instruction.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Step {
    kernel: bool,
    address: u64,
    /// One, but for those that repeat themselves.
    ticks: u64,
}

/// What was executed, as the debugger has listed it.
fn executed(transcript: &str) -> Vec<Step> {
    // `(0).[611538142] [0x00000026f790] 0008:ffffffff8026f790 (unk. ctxt): mov …`
    let step = |line: &str| {
        let mut parts = line.strip_prefix("(0).[")?.split("] ");
        let time: u64 = parts.next()?.parse().ok()?;
        let (selector, address) = parts.nth(1)?.split(' ').next()?.split_once(':')?;
        let selector = u16::from_str_radix(selector, 16).ok()?;
        Some((time, selector & 3 == 0, u64::from_str_radix(address, 16).ok()?))
    };
    let steps: Vec<_> = transcript.lines().filter_map(step).collect();
    let ends = steps.iter().skip(1).map(|(time, ..)| *time);
    steps.iter().zip(ends).map(|(&(time, kernel, address), end)| Step { kernel, address, ticks: end - time }).collect()
}

/// Operations whose instructions are looked at.
const LOOKED_AT: [&str; 8] = ["open", "signal", "futex", "pipe", "thread", "vfork", "fork", "exec"];

/// Functions that are shown of each.
const SHOWN: usize = 12;

/// Where the instructions of whole operations go.
pub(super) fn places(lab: &Lab) -> Section {
    let found = lab.side_by_side(&LOOKED_AT, |name| of_operation(lab, name));
    let mut section = Section {
        name: "where",
        title: "Where the instructions go",
        text: vec![format!(
            "One of each operation on the uniprocessor kernel, every instruction of it, by the innermost function of \
             Jotun's that it is part of, inlined or not: the {SHOWN} largest. The repetitions of a `rep` instruction count \
             one each, so that clearing and copying are where whole pages go."
        )],
        ..Section::default()
    };
    for (name, table) in LOOKED_AT.iter().zip(found) {
        match table {
            Ok(table) => section.tables.push(table),
            Err(error) => section.failures.push(format!("where {name}: {error:#}")),
        }
    }
    section
}

fn of_operation(lab: &Lab, name: &str) -> Result<Table> {
    let (steps, symbols) = listed(lab, KERNELS[0], &["bench", "--stop", name])?;
    if steps.is_empty() {
        bail!("the program did not come to its stop");
    }
    let all: u64 = steps.iter().map(|step| step.ticks).sum();
    let mut places: BTreeMap<u64, u64> = BTreeMap::new();
    for step in steps.iter().filter(|step| step.kernel) {
        *places.entry(step.address).or_default() += step.ticks;
    }
    let addresses: Vec<u64> = places.keys().copied().collect();
    let functions = backtrace::functions(&symbols, &addresses)?;
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    let own = steps.iter().filter(|step| !step.kernel).map(|step| step.ticks).sum();
    sums.insert("the program itself".to_owned(), own);
    for (function, ticks) in functions.into_iter().zip(places.values()) {
        *sums.entry(function).or_default() += ticks;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, ticks)| std::cmp::Reverse(*ticks));
    let rest: u64 = sums.iter().skip(SHOWN).map(|(_, ticks)| ticks).sum();
    sums.truncate(SHOWN);
    sums.extend([("all others".to_owned(), rest), ("all".to_owned(), all)]);
    let row = |(name, ticks): (String, u64)| {
        vec![Cell::text(name), Cell::Count(ticks as f64), Cell::Share(ticks as f64 / all.max(1) as f64)]
    };
    Ok(Table {
        title: format!("{name}: {all} instructions"),
        head: ["function", "instructions", "share"].map(str::to_owned).to_vec(),
        rows: sums.into_iter().map(row).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_found_with_their_ticks() {
        let transcript = "[0.1] INFO words\n\
            (0) [0x00000f649ace] 0023:000055555555eace (unk. ctxt): syscall                   ; 0f05\n\
            Tracing enabled for CPU0\n\
            (0).[611538141] [0x00000f649ace] 0023:000055555555eace (unk. ctxt): syscall                   ; 0f05\n\
            (0).[611538142] [0x00000026f790] 0008:ffffffff8026f790 (unk. ctxt): mov qword ptr ds:[rip+1], rsp ; 48\n\
            (0).[611538143] [0x00000026f797] 0008:ffffffff8026f797 (unk. ctxt): sysret ; 48\n\
            (0).[611538148] [0x00000f649ad0] 0023:000055555555ead0 (unk. ctxt): xchg bx, bx ; 87\n\
            (0).[611538149] [0x00000026f790] 0008:ffffffff8026f790 (unk. ctxt): mov ; 48\n";
        let steps = executed(transcript);
        let places: Vec<_> = steps.iter().map(|step| (step.kernel, step.address & 0xfff, step.ticks)).collect();
        assert_eq!(places, [(false, 0xace, 1), (true, 0x790, 1), (true, 0x797, 5), (false, 0xad0, 1)]);
        assert!(executed("").is_empty());
    }

    #[test]
    fn functions_stand_in_the_order_of_the_longest_way() {
        let steps = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let columns = [("a", steps(&["syscall", "f", "f"])), ("b", steps(&["syscall", "g", "f", "h"]))];
        let shown: Vec<String> = table(&columns).shown().iter().map(|row| row.join(" ")).collect();
        assert_eq!(shown, ["function a b", "syscall 1 1", "g – 1", "f 2 1", "h – 1", "all 3 4"]);
    }
}
