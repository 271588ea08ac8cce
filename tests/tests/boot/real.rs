//! Programs that others wrote and many use, as they come: SQLite and Lua, from crates, and what Go's compiler
//! makes, all in `user/check/real`. Each runs on the host as well, and must write the same.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use boot_tests::{Jotun, Outcome, Scratch, numbers, on_up_and_smp, root, target};

/// The directory of these programs.
fn sources() -> PathBuf {
    root().join("user/check/real")
}

/// Builds a program of `user/check/real`, which is a workspace of its own.
fn real(name: &str) -> PathBuf {
    let place = target().join("real");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--target", "x86_64-unknown-linux-musl", "--bin", name]);
    cargo.arg("--manifest-path").arg(sources().join("Cargo.toml")).arg("--target-dir").arg(&place);
    cargo.env("CC_x86_64_unknown_linux_musl", "musl-gcc").env_remove("CARGO_ENCODED_RUSTFLAGS");
    assert!(cargo.status().expect("cargo starts").success(), "{name} can be built");
    place.join("x86_64-unknown-linux-musl/release").join(name)
}

/// The program on the host.
fn on_host(program: &Path, words: &[&str], input: &str) -> Output {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().expect("the host runs it");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Asserts that a program did here what it did on the host, and called for nothing that is not there but `absent`.
#[track_caller]
fn same(outcome: &Outcome, host: &Output, absent: &[&str]) {
    assert_eq!(outcome.text(), String::from_utf8_lossy(&host.stdout), "{outcome}");
    let missing = outcome.stats.keys().filter_map(|name| name.strip_prefix("call_missing_"));
    assert_eq!(missing.collect::<Vec<_>>(), absent, "{outcome}");
    assert!(outcome.stats.contains_key("call_exit_group"), "{outcome}");
}

#[test]
#[ignore = "builds SQLite: 1 minute"]
fn sqlite() {
    let program = real("sql");
    let scratch = Scratch::new("sqlite");
    let file = scratch.path().join("test.db");
    let host = on_host(&program, &[file.to_str().expect("a plain path")], "");
    assert!(host.status.success());
    on_up_and_smp(4, |jotun| {
        let outcome = jotun.args([program.to_str().unwrap()]).run().expect(0).expect_calm_log();
        same(&outcome, &host, &[]);
        assert!(outcome.stat("call_pwrite64") >= 1, "the database is in a file\n{outcome}");
    });
}

#[test]
#[ignore = "builds Lua: 1 minute"]
fn lua() {
    let program = real("lua");
    let script = sources().join("tour.lua");
    let scratch = Scratch::new("lua");
    scratch.file("tour.lua", fs::read(&script).expect("a script"));
    let input = "one\ntwo three\n\n";
    let host = on_host(&program, &[script.to_str().expect("a plain path"), "hello"], input);
    assert_eq!(host.status.code(), Some(7));
    for cpus in numbers(&[2]) {
        let jotun = Jotun::new().smp(cpus).rootfs(scratch.path()).stdin(input);
        let outcome = jotun.args([program.to_str().unwrap(), "/tour.lua", "hello"]).run().expect(7).expect_calm_log();
        same(&outcome, &host, &[]);
    }
}

#[test]
#[ignore = "needs Go: apt-get install golang-go"]
fn go() {
    let scratch = Scratch::new("go");
    let program = scratch.path().join("tour");
    let mut compiler = Command::new("go");
    compiler.args(["build", "-o"]).arg(&program).arg(sources().join("tour.go"));
    compiler.env("CGO_ENABLED", "0").env("GO111MODULE", "off").env("GOCACHE", scratch.path().join("cache"));
    assert!(compiler.status().expect("Go is there").success());
    let host = on_host(&program, &["x", "y z"], "abc\ndef\n");
    assert_eq!(host.status.code(), Some(3));
    on_up_and_smp(4, |jotun| {
        let jotun = jotun.stdin("abc\ndef\n");
        same(&jotun.args([program.to_str().unwrap(), "x", "y z"]).run().expect(3).expect_calm_log(), &host, &[]);
    });
}
