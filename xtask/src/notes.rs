//! xtask's own words, always on standard error: standard output belongs to the program that runs.

use std::io::{IsTerminal, Write};

/// Whether standard error may be written to in colours.
pub(crate) fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Says one line.
pub(crate) fn note(text: impl std::fmt::Display) {
    say("xtask: ", "", &text.to_string());
}

/// Says why the command failed, and what led there.
pub(crate) fn error(error: &anyhow::Error) {
    say("xtask: error: ", "\x1b[1;31m", &format!("{error:#}"));
}

fn say(prefix: &str, colour: &str, text: &str) {
    // One write a note, so that notes of threads do not mix; a missing reader is no reason to fail.
    let line = match colours() && !colour.is_empty() {
        true => format!("{colour}{prefix}\x1b[0m{text}\n"),
        false => format!("{prefix}{text}\n"),
    };
    let _ = std::io::stderr().write_all(line.as_bytes());
}
