//! Gives each native package its place in the address space.
//!
//! Package number k is linked at `abi::layout::package(k)`, k being its index in [`PACKAGES`]. All
//! packages are resident at once, so no two may share a place: add new ones at the end.

use abi::layout;

/// The packages in the order of their addresses; the names of the files in `src/bin`.
const PACKAGES: [&str; 22] = [
    "hello",
    "idle2pages",
    "outgrow",
    "messages",
    "family",
    "threads",
    "spawner",
    "lock-burn",
    "lazy-data",
    "nx",
    "write-code",
    "traffic",
    "abrupt",
    "flood",
    "parallel",
    "worker",
    "stages",
    "two-processes",
    "burns",
    "bench-native",
    "looper",
    "thinker",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=package.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    for (index, name) in PACKAGES.iter().enumerate() {
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
