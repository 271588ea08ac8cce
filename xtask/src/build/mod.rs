//! Makes what a machine boots: the kernel, the programs and the base archive.
//!
//! Cargo does the building; this module calls it for the two targets that the host is not, and lays
//! the results where runs find them ([`crate::project::stage`]): `kernel` (without debug information,
//! which GRUB would load into the guest), `base.cpio`, and `base.list` with the paths in it.

mod cargo;
mod programs;
mod targets;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{image::archive::Archive, notes::note, options, project};

pub(crate) use cargo::NATIVE_FLAGS;
pub(crate) use programs::{C_DIRECTORY, c_programs};
pub(crate) use targets::has as has_target;

/// Packages of the workspace that are not built for the host.
pub(crate) const GUEST_PACKAGES: [&str; 3] = ["kernel", "native", "programs"];

/// The kernel's target, and the native packages'.
pub(crate) const BARE: &str = "x86_64-unknown-none";

/// The `std` programs' target.
pub(crate) const MUSL: &str = "x86_64-unknown-linux-musl";

/// What a machine boots.
pub(crate) struct Built {
    /// The kernel with its debug information, for backtraces and gdb.
    pub(crate) symbols: PathBuf,
    /// The kernel to boot.
    pub(crate) kernel: PathBuf,
    /// The base archive.
    pub(crate) base: PathBuf,
    /// What is in it: paths without the leading `/`.
    pub(crate) names: Vec<String>,
}

/// Builds all of it, or with `--no-build` takes what the last build left.
pub(crate) fn build(options: &options::Build) -> Result<Built> {
    if !options.up {
        note("the kernel for several CPUs is not in this version yet; this is the uniprocessor one (--up)");
    }
    let stage = project::stage()?;
    let built = Built {
        symbols: project::target().join(BARE).join("release/kernel"),
        kernel: stage.join("kernel"),
        base: stage.join("base.cpio"),
        names: Vec::new(),
    };
    let list = stage.join("base.list");
    if !options.no_build {
        targets::ensure(&[BARE, MUSL])?;
        cargo::kernel()?;
        strip(&built.symbols, &built.kernel)?;
        let archive = programs::base(&stage)?;
        archive.write(&built.base)?;
        let names: Vec<&str> = archive.paths().collect();
        fs::write(&list, names.join("\n")).with_context(|| format!("cannot write {}", list.display()))?;
    } else if !built.kernel.exists() {
        bail!("nothing was built yet; say it without --no-build");
    }
    let names = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    Ok(Built { names: names.lines().map(str::to_owned).collect(), ..built })
}

/// Leaves a copy without debug information, unless there is one that is newer.
fn strip(from: &Path, to: &Path) -> Result<()> {
    if newer(to, from) {
        return Ok(());
    }
    let new = to.with_extension(format!("new-{}", std::process::id()));
    let status = Command::new("objcopy").arg("--strip-debug").arg(from).arg(&new).status();
    let status = status.context("cannot start objcopy; it comes with the C compiler (package binutils)")?;
    if !status.success() {
        bail!("objcopy --strip-debug {} failed", from.display());
    }
    fs::rename(&new, to).with_context(|| format!("cannot write {}", to.display()))
}

/// Whether the first file was made after the second.
fn newer(made: &Path, source: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    matches!((time(made), time(source)), (Some(made), Some(source)) if made > source)
}

/// An empty base: the directories that every image has.
fn directories() -> Archive {
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "etc", "home", "pkg", "proc"] {
        archive.directory(dir, 0o755);
    }
    archive.directory("tmp", 0o1777);
    archive
}
