//! Where things lie: the checkout, Cargo's target directory and what xtask keeps in it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::LazyLock,
};

use anyhow::{Context, Result, anyhow};

use crate::{OWN_FAILURE, notes};

/// The root of the checkout, found when it is first asked for. A path that is compiled in would not do: Cargo does not
/// build anew what lies in a copied or moved checkout, and that would go on to work in its old place.
///
/// Cargo tells what it runs for which package; without Cargo, the checkout is the one around this program or, if the
/// target directory is elsewhere, around the working directory. If there is none, the command ends here.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let told = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let places = [told, env::current_exe().ok(), env::current_dir().ok()];
        checkout(places.into_iter().flatten()).unwrap_or_else(|| {
            notes::error(&anyhow!("no checkout of Jotun here: change into one, or run `cargo xtask` there"));
            process::exit(OWN_FAILURE.into())
        })
    });
    &ROOT
}

/// The checkout around the first of these places that lies in one.
fn checkout(mut places: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let is_root = |dir: &&Path| {
        ["Cargo.toml", "xtask/Cargo.toml", "linker/kernel.ld"].iter().all(|name| dir.join(name).is_file())
    };
    places.find_map(|place| place.ancestors().find(is_root).map(Path::to_path_buf))
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => env::current_dir().unwrap_or_default().join(dir),
        None => root().join("target"),
    }
}

/// This program's file. Cargo may have put another one of the same source in its place meanwhile; Linux then says of
/// the name that it is deleted.
pub(crate) fn xtask() -> Result<PathBuf> {
    let told = env::current_exe().context("where is xtask?")?;
    Ok(match told.to_str().and_then(|name| name.strip_suffix(" (deleted)")) {
        Some(name) => PathBuf::from(name),
        None => told,
    })
}

/// Where the built kernel and the base archive are left for runs to take: made if need be.
pub(crate) fn stage() -> Result<PathBuf> {
    let dir = target().join("jotun");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// A `cargo` command that works in the root of the checkout and keeps standard output clean.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).current_dir(root());
    // The root is another working directory than the user's, and the user may have given a relative path.
    if env::var_os("CARGO_TARGET_DIR").is_some() {
        command.env("CARGO_TARGET_DIR", target());
    }
    command
}

/// A directory of one run, removed when dropped; parallel runs have one each.
pub(crate) struct RunDir {
    path: PathBuf,
    keep: bool,
}

impl RunDir {
    /// Makes the directory. One left by a killed or a `--print` run is cleared away on this occasion.
    pub(crate) fn new() -> Result<Self> {
        let all = target().join("run");
        for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
            if !Path::new("/proc").join(entry.file_name()).exists() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = all.join(process::id().to_string());
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, keep: false })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it to the next run to clear it away.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_the_nearest_around_the_first_place_in_one() {
        let inside = root().join("target/debug/xtask");
        let found = |places: &[&Path]| checkout(places.iter().map(|place| place.to_path_buf()));
        assert_eq!(found(&[Path::new("/"), &inside]).as_deref(), Some(root()));
        assert_eq!(found(&[Path::new("/"), Path::new("/tmp")]), None);
    }
}
