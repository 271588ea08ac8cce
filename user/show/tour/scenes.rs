//! The scenes of the tour, one after the other.

use super::application;
use super::report::{Container, Moment, heading, number, row, say, table, time};
use super::several;
use programs::cpus;
use programs::native::{self, Status};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

type Scene = fn() -> Result<(), String>;

/// All scenes with their headings.
const SCENES: [(&str, Scene); 12] = [
    ("The machine", machine),
    ("The CPUs", several::cpus),
    ("One call makes a process", process),
    ("Two pages are enough", two_pages),
    ("Leaving the window", window),
    ("Messages", messages),
    ("Threads take turns", threads),
    ("A process spreads over the CPUs", several::spread),
    ("Two processes, one kernel", several::two_processes),
    ("CPUs for programs alone", application::scene),
    ("Bad programs end alone", bad_programs),
    ("Nothing is lost", nothing_lost),
];

pub(super) fn all() -> Result<(), String> {
    let start = Moment::now()?;
    let clock = Instant::now();
    say("This is Jotun: a small kernel that runs static Linux programs and its own native packages. The program that \
         speaks here is an ordinary Rust program with std. It starts a few others and shows what the kernel did.");
    for (index, (title, scene)) in SCENES.iter().enumerate() {
        heading(index + 1, title);
        scene()?;
    }
    heading(SCENES.len() + 1, "Where the time went");
    balance(&start, clock.elapsed())?;
    farewell();
    Ok(())
}

/// Starts a package, waits for its end, and gives how long that took.
fn run(name: &str, argument: u64) -> Result<Duration, String> {
    let start = Instant::now();
    let pid = native::start(name, argument).map_err(|error| format!("cannot start {name}: errno {error}"))?;
    match native::wait(pid).map_err(|error| format!("cannot wait for {name}: errno {error}"))? {
        Status::Exited(0) => Ok(start.elapsed()),
        status => Err(format!("{name} ended with {status:?}")),
    }
}

fn machine() -> Result<(), String> {
    let now = Moment::now()?;
    let megabytes = |frames: u64| format!("{} MiB", (frames * 4096) >> 20);
    table(&[
        row(&[&"what", &"amount"]),
        row(&[&"clock", &format!("{} MHz", now.get("tsc_hz") / 1_000_000)]),
        row(&[&"memory for programs", &megabytes(now.get("frames_total"))]),
        row(&[&"of it free", &megabytes(now.get("frames_free"))]),
        row(&[&"kernel heap", &format!("{} KiB", now.get("heap_pages") * 4)]),
        row(&[&"native packages resident", &now.get("packages")]),
        row(&[&"from first instruction to first program", &time(Duration::from_micros(now.get("boot_microseconds")))]),
    ]);
    say("Packages were loaded once, at boot, each at an address of its own. Their code is shared by every process \
         that runs them, and never faults.");
    Ok(())
}

fn process() -> Result<(), String> {
    say("The call `start` makes a container (an address space), a process and its main thread in one go:");
    println!();
    // The first one fills caches; the second is measured.
    run("hello", 0)?;
    let before = Moment::now()?;
    let took = run("hello", 0)?;
    let after = Moment::now()?;
    let grown = |name| number(after.since(&before, name));
    table(&[
        row(&[&"from start to end of one process", &"count"]),
        row(&[&"containers made", &grown("containers_made")]),
        row(&[&"page faults", &grown("page_faults")]),
        row(&[&"system calls (the tour's own included)", &grown("entries_system_call")]),
        row(&[&"changes of thread", &grown("context_switches")]),
        row(&[&"time, printing included", &time(took)]),
    ]);
    Ok(())
}

/// A package that answers each number with a number, until it gets an empty message.
pub(super) struct Peer(pub(super) i32);

impl Peer {
    pub(super) fn start(name: &str) -> Result<Peer, String> {
        let pid = native::start(name, std::process::id().into());
        pid.map(Peer).map_err(|error| format!("cannot start {name}: errno {error}"))
    }

    pub(super) fn ask(&self, number: u64) -> Result<u64, String> {
        let errno = |error: i32| format!("a message failed: errno {error}");
        native::send(self.0, &number.to_le_bytes()).map_err(errno)?;
        let mut answer = [0; 8];
        let (sender, length) = native::receive(&mut answer).map_err(errno)?;
        if (sender, length) == (self.0, 8) {
            return Ok(u64::from_le_bytes(answer));
        }
        Err(format!("process {sender} answered {number} with {length} bytes"))
    }

    pub(super) fn end(self) -> Result<(), String> {
        native::send(self.0, &[]).and_then(|_| native::wait(self.0)).map(drop).map_err(|error| format!("errno {error}"))
    }
}

fn two_pages() -> Result<(), String> {
    say("A fresh container owns two pages: the page table of its window, a region of 2 MiB that holds its data, heap \
         and stack, and the first page of that stack. It has no page directory: it runs in the CPU's global one, \
         where the entry of the window is pointed at its table.");
    let peer = Peer::start("messages")?;
    let mut rows = vec![Container::head(), Container::of(peer.0)?.row("a native process, just made")];
    peer.ask(1)?;
    rows.push(Container::of(peer.0)?.row("the same, after some work"));
    rows.push(Container::of(0)?.row("this program, with std"));
    table(&rows);
    peer.end()?;
    say("`idle2pages` looks at itself:");
    println!();
    run("idle2pages", 0).map(drop)
}

fn window() -> Result<(), String> {
    say("A fault inside the window adds a page and nothing else. The first touch outside gives the container a page \
         directory of its own, copied from the global one. `outgrow` does both:");
    println!();
    let before = Moment::now()?;
    run("outgrow", 0)?;
    let after = Moment::now()?;
    println!();
    say(&format!(
        "That took {} page faults and {} container page directory.",
        after.since(&before, "page_faults"),
        after.since(&before, "container_directories_made")
    ));
    Ok(())
}

fn messages() -> Result<(), String> {
    const ROUNDS: u64 = 1000;
    let peer = Peer::start("messages")?;
    peer.ask(0)?;
    let before = Moment::now()?;
    let clock = Instant::now();
    for round in 0..ROUNDS {
        peer.ask(round)?;
    }
    let took = clock.elapsed();
    let after = Moment::now()?;
    peer.end()?;
    say("Processes send each other short messages. A sender never waits: a full queue is an error. Here this program \
         and a native one sent a number to and fro:");
    let each = |name| after.since(&before, name) as f64 / ROUNDS as f64;
    table(&[
        row(&[&"per round trip", &"count"]),
        row(&[&"messages", &format!("{:.1}", each("messages_sent"))]),
        row(&[&"system calls", &format!("{:.1}", each("entries_system_call"))]),
        row(&[&"changes of thread", &format!("{:.1}", each("context_switches"))]),
        row(&[&"page faults", &format!("{:.1}", each("page_faults"))]),
        row(&[&"time", &time(took / ROUNDS as u32)]),
    ]);
    Ok(())
}

fn threads() -> Result<(), String> {
    const THREADS: usize = 3;
    let rounds = [const { AtomicU64::new(0) }; THREADS];
    let stop = AtomicBool::new(false);
    // Threads inherit the CPUs that their maker may run on.
    let all = cpus::affinity(0).map_err(|error| format!("no mask of CPUs: errno {error}"))?;
    let bind = |mask| cpus::set_affinity(0, mask).map_err(|error| format!("cannot choose CPUs: errno {error}"));
    bind(1 << cpus::current())?;
    let before = Moment::now()?;
    let mut rows = vec![Container::head(), Container::of(0)?.row("before")];
    std::thread::scope(|scope| -> Result<(), String> {
        for count in &rounds {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    count.fetch_add(1, Relaxed);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        rows.push(Container::of(0)?.row("meanwhile"));
        stop.store(true, Relaxed);
        Ok(())
    })?;
    let after = Moment::now()?;
    bind(all)?;
    let counts = rounds.each_ref().map(|count| count.load(Relaxed));
    let all = counts.iter().sum::<u64>().max(1);
    say(&format!(
        "{THREADS} threads of this program, all on one CPU, counted for half a second and never waited. The timer interrupts the one \
         that runs at the end of its time slice, and the next one has its turn: their shares were {}. It took {} \
         interrupts and {} changes of thread. Threads of a process share its container:",
        counts.map(|count| format!("{}%", (count * 100 + all / 2) / all)).join(", "),
        number(after.since(&before, "entries_interrupt")),
        number(after.since(&before, "context_switches")),
    ));
    table(&rows);
    Ok(())
}

fn bad_programs() -> Result<(), String> {
    let before = Moment::now()?;
    say("Some packages do what they must not, each in a process of its own, and are killed for it:");
    println!();
    run("write-code", 0)?;
    run("nx", 0)?;
    println!();
    let after = Moment::now()?;
    say(&format!(
        "{} containers were made for that; alive now: {}, this program's own. The kernel log has a line for each \
         process killed.",
        after.since(&before, "containers_made"),
        after.get("containers_live"),
    ));
    Ok(())
}

fn nothing_lost() -> Result<(), String> {
    const MANY: u64 = 500;
    say("Processes come and go, and every page they had comes back:");
    println!();
    let before = Moment::now()?;
    let took = run("spawner", MANY)?;
    let after = Moment::now()?;
    println!();
    let made = after.since(&before, "processes_made").max(1);
    say(&format!("{made} processes in {}, {} each.", time(took), time(took / made as u32)));
    Ok(())
}

/// The cost of the whole tour, and which CPU paid it.
fn balance(start: &Moment, took: Duration) -> Result<(), String> {
    let now = Moment::now()?;
    let grown = |name| now.since(start, name);
    let processors = application::processors();
    let who = match processors {
        Some(_) => "CPU 0",
        None if now.cpus() == 1 => "The CPU",
        None => "The CPUs",
    };
    say(&format!("The tour took {}. {who} spent it", time(took)));
    table(&several::shares(start, &now));
    if processors.is_some() {
        say(
            "The kernel does not know what the application processors do; `cargo xtask profile --strategy application` \
             shows it.",
        );
    }
    say(
        "Every entry raises the CPU's execution level: from 0, user mode, to 1, the kernel; to 2 if the kernel itself \
         is interrupted. The kernel was entered",
    );
    table(&[
        row(&[&"because of", &"level", &"times"]),
        row(&[&"system calls", &1, &number(grown("entries_system_call"))]),
        row(&[&"exceptions, page faults among them", &1, &number(grown("entries_exception"))]),
        row(&[&"interrupts of programs", &1, &number(grown("entries_interrupt"))]),
        row(&[&"interrupts of the kernel", &2, &number(grown("level2_interrupts"))]),
    ]);
    Ok(())
}

fn farewell() {
    say("What to try next:");
    println!(
        "
    cargo xtask run --smp 4                       this tour on four CPUs, or with --up on one
    cargo xtask run --strategy application        with CPUs that run programs alone
    cargo xtask run -- hello-std a b              a program of the image
    cargo xtask run -- ./prog                     a static Linux program of your own
    cargo xtask run -- /pkg/threads               a native package
    cargo xtask run --smp 4 -- speed              what several CPUs gain
    cargo xtask run --smp 4 -- shootdown          pages taken away while all CPUs use them
    cargo xtask run -- hostile                    what bad programs try
    cargo xtask run --stats - -- times            with the kernel's statistics at the end
    cargo xtask run --help                        everything else
"
    );
}
