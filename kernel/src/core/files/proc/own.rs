//! `/proc/self` and the other processes' directories: the files about one process.

use super::Text;
use crate::arch::accounts;
use crate::core::linux::USER_HZ;
use crate::core::process::{Resources, Tasks};
use abi::extension::Report;
use containers::directory::USER_END;
use containers::{
    Backing, Budget, ContainerId, CpuSet, Job, Label, PAGE_SIZE, Process, ProcessId, Region, Rights, State, ThreadId,
};
use core::fmt::{self, Write};

/// Nanoseconds per tick.
const TICK: u64 = 1_000_000_000 / USER_HZ;

/// Where the name of a mapping begins in a line of `maps`.
const NAME_COLUMN: usize = 73;

/// Number of the terminal as a device: `/dev/console`, 5:1.
const TERMINAL: u32 = 5 << 8 | 1;

fn process(tasks: &Tasks, id: ProcessId) -> Result<&Process<Resources>, fmt::Error> {
    tasks.process(id).ok_or(fmt::Error)
}

/// What the extension that accompanies the main thread, if one does, reports of it.
fn companion(out: &Text, id: ProcessId) -> Option<Report> {
    out.memory.physical.accompanied.report(ThreadId::main(id)).filter(|companion| companion.runs != 0)
}

/// The main thread's state, in Linux's letter and word.
fn state(process: &Process<Resources>, companion: Option<Report>) -> (char, &'static str) {
    match process.main.state {
        State::Ended => ('Z', "zombie"),
        _ if matches!(process.control.job(), Job::Stopped(_)) => ('T', "stopped"),
        State::Ready | State::Running => ('R', "running"),
        State::Parked if companion.is_some() => ('R', "running"),
        State::Parked => ('S', "sleeping"),
    }
}

fn number(tasks: &Tasks, id: ProcessId) -> u32 {
    tasks.thread(ThreadId::main(id)).map_or(0, |main| main.number)
}

/// The address space of a container in bytes, and the pages that it has.
fn sizes(out: &Text, container: ContainerId) -> (u64, u64) {
    out.memory.container(container).map_or((0, 0), |container| {
        let usage = container.usage();
        (container.regions.bytes(), u64::from(usage.pages - usage.tables))
    })
}

pub(super) fn name(out: &mut Text, tasks: &Tasks, id: ProcessId) -> fmt::Result {
    writeln!(out, "{}", process(tasks, id)?.resources.name)
}

/// The arguments that the program was started with, each with a NUL behind it.
pub(super) fn command_line(out: &mut Text, tasks: &Tasks, id: ProcessId) -> fmt::Result {
    out.write_bytes(process(tasks, id)?.resources.command_line())
}

/// How many instructions a line of `maps` takes, roughly.
const COST_OF_A_REGION: u64 = 3_000;

/// Writes the regions from an address on, as many as one visit may list; returns the address at which the rest begin,
/// if there are more.
pub(super) fn maps(out: &mut Text, tasks: &Tasks, id: ProcessId, from: u64) -> Result<Option<u64>, fmt::Error> {
    let process = process(tasks, id)?;
    let mut at = from;
    let mut budget = Budget::of_a_visit();
    // Region by region, for each line may need memory of its own.
    while let Some(region) = next_region(out, process.container, at) {
        if budget.is_spent() {
            return Ok(Some(region.start));
        }
        at = region.end;
        map(out, &region, process.resources.executable())?;
        budget.spend(COST_OF_A_REGION);
    }
    Ok(None)
}

fn next_region(out: &Text, container: ContainerId, at: u64) -> Option<Region> {
    out.memory.container(container)?.regions.within(at..USER_END).next()
}

fn map(out: &mut Text, region: &Region, executable: &[u8]) -> fmt::Result {
    let right = |right, letter| if region.rights.contains(right) { letter } else { '-' };
    let (offset, shared, image) = match region.backing {
        Backing::Zero => (0, false, false),
        Backing::Object { offset, shared, .. } => (offset, shared, false),
        Backing::Image { offset, .. } => (offset, false, true),
    };
    let rights = [right(Rights::READ, 'r'), right(Rights::WRITE, 'w'), right(Rights::EXECUTE, 'x')];
    let before = out.size + out.staged as u64;
    write!(out, "{:08x}-{:08x} ", region.start, region.end)?;
    rights.into_iter().try_for_each(|letter| out.write_char(letter))?;
    let device = u32::from(region.backing.object().is_some());
    write!(out, "{} {offset:08x} 00:{device:02x} 0 ", if shared { 's' } else { 'p' })?;
    let name: &[u8] = match region.label {
        Label::Stack => b"[stack]",
        Label::Heap => b"[heap]",
        Label::None if image => executable,
        Label::None => b"",
    };
    if !name.is_empty() {
        let column = (out.size + out.staged as u64 - before) as usize;
        write!(out, "{:1$}", "", NAME_COLUMN.saturating_sub(column))?;
        out.write_bytes(name)?;
    }
    out.write_char('\n')
}

/// `/proc/self/stat`, proc_pid_stat(5).
pub(super) fn stat(out: &mut Text, tasks: &Tasks, id: ProcessId) -> fmt::Result {
    let process = process(tasks, id)?;
    let (pid, parent) = (number(tasks, id), process.parent_number);
    let (bytes, pages) = sizes(out, process.container);
    let companion = companion(out, id);
    // From its number to its flags; five counts of page faults and flags follow.
    write!(out, "{pid} ({}) {} {parent} ", process.resources.name, state(process, companion).0)?;
    write!(out, "{} {} {TERMINAL} {} 0 0 0 0 0 ", process.group, process.session, process.group)?;
    // Times in user mode and in the kernel, its children's, priority, nice, threads, timer, start.
    let own = out.memory.physical.accompanied.process_time(tasks, id);
    for time in [own, process.children_time].into_iter().flat_map(accounts::shares) {
        write!(out, "{} ", time / TICK)?;
    }
    write!(out, "20 0 {} 0 0 ", process.threads)?;
    write!(out, "{bytes} {pages} {} ", process.resources.limits.address_space.soft)?;
    let ran_on = process.main.ran_on.map_or(0, |cpu| u32::from(cpu.0));
    // From startcode (26) to exit_code (52); 38 is the signal at its end, SIGCHLD, and 39 the CPU.
    (26..=52).try_for_each(|field| {
        let value = match field {
            38 => 17,
            39 => companion.map_or(ran_on, |companion| companion.cpu),
            _ => 0,
        };
        write!(out, "{value}{}", if field == 52 { '\n' } else { ' ' })
    })
}

/// `/proc/self/status`, proc_pid_status(5).
pub(super) fn status(out: &mut Text, tasks: &Tasks, id: ProcessId) -> fmt::Result {
    let process = process(tasks, id)?;
    let pid = number(tasks, id);
    let parent = process.parent_number;
    let (bytes, pages) = sizes(out, process.container);
    let (size, resident) = (bytes / 1024, pages * PAGE_SIZE as u64 / 1024);
    let main = tasks.thread(ThreadId::main(id)).map_or((0, 0), |main| (main.own_pending(), main.signal_mask));
    writeln!(out, "Name:\t{}", process.resources.name)?;
    writeln!(out, "Umask:\t{:04o}", process.resources.umask)?;
    let (letter, word) = state(process, companion(out, id));
    writeln!(out, "State:\t{letter} ({word})\nTgid:\t{pid}\nNgid:\t0\nPid:\t{pid}\nPPid:\t{parent}\nTracerPid:\t0")?;
    writeln!(out, "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t{}", process.resources.descriptors.limit())?;
    writeln!(out, "Groups:\t\nVmPeak:\t{size:8} kB\nVmSize:\t{size:8} kB\nVmLck:\t       0 kB")?;
    writeln!(out, "VmHWM:\t{resident:8} kB\nVmRSS:\t{resident:8} kB\nThreads:\t{}", process.threads)?;
    writeln!(out, "SigPnd:\t{:016x}\nSigBlk:\t{:016x}", main.0, main.1)?;
    let cpus = out.memory.cpu_count();
    let all = CpuSet::first(cpus);
    let allowed = tasks.thread(ThreadId::main(id)).map_or(all, |main| main.affinity.intersection(all));
    // A digit for four CPUs, a comma between words of 32.
    match cpus {
        0..=32 => writeln!(out, "Cpus_allowed:\t{:0digits$x}", allowed.0, digits = cpus.div_ceil(4))?,
        _ => {
            let (high, low) = (allowed.0 >> 32, allowed.0 as u32);
            writeln!(out, "Cpus_allowed:\t{high:0digits$x},{low:08x}", digits = (cpus - 32).div_ceil(4))?;
        }
    }
    write!(out, "Cpus_allowed_list:\t")?;
    for (index, cpu) in allowed.iter().enumerate() {
        write!(out, "{}{}", if index == 0 { "" } else { "," }, cpu.0)?;
    }
    out.write_char('\n')
}
