//! `--machine bochs`: the contract of `run` on the machine that counts instructions, and what is counted there or on QEMU.

use boot_tests::{Jotun, Outcome, busybox, fewest, kernel_cpus, leaves_out};

/// A run under Bochs, which is slow where many machines run side by side.
fn bochs() -> Jotun {
    Jotun::new().option("--machine").option("bochs").timeout(180.0)
}

fn with_busybox(words: &[&str]) -> Jotun {
    bochs().args([busybox()]).args(words)
}

/// Asserts that two runs were the same: every byte of output and log, every statistic.
#[track_caller]
fn same(run: impl Fn() -> Outcome) -> Outcome {
    let (first, second) = (run(), run());
    assert!(first.stats.len() > 30, "{first}");
    assert_eq!(first.stats, second.stats);
    assert_eq!(first.log, second.log);
    assert_eq!(first.text(), second.text());
    // An instruction on every CPU is a tick, and the 8254 counts the same ticks however many there are.
    let hz = first.stat("tsc_hz");
    assert!((99_900_000..=100_100_000).contains(&hz), "{hz} Hz\n{first}");
    first
}

#[test]
fn a_run_is_the_same_every_time() {
    _ = same(|| bochs().args(["/pkg/spawner"]).run().expect(0).expect_calm_log().expect_all_back());
}

#[test]
fn a_run_on_several_cpus_is_the_same_every_time() {
    let run = same(|| bochs().smp(2).args(["/pkg/spawner"]).run().expect(0).expect_calm_log().expect_all_back());
    // Their time is the same: it begins with the first program, and is read a few thousand instructions apart.
    let time = |cpu: usize| -> i64 {
        let states = ["user", "kernel", "spin", "idle"];
        states.map(|state| run.stat(&format!("cpu{cpu}_{state}_cycles"))).iter().sum()
    };
    for cpu in 1..kernel_cpus(2).into() {
        assert!(time(0).abs_diff(time(cpu)) < 10_000, "{} and {} cycles\n{run}", time(0), time(cpu));
    }
}

#[test]
fn a_run_with_input_is_the_same_every_time() {
    let input: Vec<u8> = (0..5_000_u32).map(|n| ((n * n) >> 3) as u8).collect();
    _ = same(|| with_busybox(&["md5sum"]).stdin(input.clone()).run().expect(0).expect_calm_log());
}

/// Here time is the machine's own, so the cycles can be held against the sleep from both sides.
#[test]
fn cycles_add_up_to_the_time() {
    let outcome = with_busybox(&["sleep", "2"]).run().expect(0);
    let seconds = |name: &str| outcome.stat(name) as f64 / outcome.stat("tsc_hz") as f64;
    let (idle, busy) = (seconds("idle_cycles"), seconds("user_cycles") + seconds("kernel_cycles"));
    assert!((1.99..2.01).contains(&idle), "idle for {idle} s\n{outcome}");
    assert!(0.0 < busy && busy < 0.1, "busy for {busy} s\n{outcome}");
}

/// System calls are not timed, exceptions and interrupts are: the figures must be right all the same.
#[test]
fn the_kernels_time_is_told_by_cause() {
    let causes = ["system_call", "exception", "interrupt"];
    let cycles = |outcome: &Outcome| causes.map(|cause| outcome.stat(&format!("kernel_cycles_{cause}")));
    for jotun in [bochs, || bochs().smp(fewest())] {
        // 100 calls of 20,000 instructions, 100 of 30,000.
        let outcome = jotun().args(["/pkg/burns"]).run().expect(0);
        let [calls, exceptions, interrupts] = cycles(&outcome);
        assert_eq!(calls + exceptions + interrupts, outcome.stat("kernel_cycles"), "{outcome}");
        let besides = calls - 100 * (20_000 + 30_000);
        assert!((0..500_000).contains(&besides), "{besides} instructions besides\n{outcome}");
        assert!(exceptions + interrupts < 500_000, "{outcome}");
        // 8 faults within the window and 256 outside.
        let outcome = jotun().args(["/pkg/outgrow"]).run().expect(0);
        let a_fault = cycles(&outcome)[1] / outcome.stat("entries_exception");
        assert!((200..5_000).contains(&a_fault), "{a_fault} instructions for a page fault\n{outcome}");
    }
}

#[test]
fn input_and_output_pass_byte_for_byte() {
    let bytes: Vec<u8> = (0..10_000_u32).map(|n| ((n * n) >> 3) as u8).chain(0..=255).collect();
    with_busybox(&["cat"]).stdin(bytes.clone()).run().expect(0).expect_output(bytes);
}

#[test]
fn output_comes_whole_when_input_is_left_unread() {
    let expected: String = (1..=500).map(|n| format!("{n}\n")).collect();
    with_busybox(&["seq", "500"]).stdin(vec![b'x'; 100_000]).run().expect(0).expect_output(expected);
}

#[test]
fn input_status_and_environment_are_as_under_qemu() {
    let run = with_busybox(&["sh", "-c", "read a; echo $a; exit $STATUS"]).env("STATUS", "7");
    run.smp(2).stdin("words\n").run().expect(7).expect_output("words\n");
}

#[test]
fn a_run_over_its_time_tells_where_each_cpu_was() {
    let outcome = with_busybox(&["sleep", "1000000"]).smp(2).timeout(50.0).run().expect(124);
    for part in ["no end within 50 s", "halted in the kernel", "idle"] {
        assert!(outcome.stderr.contains(part), "{part} expected\n{outcome}");
    }
    assert_eq!(outcome.cpus_told(), [0, 1], "{outcome}");
}

#[test]
fn a_cpu_that_will_not_do_is_named() {
    let outcome = bochs().cpu("core_duo_t2400_yonah").args(["/pkg/hello"]).run().expect(70);
    assert!(outcome.stderr.contains("the kernel stopped: this CPU has no 64-bit mode"), "{outcome}");
    let outcome = bochs().cpu("abacus").args(["/pkg/hello"]).run().expect(125);
    assert!(outcome.stderr.contains("Bochs did not start the machine"), "{outcome}");
}

#[test]
fn what_bochs_cannot_do_is_refused() {
    let refused = |jotun: Jotun| jotun.args(["/pkg/hello"]).run().expect(125).stderr;
    assert!(refused(bochs().uefi()).contains("--uefi needs QEMU"));
    assert!(refused(bochs().option("--accel").option("tcg")).contains("--accel is QEMU's"));
    assert!(refused(bochs().option("--qemu=-S")).contains("starts none"));
    assert!(refused(bochs().memory(4096)).contains("32 to 2048 MiB"));
    assert!(refused(bochs().smp(17)).contains("Bochs takes 1 to 16 CPUs; --smp says 17"));
}

/// `docs/entry-path.md` accounts for each instruction. Of a page fault most is the page's.
#[test]
fn entering_the_kernel_is_short() {
    if leaves_out("bochs", "entering_the_kernel_is_short") {
        return;
    }
    let instructions = |jotun: Jotun| {
        let outcome = jotun.args(["null-call"]).run().expect(0);
        let text = outcome.text();
        ["getpid: ", "page fault: "].map(|begin| {
            let figure = text.lines().find_map(|line| line.strip_prefix(begin)?.split(' ').next());
            figure.and_then(|figure| figure.parse::<f64>().ok()).unwrap_or_else(|| panic!("{outcome}"))
        })
    };
    let ([call, fault], [smp_call, smp_fault]) = (instructions(bochs()), instructions(bochs().smp(1)));
    assert!((50.0..=65.5).contains(&call), "{call} instructions with one CPU");
    assert!((call..=call + 25.0).contains(&smp_call), "{smp_call} instructions with the giant lock, {call} without");
    assert!(
        (fault - 100.0..=fault + 25.0).contains(&smp_fault),
        "{smp_fault} for a fault with the giant lock, {fault} without"
    );
}

/// Strangers do not make operations dearer: the small form of `cargo xtask bench growth`.
#[test]
fn strangers_do_not_make_operations_dearer() {
    let names = ["epoll-idle", "epoll-one", "epoll-ctl", "epoll-shared", "poll", "herd", "futex-wake"];
    let counted = Jotun::new().option("--machine").option("icount").timeout(300.0);
    let outcome = counted.args(["growth"]).args(names).args(["10", "1000"]).run().expect(0);
    let text = outcome.text();
    let ticks = |name: &str, size: u32| -> f64 {
        let figure = text.lines().find_map(|line| line.strip_prefix(&format!("figure {name}-{size} ")));
        figure
            .and_then(|figure| figure.split(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("{name}-{size}\n{outcome}"))
    };
    for name in names {
        // A search in a tree may grow with the logarithm.
        let factor = if name == "epoll-ctl" { 2.0 } else { 1.25 };
        assert!(ticks(name, 1000) <= factor * ticks(name, 10), "{name}\n{outcome}");
    }
    assert!(ticks("poll", 1000) <= 15_000.0, "instructions for a descriptor, in hundredths\n{outcome}");
}
