//! Several CPUs: programs that hang, lose something or see what is gone if the kernel gets them wrong,
//! on 1, 2, 8 and 16 CPUs, or on those that `cargo xtask test --cpus` names; and what is counted there, exactly where the
//! design promises it. With another strategy (`cargo xtask test --strategy application`) those are left out that
//! `boot_tests::leaves_out` says.
//!
//! Nothing here is timed. A lost wake-up shows as status 124: the machine is stopped by its time-out.
//! What takes minutes is ignored: `cargo test -p boot-tests --test smp -- --ignored` runs it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use boot_tests::{Jotun, Outcome, busybox, c_program, kernel_cpus, leaves_out, numbers, program_cpus};

/// Seconds for one machine. 16 CPUs on two of the host's take their time.
const PATIENCE: f64 = 120.0;

/// One machine with several CPUs at a time: with two, CPUs that spin for a lock keep the host's from its holder.
fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a machine to its end, which must be a good one.
#[track_caller]
fn run(cpus: u8, words: &[&str]) -> Outcome {
    run_with(cpus, "", words)
}

/// Runs a machine, with a word on the kernel's command line, to its end, which must be a good one.
#[track_caller]
fn run_with(cpus: u8, word: &str, words: &[&str]) -> Outcome {
    let _alone = (cpus > 1).then(alone);
    Jotun::new().smp(cpus).append(word).timeout(PATIENCE).args(words).run().expect(0)
}

/// Threads stay on the CPU that they have started on.
const STRICT: &str = "affinity=strict";

/// Asserts that the kernel had nothing to complain of but programs that were killed, and that the lock
/// was held for long: the host may preempt the holder.
#[track_caller]
fn calm(outcome: Outcome) -> Outcome {
    let loud = |line: &&str| line.contains("] WARN ") || line.contains("] ERROR ");
    let allowed = |line: &&str| line.contains(" killed by SIGKILL, ") || line.contains(" for the giant lock; ");
    let found: Vec<_> = outcome.log.lines().filter(|line| loud(line) && !allowed(line)).collect();
    assert!(found.is_empty() && !outcome.stderr.contains("panic"), "{found:?}\n{outcome}");
    outcome
}

/// Runs a program that checks itself on this number of CPUs: its last line begins with `ok` and its name, the
/// log is calm, and everything it held is back.
#[track_caller]
fn passes(cpus: u8, words: &[&str]) -> Outcome {
    passes_with(cpus, "", words)
}

/// Runs a program that checks itself, as [`passes`] does, with a word on the kernel's command line.
#[track_caller]
fn passes_with(cpus: u8, word: &str, words: &[&str]) -> Outcome {
    let outcome = run_with(cpus, word, words);
    let name = words[0].rsplit('/').next().unwrap();
    let text = outcome.text();
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with(&format!("ok {}", name.trim_end_matches("-musl"))), "{outcome}");
    assert_eq!(outcome.stat("cpus"), i64::from(kernel_cpus(cpus)), "CPUs that are up\n{outcome}");
    calm(outcome).expect_all_back()
}

/// Makes a test for each of several numbers of CPUs, and one for all numbers that are named and have no test.
macro_rules! on_cpus {
    ($($name:ident($($cpus:literal $test:ident),+): $check:expr;)*) => {
        $(
            mod $name {
                use super::*;
                const CHECK: fn(u8) = $check;
                $(
                    #[test]
                    fn $test() {
                        check(stringify!($name), CHECK, numbers(&[$cpus]), |cpus| cpus == $cpus);
                    }
                )+
                #[test]
                fn elsewhere() {
                    check(stringify!($name), CHECK, numbers(&[]), |cpus| ![$($cpus),+].contains(&cpus));
                }
            }
        )*
    };
}

/// Checks on those numbers of CPUs that a test is for.
fn check(name: &str, check: fn(u8), numbers: Vec<u8>, is_for: fn(u8) -> bool) {
    let all = numbers.into_iter().filter(|&cpus| is_for(cpus));
    all.filter(|cpus| !leaves_out(name, &format!("on_{cpus}"))).for_each(check);
}

/// Of four numbers the one for at most 1, 2, 8 or 16 CPUs.
fn for_cpus(cpus: u8, numbers: [u32; 4]) -> String {
    let index = [1, 2, 8, 16].iter().position(|most| cpus <= *most).unwrap_or(3);
    numbers[index].to_string()
}

on_cpus! {
    // Waiting: futexes, channels, time-outs, threads that come and go.
    stress(1 on_1, 2 on_2, 8 on_8, 16 on_16): |cpus| {
        passes(cpus, &["smp-stress", &for_cpus(cpus, [6, 8, 16, 32]), &for_cpus(cpus, [1, 3, 2, 1])]);
    };
    traffic(1 on_1, 2 on_2, 8 on_8, 16 on_16): |cpus| {
        let outcome = passes(cpus, &["/pkg/traffic"]);
        let others = if cpus < 3 { 4 } else { i64::from(cpus) + 1 };
        // A message from each to each, 60 times, and the table for each.
        assert_eq!(outcome.stat("messages_sent"), others * (others - 1) * 60 + others, "{outcome}");
        assert_eq!(outcome.stat("processes_made"), 1 + others, "{outcome}");
    };

    // Files: an event wakes the threads that wait for it, however they wait.
    events(2 on_2, 8 on_8): |cpus| {
        passes(cpus, &["events"]);
    };
    pollers(1 on_1, 2 on_2, 8 on_8): |cpus| {
        passes(cpus, &["pollers", &for_cpus(cpus, [300, 300, 60, 30])]);
    };

    // A word that the kernel and threads change at the same time.
    wake_op(1 on_1, 2 on_2, 8 on_8): |cpus| {
        passes(cpus, &["wake-op", &for_cpus(cpus, [100, 20_000, 300, 100])]);
    };

    // Memory: what is taken away is gone on all CPUs, what is kept is kept.
    shootdown(1 on_1, 2 on_2, 8 on_8, 16 on_16): |cpus| {
        let outcome = passes(cpus, &["shootdown", &for_cpus(cpus, [24, 240, 60, 24])]);
        assert_eq!(outcome.stat("shootdowns") > 0, kernel_cpus(cpus) > 1, "are there CPUs to interrupt?\n{outcome}");
    };
    cow_race(1 on_1, 2 on_2, 8 on_8, 16 on_16): |cpus| {
        passes(cpus, &["cow-race", &for_cpus(cpus, [30, 300, 100, 60])]);
    };
    own_writes(2 on_2, 8 on_8): |cpus| {
        passes(cpus, &["own-writes", &for_cpus(cpus, [3, 60, 9, 3])]);
    };
    large_fork(2 on_2, 4 on_4): |cpus| {
        passes(cpus, &["large-fork", "32"]).expect_all_back();
    };
    slots(1 on_1, 2 on_2, 8 on_8, 16 on_16): |cpus| {
        // It has compared the counts at every step itself; here is what the whole run came to.
        let outcome = passes(cpus, &["slots", "8"]);
        assert_eq!(outcome.stat("container_directories_made"), 1, "{outcome}");
        assert_eq!(outcome.stat("directory_copies_made"), i64::from(cpus) - 1, "{outcome}");
        let first_is_owner = (0..8).filter(|slot| slot % i64::from(cpus) == 0).count() as i64;
        let others = i64::from(cpus) - 1;
        let expected = first_is_owner * others + (8 - first_is_owner) * (others - 1).max(0);
        assert_eq!(outcome.stat("spurious_faults_directory"), expected, "{outcome}");
    };

    // Scheduling: which thread runs where.
    spread(1 on_1, 2 on_2, 8 on_8, 16 on_16): |cpus| {
        let outcome = passes(cpus, &["spread"]);
        assert!(outcome.text().contains(&format!("\n{cpus} CPUs in use\n")), "{outcome}");
    };
    more_threads_than_cpus(2 on_2, 8 on_8): |cpus| {
        passes_with(cpus, STRICT, &["spread", &(3 * cpus).to_string()]);
    };
    soft_affinity(2 on_2): |cpus| {
        passes(cpus, &["spread", &(3 * cpus).to_string()]);
    };
    // Threads that all wait on one CPU: where do they work when they are woken?
    behind_a_barrier(2 on_2, 8 on_8): |cpus| {
        let threads = 2 * cpus;
        let words = ["teams", &format!("gathered={threads}")];
        let worked_on = |outcome: &Outcome, cpus: u8| {
            assert!(outcome.text().contains(&format!("\ncpus gathered-{threads} {cpus}\n")), "{outcome}");
        };
        let soft = calm(run(cpus, &words)).expect_all_back();
        worked_on(&soft, cpus);
        assert!(soft.stat("migrations") >= i64::from(cpus) - 1 && soft.stat("affinity_strict") == 0, "{soft}");
        let strict = calm(run_with(cpus, STRICT, &words)).expect_all_back();
        worked_on(&strict, 1);
        assert_eq!((strict.stat("threads_taken"), strict.stat("affinity_strict")), (0, 1), "{strict}");
    };
    parallel(1 on_1, 2 on_2, 8 on_8, 16 on_16): |cpus| {
        let outcome = passes(cpus, &["/pkg/parallel"]);
        assert_eq!(outcome.stat("container_directories_made"), 1, "{outcome}");
        assert_eq!(outcome.stat("directory_copies_made"), i64::from(cpus) - 1, "one for each CPU but one\n{outcome}");
        assert_eq!(outcome.stat("shootdowns"), 0, "native containers take nothing away\n{outcome}");
    };
    speed(1 on_1, 2 on_2, 8 on_8): |cpus| {
        let outcome = passes(cpus, &["speed", "2"]);
        // How much faster is for people to judge; that there are all the lines is not.
        assert_eq!(outcome.text().lines().filter(|line| line.contains('%')).count(), 6, "{outcome}");
    };

    // Signals to a thread that has come for its call and is not let in yet: only beside a third CPU.
    jobs(1 on_1, 2 on_2, 8 on_8): |cpus| {
        passes(cpus, &["jobs"]);
    };
    // Two of its children die of frames that cannot be read, and the log says so.
    sent_signals(1 on_1, 2 on_2, 8 on_8): |cpus| {
        let outcome = run(cpus, &["sent-signals"]).expect_in_output("\nok sent-signals\n");
        // Under the application kernel the bootstrap thread reads them, and sends the signal itself.
        let kernel_reads = kernel_cpus(cpus) == cpus;
        let why = if kernel_reads { ": a signal frame that cannot be returned through" } else { "" };
        let outcome = outcome.expect_log_lines(2, &["killed by SIGSEGV", why]);
        outcome.expect_log_lines(0, &["] ERROR "]).expect_all_back();
    };
    late_signal(2 on_2, 8 on_8): |cpus| {
        passes(cpus, &["late-signal"]);
    };

    // Ends: of a process that runs elsewhere, and of memory.
    abrupt(1 on_1, 2 on_2, 8 on_8, 16 on_16): |cpus| {
        let many = for_cpus(cpus, [24, 240, 120, 60]);
        let outcome = passes(cpus, &["/pkg/abrupt", &many]);
        // Twelve to warm up, and the one that starts them.
        assert_eq!(outcome.stat("processes_made"), 13 + many.parse::<i64>().unwrap(), "{outcome}");
    };
    flood(1 on_1, 2 on_2): |cpus| {
        passes(cpus, &["/pkg/flood"]);
    };
    threads_until_memory_ends(2 on_2): |cpus| {
        let outcome = run(cpus, &["hostile", "many-threads"]);
        calm(outcome.expect_in_output("ok hostile many-threads\n")).expect_all_back();
    };

    // Processes that make processes: each way of making them, then all at once until there is no more room.
    processes(2 on_2, 8 on_8): |cpus| {
        let outcome = run(cpus, &["processes"]).expect_in_output("\nok processes: ");
        outcome.expect_all_back();
    };
    fork_storm(1 on_1, 2 on_2, 8 on_8): |cpus| {
        passes(cpus, &["fork-storm", &for_cpus(cpus, [20, 20, 5, 2])]);
    };
    // It has compared the kernel's counts before and after.
    soak(1 on_1, 4 on_4): |cpus| {
        passes(cpus, &["soak", "25", "1"]);
    };
    fork_bomb(2 on_2, 8 on_8): |cpus| {
        passes(cpus, &["fork-storm", "bomb", "200"]);
    };
    fork_bomb_until_memory_ends(2 on_2): |cpus| {
        let _alone = alone();
        let machine = Jotun::new().smp(cpus).memory(96).timeout(PATIENCE);
        let outcome = machine.args(["fork-storm", "bomb"]).run().expect(0);
        outcome.expect_in_output("\nok fork-storm\n").expect_all_back();
    };

    // What is counted.
    counts(1 on_1, 2 on_2, 8 on_8, 16 on_16): counts;
    directories(1 on_1, 2 on_2, 8 on_8): directories;
    tour(1 on_1, 2 on_2, 16 on_16): tour;
    told(1 on_1, 2 on_2, 16 on_16): told;
}

/// With the lock that has no queue: a CPU that halts in its wait gets in all the same.
#[test]
fn late_signal_tas() {
    let _alone = alone();
    let jotun = Jotun::new().strategy("giant", 8).option("--lock").option("tas").timeout(PATIENCE);
    let outcome = jotun.args(["late-signal"]).run().expect(0).expect_in_output("ok late-signal: ");
    calm(outcome).expect_all_back();
}

/// The strategy that `docs/strategies.md` shows: every waiter gets in, also one that has halted, and no request is left
/// without an answer.
#[test]
fn the_baton_goes_round() {
    let _alone = alone();
    for words in [&["late-signal"][..], &["shootdown", "60"]] {
        let outcome = Jotun::new().strategy("baton", 8).timeout(PATIENCE).args(words).run().expect(0);
        assert_eq!(outcome.stat("strategy_baton"), 1, "{outcome}");
        calm(outcome).expect_log_lines(1, &["strategy: baton"]).expect_all_back();
    }
}

/// The strategy of papers/001, section 7: calls without a lock, beside a CPU that takes memory or threads away.
#[test]
fn calls_without_a_lock_stand_beside_the_kernel() {
    let _alone = alone();
    for words in [&["own-writes", "30"][..], &["late-signal"], &["cow-race", "60"], &["times"]] {
        let outcome = Jotun::new().strategy("subsystems", 8).timeout(PATIENCE).args(words).run().expect(0);
        assert_eq!(outcome.stat("strategy_subsystems"), 1, "{outcome}");
        calm(outcome).expect_log_lines(1, &["strategy: subsystems"]).expect_all_back();
    }
}

/// Each CPU has its own pages behind `.cpulocal`, and a count of its own of what it did.
fn counts(cpus: u8) {
    let outcome = passes(cpus, &["/pkg/hello"]);
    let all: Vec<_> = (0..cpus).map(|cpu| outcome.stat(&format!("cpu{cpu}_cpulocal_frame"))).collect();
    assert!(all.iter().all(|frame| *frame > 0 && frame % 4096 == 0), "pages are aligned: {all:x?}\n{outcome}");
    assert_eq!(BTreeSet::from_iter(&all).len(), all.len(), "no two CPUs share pages: {all:x?}\n{outcome}");
    assert_eq!(outcome.stat("cpulocal_address") as u64, 0xffff_ffff_c000_0000, "{outcome}");
    for state in ["user", "kernel", "spin", "idle"] {
        let each: i64 = (0..cpus).map(|cpu| outcome.stat(&format!("cpu{cpu}_{state}_cycles"))).sum();
        assert!(each > 0 || state == "spin" || state == "idle", "{state}\n{outcome}");
    }
    assert!(!outcome.stats.contains_key(&format!("cpu{cpus}_user_cycles")), "a CPU that is not there\n{outcome}");
    // Every entry at level 0 asks for the lock.
    let entries = ["entries_system_call", "entries_exception", "entries_interrupt"];
    let asked: i64 = entries.iter().map(|name| outcome.stat(name)).sum();
    let contended = outcome.stat("lock_contended");
    assert!(contended <= asked, "{contended} of {asked}\n{outcome}");
    assert!(cpus > 1 || contended == 0, "nobody to wait for\n{outcome}");
}

/// Pages and directories of single-threaded containers are those of one CPU, whichever runs them.
fn directories(cpus: u8) {
    let outcome = passes(cpus, &["/pkg/idle2pages"]);
    assert_eq!(outcome.stat("container_directories_made"), 0, "it stays in a global directory\n{outcome}");
    assert_eq!(outcome.stat("page_faults"), 0, "both pages were there before it asked\n{outcome}");
    let outcome = passes(cpus, &["/pkg/outgrow"]);
    assert_eq!(outcome.stat("container_directories_made"), 1, "{outcome}");
    for name in ["directory_copies_made", "spurious_faults_directory", "shootdowns"] {
        assert_eq!(outcome.stat(name), 0, "{name}: it never leaves its CPU\n{outcome}");
    }
}

/// The numbers in the tour's text are the run's own.
fn tour(cpus: u8) {
    let outcome = run(cpus, &["tour"]).expect_all_back();
    let up = if cpus == 1 { "One CPU is up.".into() } else { format!("{cpus} CPUs are up.") };
    let outcome = outcome.expect_in_output(&up);
    for cpu in 0..cpus.min(8) {
        let frame = outcome.stat(&format!("cpu{cpu}_cpulocal_frame"));
        let line = format!("CPU {cpu} 0xffffffffc0000000 {frame:#x}");
        let mut lines = outcome
            .text()
            .lines()
            .map(|all| all.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .into_iter();
        assert!(lines.any(|all| all == line), "{line}?\n{outcome}");
    }
    if cpus == 1 {
        outcome.expect_in_output("There is no other CPU here, so the second thread stayed on CPU 0");
    } else {
        // Broken into lines wherever they end.
        let words = outcome.text().split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["got a copy of its top-level page and nothing else (1 made)", "put it there (1 such)"] {
            assert!(words.contains(part), "{part}?\n{outcome}");
        }
    }
}

/// What programs are told of the number of CPUs, by whichever way they ask.
fn told(cpus: u8) {
    let run = |words: &[&str]| run(cpus, words);
    let busybox = busybox().to_str().unwrap();
    let (own, kernels) = (program_cpus(cpus), kernel_cpus(cpus));
    run(&[busybox, "nproc"]).expect_output(format!("{own}\n"));
    run(&[busybox, "grep", "-c", "^processor", "/proc/cpuinfo"]).expect_output(format!("{kernels}\n"));
    run(&[busybox, "grep", "-c", "^cpu[0-9]", "/proc/stat"]).expect_output(format!("{kernels}\n"));
    if own == kernels {
        passes(cpus, &["proc-files"]);
    }
}

/// The programs of the image that were written for one CPU, on four or those that are named.
mod programs {
    use super::*;

    macro_rules! programs {
        ($($name:ident: $path:literal,)*) => {
            $(
                #[test]
                fn $name() {
                    let kind = stringify!($name).split('_').next().unwrap();
                    if leaves_out(kind, stringify!($name)) {
                        return;
                    }
                    for cpus in numbers(&[4]) {
                        let outcome = run(cpus, &[$path]);
                        let name = $path.rsplit('/').next().unwrap();
                        let text = outcome.text();
                        assert!(
                            text.lines().last().is_some_and(|last| last.starts_with(&format!("ok {name}"))),
                            "{outcome}"
                        );
                        outcome.expect_all_back();
                    }
                }
            )*
        };
    }

    programs! {
        native_family: "/pkg/family",
        native_lazy_data: "/pkg/lazy-data",
        native_lock_burn: "/pkg/lock-burn",
        native_messages: "/pkg/messages",
        native_nx: "/pkg/nx",
        native_spawner: "/pkg/spawner",
        native_threads: "/pkg/threads",
        native_write_code: "/pkg/write-code",
        std_files_abi: "/bin/files-abi",
        std_futexes: "/bin/futexes",
        std_mem: "/bin/mem",
        std_passed_over: "/bin/passed-over",
        std_signals: "/bin/signals",
        std_threads: "/bin/threads-std",
        std_times: "/bin/times",
        c_fpu: "/bin/fpu",
        c_pthreads: "/bin/pthreads",
    }

    #[test]
    fn c_pthreads_linked_with_musl() {
        for cpus in numbers(&[4]) {
            passes(cpus, &[c_program("pthreads-musl").to_str().unwrap()]);
        }
    }
}

/// Ten times in a row on 16 CPUs, with more threads: about ten minutes on two of the host's CPUs.
#[test]
#[ignore = "ten minutes"]
fn stress_ten_times_on_16() {
    for _ in 0..10 {
        passes(16, &["smp-stress", "64", "2"]);
    }
}

/// The programs of this file for much longer.
#[test]
#[ignore = "ten minutes"]
fn long_runs_on_4() {
    for words in [
        &["shootdown", "3000"][..],
        &["cow-race", "5000"],
        &["smp-stress", "32", "20"],
        &["/pkg/abrupt", "2000"],
        &["/pkg/traffic", "32"],
        &["fork-storm", "400"],
        &["soak", "1500", "2"],
        &["fork-storm", "many", "100000"],
    ] {
        let _alone = alone();
        let outcome = Jotun::new().smp(4).timeout(600.0).args(words).run().expect(0);
        calm(outcome).expect_all_back();
    }
}
