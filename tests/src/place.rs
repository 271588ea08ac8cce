//! Where the things are that tests use.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// The root of the checkout. Cargo tells as it runs a test for which package it does: what it tells the compiler is of
/// the place where the test was built, which may have been copied since.
pub fn root() -> PathBuf {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests"));
    package.parent().expect("the workspace is above its packages").to_path_buf()
}

/// Cargo's target directory, in which xtask has left what boots.
pub fn target() -> PathBuf {
    if let Some(told) = env::var_os("JOTUN_TARGET") {
        return told.into();
    }
    // A test program lies in target/debug/deps.
    let me = env::current_exe().expect("a program knows where it is");
    me.ancestors().nth(3).expect("test programs lie three levels below").to_path_buf()
}

/// The xtask program.
pub fn xtask() -> PathBuf {
    let told = env::var_os("JOTUN_XTASK").map(PathBuf::from);
    let path = told.unwrap_or_else(|| target().join("debug/xtask"));
    assert!(path.exists(), "no {}: run `cargo xtask test --boot`", path.display());
    path
}

/// A C program of `user/`, compiled; with `-musl` behind its name the one that is linked with musl.
pub fn c_program(name: &str) -> PathBuf {
    built("jotun/c", name)
}

/// A Linux program of the package `programs`, as it is in the image.
pub fn std_program(name: &str) -> PathBuf {
    built("x86_64-unknown-linux-musl/release", name)
}

/// A native package, as it is in the image.
pub fn native_package(name: &str) -> PathBuf {
    built("native/x86_64-unknown-none/release", name)
}

/// A kernel with its symbols: `up`, `giant-ticket`, `giant-mcs`, `giant-clh` or `giant-tas`.
pub fn kernel(variant: &str) -> PathBuf {
    built("jotun", &format!("kernel-{variant}.debug"))
}

/// The queue algorithms of the giant lock whose kernels have been built.
pub fn locks() -> Vec<String> {
    let locks = env::var("JOTUN_LOCKS").unwrap_or_else(|_| "ticket tas".into());
    locks.split(' ').map(str::to_owned).collect()
}

fn built(directory: &str, name: &str) -> PathBuf {
    let path = target().join(directory).join(name);
    assert!(path.exists(), "no {}: run `cargo xtask test --boot`", path.display());
    path
}

/// Debian's statically linked busybox.
pub fn busybox() -> &'static Path {
    let places = ["/usr/bin/busybox", "/bin/busybox"].map(Path::new);
    let found = places.into_iter().find(|path| path.exists());
    found.expect("busybox-static is installed by `cargo xtask test`")
}

/// A directory for one test, removed in the end.
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty directory.
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{name}-{}-{number}", std::process::id());
        let path = target().join("boot-tests").join(unique);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the target directory can be written to");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it, parents made as needed; its path.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("a directory");
        fs::write(&path, bytes).expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
