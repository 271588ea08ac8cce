//! The files of `/proc` that are about the whole system.

use super::Text;
use crate::arch::clock;
use crate::kernel::Tasks;
use crate::schedule;
use containers::{PAGE_SIZE, Times};
use core::fmt::{self, Write};

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of a clock tick, of which there are 100 in a second in these files.
const TICK: u64 = SECOND / 100;

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

/// How long a CPU has been busy: the times of the living threads that ran there last.
fn busy(tasks: &Tasks, cpu: usize) -> Times {
    let threads = tasks.processes().flat_map(|id| tasks.threads_of(id)).filter_map(|id| tasks.thread(id));
    let here = threads.filter(|thread| thread.ran_on.is_some_and(|ran_on| usize::from(ran_on.0) == cpu));
    here.fold(Times::default(), |sum, thread| sum + thread.run_time)
}

/// Nanoseconds of all CPUs since boot, and how long they were busy.
fn times(out: &Text, tasks: &Tasks) -> (u64, Times) {
    let cpus = out.memory.cpu_count();
    let busy = (0..cpus).fold(Times::default(), |sum, cpu| sum + busy(tasks, cpu));
    (cpus as u64 * clock::nanoseconds(), busy)
}

/// `/proc/uptime`: idle is the time of all CPUs together.
pub(super) fn uptime(out: &mut Text, tasks: &Tasks) -> fmt::Result {
    let (all, busy) = times(out, tasks);
    let parts = |time: u64| (time / SECOND, time % SECOND / TICK);
    let (up, idle) = (parts(clock::nanoseconds()), parts(all.saturating_sub(busy.total)));
    writeln!(out, "{}.{:02} {}.{:02}", up.0, up.1, idle.0, idle.1)
}

/// `/proc/stat`: CPUs, which have been in user mode, in the kernel, or idle.
pub(super) fn stat(out: &mut Text, tasks: &Tasks) -> fmt::Result {
    let up = clock::nanoseconds();
    let (all, used) = times(out, tasks);
    let line = |out: &mut Text, name: fmt::Arguments, all: u64, used: Times| {
        let [user, system] = schedule::shares(used).map(|time| time / TICK);
        let idle = all.saturating_sub(used.total) / TICK;
        writeln!(out, "{name} {user} 0 {system} {idle} 0 0 0 0 0 0")
    };
    line(out, format_args!("cpu "), all, used)?;
    for cpu in 0..out.memory.cpu_count() {
        line(out, format_args!("cpu{cpu}"), up, busy(tasks, cpu))?;
    }
    let boot = clock::wall_clock().saturating_sub(up) / SECOND;
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
