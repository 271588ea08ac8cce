//! Which program is meant by the words after `--`.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::suggest::did_you_mean;

/// A program and where the kernel finds it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// A file of the host, to be put into the image.
    Host {
        /// The host's file.
        file: PathBuf,
        /// Where it will be in the image.
        path: String,
    },
    /// A file of the image.
    Image(String),
}

impl Program {
    /// Its path in the image.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Host { path, .. } | Self::Image(path) => path,
        }
    }
}

/// Finds what `word` names; `names` are the image's paths without the leading `/`.
///
/// A word with a `/` is a path: the host's if there is such a file, else the image's. A word without
/// is looked for in `/bin`, then in `/pkg`.
pub(crate) fn resolve(word: &OsStr, names: &[&str]) -> Result<Program> {
    let Some(name) = word.to_str().filter(|name| !name.is_empty()) else {
        bail!("{word:?} cannot be the name of a program");
    };
    if !name.contains('/') {
        return in_image_by_name(name, names);
    }
    let file = Path::new(name);
    if file.is_dir() {
        bail!("{name} is a directory on the host, not a program");
    }
    match file.file_name().and_then(OsStr::to_str) {
        Some(base) if file.exists() => {
            Ok(Program::Host { path: format!("{}/{base}", abi::channel::HOST_DIRECTORY), file: file.into() })
        }
        _ => in_image_by_path(name, names),
    }
}

fn in_image_by_name(name: &str, names: &[&str]) -> Result<Program> {
    let find = |path: String| names.contains(&&*path).then(|| Program::Image(format!("/{path}")));
    if let Some(program) = find(format!("bin/{name}")).or_else(|| find(format!("pkg/{name}"))) {
        return Ok(program);
    }
    if Path::new(name).is_file() {
        bail!("the image has no program `{name}`. For the file {name} of this directory say ./{name}");
    }
    let programs: Vec<&str> =
        names.iter().filter_map(|path| path.strip_prefix("bin/").or_else(|| path.strip_prefix("pkg/"))).collect();
    let meant = did_you_mean(name, programs.iter().copied());
    if meant.is_empty() {
        bail!("the image has no program `{name}`. `ls /bin /pkg` in the machine lists what it has");
    }
    bail!("the image has no program `{name}`.{meant}");
}

fn in_image_by_path(name: &str, names: &[&str]) -> Result<Program> {
    let path = name.trim_start_matches('/');
    if !name.starts_with('/') || name.starts_with("//") {
        bail!("there is no file {name} on the host; in the image, paths begin with one `/`");
    }
    // Siblings tell that the directory is a real one whose files are all known. What lies behind a
    // symbolic link or in the kernel's own directories only the kernel can tell.
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let sibling = |known: &str| known.rsplit_once('/').is_some_and(|(dir, _)| dir == parent);
    if names.contains(&path) || !names.iter().any(|known| sibling(known)) {
        return Ok(Program::Image(name.to_owned()));
    }
    let meant = did_you_mean(path, names.iter().copied());
    bail!("{name} is neither on the host nor in the image.{}", meant.replacen('`', "`/", 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 7] = ["bin", "bin/hello-std", "bin/tour", "pkg", "pkg/hello", "usr/bin", "usr/bin/awk"];

    fn resolve(word: &str) -> Result<Program> {
        super::resolve(OsStr::new(word), &NAMES)
    }

    fn refused(word: &str) -> String {
        resolve(word).unwrap_err().to_string()
    }

    #[test]
    fn names_are_looked_for_in_bin_then_pkg() {
        assert_eq!(resolve("tour").unwrap(), Program::Image("/bin/tour".into()));
        assert_eq!(resolve("hello").unwrap(), Program::Image("/pkg/hello".into()));
    }

    #[test]
    fn unknown_names_get_advice() {
        assert_eq!(refused("helo-std"), "the image has no program `helo-std`. Did you mean `hello-std`?");
        assert!(refused("emacs").contains("lists what it has"));
        assert!(refused("").contains("cannot be the name"));
        // The tests run in the package's directory.
        assert!(refused("Cargo.toml").contains("say ./Cargo.toml"));
    }

    #[test]
    fn a_path_is_the_hosts_file_first() {
        let found = resolve("./Cargo.toml").unwrap();
        let file = PathBuf::from("./Cargo.toml");
        assert_eq!(found, Program::Host { file, path: "/host/Cargo.toml".into() });
        assert_eq!(found.path(), "/host/Cargo.toml");
        assert!(refused("/usr").contains("is a directory"));
    }

    #[test]
    fn else_the_images() {
        assert_eq!(resolve("/bin/hello-std").unwrap(), Program::Image("/bin/hello-std".into()));
        assert!(refused("/bin/hello-sdt").ends_with("Did you mean `/bin/hello-std`?"));
        assert!(refused("./no-such-file").contains("no file ./no-such-file on the host"));
        assert_eq!(resolve("/proc/self/exe/x").unwrap(), Program::Image("/proc/self/exe/x".into()));
    }
}
