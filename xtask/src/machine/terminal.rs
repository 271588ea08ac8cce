//! The user's terminal: raw while it is the guest's, restored whatever happens.

use std::{
    io::{IsTerminal, stdin, stdout},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Whether the run's console is a terminal: only if both ends of it are.
pub(crate) fn is_terminal() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// Height and width of the terminal, if they are known.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// What [`Guard`] runs, with the settings to be restored as its name. What xtask is killed by, a terminal's
/// hang-up among it, must not end it before; and it may be in the background when its time comes.
const GUARD: &str = r#"trap '' HUP INT QUIT TERM TTOU; read -r _; stty "$0" <&1"#;

/// The terminal in raw mode; dropping it restores the terminal.
pub(crate) struct Raw {
    before: Termios,
    guard: Option<Guard>,
}

impl Raw {
    /// Hands the terminal over: no echo, no line editing, no signals from keys.
    pub(crate) fn new() -> Result<Self> {
        let before = tcgetattr(stdin()).context("cannot ask the terminal for its settings")?;
        let guard = Guard::new();
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw).context("cannot set the terminal to raw mode")?;
        Ok(Self { before, guard })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.before);
        drop(self.guard.take());
    }
}

/// Restores the terminal if xtask is killed in a way that leaves it no time to do that itself: a process that
/// waits for the end of its input, which only xtask could write.
struct Guard(Child);

impl Guard {
    /// None, if the terminal's settings cannot be had as text.
    fn new() -> Option<Self> {
        let settings = Command::new("stty").arg("-g").stdin(Stdio::inherit()).output().ok()?;
        let settings = String::from_utf8(settings.stdout).ok().filter(|_| settings.status.success())?;
        let mut shell = Command::new("sh");
        shell.args(["-c", GUARD, settings.trim_end()]).stdin(Stdio::piped()).stderr(Stdio::null());
        shell.spawn().ok().map(Self)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
