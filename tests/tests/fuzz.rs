//! Random system calls with hostile arguments: the program `fuzz`, which counts for itself that everything is back.
//!
//! The seed is the same each time; who meets whom is not. `cargo xtask run --smp 4 -- fuzz SECONDS SEED` tries others.

use boot_tests::Jotun;

/// Fuzzes for so many seconds.
fn survives(jotun: Jotun, seconds: u32) {
    let outcome = jotun.memory(512).timeout(f64::from(600 + 4 * seconds)).args(["fuzz", &seconds.to_string(), "1"]);
    let outcome = outcome.run().expect(0).expect_all_back();
    assert_eq!(outcome.text().lines().last(), Some("ok fuzz"), "{outcome}");
    assert!(!outcome.stderr.contains("the kernel stopped") && !outcome.log.contains("] ERROR "), "{outcome}");
}

#[test]
fn a_few_seconds_on_one_cpu() {
    survives(Jotun::new(), 4);
}

#[test]
fn a_few_seconds_on_four_cpus() {
    survives(Jotun::new().smp(4), 8);
}

#[test]
#[ignore = "1 minute"]
fn a_minute_on_four_cpus() {
    survives(Jotun::new().smp(4), 60);
}

#[test]
#[ignore = "10 minutes"]
fn ten_minutes_on_four_cpus() {
    survives(Jotun::new().smp(4), 600);
}
