//! The files of the checkout, for the tests that read them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The checkout.
pub(crate) fn root() -> &'static Path {
    // Cargo runs the tests of a package in its directory.
    Path::new("..")
}

/// Finds the files of a folder and of all below it, by the ends of their names.
pub(crate) fn files(folder: &Path, ends: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the checkout") {
        let entry = entry.expect("an entry of a folder");
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type().expect("a type").is_dir() {
            if !name.starts_with('.') && name != "target" {
                files(&path, ends, found);
            }
        } else if ends.iter().any(|end| name.ends_with(end)) {
            found.push(path);
        }
    }
}

/// What stands between single backticks.
pub(crate) fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|span| !span.is_empty() && !span.contains('\n'))
}
