//! What several CPUs tell when things go wrong: a lock that is held for too long, a panic.

use boot_tests::{Jotun, Monitor, MonitorSocket, Scratch, busybox};
use std::thread;
use std::time::Duration;

/// Each CPU's report, in the order in which they came.
fn reports(stderr: &str) -> Vec<&str> {
    stderr.lines().filter_map(|line| line.strip_prefix("xtask: CPU ")).collect()
}

#[test]
fn a_lock_held_for_long_is_reported_with_its_holder() {
    let outcome = Jotun::new().smp(2).append("patience=50").args(["hold"]).run().expect(0);
    assert!(outcome.log.contains("has waited 50 ms for the giant lock; CPU "), "no word of the wait\n{outcome}");
    let reports = reports(&outcome.stderr);
    let holds = |report: &&&str| report.contains("level 1, system call 4101");
    assert!(reports.iter().any(|report| holds(&report)), "no word of the holder\n{outcome}");
    assert!(outcome.stderr.contains("kernel::arch::cpu::burn"), "no backtrace of the holder\n{outcome}");
}

#[test]
fn a_panic_tells_where_every_cpu_was() {
    let socket = MonitorSocket::new("panic");
    let [option, monitor] = socket.options();
    let scratch = Scratch::new("panic");
    let jotun = Jotun::new().smp(4).option(option).option(monitor).rootfs(scratch.path());
    let jotun = jotun.args([busybox().to_str().unwrap(), "sleep", "1000"]);
    let outcome = thread::scope(|scope| {
        let run = scope.spawn(|| jotun.run());
        let mut monitor = Monitor::connect(&socket);
        // All four halted in the kernel's half: in their idle loops, while the program sleeps.
        let idle = |registers: &str| {
            registers.split("CPU#").filter(|cpu| cpu.contains("HLT=1") && cpu.contains("RIP=ffffffff8")).count()
        };
        while idle(&monitor.ask("info registers -a")) < 4 {
            thread::sleep(Duration::from_millis(50));
        }
        monitor.ask("nmi");
        run.join().expect("the run ends")
    });
    assert_eq!(outcome.status, 70, "{outcome}");
    assert_eq!(outcome.stderr.matches("kernel panic: ").count(), 1, "one panic is told\n{outcome}");
    assert!(outcome.stderr.contains("kernel panic: non-maskable interrupt in the kernel"), "{outcome}");
    let mut told: Vec<&str> = reports(&outcome.stderr).iter().filter_map(|report| report.split(':').next()).collect();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len(), reports(&outcome.stderr).len(), "each CPU reports once\n{outcome}");
    assert_eq!(told.len(), 3, "the three other CPUs report\n{outcome}");
}
