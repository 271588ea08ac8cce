//! The scenes about several CPUs; on one CPU they say what is different there.

use super::application;
use super::report::{Container, Moment, number, row, say, table, time};
use super::scenes::Peer;
use programs::cpus::{affinity, current, set_affinity, stay_on};
use programs::gain::{Gain, PAIRS};
use programs::native::{self, Status};
use std::time::{Duration, Instant};

/// Most CPUs that are shown one by one.
pub(super) const SHOWN: u64 = 8;

/// Whether this kernel is the one for several CPUs: it has a lock.
fn for_several(now: &Moment) -> bool {
    now.has("lock_contended")
}

/// The CPUs that are up, and what each of them has of its own.
pub(super) fn cpus() -> Result<(), String> {
    let now = Moment::now()?;
    if let Some(processors) = application::processors() {
        say(&format!(
            "The kernel is the one for one CPU: CPU 0, no lock, and not an instruction that only several CPUs would need. \
             An extension of it runs programs on {}; a later chapter shows them. Native packages do not run there, and \
             this program has asked to stay on CPU 0 too. So what follows is the kernel for one CPU at work.",
            application::named(processors),
        ));
        return Ok(());
    }
    if !for_several(&now) {
        say(
            "This is the uniprocessor kernel: one CPU, no lock, and not an instruction in the image that only several \
             CPUs would need. What a CPU has for itself, its current thread for instance, lies in the section \
             `.cpulocal` at a fixed address, as in the kernel for several CPUs: the same instruction reads it there.",
        );
        return Ok(());
    }
    let cpus = now.cpus();
    let up = if cpus == 1 { "One CPU is up".to_owned() } else { format!("{cpus} CPUs are up") };
    let address = now.get("cpulocal_address");
    say(&format!(
        "{up}. What a CPU has for itself, its current thread for instance, lies in the section `.cpulocal`. Every CPU \
         finds it at the same address, {address:#x}, and reads it by the same instruction as the uniprocessor kernel \
         does, for behind that address each has physical pages of its own:"
    ));
    let mut rows = vec![row(&[&"CPU", &"address in the kernel", &"physical page behind it"])];
    for cpu in 0..cpus.min(SHOWN) {
        let frame = now.get(&format!("cpu{cpu}_cpulocal_frame"));
        rows.push(row(&[&format!("CPU {cpu}"), &format!("{address:#x}"), &format!("{frame:#x}")]));
    }
    table(&rows);
    if cpus > SHOWN {
        say(&format!("The other {} are like these.", cpus - SHOWN));
    }
    say(
        "All CPUs share one kernel, and a giant lock lets one of them in at a time. The kernel's own code was written \
         for one CPU and has stayed so: the lock stands at its doors only.",
    );
    Ok(())
}

/// What the package `stages` is told.
const THREAD: u64 = 1;
const MOVE: u64 = 2;
const TOUCH: u64 = 3;

/// A native process gets a second thread, and that thread another CPU.
pub(super) fn spread() -> Result<(), String> {
    say("A native process with one thread needs no page directory. Step by step it now becomes one that runs on two \
         CPUs, and pays for each step when it takes it:");
    let peer = Peer::start("stages")?;
    // On another CPU this program would get a copy of its own directory, and that would be counted too.
    let allowed = affinity(0).map_err(|error| format!("no mask of CPUs: error {error}"))?;
    stay_on(current());
    let start = Moment::now()?;
    let mut rows = vec![Container::head(), Container::of(peer.0)?.row("one thread, in the CPU's global directory")];
    let here = peer.ask(THREAD)?;
    let threaded = Container::of(peer.0)?;
    rows.push(threaded.row("a second thread: a directory of its own"));
    let there = peer.ask(MOVE)?;
    let moved = Moment::now()?;
    if there != here {
        rows.push(Container::of(peer.0)?.row(&format!("that thread on CPU {there}: a copy for it")));
    }
    let page = peer.ask(TOUCH)?;
    let touched = Moment::now()?;
    rows.push(Container::of(peer.0)?.row("both have touched a page far away"));
    table(&rows);
    peer.end()?;
    set_affinity(0, allowed).map_err(|error| format!("no CPUs back: error {error}"))?;
    let owner = threaded.owner().unwrap_or(here);
    if there == here {
        let whose = if application::processors().is_some() { "for native packages" } else { "here" };
        say(&format!(
            "There is no other CPU {whose}, so the second thread stayed on CPU {owner}, and no copy was made. With \
             `--smp 2` and the giant lock a second CPU would run it, on a copy of the directory: one page more, and a \
             spurious fault when the copy turns out to lack what has come since."
        ));
        return Ok(());
    }
    say(&format!(
        "CPU {owner} owns the container's page directory. CPU {there} got a copy of its top-level page and nothing \
         else ({} made): all tables below are shared, and the slot of `.cpulocal` points at CPU {there}'s own. Then the \
         first thread touched a page at {page:#x}, in a top-level slot that was new: that fault changed the container's \
         directory. When the second thread came to the page, CPU {there}'s copy lacked the slot. Its fault was \
         *spurious*: nothing was missing but the entry in the copy, and the kernel put it there ({} such).",
        moved.since(&start, "directory_copies_made"),
        touched.since(&moved, "spurious_faults_directory"),
    ));
    Ok(())
}

/// Rounds between two calls, calls, and instructions of a call: about a third of the time in the
/// kernel, as papers/001 had it.
const WORK: (u64, u64, u64) = (3_000, 7_000, 1_000);

/// Starts as many workers at once and waits for them.
fn workers(count: usize) -> Result<Duration, String> {
    let start = Instant::now();
    let (rounds, calls, instructions) = WORK;
    let argument = native::worker(rounds, calls, instructions);
    let started: Result<Vec<_>, _> = (0..count).map(|_| native::start("worker", argument)).collect();
    for pid in started.map_err(|error| format!("cannot start worker: errno {error}"))? {
        match native::wait(pid).map_err(|error| format!("cannot wait for worker: errno {error}"))? {
            Status::Exited(0) => {}
            status => return Err(format!("worker ended with {status:?}")),
        }
    }
    Ok(start.elapsed())
}

/// The benchmark of papers/001, section 4, and its Table 1.
pub(super) fn two_processes() -> Result<(), String> {
    say(&format!(
        "Two processes compute, and every {} rounds of a loop make a system call that takes {} instructions: the \
         benchmark of papers/001. First one of them alone, then both at once, and that several times; shown is the last.",
        number(WORK.0),
        number(WORK.2)
    ));
    let mut pairs = [[Duration::ZERO; 2]; PAIRS];
    let (mut first, mut before, mut after) = (Moment::now()?, Moment::now()?, Moment::now()?);
    for pair in &mut pairs {
        first = Moment::now()?;
        pair[0] = workers(1)?;
        before = Moment::now()?;
        pair[1] = workers(2)?;
        after = Moment::now()?;
    }
    let [one, two] = pairs[PAIRS - 1];
    println!();
    println!("While one ran, for {}:", time(one));
    table(&shares(&first, &before));
    println!("While both ran, for {}:", time(two));
    table(&shares(&before, &after));
    if after.cpus() == 1 {
        say("On one CPU there is nothing to gain by running both at once.");
        if !for_several(&after) {
            say("And nobody to wait for: this kernel has no lock.");
        }
        return Ok(());
    }
    // Every entry at level 0 asks for it.
    let entries = ["entries_system_call", "entries_exception", "entries_interrupt"];
    let asked = entries.iter().map(|name| after.since(&before, name)).sum::<u64>().max(1);
    let contended = after.since(&before, "lock_contended");
    let gain = match Gain::of(after.cpus() as usize, 2, pairs).factor {
        Some(factor) => format!("Both at once were {factor:.2} times as fast as one after the other."),
        None => format!(
            "How many times as fast that was cannot be said on this machine: {PAIRS} pairs of runs do not agree, as is \
             usual where instructions are translated. The shares of time hold all the same."
        ),
    };
    say(&format!(
        "{gain} The kernel lets in one CPU at a time, and \
         whoever comes meanwhile spins: of {} requests for the lock {} had to wait ({:.1}%).",
        number(asked),
        number(contended),
        contended as f64 * 100.0 / asked as f64
    ));
    Ok(())
}

/// How the time of each CPU divided between two moments, as a table. The CPUs that were idle all the
/// time, but for a hundredth, share a row.
pub(super) fn shares(before: &Moment, after: &Moment) -> Vec<Vec<String>> {
    const STATES: [&str; 4] = ["user", "kernel", "spin", "idle"];
    let shares = |cycles: [u64; 4]| {
        let all = cycles.iter().sum::<u64>().max(1);
        cycles.map(|cycles| format!("{:.1}%", cycles as f64 * 100.0 / all as f64))
    };
    let line = |name: &str, shares: &[String]| [&[name.to_owned()], shares].concat();
    let head = |states: &[&str]| [&["CPU"], states].concat().iter().map(|name| (*name).to_owned()).collect();
    if !for_several(after) {
        let [user, kernel, idle] =
            ["user_cycles", "kernel_cycles", "idle_cycles"].map(|name| after.since(before, name));
        let [user, kernel, _, idle] = shares([user, kernel, 0, idle]);
        return vec![head(&["user mode", "kernel", "idle"]), line("CPU 0", &[user, kernel, idle])];
    }
    let mut rows = vec![head(&["user mode", "kernel", "spinning", "idle"])];
    let mut resting = [0; 4];
    let mut count = 0;
    for cpu in 0..after.cpus() {
        let cycles = STATES.map(|state| after.since(before, &format!("cpu{cpu}_{state}_cycles")));
        if cycles[3] / 99 < cycles[..3].iter().sum() {
            rows.push(line(&format!("CPU {cpu}"), &shares(cycles)));
        } else {
            count += 1;
            resting.iter_mut().zip(cycles).for_each(|(sum, cycles)| *sum += cycles);
        }
    }
    if count > 0 {
        let others = if count == 1 { "the other".to_owned() } else { format!("the other {count}") };
        rows.push(line(&others, &shares(resting)));
    }
    rows
}
