//! `cargo xtask run` as a command among others: its output, input, status and options.

use std::process::{Command, Stdio};

use boot_tests::{Jotun, Scratch, busybox, c_program, locks, on_up_and_smp, target, xtask};

/// What the host's busybox prints, run the same way.
fn on_host(arguments: &[&str]) -> Vec<u8> {
    Command::new(busybox()).args(arguments).output().expect("busybox runs on the host").stdout
}

#[test]
fn output_is_the_programs_and_nothing_else() {
    let words = [busybox().to_str().unwrap(), "echo", "a", "b c", ""];
    Jotun::new().args(words).run().expect(0).expect_output("a b c \n");
}

#[test]
fn status_is_the_programs() {
    on_up_and_smp(2, |jotun| drop(jotun.args(["exit-code", "7"]).run().expect(7)));
    for status in [0, 1, 255] {
        Jotun::new().args(["exit-code", &status.to_string()]).run().expect(status);
    }
}

/// What `cargo xtask` answers to a wrong command line.
fn refused(words: &[&str]) -> String {
    let output = Command::new(xtask()).args(words).output().expect("xtask starts");
    assert_eq!(output.status.code(), Some(2), "{words:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn cpus_and_locks_that_cannot_be_are_refused() {
    for words in [["run", "--smp", "0"], ["run", "--smp", "65"], ["debug", "--smp", "-1"], ["image", "--smp", "two"]] {
        let sentence = refused(&words);
        assert!(sentence.contains("1 to 64 CPUs are possible"), "{words:?}: {sentence}");
    }
    assert!(refused(&["run", "--lock", "foo"]).contains("[possible values: ticket, mcs, clh, tas]"));
    for words in [&["run", "--up", "--smp", "2"][..], &["run", "--up", "--lock", "mcs"]] {
        let sentence = refused(words);
        assert!(sentence.contains("'--up'") && sentence.contains("it runs on one CPU"), "{words:?}: {sentence}");
    }
}

#[test]
fn strategies_that_cannot_be_are_refused() {
    assert!(
        refused(&["run", "--strategy", "anarchy"]).contains("there is no such strategy, only up (one CPU), giant (")
    );
    for (words, sentence) in [
        (["--strategy=up", "--smp=4"], "the strategy `up` is for one CPU: leave --smp out"),
        (
            ["--strategy=baton", "--lock=mcs"],
            "the strategy `baton` has one lock: --lock is for `giant` and `subsystems`",
        ),
    ] {
        let output = Command::new(xtask()).arg("run").args(words).output().expect("xtask starts");
        assert_eq!(output.status.code(), Some(125), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(sentence), "{words:?}: {output:?}");
    }
}

#[test]
fn each_lock_is_a_kernel_of_its_own() {
    for lock in locks() {
        let jotun = Jotun::new().strategy("giant", 2).option("--lock").option(&lock).args(["exit-code", "0"]);
        jotun.run().expect(0).expect_calm_log();
    }
}

#[test]
fn a_strategy_that_the_kernel_lacks_ends_the_run() {
    let outcome =
        Jotun::new().strategy("giant", 1).append("strategy=anarchy").args(["exit-code", "0"]).run().expect(70);
    assert!(outcome.stderr.contains("this kernel has no strategy `anarchy`, only `giant`"), "{outcome}");
    let outcome = Jotun::new().append("strategy=giant").args(["exit-code", "0"]).run().expect(70);
    assert!(outcome.stderr.contains("this kernel has no strategy `giant`, only `up`"), "{outcome}");
}

#[test]
fn a_c_program_of_the_host_runs() {
    let program = c_program("hello-c");
    let expected = Command::new(&program).output().expect("it runs on the host").stdout;
    Jotun::new().args([program]).run().expect(0).expect_output(expected);
}

#[test]
fn input_reaches_the_program_byte_for_byte() {
    // Every byte value, among them the framing's own escape and all that a terminal would act on.
    let bytes: Vec<u8> = (0..60_000_u32).map(|n| ((n * n) >> 3) as u8).chain(0..=255).collect();
    let words = [busybox().to_str().unwrap(), "cat"];
    Jotun::new().args(words).stdin(bytes.clone()).run().expect(0).expect_output(bytes);
}

#[test]
fn the_end_of_empty_input_is_seen() {
    let words = [busybox().to_str().unwrap(), "wc", "-c"];
    Jotun::new().args(words).run().expect(0).expect_output("0\n");
}

#[test]
fn a_large_output_comes_whole() {
    let words = [busybox().to_str().unwrap(), "seq", "50000"];
    Jotun::new().args(words).run().expect(0).expect_output(on_host(&["seq", "50000"]));
}

#[test]
fn rootfs_is_laid_over_the_image() {
    let scratch = Scratch::new("rootfs");
    scratch.file("etc/motd", "from the host\n");
    scratch.file("data/deep/file", [0, 1, 2, 255]);
    std::os::unix::fs::symlink("/data/deep/file", scratch.path().join("data/link")).unwrap();
    let words = [busybox().to_str().unwrap(), "sha256sum", "/etc/motd", "/data/link", "/data/deep/file"];
    let outcome = Jotun::new().rootfs(scratch.path()).args(words).run().expect(0);
    let sums: Vec<String> = outcome.text().lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    let of = |name: &str| {
        let path = scratch.path().join(name);
        let line = on_host(&["sha256sum", path.to_str().unwrap()]);
        String::from_utf8(line).unwrap().split(' ').next().unwrap().to_owned()
    };
    let file = of("data/deep/file");
    assert_eq!(sums, [of("etc/motd"), file.clone(), file]);
}

#[test]
fn environment_is_set_by_option() {
    let words = [busybox().to_str().unwrap(), "sh", "-c", "echo \"$COLOUR\""];
    Jotun::new().env("COLOUR", "green = yes").args(words).run().expect(0).expect_output("green = yes\n");
}

#[test]
fn a_run_over_its_time_is_stopped() {
    let words = [busybox().to_str().unwrap(), "sleep", "1000"];
    let outcome = Jotun::new().args(words).timeout(4.0).run().expect(124);
    assert!(outcome.stderr.contains("no end within 4 s"), "{outcome}");
}

/// Every CPU is told of once, idle ones together.
#[test]
fn a_run_over_its_time_tells_where_each_cpu_was() {
    let words = [busybox().to_str().unwrap(), "sh", "-c", "while :; do :; done"];
    let outcome = Jotun::new().smp(4).args(words).timeout(4.0).run().expect(124);
    assert_eq!(outcome.cpus_told(), [0, 1, 2, 3], "{outcome}");
}

#[test]
fn a_program_that_is_not_there_gets_advice() {
    let outcome = Jotun::new().args(["hello-sdt"]).run().expect(125);
    assert!(outcome.stderr.contains("Did you mean `hello-std`?"), "{outcome}");
}

/// Why a program cannot be run is said on standard error once, whether or not the user sees the log.
#[test]
fn a_program_that_cannot_be_run_is_told_of() {
    let why = "cannot run /host/text: it is not a static x86-64 ELF program";
    let scratch = Scratch::new("text");
    let text = scratch.file("text", "no program\n");
    for log in [&[][..], &["-q"], &["-i"], &["--log", "/dev/null"]] {
        let mut command = Command::new(xtask());
        command.args(["run", "--no-build", "--up"]).args(log).arg("--").arg(&text).env("CARGO_TARGET_DIR", target());
        let output = command.stdin(Stdio::null()).output().expect("xtask starts");
        assert_eq!(output.status.code(), Some(126), "{log:?}");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(said.matches(why).count(), 1, "{log:?}: {said}");
        assert!(log.is_empty() || said == format!("xtask: {why}\n"), "{log:?}: {said}");
    }
}

#[test]
fn uefi_boots_the_same_image() {
    let words = [busybox().to_str().unwrap(), "echo", "by UEFI"];
    Jotun::new().uefi().args(words).run().expect(0).expect_output("by UEFI\n");
}

#[test]
fn a_modest_cpu_is_enough() {
    let words = [busybox().to_str().unwrap(), "echo", "modest"];
    Jotun::new().cpu("qemu64").args(words).run().expect(0).expect_output("modest\n");
}

#[test]
fn statistics_come_as_integers() {
    let outcome = Jotun::new().args(["exit-code", "0"]).run().expect(0);
    assert!(outcome.stat("entries_system_call") > 0);
    assert!(outcome.stat("frames_total") > outcome.stat("frames_free"));
}

/// The breakpoint with which the help of `debug` begins, set by gdb.
#[test]
fn gdb_stops_where_the_help_says() {
    let debug = |words: &[&str]| {
        let output = Command::new(xtask()).arg("debug").args(words).env("CARGO_TARGET_DIR", target()).output();
        String::from_utf8_lossy(&output.expect("xtask starts").stdout).into_owned()
    };
    let help = debug(&["--help"]);
    let (_, after) = help.split_once("`hbreak ").expect("a breakpoint in the help");
    let (place, _) = after.split_once('`').expect("its end");
    let stop = format!("hbreak {place}");
    let session =
        ["--no-build", "--up", "--batch", "--ex", &stop, "--ex", "continue", "--ex", "backtrace 1", "--ex", "kill"];
    let output = debug(&[&session, &["--", "exit-code", "0"][..]].concat());
    assert!(output.contains(&format!("#0  {place} (")), "{output}");
}
