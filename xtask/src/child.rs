//! A `cargo xtask run` or `profile` of its own, for commands that make many: a signal or a failure ends that one
//! alone. All take what the last build left.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::project;

/// What a run came to.
pub(crate) struct Run {
    pub(crate) status: u8,
    /// The kernel's statistics; empty if it ended without.
    pub(crate) statistics: BTreeMap<String, u64>,
    /// Standard output: the program's, and the report of a profile.
    pub(crate) output: Vec<u8>,
    /// xtask's and the machine's own words.
    pub(crate) words: String,
}

impl Run {
    /// Why it did not end well, if it did not.
    pub(crate) fn failure(&self) -> Option<String> {
        if self.status == 0 {
            return None;
        }
        // What is said last tells most, but for where each CPU was, which follows the reason.
        let reason = |line: &&str| ["no end within", "kernel panic: "].iter().any(|reason| line.contains(reason));
        let last = || self.words.lines().rev().find(|line| !line.trim().is_empty());
        let why = self.words.lines().find(reason).or_else(last).unwrap_or("it does not say why");
        Some(format!("ended with status {}: {}", self.status, why.trim_start_matches("xtask: ")))
    }
}

/// Runs a program, with further options of `run`; `stats` is a file that is used meanwhile.
pub(crate) fn run(options: &[OsString], program: &[OsString], input: Stdio, stats: &Path) -> Result<Run> {
    let own = ["run".into(), "--quiet".into(), "--stats".into(), stats.into()];
    call(&[&own, options].concat(), program, input, stats)
}

/// Profiles a program, with further options of `profile`; the report goes to the directory `out`.
pub(crate) fn profile(options: &[OsString], program: &[OsString], input: Stdio, out: &Path) -> Result<Run> {
    let own = ["profile".into(), "--out".into(), out.into()];
    call(&[&own, options].concat(), program, input, &out.join("stats.json"))
}

fn call(words: &[OsString], program: &[OsString], input: Stdio, stats: &Path) -> Result<Run> {
    let _ = fs::remove_file(stats);
    let me = project::xtask()?;
    let mut command = Command::new(me);
    command.args(words).arg("--no-build").arg("--").args(program);
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().context("cannot start a run")?;
    let json = fs::read_to_string(stats).unwrap_or_default();
    Ok(Run {
        status: output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(125),
        statistics: serde_json::from_str(&json).unwrap_or_default(),
        output: output.stdout,
        words: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_the_reason_and_not_where_the_cpus_were() {
        let failure = |status, words: &str| {
            let words = words.to_owned();
            Run { status, statistics: BTreeMap::new(), output: Vec::new(), words }.failure()
        };
        let late = "xtask: no end within 5 s\nxtask: CPU 0 was idle\n";
        assert_eq!(failure(124, late).as_deref(), Some("ended with status 124: no end within 5 s"));
        assert_eq!(failure(3, "first\nlast\n\n").as_deref(), Some("ended with status 3: last"));
        assert_eq!(failure(71, "").as_deref(), Some("ended with status 71: it does not say why"));
        assert_eq!(failure(0, late), None);
    }
}
