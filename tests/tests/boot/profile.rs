//! `profile` and `compare`: the figures are right, and what goes wrong is said.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use boot_tests::{Scratch, busybox, target, xtask};
use serde_json::Value;

/// One measurement at a time: what runs beside it would be part of it.
fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came of a command.
struct Told {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Told {
    fn of(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let status = output.status.code().unwrap_or(-1);
        Self { status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    #[track_caller]
    fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn says(&self, part: &str) {
        assert!(
            self.stdout.contains(part) || self.stderr.contains(part),
            "{part} in\n{}\n{}",
            self.stdout,
            self.stderr
        );
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(xtask());
    command.args(words).env("CARGO_TARGET_DIR", target()).stdin(Stdio::null());
    command
}

/// `profile` with its report in `out`.
fn profile(out: &Path, words: &[&str]) -> Told {
    let out = out.to_str().expect("a plain path");
    let all = [&["profile", "--no-build", "--timeout", "180", "--out", out], words].concat();
    Told::of(command(&all).output().expect("xtask starts"))
}

fn report(out: &Path) -> Value {
    let json = fs::read_to_string(out.join("report.json")).expect("a report");
    serde_json::from_str(&json).expect("JSON")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number: {value}"))
}

/// The figures of a cause.
fn cause<'a>(report: &'a Value, name: &str) -> &'a Value {
    let causes = report["lock"]["by_cause"].as_array().expect("causes");
    causes.iter().find(|cause| cause["name"] == name).unwrap_or_else(|| panic!("{name} in {causes:?}"))
}

fn assert_sums(report: &Value) {
    assert_eq!(report["sums_agree"], true, "{report}");
    for cpu in report["cpus"].as_array().expect("CPUs") {
        let sum: u64 = ["user", "kernel", "spin", "idle"].iter().map(|state| number(&cpu[state])).sum();
        assert_eq!(sum, number(&report["wall"]), "{cpu}");
    }
}

/// `burns` is in the kernel 100 times for 20,000 instructions and 100 times for 30,000, and a cycle of Bochs
/// is an instruction. What a call takes besides is the same each time.
#[test]
fn holds_are_exact_to_the_instruction() {
    let _alone = alone();
    for cpus in ["--up", "--smp=1"] {
        let scratch = Scratch::new("burns");
        let out = scratch.path();
        let words = [cpus, "--machine", "bochs", "--region", "--", "burns"];
        profile(out, &words).expect(0).says("ok burns: recorded");
        let report = report(out);
        assert_sums(&report);
        let burn = cause(&report, "jotun_burn");
        let hold = |figure: &str| number(&burn["hold"][figure]);
        assert_eq!(number(&burn["acquisitions"]), 200, "{report}");
        let besides = hold("median") - 20_000;
        assert!(besides < 300, "{besides} instructions around the work");
        assert_eq!((hold("p99"), hold("max")), (30_000 + besides, 30_000 + besides), "{report}");
        assert_eq!(hold("total"), 100 * (20_000 + 30_000) + 200 * besides, "{report}");
        // 16,384 to 32,767, all of them.
        assert_eq!(burn["hold"]["histogram"][15], 200, "{report}");
        let longest = report["lock"]["longest_holds"].as_array().expect("the longest");
        assert!(
            longest.iter().all(|hold| hold["cycles"] == 30_000 + besides && hold["cause"] == "jotun_burn"),
            "{report}"
        );
        assert_eq!(report["lock"]["present"], cpus == "--smp=1", "{report}");
        assert_eq!(number(&report["lock"]["all"]["contended"]), 0, "{report}");
        assert_eq!((number(&report["counts"]["marks"]), number(&report["cost"]["dropped"])), (2, 0), "{report}");
        let each = report["cost"]["cycles_per_event"].as_f64().expect("measured");
        assert!((5.0..=25.0).contains(&each), "{each} instructions a record");
    }
}

/// Under the application kernel the boot CPU and the application processors are recorded, and each forwarded call is followed
/// from trap to return: `null-call` makes `getpid` calls and page faults.
#[test]
fn application_processors_are_recorded_too() {
    let _alone = alone();
    let scratch = Scratch::new("application");
    let words = ["--strategy", "application", "--smp", "3", "--", "null-call", "300"];
    profile(scratch.path(), &words).expect(0).says("Forwarded to the boot CPU");
    let report = report(scratch.path());
    assert_sums(&report);
    let cpus = report["cpus"].as_array().expect("CPUs");
    let names: Vec<_> = cpus.iter().map(|cpu| cpu["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["CPU 0", "CPU 1 (application)", "CPU 2 (application)"]);
    assert!(cpus[1..].iter().map(|cpu| number(&cpu["user"])).sum::<u64>() > 0, "the program runs there: {report}");
    assert_eq!(number(&report["cost"]["dropped"]), 0, "{report}");
    let forwarded = report["forwarded"].as_array().expect("a list");
    let of = |name| forwarded.iter().find(|of| of["name"] == name).unwrap_or_else(|| panic!("{name} in {forwarded:?}"));
    // A hundred before the counter is read.
    assert_eq!(number(&of("getpid")["all"]["count"]), 400);
    assert!(number(&of("page fault")["all"]["count"]) >= 256);
    for one in forwarded {
        let total = |part: &str| number(&one[part]["total"]);
        assert!(total("made") <= total("waiting") && total("waiting") < total("all"), "{one}");
    }
    assert_eq!(number(&of("getpid")["made"]["count"]), 400, "each is found on the boot CPU");
    let events = fs::read_to_string(scratch.path().join("trace.json")).expect("a timeline");
    assert!(events.matches("\"message\"").count() >= 4 * 400, "arrows there and back");
}

/// Runs a program to its last words, and looks at the longest visit of each of at least `causes_at_least` causes.
fn visits_are_short(options: &[&str], program: &[&str], last: &str, causes_at_least: usize) {
    const MOST: u64 = 200_000;
    let _alone = alone();
    let scratch = Scratch::new(program[0]);
    let words = [&["--up", "--machine", "bochs"], options, &["--"], program].concat();
    profile(scratch.path(), &words).expect(0).says(last);
    let report = report(scratch.path());
    assert_eq!(number(&report["cost"]["dropped"]), 0, "{report}");
    let causes = report["lock"]["by_cause"].as_array().expect("causes");
    let longest: Vec<_> = causes.iter().map(|cause| (&cause["name"], number(&cause["hold"]["max"]))).collect();
    assert!(longest.len() >= causes_at_least && longest.iter().all(|(_, hold)| *hold <= MOST), "{longest:?}");
}

/// Nothing keeps the kernel for as long as a program likes.
#[test]
fn no_visit_is_long() {
    visits_are_short(&[], &["long-calls"], "ok deaths", 31);
}

/// The search for the process to kill looks at as many pages in a visit as it may.
#[test]
fn no_visit_is_long_when_memory_ends() {
    visits_are_short(&["--memory", "64"], &["shortage", "memory"], "ok shortage", 10);
}

/// Profiles two processes with this number of calls each. The kernel's counts and the records must agree, whatever the
/// host does meanwhile.
fn counted_and_traced(options: &[&str], calls: u64) -> (Value, Value) {
    let scratch = Scratch::new("shares");
    let order = (4_000_u64 << 40 | (calls / 16) << 24 | (7_000 / 16)).to_string();
    let words = [options, &["--", "two-processes", &order]].concat();
    profile(scratch.path(), &words).expect(0).says("ok two-processes");
    let report = report(scratch.path());
    assert_sums(&report);
    let stats: Value = serde_json::from_slice(&fs::read(scratch.path().join("stats.json")).unwrap()).unwrap();
    let by_cause =
        ["system_call", "exception", "interrupt"].map(|cause| number(&stats[format!("kernel_cycles_{cause}")]));
    assert_eq!(by_cause.iter().sum::<u64>(), number(&stats["kernel_cycles"]), "{stats}");
    if stats["cpus"] == 2 {
        let [clock] = &report["clocks"].as_array().expect("clocks")[..] else { panic!("{report}") };
        assert!(clock["cpu"] == 1 && number(&clock["doubt"]) > 0, "two readings are not at one moment: {clock}");
        assert_waits_agree(&report, &stats);
    }
    assert_eq!(number(&cause(&report, "jotun_burn")["acquisitions"]), 2 * calls, "{report}");
    for name in ["report.html", "trace.json", "stacks.folded", "trace.jotun", "kernel.log"] {
        assert!(scratch.path().join(name).exists(), "{name}");
    }
    (stats, report)
}

#[test]
fn counts_agree_with_the_statistics() {
    let _alone = alone();
    for cpus in ["--up", "--smp=2"] {
        _ = counted_and_traced(&[cpus], 2_000);
    }
}

/// The kernel counts the same cycles another way: to compare them takes a machine whose CPUs are not preempted between
/// two readings of the clock.
#[test]
fn shares_agree_with_the_statistics() {
    let _alone = alone();
    for cpus in ["--up", "--smp=2"] {
        let (stats, report) = counted_and_traced(&[cpus, "--machine", "bochs"], 480);
        let states = ["user", "kernel", "spin", "idle"];
        let mut counted = states.map(|state| stats[format!("{state}_cycles")].as_f64().unwrap_or(0.0));
        // The boot CPU counts from the end of the boot on, the others have been idle for longer.
        let wall: f64 = states.iter().filter_map(|state| stats[format!("cpu0_{state}_cycles")].as_f64()).sum();
        if wall > 0.0 {
            counted[3] = wall * stats["cpus"].as_f64().expect("CPUs") - counted[..3].iter().sum::<f64>();
        }
        let traced = states.map(|state| report["total"][state].as_f64().unwrap());
        let all = [&counted, &traced].map(|cycles| cycles.iter().sum::<f64>());
        for (index, state) in states.iter().enumerate() {
            let (counted, traced) = (counted[index] / all[0], traced[index] / all[1]);
            assert!(
                (counted - traced).abs() < 0.005,
                "{cpus}, {state}: {counted} counted, {traced} traced\n{stats}\n{report}"
            );
        }
    }
}

/// Waits by cause and CPU, counted with and without records. A visit that the trace saw only in part is in the
/// statistics alone.
fn assert_waits_agree(report: &Value, stats: &Value) {
    let (traced, counted) = (number(&report["lock"]["all"]["contended"]), number(&stats["lock_contended"]));
    assert!((traced..=traced + 1).contains(&counted), "{counted} waits counted, {traced} traced");
    let sum = |name: &str| -> u64 {
        let causes = ["system_call", "exception", "interrupt"];
        causes.iter().map(|cause| number(&stats[format!("{name}_{cause}")])).sum()
    };
    assert_eq!((sum("lock_contended"), sum("spin_cycles")), (counted, number(&stats["spin_cycles"])), "{stats}");
    let cpus = |name: &str| -> u64 { (0..2).map(|cpu| number(&stats[format!("cpu{cpu}_{name}")])).sum() };
    for cause in ["system_call", "exception", "interrupt"] {
        for name in ["kernel_cycles", "spin_cycles", "lock_contended"] {
            let name = format!("{name}_{cause}");
            assert_eq!(cpus(&name), number(&stats[&name]), "{name}\n{stats}");
        }
        assert_eq!(cpus(&format!("lock_acquisitions_{cause}")), number(&stats[format!("entries_{cause}")]), "{stats}");
    }
    assert_eq!((cpus("lock_contended"), cpus("lock_acquisitions")), (counted, sum("entries")), "{stats}");
}

#[test]
fn an_earlier_trace_gives_the_same_report() {
    let _alone = alone();
    let scratch = Scratch::new("again");
    let (first, again) = (scratch.path().join("first"), scratch.path().join("again"));
    profile(&first, &["--up", "--", "hello"]).expect(0);
    let trace = first.join("trace.jotun");
    let read = |trace: &Path| {
        let words = ["profile", "--read", trace.to_str().unwrap(), "--out", again.to_str().unwrap()];
        Told::of(command(&words).output().expect("xtask starts"))
    };
    read(&trace).expect(0);
    assert_eq!(report(&first), report(&again));
    let bytes = fs::read(&trace).unwrap();
    let broken = |bytes: &[u8]| read(&scratch.file("broken", bytes)).expect(125).stderr;
    assert!(broken(&bytes[..bytes.len() / 2]).contains("the trace is cut short"));
    assert!(broken(b"something else").contains("this is no trace"));
    let mut other = bytes.clone();
    other[8] = 9;
    assert!(broken(&other).contains("this trace has version 9 of the format"));
}

#[test]
fn a_full_ring_is_told() {
    let _alone = alone();
    let scratch = Scratch::new("full");
    profile(scratch.path(), &["--up", "--records", "2048"]).expect(0).says("A ring was full");
    let report = report(scratch.path());
    assert!(number(&report["cost"]["dropped"]) > 1000, "{report}");
    // The ring is rounded up to whole pages.
    assert!((2048..2560).contains(&number(&report["cost"]["events"])), "{report}");
    assert_sums(&report);
}

#[test]
fn what_fails_or_never_ends_is_reported_too() {
    let _alone = alone();
    let scratch = Scratch::new("fails");
    let told = profile(scratch.path(), &["--up", "--", "exit-code", "3"]).expect(3);
    told.says("status: 3");
    assert!(number(&report(scratch.path())["wall"]) > 0);
    let busybox = busybox().to_str().unwrap();
    let endless = ["--up", "--", busybox, "sleep", "100000"];
    let out = scratch.path().to_str().unwrap();
    // A busy host may not even have booted the machine in that time, which is reported, too.
    let mut runs = ["6", "12", "24", "48", "96"].iter().map(|seconds| {
        let all = [&["profile", "--no-build", "--timeout", seconds, "--out", out], &endless[..]].concat();
        Told::of(command(&all).output().expect("xtask starts"))
    });
    let begun = runs.find(|told| !told.stderr.contains("before anything could be recorded"));
    begun.expect("a machine that boots").expect(124).says("status: 124");
    let report = report(scratch.path());
    assert!(number(&report["counts"]["system_calls"]) > 10, "{report}");
    let endless = ["--up", "--", busybox, "sh", "-c", "echo runs; sleep 100000"];
    let all = [&["profile", "--no-build", "--out", out], &endless[..]].concat();
    let mut child = command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("xtask starts");
    let mut word = [0; 4];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut word).expect("the program begins");
    assert_eq!(&word, b"runs");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill is there").success());
    Told::of(child.wait_with_output().expect("xtask ends")).expect(130).says("status: 130");
}

#[test]
fn one_cpu_alone_is_recorded() {
    let _alone = alone();
    let scratch = Scratch::new("one");
    profile(scratch.path(), &["--smp=2", "--trace-cpu=0"]).expect(0);
    let report = report(scratch.path());
    assert_eq!(report["cpus"].as_array().map(Vec::len), Some(1), "{report}");
    assert_eq!(report["cpus"][0]["name"], "CPU 0", "{report}");
}

#[test]
fn what_cannot_be_is_refused_first() {
    let _alone = alone();
    let scratch = Scratch::new("refused");
    let out = scratch.path();
    profile(out, &["--smp=2", "--trace-cpu=2"]).expect(125).says("there is no CPU 2 to record");
    profile(Path::new("/proc/nowhere"), &["--up"]).expect(125).says("cannot make the directory /proc/nowhere");
    let compare = |variants: &str| {
        let words = ["compare", "--no-build", "--out", out.to_str().unwrap(), "--variants", variants];
        Told::of(command(&words).output().expect("xtask starts"))
    };
    compare("up,giant:2/futex")
        .expect(2)
        .says("a variant is `up`, `STRATEGY:N` with one of giant, baton, subsystems, application and");
    compare("up,giant:2,up").expect(125).says("names `up` twice");
    compare("giant:2,giant:2/ticket").expect(125).says("names `giant:2` twice");
}

#[test]
fn kernels_are_compared() {
    let _alone = alone();
    let scratch = Scratch::new("compare");
    let out = scratch.path().to_str().unwrap();
    let words = ["compare", "--no-build", "--out", out, "--variants", "up,giant:1", "--rounds", "2"];
    let words = [&words[..], &["--machine", "icount", "--timeout", "120"]].concat();
    let told = Told::of(command(&[&words[..], &["--", "exit-code", "4"]].concat()).output().expect("xtask starts"));
    told.expect(4).says("ended with status 4");
    let json = fs::read_to_string(scratch.path().join("compare.json")).expect("a comparison");
    let comparison: Value = serde_json::from_str(&json).expect("JSON");
    let rows = comparison["rows"].as_array().expect("rows");
    assert_eq!(rows.iter().map(|row| row["variant"].as_str().unwrap()).collect::<Vec<_>>(), ["up", "giant:1"]);
    for row in rows {
        assert_eq!(row["samples"].as_array().map(Vec::len), Some(2), "{row}");
        let shares = ["user", "kernel", "spin", "idle"].map(|state| row["samples"][0][state].as_f64().unwrap());
        assert!(shares.iter().sum::<f64>() > 0.0, "{row}");
        assert_eq!(row["samples"][0], row["samples"][1], "instructions are counted: two rounds are the same");
    }
    assert!(scratch.path().join("compare.html").exists());
}
