//! The compiler's targets besides the host.

use std::{env, path::PathBuf, process::Command, process::Stdio};

use anyhow::{Context, Result, bail};

use crate::{notes::note, project};

/// Sees to it that Rust's libraries for these targets are there; rustup fetches those that are not.
pub(crate) fn ensure(targets: &[&str]) -> Result<()> {
    let missing: Vec<&str> = targets.iter().copied().filter(|target| !has(target)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let command = format!("rustup target add {}", missing.join(" "));
    note(format_args!("Rust's libraries are missing for {}: {command}", missing.join(", ")));
    // In the checkout, so that it is the toolchain that rust-toolchain.toml names.
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add"]).args(&missing).current_dir(project::root());
    rustup.stdout(Stdio::from(std::io::stderr())).stdin(Stdio::null());
    match rustup.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("`{command}` failed ({status}); is the network there?"),
        Err(error) => bail!("`{command}` cannot be started ({error}); https://rustup.rs brings it"),
    }
}

/// Whether Rust's libraries for this target are there.
pub(crate) fn has(target: &str) -> bool {
    sysroot().is_ok_and(|root| root.join("lib/rustlib").join(target).join("lib").is_dir())
}

fn sysroot() -> Result<PathBuf> {
    // Cargo lies in its toolchain's bin/; asking the compiler would take longer than all else here.
    let cargo = env::var_os("CARGO").map(PathBuf::from);
    let beside = cargo.as_deref().and_then(|cargo| cargo.parent()?.parent());
    if let Some(root) = beside.filter(|root| root.join("lib/rustlib").is_dir()) {
        return Ok(root.to_path_buf());
    }
    let mut rustc = Command::new("rustc");
    let output = rustc.args(["--print", "sysroot"]).current_dir(project::root()).output();
    let output = output.context("cannot start rustc")?;
    Ok(String::from_utf8(output.stdout).context("rustc printed no path")?.trim().into())
}
