//! The files of `/proc` that are about the whole system.

use super::Text;
use crate::arch::accounts;
use crate::core::linux::USER_HZ;
use crate::core::process::Tasks;
use containers::{Cpu, PAGE_SIZE};
use core::fmt::{self, Write};
use core::ops::Range;
use hardware::clock;

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds per tick.
const TICK: u64 = SECOND / USER_HZ;

/// `/proc/meminfo`. There is no swap and no cache: files are memory.
pub(super) fn memory(out: &mut Text) -> fmt::Result {
    let kibibytes = |frames: usize| frames * (PAGE_SIZE / 1024);
    let (total, free) = (kibibytes(out.memory.physical.total()), kibibytes(out.memory.physical.free()));
    let available = kibibytes(out.memory.available());
    let mut line = |name: &str, value| writeln!(out, "{:<16}{value:>8} kB", name);
    line("MemTotal:", total)?;
    line("MemFree:", free)?;
    line("MemAvailable:", available)?;
    ["Buffers:", "Cached:", "SwapCached:", "SwapTotal:", "SwapFree:"].into_iter().try_for_each(|name| line(name, 0))
}

/// Clock ticks that the CPUs of a range have spent in user mode, in the kernel or before it, and idle.
fn times(cpus: Range<usize>) -> [u64; 3] {
    let cycles = cpus.map(|number| accounts::cycles(Cpu(number as u8)));
    let sum = cycles.fold([0; 3], |[user, kernel, idle], cycles| {
        [user + cycles.user, kernel + cycles.kernel + cycles.waiting(), idle + cycles.idle]
    });
    sum.map(|cycles| clock::duration(cycles) / TICK)
}

/// `/proc/uptime`: idle is the time of all CPUs together.
pub(super) fn uptime(out: &mut Text) -> fmt::Result {
    let [.., idle] = times(0..out.memory.cpu_count());
    let [up, idle] = [clock::nanoseconds() / TICK, idle].map(|ticks| (ticks / USER_HZ, ticks % USER_HZ));
    writeln!(out, "{}.{:02} {}.{:02}", up.0, up.1, idle.0, idle.1)
}

/// `/proc/stat`: CPUs, which have been in user mode, in the kernel, or idle.
pub(super) fn stat(out: &mut Text, tasks: &Tasks) -> fmt::Result {
    let line = |out: &mut Text, name: fmt::Arguments, cpus: Range<usize>| {
        let [user, system, idle] = times(cpus);
        writeln!(out, "{name} {user} 0 {system} {idle} 0 0 0 0 0 0")
    };
    let cpus = out.memory.cpu_count();
    line(out, format_args!("cpu "), 0..cpus)?;
    for cpu in 0..cpus {
        line(out, format_args!("cpu{cpu}"), cpu..cpu + 1)?;
    }
    let boot = clock::wall_clock().saturating_sub(clock::nanoseconds()) / SECOND;
    writeln!(out, "intr 0\nctxt 0\nbtime {boot}\nprocesses {}", tasks.counts.processes_made)?;
    writeln!(out, "procs_running {}\nprocs_blocked 0", tasks.runnable())
}

/// `/proc/loadavg`
pub(super) fn load(out: &mut Text, tasks: &Tasks) -> fmt::Result {
    for average in tasks.load_at(clock::nanoseconds()).hundredths() {
        write!(out, "{}.{:02} ", average / 100, average % 100)?;
    }
    writeln!(out, "{}/{} {}", tasks.runnable(), tasks.threads_live(), tasks.counts.processes_made)
}

/// `/proc/version`
pub(super) fn version(out: &mut Text) -> fmt::Result {
    writeln!(out, "Jotun version {} (x86_64)", env!("CARGO_PKG_VERSION"))
}
