//! Making processes, executing programs, waiting for their end: `processes [check]`.
//!
//! It runs on Linux as well, with the same output, except for the limit on processes, which Linux does not apply to
//! root.
//!
//! Run by: `tests/tests/boot/checked.rs`, `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

mod deleted;
mod ends;
mod limits;
mod making;
mod running;
mod sharing;

use std::env;
use std::process::exit;

/// A check by name.
type Check = (&'static str, fn());

const CHECKS: [&[Check]; 6] =
    [making::CHECKS, sharing::CHECKS, ends::CHECKS, running::CHECKS, deleted::CHECKS, limits::CHECKS];

fn main() {
    let words: Vec<String> = env::args().collect();
    if let Some(role) = words.get(1).and_then(|word| word.strip_prefix("as:")) {
        // The program that a check has started: itself, in a role.
        exit(running::play(role, &words));
    }
    let mut made = 0;
    for (name, check) in CHECKS.into_iter().flatten() {
        if words.get(1).is_none_or(|wanted| wanted == name) {
            check();
            println!("{name}");
            made += 1;
        }
    }
    assert!(made > 0, "no such check");
    println!("ok processes: {made} checks");
}
