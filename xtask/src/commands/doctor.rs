//! `cargo xtask doctor`.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{
    build,
    machine::{bochs, qemu},
    options::MOST_CPUS,
    packages::{self, PACKAGES, tool},
    project,
};

/// Say what is there, what is missing, what would install it, and what machines are possible
///
/// Looks only, changes nothing. The status is 0 if all is there but what is optional, 1 if not.
#[derive(Args)]
#[command(after_long_help = "\
Example:
  cargo xtask doctor")]
pub(crate) struct Doctor {}

/// One thing that was looked for.
struct Finding {
    name: String,
    found: Option<String>,
    purpose: &'static str,
    remedy: String,
    /// Only some runs want it.
    optional: bool,
}

impl Doctor {
    /// Looks at everything and prints a line each.
    pub(crate) fn execute(self) -> Result<u8> {
        let mut findings = vec![rustup_component("clippy"), rustup_component("rustfmt")];
        findings.extend([build::BARE, build::MUSL].map(target));
        findings.extend([("cc", "gcc libc6-dev"), ("objcopy", "binutils"), ("git", "git")].map(build_tool));
        findings.extend(PACKAGES.iter().map(|package| Finding {
            name: package.name.to_owned(),
            found: package.found().map(|path| path.display().to_string()),
            purpose: package.purpose,
            remedy: packages::command(&[package.name], false),
            optional: package.optional(),
        }));
        println!("The checkout is {}.\n", project::root().display());
        let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
        for Finding { name, found, purpose, remedy, optional } in &findings {
            match found {
                Some(place) => println!("found    {name:width$}  {place}"),
                None if *optional => println!("without  {name:width$}  for {purpose} (optional): {remedy}"),
                None => println!("missing  {name:width$}  for {purpose}: {remedy}"),
            }
        }
        match qemu::kvm() {
            Ok(()) => println!("found    {:width$}  QEMU uses it", "KVM"),
            Err(why) => println!("without  {:width$}  {why}; QEMU translates instead", "KVM"),
        }
        let host = std::thread::available_parallelism().map_or(1, usize::from);
        let tcg = match host {
            1 => "this host has one CPU, on which QEMU's take turns".to_owned(),
            _ => format!("{host} of them at the same time on this host"),
        };
        println!("possible {:width$}  --smp 1 to {MOST_CPUS} under QEMU ({tcg}),", "CPUs");
        println!("         {:width$}  1 to {} with --machine bochs", "", bochs::CPUS.end());
        let missing: Vec<_> = findings.iter().filter(|finding| finding.found.is_none() && !finding.optional).collect();
        if missing.is_empty() {
            println!("\nNothing is missing. Try: cargo xtask run --smp 2");
            return Ok(0);
        }
        let names = PACKAGES
            .iter()
            .filter(|package| package.found().is_none() && !package.optional())
            .map(|package| package.name);
        let names: Vec<&str> = names.collect();
        if !names.is_empty() {
            let sudo = !rustix::process::geteuid().is_root();
            println!("\nAll that Debian has of it:\n\n    {}", packages::command(&names, sudo));
        }
        println!("\n`cargo xtask run` and `cargo xtask test` install what they need themselves where they may.");
        Ok(1)
    }
}

fn target(name: &str) -> Finding {
    Finding {
        name: name.to_owned(),
        found: build::has_target(name).then(|| "Rust's libraries for it".to_owned()),
        purpose: "what runs in the machine",
        remedy: format!("rustup target add {name}"),
        optional: false,
    }
}

fn rustup_component(name: &'static str) -> Finding {
    let (program, component) = if name == "clippy" { ("cargo-clippy", name) } else { ("cargo-fmt", name) };
    let works = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    Finding {
        name: component.to_owned(),
        found: works.then(|| program.to_owned()),
        purpose: "cargo xtask test",
        remedy: format!("rustup component add {component}"),
        optional: false,
    }
}

fn build_tool((name, package): (&str, &'static str)) -> Finding {
    let names: Vec<&str> = package.split(' ').collect();
    Finding {
        name: name.to_owned(),
        found: tool(name).map(|path| path.display().to_string()),
        purpose: "building",
        remedy: packages::command(&names, false),
        optional: false,
    }
}
