//! The application kernel: the uniprocessor kernel on CPU 0 and programs on all others (`--strategy application`), on the
//! number of CPUs that stands beside a program, or on those that `cargo xtask test --cpus` names.
//!
//! The programs check themselves, and are the same as under `--up`; what they held must be back.

use std::{fs, process::Command};

use boot_tests::{Jotun, Outcome, Scratch, fuzz, numbers, std_program, target, xtask};

/// Seconds for one machine. Eight CPUs on two of the host's take their time.
const PATIENCE: f64 = 120.0;

fn on(cpus: u8) -> Jotun {
    Jotun::new().strategy("application", cpus).timeout(PATIENCE)
}

/// Runs a program that checks itself: its last line begins with `ok` and its name, and everything it held is back.
#[track_caller]
fn passes(cpus: u8, words: &[&str]) {
    let outcome = on(cpus).args(words).run().expect(0);
    let text = outcome.text();
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with(&format!("ok {}", words[0])), "{outcome}");
    calm(outcome);
}

/// The kernel had nothing to complain of but programs that were killed on purpose, and everything is back.
#[track_caller]
fn calm(outcome: Outcome) {
    quiet(outcome).expect_all_back();
}

/// The kernel had nothing to complain of but programs that were killed on purpose.
#[track_caller]
fn quiet(outcome: Outcome) -> Outcome {
    let loud = |line: &&str| line.contains("] WARN ") || line.contains("] ERROR ");
    let found: Vec<_> =
        outcome.log.lines().filter(loud).filter(|line| !line.contains(" killed by SIGKILL, ")).collect();
    assert!(found.is_empty(), "{found:?}\n{outcome}");
    outcome
}

/// What a shell's script writes.
#[track_caller]
fn script(cpus: u8, script: &str, expected: &str) {
    calm(on(cpus).args(["busybox", "sh", "-c", script]).run().expect(0).expect_output(expected));
}

/// Makes a test of each program, on so many CPUs or those that are named.
macro_rules! pass {
    ($($name:ident($cpus:literal): $($word:literal)+;)*) => {
        $(#[test]
        fn $name() {
            for cpus in numbers(&[$cpus]) {
                passes(cpus, &[$($word),+]);
            }
        })*
    };
}

pass! {
    // Processes and threads that come and go on all CPUs.
    a_storm_of_processes(8): "fork-storm" "5";
    a_soak(8): "soak" "2" "1";
    threads_of_c_stress(4): "smp-stress" "8" "1";
    threads_of_c(4): "pthreads";
    threads_of_rust(2): "threads-std";

    // Signals to a thread that computes, waits, or is just about to.
    signals(4): "signals";
    job_control(8): "jobs";
    a_late_signal(8): "late-signal";
    a_stopped_process(8): "stopped" "5";

    // Memory: no CPU keeps a translation of what is gone or copied on write.
    pages_that_go(8): "shootdown" "40";
    pages_that_are_copied(8): "cow-race" "60";
    mappings(2): "mappings";
    memory(2): "mem";

    // Waiting, and time.
    futexes(4): "futexes";
    words_that_the_kernel_changes(4): "wake-op" "2000";
    pipes(2): "pipes";
    pollers(4): "pollers" "60";
    times(2): "times";
    files_about_processes(2): "proc-files";
}

#[test]
fn random_calls() {
    numbers(&[4]).into_iter().for_each(|cpus| fuzz(on(cpus), 1));
}

#[test]
fn hostile_programs() {
    for what in ["pointers", "many-mappings"] {
        let outcome = on(4).args(["hostile", what]).run().expect(0);
        outcome.expect_in_output(&format!("ok hostile {what}\n")).expect_all_back();
    }
}

/// What programs do to their own bootstrap threads harms them alone.
#[test]
fn programs_that_attack_their_own_pair() {
    for cpus in numbers(&[4]) {
        let outcome = on(cpus).args(["own-pair"]).run().expect(0).expect_in_output("\nok own-pair\n");
        outcome.expect_log_lines(0, &["] ERROR "]).expect_all_back();
    }
}

/// There are 8,192 application threads, with the shell's and the program's first: then `pthread_create` fails.
#[test]
fn a_thread_too_many_is_refused() {
    let root = Scratch::new("too-many");
    fs::copy(std_program("hostile"), root.path().join("hostile")).expect("a program");
    let shell = on(2).memory(512).rootfs(root.path()).args(["busybox", "sh", "-c", "/hostile many-threads; echo $?"]);
    calm(shell.run().expect(0).expect_output("8190 threads, then errno 11\nok hostile many-threads\n0\n"));
}

#[test]
fn a_shell_starts_ends_and_asks() {
    let pipes =
        "echo a b | tr a-z A-Z; (exit 5); echo $?; trap 'echo trapped' USR1; kill -USR1 $$; exit-code 7; echo $?";
    script(4, pipes, "A B\n5\ntrapped\n7\n");
}

/// What it starts with the variable runs on the boot CPU, as without the application kernel.
#[test]
fn a_program_may_stay_on_the_boot_cpu() {
    script(2, "NOAPPKERN=1 exit-code 7; echo $?", "7\n");
}

/// Bootstrap threads that never sleep, and such that always do.
#[test]
fn bootstrap_threads_are_woken_as_chosen() {
    for chosen in ["poll", "interrupt"] {
        for words in [&["pipes"][..], &["signals"], &["smp-stress", "6", "1"]] {
            let machine = on(4).append(&format!("load=/lib/apkern.ko:wake={chosen}"));
            let outcome = machine.args(words).run().expect(0);
            outcome.expect_in_output(&format!("ok {}", words[0]));
        }
    }
}

/// Programs that look at clocks, also where they have no memory, and at their numbers.
#[test]
fn calls_are_answered_on_the_spot_where_that_is_chosen() {
    for words in [&["times"][..], &["mem"], &["futexes"], &["fork-storm", "2"]] {
        let machine = on(4).append("load=/lib/apkern.ko:local=getpid,gettid,sched_yield,clock_gettime");
        let outcome = machine.args(words).run().expect(0);
        outcome.expect_in_output(&format!("ok {}", words[0]));
    }
}

/// Programs that go to the boot CPU when they call the kernel, and come back when they compute.
#[test]
fn threads_migrate_where_that_is_chosen() {
    for words in [
        &["commuter"][..],
        &["commuter", "2"],
        &["pipes"],
        &["signals"],
        &["fork-storm", "2"],
        &["smp-stress", "6", "1"],
        &["own-pair"],
    ] {
        let machine = on(if words.len() == 1 { 2 } else { 4 }).append("load=/lib/apkern.ko:migrate");
        let outcome = machine.args(words).run().expect(0);
        outcome.expect_in_output(&format!("ok {}", words[0])).expect_all_back();
    }
}

/// The programs behind the figures of papers/000 and 004 make their calls and check their results; what they take is for a
/// machine that counts.
#[test]
fn what_the_benchmarks_run_works() {
    let single = on(2).args(["teams", "single=8"]).run().expect(0);
    let single = ["gzip", "find", "compiler"]
        .into_iter()
        .fold(single, |outcome, name| outcome.expect_in_output(&format!("figure single-{name} ")));
    single.expect_all_back();
    let callers = on(2).option("--machine").option("bochs").args(["callers", "500000", "6:604:36"]).run().expect(0);
    let line = callers.text().lines().find_map(|line| line.strip_prefix("point 6:604:36 ").map(str::to_owned));
    let line = line.unwrap_or_else(|| panic!("{callers}"));
    let count = |name: &str| -> u64 {
        let value = line.split(' ').find_map(|field| field.strip_prefix(name)).expect("a count");
        value.parse().expect("a number")
    };
    // Each call comes behind 604 instructions; at each end of the window a process has some that belong to no call, or a call
    // whose instructions came before.
    let (user, calls) = (count("user="), count("calls="));
    assert!(calls > 0 && user.abs_diff(604 * calls) <= 6 * 2 * 604, "{line}");
}

/// While the shell sends the signals, SIGCHLD comes to it, also between a call's end and its return.
#[test]
fn programs_that_compute_are_killed() {
    let kill = "n=0; while [ $n -lt 12 ]; do n=$((n + 1)); all=; \
                for i in 1 2 3; do (while :; do :; done) & all=\"$all $!\"; done; \
                kill -9 $all || echo $?; for i in $all; do wait $i; echo $?; done; done 2>/dev/null";
    script(4, kill, &"137\n".repeat(36));
}

#[test]
fn scripts_are_executed_and_what_is_missing_is_not() {
    let words = "printf '#!/bin/sh\\necho one $1\\n' > /tmp/script; chmod +x /tmp/script; /tmp/script two; \
                 /tmp/nothing 2>/dev/null; echo $?; /tmp 2>/dev/null; echo $?; rm /tmp/script";
    script(4, words, "one two\n127\n126\n");
}

/// `/proc/apkern` has the threads that run on application processors and what they have forwarded; `ps` shows them beside
/// those of the boot CPU alone.
#[test]
fn what_runs_where_is_shown() {
    let words = "(while :; do :; done) & p=$!; NOAPPKERN=1 busybox sleep 100 & q=$!; \
                 until grep -q \"^thread [0-9]* process $p tid $p running [123]$\" /proc/apkern; do :; done; \
                 grep -c \"process $q \" /proc/apkern; grep -c '^cpu' /proc/apkern; grep -c '^ready' /proc/apkern; \
                 grep -c '^messages [1-9]' /proc/apkern; \
                 until ps -o pid,stat | grep -q \"^ *$q S\"; do :; done; ps -o pid,stat | grep -c \"^ *$p R\"; \
                 kill $p $q; count() { sed -n 's/^call uname //p' /proc/apkern; }; \
                 uname; before=$(count); uname; uname; uname; echo $(($(count) - before))";
    script(4, words, "0\n3\n1\n1\n1\nJotun\nJotun\nJotun\nJotun\n3\n");
}

/// The tour has a chapter about it, with its state while threads compute on all application processors, and tells of no lock
/// and of no CPUs for native packages. On other kernels the chapter says how to see it.
#[test]
fn the_tour_shows_it() {
    let outcome = on(4).args(["tour"]).run().expect(0);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = words(&outcome.text());
    for part in [
        "An extension of it runs programs on CPUs 1 to 3",
        "There is no other CPU for native packages",
        "this kernel has no lock",
        "ready 0 messages 1 cpu 1 thread ",
        "in 3 runs without `NOAPPKERN=1` it was 3,000 times getppid",
        "CPU 0 spent it",
    ] {
        assert!(text.contains(part), "{part}?\n{outcome}");
    }
    let running = |cpu: u32| outcome.text().lines().filter(|line| line.ends_with(&format!(" running {cpu}"))).count();
    assert_eq!([1, 2, 3].map(running), [1, 1, 1], "{outcome}");
    outcome.expect_all_back();
    for other in [Jotun::new(), Jotun::new().strategy("giant", 2)] {
        let outcome = other.timeout(PATIENCE).args(["tour"]).run().expect(0);
        let text = words(&outcome.text());
        assert!(text.contains("`cargo xtask run --strategy application --smp 4` gives this tour"), "{outcome}");
        assert!(!text.contains("/proc/apkern") && !text.contains("NOAPPKERN"), "{outcome}");
    }
}

/// By hand, on a machine whose further CPUs nobody has started.
#[test]
fn it_is_loaded_by_hand_and_not_ended_while_used() {
    let by_hand = Jotun::new().append("extensions").option("--qemu=-smp").option("--qemu=4").timeout(PATIENCE);
    // Page tables for extensions stay after the first; nothing else does.
    let words = "for i in 1 2 3; do \
                 insmod /lib/apkern.ko && exit-code 7; echo $?; rmmod apkern; free=$(grep MemFree /proc/meminfo); \
                 [ $i = 1 ] || [ \"$free\" = \"$before\" ] || echo $before, now $free; before=$free; done; \
                 lsmod | grep -c apkern; exit-code 8; echo $?";
    quiet(by_hand.args(["busybox", "sh", "-c", words]).run().expect(0).expect_output("7\n7\n7\n0\n8\n"));
    let used = on(4).args(["busybox", "sh", "-c", "rmmod apkern 2>/dev/null; echo $?; lsmod | grep -c apkern"]);
    calm(used.run().expect(0).expect_output("1\n1\n"));
}

#[test]
fn what_cannot_be_loaded_is_named() {
    let no_file = Jotun::new().append("load=/lib/nothing.ko").args(["exit-code", "0"]).run();
    let why = "the extension /lib/nothing.ko cannot be loaded: -2 ENOENT";
    assert!(no_file.stderr.contains(why), "{no_file}");
    let none = Jotun::new().append("load=/bin/busybox").args(["exit-code", "0"]).run();
    assert!(none.stderr.contains("the extension /bin/busybox cannot be loaded"), "{none}");
    let no_mode = on(2).append("load=/lib/apkern.ko:wake=never").args(["exit-code", "0"]).run();
    assert!(no_mode.log.contains("wake=adaptive|poll|interrupt"), "{no_mode}");
    let one_cpu = on(1).args(["exit-code", "0"]).run();
    assert!(one_cpu.stderr.contains("needs a CPU beside the boot CPU"), "{one_cpu}");
}

/// CPU 0 runs the kernel that `--up` boots, byte for byte: what the application kernel adds is in its extension.
#[test]
fn the_boot_cpu_runs_the_uniprocessor_kernel() {
    let scratch = Scratch::new("application-image");
    let kernels =
        [&["--up"][..], &["--strategy", "application", "--smp", "4"]].map(|words| image_kernel(&scratch, words));
    assert!(kernels[0] == kernels[1], "another kernel for `--strategy application`");
}

/// The kernel in the bootable image that these words make.
fn image_kernel(scratch: &Scratch, words: &[&str]) -> Vec<u8> {
    let [iso, extracted] = ["iso", "kernel"].map(|kind| scratch.path().join(format!("{}.{kind}", words.len())));
    let mut image = Command::new(xtask());
    image.args(["image", "--no-build", "--output"]).arg(&iso).args(words).env("CARGO_TARGET_DIR", target());
    run(&mut image);
    run(Command::new("osirrox").arg("-indev").arg(&iso).args(["-extract", "/boot/kernel"]).arg(&extracted));
    fs::read(extracted).expect("a kernel in the image")
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}
