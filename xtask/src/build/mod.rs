//! Makes what a machine boots: the kernel, the programs and the base archive.
//!
//! Cargo does the building; this module calls it for the two targets that the host is not, and lays
//! the results where runs find them ([`crate::project::stage`]): `base.cpio`, `base.list` with the paths in
//! it, `named.list` with the programs that come into an image when they are named, and of each variant of the kernel `kernel-VARIANT` (without debug information, which GRUB would
//! load into the guest) and `kernel-VARIANT.debug`. Cargo itself keeps only the last one under its name,
//! but remembers them all: to switch between variants costs no compilation.

mod cargo;
mod programs;
mod targets;

use std::{
    fs::{self, File},
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{
    image::archive::Archive,
    options::{self, Lock, Variant},
    project,
};

pub(crate) use cargo::{EXTENSION_FLAGS, EXTENSION_PACKAGES, NATIVE_FLAGS, RECORDING_PACKAGES, recording_directory};
pub(crate) use programs::{C_DIRECTORY, Named, RECORDING, c_programs};
pub(crate) use targets::has as has_target;

/// Packages of the workspace that are not built for the host.
pub(crate) const GUEST_PACKAGES: [&str; 5] = ["bootstrap", "extension", "kernel", "native", "programs"];

/// The kernel's target, and the native packages'.
pub(crate) const BARE: &str = "x86_64-unknown-none";

/// The `std` programs' target.
pub(crate) const MUSL: &str = "x86_64-unknown-linux-musl";

/// The feature of the package `kernel` that records what happens.
pub(crate) const TRACE: &str = "trace";

/// The kernels that tests have in every [`Flavour`].
pub(crate) const IN_ALL_FLAVOURS: [Variant; 2] = [Variant::UP, Variant::giant(Lock::Ticket)];

/// What a kernel does besides its work. Each has a profile of Cargo, so a directory of its own: kernels of two flavours
/// can be built at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Nothing.
    Plain,
    /// It records what happens.
    Traced,
    /// It checks its arithmetic and its debug assertions: Cargo's profile `checked`.
    Checked,
}

impl Flavour {
    /// Cargo's profile.
    fn profile(self) -> &'static str {
        match self {
            Self::Plain => "kernel",
            Self::Traced => "traced",
            Self::Checked => "checked",
        }
    }
}

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
    /// The programs that are not.
    pub(crate) named: Vec<Named>,
}

/// Builds all of it, or with `--no-build` takes what the last build left.
pub(crate) fn build(options: &options::Build, flavour: Flavour) -> Result<Built> {
    options.check()?;
    let stage = project::stage()?;
    let variant = options.variant();
    if !options.no_build {
        build_variants(&[variant], flavour)?;
    }
    let name = name(variant, flavour);
    let kernel = stage.join(format!("kernel-{name}"));
    if !kernel.exists() {
        bail!("the kernel `{name}` was not built yet; say it without --no-build");
    }
    let list = |name: &str| {
        let list = stage.join(name);
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))
    };
    let named = |line: &str| {
        line.split_once(' ').map(|(path, file)| Named { path: path.into(), file: project::target().join(file) })
    };
    Ok(Built {
        symbols: symbols(&kernel),
        kernel,
        base: stage.join("base.cpio"),
        names: list("base.list")?.lines().map(str::to_owned).collect(),
        named: list("named.list")?.lines().filter_map(named).collect(),
    })
}

/// The name that a kernel's files bear.
fn name(variant: Variant, flavour: Flavour) -> String {
    let suffix = match flavour {
        Flavour::Plain => "",
        Flavour::Traced => "-trace",
        Flavour::Checked => "-checked",
    };
    [variant.name(), suffix].concat()
}

/// Builds these kernels of one flavour, the programs and the base archive.
pub(crate) fn build_variants(variants: &[Variant], flavour: Flavour) -> Result<()> {
    build_flavours(&[(variants, flavour)])
}

/// Builds these kernels, one flavour beside another, then the programs and the base archive.
pub(crate) fn build_flavours(flavours: &[(&[Variant], Flavour)]) -> Result<()> {
    let stage = &project::stage()?;
    targets::ensure(&[BARE, MUSL])?;
    thread::scope(|scope| {
        let one = |&(variants, flavour)| scope.spawn(move || build_kernels(stage, variants, flavour));
        let builds: Vec<_> = flavours.iter().map(one).collect();
        builds.into_iter().try_for_each(|build| build.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    build_programs(stage)
}

/// Optimising a kernel as one keeps a single core busy.
fn build_kernels(stage: &Path, variants: &[Variant], flavour: Flavour) -> Result<()> {
    // From Cargo's name for all variants to the variant's own no other build may come between.
    let turn = File::create(stage.join(format!("{}.lock", flavour.profile())));
    let _turn = turn.and_then(|file| file.lock().map(|()| file)).context("cannot wait for another build")?;
    for &variant in variants {
        let made = cargo::kernel(variant, flavour)?;
        let kernel = stage.join(format!("kernel-{}", name(variant, flavour)));
        keep(&made, &symbols(&kernel), |new| fs::copy(&made, new).map(drop).context("cannot copy the kernel"))?;
        keep(&made, &kernel, |new| strip(&made, new))?;
    }
    Ok(())
}

/// Builds the programs and the base archive.
fn build_programs(stage: &Path) -> Result<()> {
    let (archive, named) = programs::base(stage)?;
    archive.write(&stage.join("base.cpio"))?;
    let names: Vec<&str> = archive.paths().collect();
    // Files are named from the target directory on, which may be copied.
    let inside = |file: &Path| file.strip_prefix(project::target()).unwrap_or(file).display().to_string();
    let named: Vec<_> = named.iter().map(|Named { path, file }| format!("{path} {}", inside(file))).collect();
    for (name, lines) in [("base.list", names.join("\n")), ("named.list", named.join("\n"))] {
        let list = stage.join(name);
        fs::write(&list, lines).with_context(|| format!("cannot write {}", list.display()))?;
    }
    Ok(())
}

/// Where a kernel's debug information is.
fn symbols(kernel: &Path) -> PathBuf {
    kernel.with_extension("debug")
}

/// Makes a file from another one, unless there is one that is newer; it is there whole or not at all.
fn keep(from: &Path, to: &Path, make: impl Fn(&Path) -> Result<()>) -> Result<()> {
    if newer(to, from) {
        return Ok(());
    }
    let new = to.with_extension(format!("new-{}", std::process::id()));
    make(&new)?;
    fs::rename(&new, to).with_context(|| format!("cannot write {}", to.display()))
}

/// Writes a copy without debug information.
fn strip(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("objcopy").arg("--strip-debug").arg(from).arg(to).status();
    let status = status.context("cannot start objcopy; it comes with the C compiler (package binutils)")?;
    if !status.success() {
        bail!("objcopy --strip-debug {} failed", from.display());
    }
    Ok(())
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
