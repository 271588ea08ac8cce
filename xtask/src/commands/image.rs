//! `cargo xtask image`.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::{Console, kernel_words};
use crate::{
    build::{self, Flavour},
    image::{Modules, iso},
    machine::qemu,
    notes::note,
    options,
    packages::{self, Use},
    project::{self, RunDir},
};

/// Make a bootable image: a hybrid ISO for BIOS and UEFI
///
/// It runs the tour, or the program that is named, with the console on the first serial line
/// (115200 baud). Written onto a USB stick it boots a PC. Its kernel takes as many CPUs as that machine
/// has; --smp only says how many in the command that is shown for trying it, --up that it takes one.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask image                             target/jotun.iso
  cargo xtask image --up --output sha.iso -- /usr/bin/busybox sha256sum /bin/tour
  qemu-system-x86_64 -cpu max -smp 2 -cdrom target/jotun.iso -nographic")]
pub(crate) struct Image {
    #[command(flatten)]
    build: options::Build,

    /// Where the image goes [default: jotun.iso in Cargo's target directory]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    payload: options::Payload,
}

impl Image {
    /// Builds the image and says where it is.
    pub(crate) fn execute(self) -> Result<u8> {
        packages::ensure(&[Use::Boot, Use::Efi])?;
        let built = build::build(&self.build, Flavour::Plain)?;
        let output = self.output.unwrap_or_else(|| project::target().join("jotun.iso"));

        let dir = RunDir::new()?;
        let modules = Modules::prepare(&self.payload, &built, dir.path(), false)?;
        let words = kernel_words(&self.build, options::Kind::Qemu, Console::Plain, false, &self.payload);
        // An image made halfway must not be taken for one: it comes whole or not at all.
        let iso = dir.path().join("jotun.iso");
        iso::make(dir.path(), &iso, &built.kernel, &modules, iso::Style::Disc, &words)?;
        let moved = fs::rename(&iso, &output).or_else(|_| fs::copy(&iso, &output).map(drop));
        moved.with_context(|| format!("cannot write {}", output.display()))?;
        let bytes = fs::metadata(&output).map_or(0, |metadata| metadata.len());
        note(format_args!("{} ({} MiB, BIOS and UEFI)", output.display(), bytes.div_ceil(1 << 20)));
        let smp = format!("-smp {}", self.build.cpus());
        note(format_args!("to try it: {} -cpu max {smp} -cdrom {} -nographic", qemu::PROGRAM, output.display()));
        Ok(0)
    }
}
