//! The kernel with its arithmetic and its own assertions checked, `cargo xtask run --checked`: where one does not hold it
//! panics, and the run's status is 70. The programs are those that ask for the most, with the most unusual numbers.

use boot_tests::{Jotun, Outcome, fuzz};

/// Runs a program that checks itself; its last line begins with `ok` and its name.
#[track_caller]
fn passes(jotun: Jotun, words: &[&str]) -> Outcome {
    let outcome = jotun.checked().timeout(240.0).args(words).run().expect(0);
    assert!(
        outcome.text().lines().last().is_some_and(|last| last.starts_with(&format!("ok {}", words[0]))),
        "{outcome}"
    );
    outcome
}

#[test]
fn random_calls() {
    fuzz(Jotun::new().checked(), 4);
    fuzz(Jotun::new().smp(4).checked(), 4);
}

#[test]
fn pointers_and_mappings_of_all_kinds() {
    for deed in ["pointers", "wild", "many-mappings", "flags"] {
        passes(Jotun::new(), &["hostile", deed]);
    }
    passes(Jotun::new(), &["mem"]);
}

#[test]
fn times_of_all_kinds() {
    passes(Jotun::new(), &["times"]);
    passes(Jotun::new(), &["futexes"]);
    passes(Jotun::new(), &["events"]);
}

#[test]
fn processes_and_signals() {
    for program in ["processes", "signals", "jobs"] {
        passes(Jotun::new(), &[program]);
    }
    passes(Jotun::new().smp(2), &["processes"]);
    passes(Jotun::new().smp(2), &["sent-signals"]);
}

#[test]
fn whatever_is_made_goes_again() {
    passes(Jotun::new().smp(2), &["soak", "25", "1"]);
}
