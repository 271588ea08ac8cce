//! A checkout that was copied or moved together with what was built in it is a checkout of its own, and the old one stays one.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Copies of files of the checkout, and of the built xtask, in a directory that goes with it.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Self {
        let copy = Self(env::temp_dir().join(format!("jotun-copy-{}", std::process::id())));
        let xtask = env::var_os("CARGO_BIN_EXE_xtask").expect("Cargo tells");
        let checkout = Path::new("..");
        for name in ["Cargo.toml", "rust-toolchain.toml", "xtask/Cargo.toml", "linker/kernel.ld"] {
            copy.file(&checkout.join(name), name);
        }
        copy.file(Path::new(&xtask), "target/debug/xtask");
        copy
    }

    fn file(&self, from: &Path, name: &str) {
        let to = self.0.join(name);
        fs::create_dir_all(to.parent().expect("a file has a parent")).expect("a directory");
        fs::copy(from, to).expect("a copy");
    }

    /// The files of the checkout in another place.
    fn moved(mut self) -> Self {
        let place = self.0.with_extension("moved");
        fs::rename(&self.0, &place).expect("a directory that can be moved");
        self.0 = place;
        self
    }

    /// The checkout that its xtask works in, in its own words: as Cargo starts it, and by itself, with another checkout as
    /// the working directory.
    fn told(&self) -> [String; 2] {
        let xtask = self.0.join("target/debug/xtask");
        [
            told(Command::new(&xtask).env("CARGO_MANIFEST_DIR", self.0.join("xtask"))),
            told(Command::new(&xtask).env_remove("CARGO_MANIFEST_DIR").current_dir("..")),
        ]
    }

    fn expected(&self) -> [String; 2] {
        let line = format!("The checkout is {}.", self.0.display());
        [line.clone(), line]
    }
}

fn told(xtask: &mut Command) -> String {
    let words = String::from_utf8(xtask.arg("doctor").output().expect("xtask starts").stdout).expect("text");
    words.lines().next().unwrap_or_default().to_owned()
}

impl Drop for Copy {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_checkout_works_where_it_is_copied_and_moved_to() {
    let copy = Copy::new();
    assert_eq!(copy.told(), copy.expected());
    let moved = copy.moved();
    assert_eq!(moved.told(), moved.expected());
    // And the old one in its old place, whatever lies in the working directory.
    let old = fs::canonicalize("..").expect("the checkout");
    let mut xtask = Command::new(env::var_os("CARGO_BIN_EXE_xtask").expect("Cargo tells"));
    xtask.env_remove("CARGO_MANIFEST_DIR").current_dir(&moved.0);
    assert_eq!(told(&mut xtask), format!("The checkout is {}.", old.display()));
}
