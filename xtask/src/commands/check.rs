//! `cargo xtask check`.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    build::{
        BARE, EXTENSION_FLAGS, EXTENSION_PACKAGES, GUEST_PACKAGES, IN_ALL_FLAVOURS, MUSL, NATIVE_FLAGS,
        RECORDING_PACKAGES, TRACE, recording_directory,
    },
    options::Variant,
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
        let kernels = IN_ALL_FLAVOURS.map(|variant| kernel("check", variant, true));
        for (_, mut cargo) in all_but_kernels("check").into_iter().chain(kernels) {
            cargo.arg("--keep-going");
            if self.json {
                cargo.arg("--message-format=json");
            }
            failed |= !cargo.status().context("cannot start cargo")?.success();
        }
        Ok(failed.into())
    }
}

/// A check of each package but the kernel for its own target, by `check` or by `clippy`, and what it is called.
pub(super) fn all_but_kernels(subcommand: &str) -> [(String, Command); 5] {
    let mut host = quiet(subcommand, &["--workspace", "--all-targets"]);
    exclude_guests(&mut host);
    let mut native = quiet(subcommand, &["--package", "native", "--release", "--target", BARE]);
    native.args(["--config", NATIVE_FLAGS]).arg("--target-dir").arg(project::target().join("native"));
    let mut extensions = quiet(subcommand, &EXTENSION_PACKAGES);
    extensions.args(["--bins", "--release", "--target", BARE]);
    extensions.args(["--config", EXTENSION_FLAGS]).arg("--target-dir").arg(project::target().join("extension"));
    let mut recording = quiet(subcommand, &RECORDING_PACKAGES);
    recording.args(["--bins", "--release", "--target", BARE, "--config", EXTENSION_FLAGS]);
    recording.arg("--target-dir").arg(recording_directory());
    let programs = quiet(subcommand, &["--package", "programs", "--release", "--target", MUSL]);
    [
        ("what runs on the host".to_owned(), host),
        ("native packages".to_owned(), native),
        ("extensions of the kernel".to_owned(), extensions),
        ("the extension that records".to_owned(), recording),
        ("std programs".to_owned(), programs),
    ]
}

/// A check of one kernel.
pub(super) fn kernel(subcommand: &str, variant: Variant, traced: bool) -> (String, Command) {
    let features = if traced { [&variant.features(), TRACE].join(",") } else { variant.features() };
    let arguments = ["--package", "kernel", "--release", "--target", BARE, "--features", &features];
    let name = format!("the kernel `{}`{}", variant.name(), if traced { " with traces" } else { "" });
    (name, quiet(subcommand, &arguments))
}

/// Leaves out the packages that do not run on the host.
pub(super) fn exclude_guests(cargo: &mut Command) {
    cargo.args(GUEST_PACKAGES.iter().flat_map(|package| ["--exclude", package]));
}

fn quiet(subcommand: &str, arguments: &[&str]) -> Command {
    let mut cargo = project::cargo(subcommand);
    cargo.arg("--quiet").args(arguments);
    cargo
}
