//! What several CPUs tell of a panic: where each of them was.

use boot_tests::{Jotun, Monitor, MonitorSocket, Scratch, busybox, kernel_cpus};
use std::thread;
use std::time::Duration;

/// Each CPU's report, in the order in which they came.
fn reports(stderr: &str) -> Vec<&str> {
    stderr.lines().filter_map(|line| line.strip_prefix("xtask: CPU ")).collect()
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
        let mut monitor = Monitor::connect(&socket, &run);
        // All four halted in the kernel, or in the application kernel above it: in their idle loops, while the program sleeps.
        let kernel = if kernel_cpus(4) == 4 { "RIP=ffffffff8" } else { "RIP=ffffff" };
        let idle = |registers: &str| {
            registers.split("CPU#").filter(|cpu| cpu.contains("HLT=1") && cpu.contains(kernel)).count()
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
    assert_eq!(told.len(), usize::from(kernel_cpus(4)) - 1, "the other CPUs of the kernel report\n{outcome}");
}
