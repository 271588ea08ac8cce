//! Gives each native package its place in the address space.
//!
//! Package number k of the list in `Cargo.toml` is linked at `abi::layout::package(k)`. All packages are
//! resident at once, so no two may share a place.

use std::{env, fs};

use abi::layout;

/// The list of packages, one on a line: `{ name = "hello", path = "…" },`.
const MANIFEST: &str = "Cargo.toml";

fn main() {
    for file in ["build.rs", "package.ld", MANIFEST] {
        println!("cargo:rerun-if-changed={file}");
    }
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let manifest = fs::read_to_string(MANIFEST).expect("the package has a manifest");
    for (index, name) in manifest.lines().filter_map(name).enumerate() {
        let link = |argument: String| println!("cargo:rustc-link-arg-bin={name}={argument}");
        // From the root of the workspace, where Cargo has rustc work.
        link("-Tuser/native/package.ld".into());
        link("--no-pie".into());
        link("-zmax-page-size=4096".into());
        link("-znoexecstack".into());
        link(format!("--defsym=PACKAGE={:#x}", layout::package(index as u64)));
        link(format!("--defsym=PACKAGE_SIZE={:#x}", layout::PACKAGE_STRIDE));
        link(format!("--defsym=WINDOW_DATA={:#x}", layout::WINDOW_DATA));
        link(format!("--defsym=HEAP_END={:#x}", layout::WINDOW_END - layout::MAIN_STACK));
    }
}

/// The name of the package that this line of the manifest lists.
fn name(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("{ name = \"")?.split('"').next()
}
