//! The programs of the image, and the base archive that holds them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{cargo, directories, newer};
use crate::{image::archive::Archive, packages, project};

/// Where the compiled C programs are left, below the stage.
pub(crate) const C_DIRECTORY: &str = "c";

/// The Linux programs of ours that every image has: to be tried by people, and started by other programs. All others
/// test or measure the kernel and come into the image of a run that names them, since each is half a MiB or more, of
/// which GRUB loads some thirty in a second.
const EVERYWHERE: [&str; 4] = ["tour", "hello-std", "cat-stdin", "exit-code"];

/// A program for the images of those runs that name it.
pub(crate) struct Named {
    /// Its path in the image, without the leading `/`.
    pub(crate) path: String,
    /// The host's file.
    pub(crate) file: PathBuf,
}

/// Builds all programs: the archive that every image has, and those for which a run has to ask.
pub(super) fn base(stage: &Path) -> Result<(Archive, Vec<Named>)> {
    let mut archive = directories();
    for (name, file) in cargo::native()? {
        archive.program(&format!("pkg/{name}"), &file)?;
    }
    for (name, file) in cargo::extensions()? {
        let suffix = if name == LAUNCHER { "" } else { ".ko" };
        archive.program(&format!("lib/{name}{suffix}"), &file)?;
    }
    for (name, file) in cargo::recording_extension()? {
        archive.program(&format!("lib/{name}{RECORDING}"), &file)?;
    }
    let mut all = cargo::programs()?;
    all.extend(c_programs("cc", "", &stage.join(C_DIRECTORY))?);
    let mut others = Vec::new();
    for (name, file) in all {
        let path = format!("bin/{name}");
        if EVERYWHERE.contains(&name.as_str()) {
            archive.program(&path, &file)?;
        } else {
            others.push(Named { path, file });
        }
    }
    tools(&mut archive)?;
    Ok((archive, others))
}

/// The end of the name of an extension that records what it does, in place of `.ko`.
pub(crate) const RECORDING: &str = "-trace.ko";

/// The program that the application kernel puts beside every other program.
const LAUNCHER: &str = "bootstrap";

/// Puts busybox into `/bin` under the names of all its tools, but those that are programs of ours.
fn tools(archive: &mut Archive) -> Result<()> {
    let busybox = packages::busybox()?;
    let list = Command::new(&busybox).arg("--list").stdin(Stdio::null()).output();
    let list = list.with_context(|| format!("cannot start {}", busybox.display()))?;
    archive.program("bin/busybox", &busybox)?;
    for tool in String::from_utf8_lossy(&list.stdout).lines().map(|tool| format!("bin/{tool}")) {
        if !archive.has(&tool) {
            archive.link(&tool, "busybox");
        }
    }
    // Where scripts look for `env` and the like.
    archive.link("usr/bin", "../bin");
    archive.bytes("etc/passwd", b"root:x:0:0:root:/home:/bin/sh\n".to_vec());
    archive.bytes("etc/group", b"root:x:0:\n".to_vec());
    Ok(())
}

/// Compiles the C programs below `user/` statically; those that have not changed are left as they are.
pub(crate) fn c_programs(compiler: &str, suffix: &str, to: &Path) -> Result<Vec<(String, PathBuf)>> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let mut made = Vec::new();
    let mut found = Vec::new();
    sources(&project::root().join("user"), &mut found)?;
    found.sort();
    for source in found {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned() + suffix;
        let program = to.join(&name);
        if !newer(&program, &source) {
            compile(compiler, &source, &program)?;
        }
        made.push((name, program));
    }
    Ok(made)
}

/// Finds the files in C in this directory and in all below it.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "c") {
            found.push(path);
        }
    }
    Ok(())
}

fn compile(compiler: &str, source: &Path, program: &Path) -> Result<()> {
    let mut cc = Command::new(compiler);
    cc.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread", "-static", "-o"]).arg(program).arg(source);
    cc.arg("-lm").stdout(Stdio::from(std::io::stderr())).stdin(Stdio::null());
    let status = cc.status().with_context(|| {
        format!("cannot start the C compiler `{compiler}`; Debian: apt-get install -y gcc libc6-dev")
    })?;
    if !status.success() {
        bail!("`{compiler}` could not compile {}, see above", source.display());
    }
    Ok(())
}
