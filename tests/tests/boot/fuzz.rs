//! Random system calls with hostile arguments: the program `fuzz`, which counts for itself that everything is back.
//! A minute of it on four CPUs is in `programs.rs`, where other machines run beside it.
//!
//! The seed is fixed; the interleaving of CPUs is not. `cargo xtask run --smp 4 -- fuzz SECONDS SEED` tries others.

use boot_tests::{Jotun, fuzz};

#[test]
fn a_few_seconds_on_one_cpu() {
    fuzz(Jotun::new(), 4);
}

#[test]
#[ignore = "10 minutes"]
fn ten_minutes_on_four_cpus() {
    fuzz(Jotun::new().smp(4), 600);
}
