//! `cargo xtask bench`: figures, their forms, and what it does when something cannot be measured.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use boot_tests::{Scratch, target, xtask};
use serde_json::Value;

fn bench(words: &[&str], out: &Path) -> Output {
    let mut command = Command::new(xtask());
    command.args(["bench", "--no-build", "--quick"]).args(words).arg("--out").arg(out);
    command.env("CARGO_TARGET_DIR", target()).output().expect("xtask starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The section of that name in the JSON of a directory.
fn section(out: &Path, name: &str) -> Value {
    let json = fs::read(out.join("bench.json")).expect("bench.json");
    let report: Value = serde_json::from_slice(&json).expect("JSON");
    let sections = report["sections"].as_array().expect("sections");
    sections.iter().find(|section| section["name"] == name).unwrap_or_else(|| panic!("{name} in {report}")).clone()
}

#[test]
fn figures_are_shown_and_written() {
    let scratch = Scratch::new("bench");
    let output = bench(&["null", "two-processes"], scratch.path());
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    // Every round of a machine that counts instructions is the same.
    let micro = section(scratch.path(), "micro");
    let row = micro["tables"][0]["rows"][0].as_array().expect("a row").clone();
    let figures: Vec<f64> = row[1..].iter().filter_map(Value::as_f64).collect();
    let [up, one, two] = figures[..] else { panic!("three kernels in {row:?}") };
    assert!(20.0 < up && up < one && one == two, "{figures:?}");
    assert!(shown.contains("null: ") && shown.contains("met"), "{shown}");
    // Two CPUs get more done than one.
    let gain = section(scratch.path(), "two-processes")["tables"][1]["rows"][1][2].clone();
    let gain: f64 = gain.as_str().and_then(|gain| gain.parse().ok()).expect("a number");
    assert!((1.4..=2.0).contains(&gain), "{gain}\n{shown}");
    let page = fs::read_to_string(scratch.path().join("bench.html")).expect("bench.html");
    assert!(page.contains("<h2 id=\"two-processes\">") && page.contains("Jotun: benchmarks"));
}

#[test]
fn programs_of_several_threads_and_several_programs_gain() {
    let scratch = Scratch::new("bench");
    let output = bench(&["parallel", "mix", "--cpus", "2"], scratch.path());
    // Each program has checked what it computed, or it would have failed.
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let gain = |section: &Value, table: usize| section["tables"][table]["rows"][0][1].as_f64().expect("a speed-up");
    let parallel = section(scratch.path(), "parallel");
    for table in 1..=3 {
        assert!((1.1..=2.0).contains(&gain(&parallel, table)), "{parallel}");
    }
    let mix = section(scratch.path(), "mix");
    assert!((1.0..=2.0).contains(&gain(&mix, 1)), "{mix}");
}

#[test]
fn what_fails_is_named_and_the_rest_is_written() {
    let scratch = Scratch::new("bench");
    let output = bench(&["null", "--timeout", "0.1"], scratch.path());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let failures = section(scratch.path(), "micro")["failures"].to_string();
    for system in ["up", "giant:1", "giant:2"] {
        assert!(
            failures.contains(&format!("bench on {system}: ended with status 124: no end within 0.1 s")),
            "{failures}"
        );
    }
}

#[test]
fn what_there_is_not_is_refused_before_anything_runs() {
    let scratch = Scratch::new("bench");
    let refused = |status: i32, words: &[&str]| {
        let output = bench(words, scratch.path());
        assert_eq!(output.status.code(), Some(status));
        text(&output.stderr)
    };
    let unknown = refused(125, &["nul"]);
    assert!(unknown.contains("no benchmark `nul`. Did you mean `null`? There are: null, "), "{unknown}");
    for cpus in ["1,17", "0", "300", "two"] {
        assert!(refused(2, &["null", "--cpus", cpus]).contains("Bochs takes 1 to 16 CPUs"), "{cpus}");
    }
}

#[test]
fn without_bochs_earlier_results_stay() {
    let scratch = Scratch::new("bench");
    let earlier = scratch.file("bench.json", "{}");
    let mut command = Command::new(xtask());
    command.args(["bench", "--no-build", "null", "--out"]).arg(scratch.path());
    // Nothing is found there, so nothing is installed either.
    let output = command.env("CARGO_TARGET_DIR", target()).env("PATH", "/nowhere").output().expect("xtask starts");
    let words = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{words}");
    assert!(words.contains("missing here: ") && words.contains(" bochs "), "{words}");
    assert_eq!(fs::read_to_string(earlier).expect("bench.json"), "{}");
}
