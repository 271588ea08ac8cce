//! What the kernel counts: that it is what happened, to the page and to the call.

use std::collections::BTreeSet;

use boot_tests::{Jotun, Outcome, Scratch, busybox};

fn run(words: &[&str]) -> Outcome {
    Jotun::new().args(words).run().expect(0).expect_calm_log().expect_all_back()
}

/// The lines of a program's output that begin with this, as the numbers in them.
fn numbers(outcome: &Outcome, line: &str) -> Vec<i64> {
    let text = outcome.text();
    let found = text.lines().find_map(|all| all.strip_prefix(line)).unwrap_or_else(|| panic!("{line}?\n{outcome}"));
    found.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn a_fresh_native_container_is_two_pages() {
    let outcome = run(&["/pkg/idle2pages"]);
    // It has looked itself: see its source. Here is what the whole run came to.
    assert!(outcome.stdout.starts_with(b"ok idle2pages"), "{outcome}");
    assert_eq!(outcome.stat("containers_made"), 1);
    assert_eq!(outcome.stat("processes_made"), 1);
    assert_eq!(outcome.stat("threads_made"), 1);
    assert_eq!(outcome.stat("container_directories_made"), 0, "it stays in the global directory\n{outcome}");
    assert_eq!(outcome.stat("page_faults"), 0, "both pages were there before it asked\n{outcome}");
}

#[test]
fn who_leaves_the_window_gets_one_directory() {
    let outcome = run(&["/pkg/outgrow"]);
    assert_eq!(outcome.stat("container_directories_made"), 1, "{outcome}");
    // Pages, tables, directories.
    assert_eq!(numbers(&outcome, "at the start "), [2, 1, 0], "{outcome}");
    assert_eq!(numbers(&outcome, "8 pages of the window touched "), [10, 1, 0], "{outcome}");
    let [pages, tables, directories] = numbers(&outcome, "256 pages outside touched ")[..] else { panic!("{outcome}") };
    assert_eq!((pages - tables, directories), (10 - 1 + 256, 1), "{outcome}");
    assert_eq!(outcome.stat("page_faults"), 8 + 256, "a fault a page\n{outcome}");
    assert_eq!(outcome.stat("page_faults_resolved"), 8 + 256, "{outcome}");
}

#[test]
fn many_processes_leave_nothing_behind() {
    let few = run(&["/pkg/spawner", "200"]);
    let many = run(&["/pkg/spawner", "1200"]);
    for (outcome, count) in [(&few, 200), (&many, 1200)] {
        // It warms up with 32, and is one itself.
        for name in ["containers_made", "processes_made", "threads_made"] {
            assert_eq!(outcome.stat(name), 1 + 32 + count, "{name}\n{outcome}");
        }
        assert_eq!(outcome.stat("container_directories_made"), 0, "{outcome}");
        let [before, after] = numbers(outcome, "frames_free ")[..] else { panic!("{outcome}") };
        assert_eq!(before, after, "{outcome}");
        // To each child and back.
        assert!(outcome.stat("context_switches") >= 2 * (32 + count), "{outcome}");
        assert!(outcome.stat("window_switches") >= 2 * (32 + count), "{outcome}");
    }
    assert_eq!(few.stat("frames_free"), many.stat("frames_free"), "a thousand processes later\n{many}");
    // Each process: start and wait, its own exit.
    let calls = many.stat("entries_system_call") - few.stat("entries_system_call");
    assert!((3 * 1000..=4 * 1000).contains(&calls), "{calls} system calls for 1000 processes");
}

#[test]
fn system_calls_are_counted_one_by_one() {
    let made = |count: &str| {
        let outcome = run(&[busybox().to_str().unwrap(), "dd", "if=/dev/zero", "of=/dev/null", "bs=512", count]);
        let of_all_calls: i64 =
            outcome.stats.iter().filter(|(name, _)| name.starts_with("call_")).map(|(_, n)| n).sum();
        assert_eq!(of_all_calls, outcome.stat("entries_system_call"), "{outcome}");
        ["entries_system_call", "call_read", "call_write"].map(|name| outcome.stat(name))
    };
    // dd reads and writes once a block, and says how many blocks there were, with one digit each time.
    let (few, many) = (made("count=1001"), made("count=9001"));
    assert_eq!([0, 1, 2].map(|n| many[n] - few[n]), [2 * 8000, 8000, 8000]);
}

#[test]
fn page_faults_are_exceptions() {
    let outcome = run(&["/pkg/outgrow"]);
    assert_eq!(outcome.stat("entries_exception"), outcome.stat("page_faults"), "{outcome}");
    // Others are exceptions, too: the signal test divides by zero and more.
    let outcome = run(&["/bin/signals"]);
    assert!(outcome.stat("entries_exception") > outcome.stat("page_faults"), "{outcome}");
}

#[test]
fn cycles_add_up_to_the_time() {
    let outcome = run(&[busybox().to_str().unwrap(), "sleep", "2"]);
    let hz = outcome.stat("tsc_hz");
    let share = |name: &str| outcome.stat(name) as f64 / hz as f64;
    // No bound from above: a host that wakes the machine late is no fault of the count.
    assert!(share("idle_cycles") >= 1.9, "idle for {} s\n{outcome}", share("idle_cycles"));
    assert!(share("user_cycles") > 0.0 && share("kernel_cycles") > 0.0, "{outcome}");
    assert!(share("user_cycles") + share("kernel_cycles") < share("idle_cycles"), "{outcome}");
}

#[test]
fn an_idle_cpu_has_no_ticks() {
    let interrupts = |seconds: &str| {
        let outcome = run(&[busybox().to_str().unwrap(), "sleep", seconds]);
        assert_eq!(outcome.stat("threads_parked"), 1, "it slept once\n{outcome}");
        assert_eq!(outcome.stat("timeouts"), 1, "and was woken once\n{outcome}");
        assert!(outcome.stat("idle_wakeups") <= outcome.stat("entries_interrupt"), "{outcome}");
        let count = outcome.stat("entries_interrupt") + outcome.stat("level2_interrupts");
        // The end of standard input is told by two bytes; then there is the alarm.
        assert!((1..=5).contains(&count), "{count} interrupts in {seconds} s\n{outcome}\n{:?}", outcome.stats);
    };
    interrupts("1");
    interrupts("4");
}

#[test]
fn time_slices_are_given_when_there_is_somebody_to_give_to() {
    // Alone, a program that computes is never interrupted, however long it takes.
    let program = "BEGIN { for (i = 0; i < 1000000; i++) n += i; print n }";
    let alone = run(&[busybox().to_str().unwrap(), "awk", program]).expect_output("499999500000\n");
    assert!(alone.stat("user_cycles") > alone.stat("tsc_hz") / 20, "it took some time\n{alone}");
    assert!(alone.stat("entries_interrupt") <= 4, "{alone}");
    // Four threads that compute for 400 ms.
    let four = run(&["/pkg/threads"]);
    assert!(four.stat("entries_interrupt") >= 20 && four.stat("context_switches") >= 20, "{four}");
}

#[test]
fn interrupts_within_a_call_are_level_2() {
    // A large output: the serial line asks for more while the kernel copies.
    let scratch = Scratch::new("large");
    scratch.file("large", vec![b'.'; 1 << 20]);
    let words = [busybox().to_str().unwrap(), "cat", "/large"];
    let outcome = Jotun::new().rootfs(scratch.path()).args(words).run().expect(0).expect_all_back();
    assert_eq!(outcome.stdout.len(), 1 << 20);
    assert!(outcome.stat("level2_interrupts") >= 50, "{outcome}");
}

#[test]
fn the_timer_interrupts_long_calls_and_the_slice_ends_after_them() {
    let outcome = run(&["/bin/burners"]).expect_output("ok burners: 60 calls\n");
    assert!(outcome.stat("level2_interrupts") >= 10, "{outcome}");
    // Between two calls there is no time to speak of.
    assert!(outcome.stat("entries_interrupt") < outcome.stat("level2_interrupts"), "{outcome}");
    // Both threads make the same calls, by turns.
    assert!(outcome.stat("context_switches") >= 10, "{outcome}");
}

#[test]
fn messages_and_switches() {
    let outcome = run(&["/pkg/messages"]);
    // 1000 rounds, there and back, and the bounded queue tried before.
    let (sent, switches) = (outcome.stat("messages_sent"), outcome.stat("context_switches"));
    assert!((2000..2100).contains(&sent), "{sent}\n{outcome}");
    assert!((2000..2100).contains(&switches), "{switches}\n{outcome}");
    assert_eq!((outcome.stat("containers_made"), outcome.stat("processes_made")), (2, 2), "{outcome}");
}

#[test]
fn processes_share_a_container() {
    let outcome = run(&["/pkg/family"]);
    assert_eq!((outcome.stat("containers_made"), outcome.stat("processes_made")), (1, 4), "{outcome}");
    assert_eq!(outcome.stat("container_directories_made"), 1, "{outcome}");
}

#[test]
fn what_is_not_there_is_counted_always_and_logged_once() {
    let logged = |outcome: &Outcome| -> Vec<String> {
        let lines = outcome.log.lines().filter_map(|line| line.split(" system call ").nth(1));
        lines.map(str::to_owned).collect()
    };
    // glibc asks for this once.
    let outcome = run(&[busybox().to_str().unwrap(), "true"]);
    assert_eq!(logged(&outcome), ["334 rseq is not there: ENOSYS"], "{outcome}");
    assert_eq!(outcome.stat("system_calls_unknown"), 1, "{outcome}");
    // This asks for everything, about a hundred times.
    let outcome = run(&["hostile", "wild"]);
    let all = logged(&outcome);
    let once: BTreeSet<_> = all.iter().collect();
    assert_eq!(all.len(), once.len(), "{outcome}");
    assert!(all.iter().any(|line| line == "41 socket is not there: ENOSYS"), "{outcome}");
    assert!(outcome.stat("system_calls_unknown") >= 50 * all.len() as i64, "{outcome}");
}
