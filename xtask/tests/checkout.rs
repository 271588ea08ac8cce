//! A checkout that was copied together with what was built in it is a checkout of its own.

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

    /// The checkout that the copied xtask works in, in its own words.
    fn told(&self, prepare: impl FnOnce(&mut Command)) -> String {
        let mut command = Command::new(self.0.join("target/debug/xtask"));
        command.arg("doctor").env_remove("CARGO_MANIFEST_DIR");
        prepare(&mut command);
        let words = String::from_utf8(command.output().expect("xtask starts").stdout).expect("text");
        words.lines().next().unwrap_or_default().to_owned()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_copied_checkout_works_in_its_new_place() {
    let copy = Copy::new();
    let is_copy = format!("The checkout is {}.", copy.0.display());
    // As Cargo starts it in the copy, and by itself, with the old place as the working directory.
    assert_eq!(copy.told(|command| _ = command.env("CARGO_MANIFEST_DIR", copy.0.join("xtask"))), is_copy);
    assert_eq!(copy.told(|command| _ = command.current_dir("..")), is_copy);
}
