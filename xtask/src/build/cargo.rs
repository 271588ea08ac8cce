//! Cargo's part: the kernel, the native packages and the `std` programs.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{BARE, Flavour, MUSL, TRACE};
use crate::{options::Variant, project};

/// Native packages: position-independent code with nothing left to relocate, since data and code stay
/// as far apart as the linker put them. The array is joined to that of `.cargo/config.toml`; the last
/// word wins.
pub(crate) const NATIVE_FLAGS: &str = "target.x86_64-unknown-none.rustflags=\
     ['-Crelocation-model=pic','-Ccode-model=small','-Cforce-frame-pointers=yes']";

/// Extensions of the kernel: position-independent programs, which the kernel relocates.
pub(crate) const EXTENSION_FLAGS: &str = "target.x86_64-unknown-none.rustflags=\
     ['-Crelocation-model=pie','-Ccode-model=small','-Cforce-frame-pointers=yes']";

/// Programs go into the image without debug information and symbols: they would be most of the image.
const NO_DEBUG: [&str; 4] = ["--config", "profile.release.debug=false", "--config", "profile.release.strip='symbols'"];

/// Builds a kernel; where Cargo leaves all that it builds with this profile.
pub(super) fn kernel(variant: Variant, flavour: Flavour) -> Result<PathBuf> {
    let profile = flavour.profile();
    let mut cargo = project::cargo("build");
    let recording = if flavour == Flavour::Traced { TRACE } else { "" };
    let features = [variant.features().as_str(), recording].join(",");
    cargo.args(["--package", "kernel", "--profile", profile, "--target", BARE, "--features", &features]);
    executables(&mut cargo)?;
    Ok(project::target().join(BARE).join(profile).join("kernel"))
}

/// Builds the native packages: name and file of each.
pub(super) fn native() -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = project::cargo("build");
    cargo.args(["--package", "native", "--release", "--target", BARE]).args(NO_DEBUG);
    cargo.args(["--config", NATIVE_FLAGS]).arg("--target-dir").arg(project::target().join("native"));
    executables(&mut cargo)
}

/// Packages of extensions of the kernel, and of the program that one of them puts beside every other program: all are
/// relocated where they run.
pub(crate) const EXTENSION_PACKAGES: [&str; 8] =
    ["--package", "extension", "--package", "application", "--package", "bootstrap", "--features", "application/image"];

/// Builds the extensions of the kernel and what belongs to them: name and file of each.
pub(super) fn extensions() -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = project::cargo("build");
    cargo.args(EXTENSION_PACKAGES).args(["--bins", "--release", "--target", BARE]).args(NO_DEBUG);
    cargo.args(["--config", EXTENSION_FLAGS]).arg("--target-dir").arg(project::target().join("extension"));
    executables(&mut cargo)
}

/// The package of the extension that is a strategy, in the form that records what it does.
pub(crate) const RECORDING_PACKAGES: [&str; 4] = ["--package", "application", "--features", "image,trace"];

/// Builds the extension that is a strategy in the form that records what it does: name and file.
pub(super) fn recording_extension() -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = project::cargo("build");
    cargo.args(RECORDING_PACKAGES);
    cargo.args(["--bins", "--release", "--target", BARE]).args(NO_DEBUG);
    cargo.args(["--config", EXTENSION_FLAGS]).arg("--target-dir").arg(recording_directory());
    executables(&mut cargo)
}

/// Where Cargo leaves it.
pub(crate) fn recording_directory() -> PathBuf {
    project::target().join("extension-trace")
}

/// Builds the `std` programs: name and file of each.
pub(super) fn programs() -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = project::cargo("build");
    cargo.args(["--package", "programs", "--release", "--target", MUSL]).args(NO_DEBUG);
    executables(&mut cargo)
}

/// Runs `cargo build`, its words on standard error, and gathers the programs that it made.
fn executables(cargo: &mut Command) -> Result<Vec<(String, PathBuf)>> {
    cargo.args(["--quiet", "--message-format=json-render-diagnostics"]);
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut made = Vec::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        made.extend(executable(&line.context("cannot read what cargo says")?));
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        let words: Vec<_> = cargo.get_args().map(|word| word.to_string_lossy()).collect();
        bail!("the build failed, see above (cargo {})", words.join(" "));
    }
    Ok(made)
}

fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    Some((message.get("target")?.get("name")?.as_str()?.to_owned(), path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_picked_from_cargos_messages() {
        let made = r#"{"reason":"compiler-artifact","target":{"name":"tour"},"executable":"/t/tour"}"#;
        assert_eq!(executable(made), Some(("tour".into(), "/t/tour".into())));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"abi"},"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(executable("not json"), None);
    }
}
