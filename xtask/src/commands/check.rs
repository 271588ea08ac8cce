//! `cargo xtask check`.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    build::{BARE, GUEST_PACKAGES, MUSL, NATIVE_FLAGS, TRACE},
    options::{Lock, Variant},
    project,
};

/// Check the types of everything, each package for the target that it is built for
///
/// Faster than a build: for use while editing, by hand or by rust-analyzer (`.vscode/settings.json`), which
/// cannot know that one workspace holds packages for three targets. The status is 0 if all is well, 1 if not.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask check
  cargo xtask check --json                      for an editor")]
pub(crate) struct Check {
    /// Messages as an editor wants them
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Checks all, also after one has failed.
    pub(crate) fn execute(self) -> Result<u8> {
        let mut failed = false;
        for mut cargo in checks() {
            if self.json {
                cargo.arg("--message-format=json");
            }
            failed |= !cargo.status().context("cannot start cargo")?.success();
        }
        Ok(failed.into())
    }
}

fn checks() -> Vec<Command> {
    let check = |arguments: &[&str]| {
        let mut cargo = project::cargo("check");
        cargo.args(["--quiet", "--keep-going"]).args(arguments);
        cargo
    };
    let mut host = check(&["--workspace", "--all-targets"]);
    host.args(GUEST_PACKAGES.iter().flat_map(|package| ["--exclude", package]));
    let mut native = check(&["--package", "native", "--target", BARE, "--config", NATIVE_FLAGS]);
    native.arg("--target-dir").arg(project::target().join("native"));
    let mut all = vec![host, native, check(&["--package", "programs", "--target", MUSL])];
    for variant in [Variant::Up, Variant::Smp(Lock::Ticket)] {
        let features = [variant.features(), TRACE].join(",");
        all.push(check(&["--package", "kernel", "--target", BARE, "--features", &features]));
    }
    all
}
