//! Programs of one thread, one at a time, as papers/000, table III: `find`, a compiler and `gzip`. The paper's compiler is
//! GCC; here it is [`compiler`].

use super::mix::{self, Job, PLACE};
use super::{compiler, now, tell};
use programs::cpus::Random;
use std::fmt::Write;
use std::fs;

/// Has this program compile a file.
pub(crate) const COMPILE: &str = "compile";

/// Lines of the source for each file that there is to find.
const LINES: usize = 8;

/// How deep the expressions of the source are.
const DEPTH: u32 = 4;

/// Runs one after the other, and tells of each.
pub(crate) fn run(size: usize) -> Result<(), String> {
    let (source, code) = (format!("{PLACE}/source"), format!("{PLACE}/code"));
    let all = mix::prepared(size, &["find", "gzip"], |jobs| {
        let (text, value) = program(size * LINES);
        fs::write(&source, text).map_err(|error| format!("{source}: {error}"))?;
        let compiler = Job::new("compiler", &[&[&mix::me(), COMPILE, &source, &code]]);
        let one = |job: &Job| {
            let before = now();
            job.wait(job.start()?)?;
            Ok((job.name, now() - before))
        };
        let all: Result<Vec<_>, String> = jobs.iter().chain([&compiler]).map(one).collect();
        let all = all?;
        match compiler::run(&code)? {
            computed if computed == value => Ok(all),
            computed => Err(format!("the compiled program has {computed} instead of {value}")),
        }
    })?;
    all.iter().for_each(|(name, ticks)| tell(&format!("single-{name}"), *ticks));
    Ok(())
}

/// A source of so many lines, each of which uses names of earlier ones, and the value of the last.
fn program(lines: usize) -> (String, i64) {
    let (mut random, mut text, mut values) = (Random::new(1), String::new(), Vec::new());
    for line in 0..lines {
        let _ = write!(text, "name{line} = ");
        let value = expression(&mut random, DEPTH, &values, &mut text);
        text.push('\n');
        values.push(value);
    }
    (text, values.last().copied().unwrap_or(0))
}

/// Appends an expression, and returns its value.
fn expression(random: &mut Random, depth: u32, values: &[i64], text: &mut String) -> i64 {
    if depth == 0 {
        let number = random.below(1000);
        let value = values.get(number as usize);
        let _ = write!(text, "{}{number}", if value.is_some() { "name" } else { "" });
        return value.copied().unwrap_or(number as i64);
    }
    let operator = b"+-*"[random.below(3) as usize];
    text.push('(');
    let left = expression(random, depth - 1, values, text);
    let _ = write!(text, " {} ", char::from(operator));
    let right = expression(random, depth - 1, values, text);
    text.push(')');
    compiler::computed(operator, left, right)
}
