//! The strategy that the tests for several CPUs are run with, on how many CPUs, and which of them it has no part in.

use std::env;

/// The strategy that `cargo xtask test --strategy` names, or the giant lock.
pub(crate) fn chosen() -> String {
    env::var("JOTUN_STRATEGY").unwrap_or_else(|_| "giant".into())
}

fn is_application() -> bool {
    chosen() == "application"
}

/// The numbers of CPUs that `cargo xtask test --cpus` names.
fn named() -> Vec<u8> {
    let named = env::var("JOTUN_CPUS").unwrap_or_default();
    named.split_terminator(',').map(|number| number.parse().expect("a number of CPUs")).collect()
}

/// The numbers of CPUs for a test: those that are named, or the test's own.
#[must_use]
pub fn numbers(own: &[u8]) -> Vec<u8> {
    let named = named();
    if named.is_empty() { own.to_vec() } else { named }
}

/// The fewest CPUs that the strategy needs: the application kernel one beside the boot CPU.
#[must_use]
pub fn fewest() -> u8 {
    if is_application() { 2 } else { 1 }
}

/// How many of a machine's CPUs run the kernel and are counted in its statistics: one under the application kernel.
#[must_use]
pub fn kernel_cpus(cpus: u8) -> u8 {
    if is_application() { 1 } else { cpus }
}

/// How many CPUs a program is told of: under the application kernel all but the boot CPU.
#[must_use]
pub fn program_cpus(cpus: u8) -> u8 {
    if is_application() { cpus - 1 } else { cpus }
}

/// The tests that ask for what the application kernel does not promise, and why it does not: parts of their names, from
/// colons to colons.
const LEFT_OUT: [(&[&str], &str); 8] = [
    (&["::on_1:"], "programs need a CPU beside the boot CPU"),
    (
        &[":abrupt:", ":counts:", ":directories:", ":flood:", ":native:", ":parallel:", ":traffic:"],
        "native programs run on the boot CPU alone",
    ),
    (&[":slots:", ":tour:"], "a process has one page directory for all CPUs"),
    (&[":spread:", ":more_threads_than_cpus:", ":soft_affinity:", ":behind_a_barrier:"], "any CPU runs any thread"),
    (&[":a_lock_held_for_long_is_told:"], "there is no lock"),
    (&[":entering_the_kernel_is_short:"], "calls are forwarded"),
    (
        &[":an_extension_is_served_by_the_kernel:"],
        "one extension at a time can accompany threads, here the application kernel",
    ),
    (&[":std_passed_over:"], "priorities do not reach the application processors"),
];

/// Whether a test of several CPUs is left out with the chosen strategy, by its module and name.
#[must_use]
pub fn leaves_out(module: &str, test: &str) -> bool {
    let name = format!(":{module}::{test}:");
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let left_out = LEFT_OUT.iter().find(|(parts, _)| is_application() && has(parts));
    if let Some((_, reason)) = left_out {
        println!("{module}::{test} is left out: {reason}");
    }
    left_out.is_some()
}
