//! Links the kernel by its own script, whose opening comment is the contract of every symbol.

fn main() {
    println!("cargo:rerun-if-changed=../linker/kernel.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        // From the root of the workspace, where Cargo has rustc work: so it is right in a copied checkout too, for which
        // this program is not run again.
        println!("cargo:rustc-link-arg-bins=-Tlinker/kernel.ld");
        println!("cargo:rustc-link-arg-bins=--no-dynamic-linker");
    }
}
