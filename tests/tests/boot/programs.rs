//! The image's programs that check themselves: each prints `ok …` as its last word and ends with 0.
//!
//! What a program checks stands in its source, in `user/`.

use boot_tests::{Jotun, Outcome, c_program};

/// Runs a program; its last line begins with `ok` and its name.
#[track_caller]
fn passes(path: &str) -> Outcome {
    let outcome = Jotun::new().args([path]).run().expect(0);
    let name = path.rsplit('/').next().unwrap();
    let text = outcome.text();
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with(&format!("ok {}", name.trim_end_matches("-musl"))), "{outcome}");
    outcome
}

macro_rules! programs {
    ($($name:ident: $path:literal,)*) => {
        $(
            #[test]
            fn $name() {
                passes($path);
            }
        )*
    };
}

programs! {
    native_family: "/pkg/family",
    native_flood: "/pkg/flood",
    native_hello: "/pkg/hello",
    native_idle2pages: "/pkg/idle2pages",
    native_lazy_data: "/pkg/lazy-data",
    native_lock_burn: "/pkg/lock-burn",
    native_messages: "/pkg/messages",
    native_nx: "/pkg/nx",
    native_outgrow: "/pkg/outgrow",
    native_parallel: "/pkg/parallel",
    native_spawner: "/pkg/spawner",
    native_threads: "/pkg/threads",
    native_traffic: "/pkg/traffic",
    native_write_code: "/pkg/write-code",
    std_argument_widths: "/bin/argument-widths",
    std_files_abi: "/bin/files-abi",
    std_events: "/bin/events",
    std_further_calls: "/bin/further-calls",
    std_futexes: "/bin/futexes",
    std_jobs: "/bin/jobs",
    std_locks: "/bin/locks",
    std_large_fork: "/bin/large-fork",
    std_mappings: "/bin/mappings",
    std_mem: "/bin/mem",
    std_passed_over: "/bin/passed-over",
    std_pipes: "/bin/pipes",
    std_pollers: "/bin/pollers",
    std_fork_storm: "/bin/fork-storm",
    std_proc_files: "/bin/proc-files",
    std_remains: "/bin/remains",
    std_processes: "/bin/processes",
    std_sent_signals: "/bin/sent-signals",
    std_signals: "/bin/signals",
    std_slots: "/bin/slots",
    std_spread: "/bin/spread",
    std_threads: "/bin/threads-std",
    std_times: "/bin/times",
    c_fpu: "/bin/fpu",
    c_pthreads: "/bin/pthreads",
}

#[test]
fn heap_gives_back() {
    for jotun in [Jotun::new(), Jotun::new().smp(2)] {
        let outcome = jotun.memory(96).args(["heap-back"]).run().expect(0);
        outcome.expect_in_output("\nok heap-back\n").expect_all_back();
    }
}

#[test]
fn a_signal_to_everybody() {
    let outcome = Jotun::new().args(["jobs", "everybody"]).run().expect(0);
    assert_eq!(outcome.text(), "ok jobs: everybody\n", "{outcome}");
}

#[test]
fn c_programs_linked_with_musl() {
    for name in ["pthreads-musl", "fpu-musl"] {
        passes(c_program(name).to_str().unwrap());
    }
}

#[test]
fn hello_std_sees_its_arguments() {
    let outcome = Jotun::new().args(["hello-std", "a", "b c"]).run().expect(0);
    for line in ["argument 0: hello-std\n", "argument 1: a\n", "argument 2: b c\n"] {
        assert!(outcome.text().contains(line), "{outcome}");
    }
}

/// It takes a minute wherever it is; here other machines run beside it.
#[test]
fn fuzz_for_a_minute_on_four_cpus() {
    boot_tests::fuzz(Jotun::new().smp(4), 60);
}

#[test]
fn ten_thousand_processes_one_after_another() {
    let outcome = Jotun::new().args(["fork-storm", "many", "10000"]).run().expect(0);
    assert_eq!(outcome.stat("processes_made"), 10_001, "{outcome}");
    outcome.expect_calm_log().expect_all_back();
}

#[test]
fn programs_are_run_with_any_amount_of_memory_left() {
    let outcome = Jotun::new().memory(96).args(["fork-storm", "starve"]).run().expect(0);
    outcome.expect_in_output("\nok fork-storm\n").expect_all_back();
}
