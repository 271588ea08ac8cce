//! Statistics: every count under one name, for `--stats` and for programs.
//!
//! Counters live where they are counted; [`each`] is the one place that knows them all.

use crate::arch::accounts::{self, COUNTS, Counts, Cycles};
use crate::arch::cpulocal::{self, counters};
use crate::arch::{heap, image};
use crate::calls;
use crate::core::kernel::{Give, Kernel};
use crate::core::schedule;
use crate::strategies::{Chosen, Strategy};
use ::cpulocal::CpuLocal;
use ::trace::Class;
use alloc::format;
use alloc::vec::Vec;
use containers::Cpu;
use core::cell::Cell;
use hardware::clock;

/// The names of the causes of entries to the kernel, in the order of [`Class`].
const CAUSES: [&str; 3] = ["system_call", "exception", "interrupt"];

/// Calls `give` with every statistic's name and value.
pub fn each(kernel: &Kernel, give: Give<'_>) {
    let (memory, tasks) = (&kernel.memory, &kernel.tasks);
    // Taken together, before the report itself allocates: their sum is the memory that programs do not have.
    let [free, heap, idle] = [memory.physical.free(), heap::pages(), heap::idle_pages()];
    let cpus: Vec<Counts> = cpus_of(kernel).map(|cpu| counters(cpu, &COUNTS)).collect();
    let sum = |of: &dyn Fn(&Counts) -> u64| cpus.iter().map(of).sum();
    let entries: Vec<[u64; 3]> = cpus_of(kernel).map(level1_entries).collect();
    let level1 = |class: Class| entries.iter().map(|entries| entries[class as usize]).sum();
    give("cpus", cpus.len() as u64);
    give(&format!("strategy_{}", Chosen::NAME), 1);
    give("entries_system_call", level1(Class::SystemCall));
    give("entries_exception", level1(Class::Exception));
    give("entries_interrupt", level1(Class::Interrupt));
    give("level2_interrupts", sum(&|counts| counts.level2.get()));
    give("idle_wakeups", sum(&|counts| counts.from_idle.get()));
    give("context_switches", total(kernel, &schedule::SWITCHES));
    let cycles: Vec<Cycles> = cpus_of(kernel).map(accounts::cycles).collect();
    give("user_cycles", cycles.iter().map(|cycles| cycles.user).sum());
    give("kernel_cycles", cycles.iter().map(|cycles| cycles.kernel).sum());
    for (index, cause) in CAUSES.iter().enumerate() {
        give(&format!("kernel_cycles_{cause}"), cycles.iter().map(|cycles| cycles.by_cause[index]).sum());
    }
    give("spin_cycles", cycles.iter().map(Cycles::waiting).sum());
    give("idle_cycles", cycles.iter().map(|cycles| cycles.idle).sum());
    for (number, cycles) in cycles.iter().enumerate() {
        give(&format!("cpu{number}_user_cycles"), cycles.user);
        give(&format!("cpu{number}_kernel_cycles"), cycles.kernel);
        for (index, cause) in CAUSES.iter().enumerate() {
            give(&format!("cpu{number}_kernel_cycles_{cause}"), cycles.by_cause[index]);
        }
        give(&format!("cpu{number}_spin_cycles"), cycles.waiting());
        give(&format!("cpu{number}_idle_cycles"), cycles.idle);
        give(&format!("cpu{number}_cpulocal_frame"), cpulocal::frame(&memory.physical, Cpu(number as u8)));
    }
    give("cpulocal_address", image::cpulocal().start);
    #[cfg(feature = "smp")]
    several(kernel, &cycles, give);
    give("tsc_hz", clock::tsc_hz());
    give("boot_microseconds", kernel.statistics.boot_microseconds);
    give("page_faults", kernel.statistics.page_faults);
    give("page_faults_resolved", memory.counts.faults_resolved);
    give("pages_copied", memory.counts.pages_copied);
    give("spurious_faults_directory", memory.counts.spurious_directory);
    give("spurious_faults_tlb", memory.counts.spurious_tlb);
    give("frames_total", memory.physical.total() as u64);
    give("frames_free", free as u64);
    give("frames_free_at_start", kernel.statistics.frames_free_at_start);
    give("heap_pages", heap as u64);
    give("heap_idle_pages", idle as u64);
    give("heap_pages_at_start", kernel.statistics.heap_pages_at_start);
    give("heap_bytes", heap::used() as u64);
    give("objects_live", memory.objects_live().into());
    give("open_files_live", kernel.files.open.len() as u64);
    give("containers_made", memory.counts.containers_made);
    give("containers_live", memory.containers_live().into());
    let [pages, tables, directories] = memory.counts.used_at_end;
    give("ended_containers_pages", pages);
    give("ended_containers_tables", tables);
    give("ended_containers_directories", directories);
    give("container_directories_made", memory.counts.directories_made);
    give("container_directories_live", memory.counts.directories_live);
    give("directory_copies_made", memory.counts.copies_made);
    give("directory_copies_live", memory.counts.copies_live);
    give("window_switches", memory.counts.window_switches);
    give("shootdowns", memory.counts.shootdowns);
    give("shootdown_cpus", memory.counts.shootdown_cpus);
    give("processes_made", tasks.counts.processes_made);
    give("processes_live", tasks.processes_live().into());
    give("threads_made", tasks.counts.threads_made);
    give("threads_live", tasks.threads_live().into());
    give("threads_parked", tasks.counts.parks);
    give("timeouts", tasks.counts.timeouts);
    give("migrations", tasks.counts.migrations);
    give("messages_sent", kernel.messages.sent);
    give("packages", kernel.packages.len() as u64);
    give("system_calls_unknown", kernel.statistics.unknown_calls);
    calls::each_made(cpus_of(kernel), |name, is_there, times| {
        give(&format!("call_{}{name}", if is_there { "" } else { "missing_" }), times);
    });
}

/// The entries of a CPU to level 1, by [`Class`].
fn level1_entries(cpu: Cpu) -> [u64; 3] {
    let [exceptions, interrupts] = counters(cpu, &COUNTS).traps;
    [calls::entries(cpu), exceptions.get(), interrupts.get()]
}

/// All CPUs.
fn cpus_of(kernel: &Kernel) -> impl Iterator<Item = Cpu> + Clone + use<> {
    (0..kernel.memory.cpu_count()).map(|number| Cpu(number as u8))
}

/// Statistics that exist only with several CPUs.
#[cfg(feature = "smp")]
fn several(kernel: &Kernel, cycles: &[Cycles], give: Give<'_>) {
    use crate::arch::accounts::{WAITS, Waits};
    use crate::arch::remote;
    use crate::strategies::waiting;
    use hardware::startup;
    let cpus = || cpus_of(kernel);
    let waits: Vec<_> = cpus().map(|cpu| counters(cpu, &WAITS)).collect();
    let contended = |waits: &Waits| waits.count.iter().map(Cell::get).sum::<u64>();
    give("lock_contended", waits.iter().map(contended).sum());
    for (index, cause) in CAUSES.iter().enumerate() {
        give(&format!("lock_contended_{cause}"), waits.iter().map(|waits| waits.count[index].get()).sum());
        give(&format!("spin_cycles_{cause}"), cycles.iter().map(|cycles| cycles.waits[index]).sum());
    }
    for ((Cpu(cpu), waits), cycles) in cpus().zip(&waits).zip(cycles) {
        // A CPU asks for the lock when its level rises to 1, and only then.
        let entries = level1_entries(Cpu(cpu));
        give(&format!("cpu{cpu}_lock_acquisitions"), entries.iter().sum());
        give(&format!("cpu{cpu}_lock_contended"), contended(waits));
        for (index, cause) in CAUSES.iter().enumerate() {
            give(&format!("cpu{cpu}_lock_acquisitions_{cause}"), entries[index]);
            give(&format!("cpu{cpu}_lock_contended_{cause}"), waits.count[index].get());
            give(&format!("cpu{cpu}_spin_cycles_{cause}"), cycles.waits[index]);
        }
    }
    give("lock_halts", total(kernel, &waiting::HALTS));
    give("lock_requests_answered", total(kernel, &waiting::ANSWERED));
    give("interrupts_sent", total(kernel, &remote::SENT));
    let skews = cpus().map(startup::skew).map(|(ahead, doubt)| (ahead.unsigned_abs(), doubt));
    give("affinity_strict", u64::from(!kernel.tasks.is_soft()));
    give("threads_taken", kernel.tasks.counts.taken);
    give("tsc_skew", skews.clone().filter(|(ahead, doubt)| ahead > doubt).map(|skew| skew.0).max().unwrap_or(0));
    give("tsc_skew_doubt", skews.map(|skew| skew.1).max().unwrap_or(0));
}

/// The sum of all CPUs' copies of a counter.
fn total(kernel: &Kernel, counter: &'static CpuLocal<Cell<u64>>) -> u64 {
    cpus_of(kernel).map(|cpu| counters(cpu, counter).get()).sum()
}
