//! The user's terminal: raw while it is the guest's, restored whatever happens.

use std::io::{IsTerminal, stdin, stdout};

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

/// The terminal in raw mode; dropping it restores the terminal.
pub(crate) struct Raw(Termios);

impl Raw {
    /// Hands the terminal over: no echo, no line editing, no signals from keys.
    pub(crate) fn new() -> Result<Self> {
        let before = tcgetattr(stdin()).context("cannot ask the terminal for its settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw).context("cannot set the terminal to raw mode")?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.0);
    }
}
