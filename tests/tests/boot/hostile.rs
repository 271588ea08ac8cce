//! What programs must not do: `hostile`, one boot for each of its deeds.
//!
//! A killed program gets Linux's status and one line in the log that says which process and why; what is
//! survived leaves a calm log. After all of them everything is back: frames, containers, directories.

use std::fs;

use boot_tests::{Jotun, Outcome, Scratch, busybox, std_program};

/// Deeds that kill: name, status, and what the log says of it.
const DEADLY: [(&str, i32, &str); 29] = [
    ("divide", 136, "killed by SIGFPE: exception 0 at 0x"),
    ("illegal", 132, "killed by SIGILL: exception 6 at 0x"),
    ("breakpoint", 133, "killed by SIGTRAP: exception 3 at 0x"),
    ("single-step", 133, "killed by SIGTRAP: exception 1 at 0x"),
    // std's handler for SIGSEGV takes itself away and returns to where the fault was.
    ("kernel-jump", 139, "killed by SIGSEGV: a signal frame that cannot be returned through at 0x"),
    ("nowhere-jump", 139, "killed by SIGSEGV: a signal frame that cannot be returned through at 0x"),
    ("privileged", 139, "killed by SIGSEGV: exception 13 at 0x"),
    ("ports", 139, "killed by SIGSEGV: exception 13 at 0x"),
    ("stack-overflow", 139, "killed by SIGSEGV: write to 0x7ffff"),
    ("thread-overflow", 134, "killed by SIGABRT, sent to it"),
    ("plain-overflow", 139, "killed by SIGSEGV: write to 0x7ffff"),
    ("null", 139, "killed by SIGSEGV: write to 0x0 at 0x"),
    ("read-kernel", 139, "killed by SIGSEGV: read of 0xffffffff80200000 at 0x"),
    ("write-kernel", 139, "killed by SIGSEGV: write to 0xffff800000000000 at 0x"),
    ("write-code", 139, "killed by SIGSEGV: write to 0x5555"),
    ("execute-data", 139, "killed by SIGSEGV: execution of 0x7"),
    ("unmap-stack", 139, "killed by SIGSEGV: write to 0x7ffff"),
    ("unmap-all", 139, "killed by SIGSEGV: execution of 0x5555"),
    ("bad-signal-stack", 139, "killed by SIGSEGV: write to 0x0 at 0x"),
    ("fault-in-handler", 139, "killed by SIGSEGV: write to 0x0 at 0x"),
    ("thread-fault", 139, "killed by SIGSEGV: write to 0x0 at 0x"),
    // It goes on with what stood on its stack for registers, wherever that leads.
    ("sigreturn-nothing", 139, "killed by SIGSEGV: "),
    ("sigreturn-rip", 139, "killed by SIGSEGV: a signal frame that cannot be returned through at 0x"),
    ("sigreturn-kernel", 139, "killed by SIGSEGV: a signal frame that cannot be returned through at 0x"),
    ("sigreturn-segment", 139, "killed by SIGSEGV: a signal frame that cannot be returned through at 0x"),
    ("sigreturn-state", 139, "killed by SIGSEGV: a signal frame that cannot be returned through at 0x"),
    ("sigreturn-mxcsr", 139, "killed by SIGSEGV: a signal frame that cannot be returned through at 0x"),
    ("sigreturn-component", 139, "killed by SIGSEGV: a signal frame that cannot be returned through at 0x"),
    ("out-of-memory", 137, "killed: no memory left for the page at 0x"),
];

/// Deeds that are survived.
const SURVIVED: [&str; 9] = [
    "sigreturn-flags",
    "flags",
    "huge-alloc",
    "open-many",
    "many-threads",
    "many-mappings",
    "many-files",
    "pointers",
    "wild",
];

/// Runs a deed that kills.
fn kills(name: &str) -> Outcome {
    let (name, status, reason) = *DEADLY.iter().find(|deed| deed.0 == name).expect("in the table");
    // At the same places each time: the log tells addresses.
    let outcome = Jotun::new().append("aslr=off").args(["hostile", name]).run().expect(status);
    let outcome = outcome.expect_log_lines(1, &["] WARN ", "hostile (1) ", reason]);
    // And not another word about it.
    let outcome = outcome.expect_log_lines(1, &["hostile"]).expect_log_lines(0, &["] ERROR "]);
    assert!(!outcome.text().contains("still here"), "{outcome}");
    assert!(!outcome.stderr.contains("panic") && !outcome.stderr.contains("the kernel stopped"), "{outcome}");
    outcome.expect_all_back()
}

/// Runs a deed that is survived.
fn survives(name: &str) -> Outcome {
    assert!(SURVIVED.contains(&name), "in the table");
    let outcome = Jotun::new().args(["hostile", name]).run().expect(0);
    let last = outcome.text().lines().last().map(str::to_owned);
    assert_eq!(last, Some(format!("ok hostile {name}")), "{outcome}");
    outcome.expect_calm_log().expect_all_back()
}

/// A test for each, so that they run side by side and one that hangs is named.
macro_rules! deeds {
    ($does:ident: $($test:ident $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                $does($name);
            }
        )*
    };
}

deeds! { kills:
    divide "divide",
    illegal "illegal",
    breakpoint "breakpoint",
    single_step "single-step",
    kernel_jump "kernel-jump",
    nowhere_jump "nowhere-jump",
    privileged "privileged",
    ports "ports",
    stack_overflow "stack-overflow",
    thread_overflow "thread-overflow",
    plain_overflow "plain-overflow",
    null "null",
    read_kernel "read-kernel",
    write_kernel "write-kernel",
    write_code "write-code",
    execute_data "execute-data",
    unmap_stack "unmap-stack",
    unmap_all "unmap-all",
    bad_signal_stack "bad-signal-stack",
    fault_in_handler "fault-in-handler",
    thread_fault "thread-fault",
    sigreturn_nothing "sigreturn-nothing",
    sigreturn_rip "sigreturn-rip",
    sigreturn_kernel "sigreturn-kernel",
    sigreturn_segment "sigreturn-segment",
    sigreturn_state "sigreturn-state",
    sigreturn_mxcsr "sigreturn-mxcsr",
    sigreturn_component "sigreturn-component",
    out_of_memory "out-of-memory",
}

deeds! { survives:
    sigreturn_flags "sigreturn-flags",
    flags "flags",
    huge_alloc "huge-alloc",
    many_mappings "many-mappings",
    many_files "many-files",
    pointers "pointers",
    wild "wild",
}

#[test]
fn open_many() {
    // Descriptors 0 to 2 are the console.
    survives("open-many").expect_in_output("1021 opened, 98979 refused\n");
}

#[test]
fn many_threads() {
    let outcome = survives("many-threads");
    let text = outcome.text();
    let count = text.split(' ').next().and_then(|word| word.parse::<i64>().ok()).expect("how many there were");
    assert!(count >= 1000, "{outcome}");
    // And the main thread, and the last, for which there was room again.
    assert_eq!(outcome.stat("threads_made"), count + 2, "{outcome}");
}

/// Deeds that use up what all programs share: the program that comes too late gets an error, whichever it is.
const GREEDY: [&str; 5] = ["out-of-memory", "huge-alloc", "many-threads", "many-mappings", "many-files"];

/// All other deeds side by side on eight CPUs, beside a program that checks itself.
#[test]
fn all_together_disturb_nobody() {
    let deadly = DEADLY.iter().map(|(name, status, _)| (*name, *status));
    let mut deeds: Vec<_> = deadly.chain(SURVIVED.map(|name| (name, 0))).collect();
    deeds.retain(|(name, _)| !GREEDY.contains(name));
    let names: Vec<_> = deeds.iter().map(|(name, _)| *name).collect();
    // One after the other on the console, where lines of several programs may mix.
    let script = format!(
        "mkdir /side; cd /side; smp-stress 8 1 >ok & \
         for deed in {0}; do (hostile $deed >/dev/null 2>&1; echo $? >$deed) 2>/dev/null & done; wait; \
         cat ok; for deed in {0}; do echo status of $deed: $(cat $deed); done; rm -r /side",
        names.join(" ")
    );
    let words = [busybox().to_str().unwrap(), "sh", "-c", &script];
    let scratch = Scratch::new("all-together");
    let bin = scratch.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for name in ["hostile", "smp-stress"] {
        fs::copy(std_program(name), bin.join(name)).unwrap();
    }
    let jotun = Jotun::new().smp(8).timeout(240.0).rootfs(scratch.path());
    let outcome = jotun.args(words).run().expect(0).expect_all_back();
    assert!(outcome.text().contains("ok smp-stress"), "{outcome}");
    let mut outcome = outcome.expect_log_lines(0, &["] ERROR "]);
    for (name, status) in deeds {
        outcome = outcome.expect_in_output(&format!("status of {name}: {status}\n"));
    }
    // Each program that the script's shell saw die of a signal is in the log: a warning, or a note of a signal that was
    // sent.
    let killed = DEADLY.iter().filter(|(name, ..)| !GREEDY.contains(name)).count();
    outcome.expect_log_lines(killed, &["hostile (", ") killed by SIG"]);
}

/// Native packages can start others: one after another is killed, and the next runs.
#[test]
fn after_a_killed_program_the_next_runs() {
    for (path, reasons) in [
        ("/pkg/nx", &["execution of 0x3ffffff", "execution of 0x3fffffe00000 ", "execution of 0x3fffffe00"][..]),
        ("/pkg/write-code", &["write to 0x4000", "write to 0x4000"]),
    ] {
        let outcome = Jotun::new().args([path]).run().expect(0).expect_all_back();
        let name = path.rsplit('/').next().unwrap();
        let outcome = outcome.expect_in_output(&format!("ok {name}"));
        let killed: Vec<_> = outcome.log.lines().filter(|line| line.contains(") killed by SIGSEGV: ")).collect();
        assert_eq!(killed.len(), reasons.len(), "{outcome}");
        for (line, reason) in killed.iter().zip(reasons) {
            assert!(line.contains(&format!("{name} (")) && line.contains(reason), "{reason}?\n{outcome}");
        }
        assert_eq!(outcome.stat("processes_made"), 1 + reasons.len() as i64, "{outcome}");
    }
}

#[test]
fn no_deed_is_left_out() {
    let outcome = Jotun::new().args(["hostile"]).run().expect(0).expect_calm_log().expect_all_back();
    let mut listed: Vec<(String, i32)> = Vec::new();
    for line in outcome.text().lines() {
        let mut words = line.split_whitespace();
        let (name, status) = (words.next().expect("a name"), words.next().expect("a status"));
        listed.push((name.to_owned(), status.parse().expect("a number")));
    }
    let deadly = DEADLY.iter().map(|(name, status, _)| (name.to_string(), *status));
    let mut tested: Vec<_> = deadly.chain(SURVIVED.iter().map(|name| (name.to_string(), 0))).collect();
    listed.sort();
    tested.sort();
    assert_eq!(listed, tested);
}
