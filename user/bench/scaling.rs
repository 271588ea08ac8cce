//! How much more of one kind of calls several CPUs make than one does: `scaling WORKERS WORK...`.
//!
//! Each WORK is done by one unit and then by WORKERS of them at once, each bound to a CPU of its own; a line
//! `figure WORK-UNITS` tells hundredths of the ticks that one operation has taken a unit, from the moment when all are there
//! to the end of the last. A unit is a process, a thread (`faults-in-one`), or a pair of processes on two CPUs (`pipe`,
//! `futex`), of which there are half as many.
//!
//! Run by: `xtask/src/bench/scaling.rs`.

use programs::children::{End, child, close_all, end_of, give, pipe_ends, take};
use programs::cpus::{allowed, stay_on};
use programs::sys;
use programs::system::{PAGE, pages};
use std::arch::x86_64::_rdtsc;
use std::hint::spin_loop;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::thread;

/// The most workers.
const MOST: usize = 64;

/// Pages that a round of the page faults touches.
const TOUCHED: usize = 16;

/// What the workers share.
#[repr(C, align(4096))]
struct Shared {
    /// How many are ready to begin.
    ready: AtomicU32,
    /// The words over which the two of a pair hand their turn, each in a cache line of its own.
    turns: [Turn; MOST],
    begun: [AtomicU64; MOST],
    ended: [AtomicU64; MOST],
}

#[repr(align(64))]
struct Turn(AtomicU32);

/// One of the workers.
struct Worker<'a> {
    number: usize,
    shared: &'static Shared,
    /// For each pair a pipe there and one back.
    pipes: &'a [[[i32; 2]; 2]],
}

/// What is measured.
struct Work {
    name: &'static str,
    /// How many workers make a unit.
    workers: usize,
    /// Whether workers are threads of one process.
    threads: bool,
    /// How often a unit does it.
    times: u64,
    /// Makes ready what one needs, and returns what does it once.
    prepare: fn(&Worker) -> Box<dyn FnMut()>,
}

const fn processes(name: &'static str, times: u64, prepare: fn(&Worker) -> Box<dyn FnMut()>) -> Work {
    Work { name, workers: 1, threads: false, times, prepare }
}

const WORKS: [Work; 9] = [
    processes("getpid", 20_000, |_| Box::new(|| assert!(sys!(libc::SYS_getpid).is_ok()))),
    processes("clock", 20_000, |_| {
        let mut time = [0u64; 2];
        Box::new(move || assert_eq!(sys!(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &mut time), Ok(0)))
    }),
    processes("faults", 40, |_| Box::new(touch)),
    Work { threads: true, ..processes("faults-in-one", 40, |_| Box::new(touch)) },
    processes("read", 500, |worker| {
        let path = format!("/tmp/scaling-{}\0", worker.number);
        let file = sys!(libc::SYS_open, path.as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600).expect("a file");
        let mut page = vec![1u8; PAGE];
        sys!(libc::SYS_pwrite64, file, page.as_ptr(), PAGE, 0).expect("room in it");
        Box::new(move || assert_eq!(sys!(libc::SYS_pread64, file, page.as_mut_ptr(), PAGE, 0), Ok(PAGE as u64)))
    }),
    processes("open", 500, |worker| {
        let directory = format!("/tmp/scaling-in-{}", worker.number);
        std::fs::create_dir_all(&directory).expect("a directory");
        let path = format!("{directory}/file\0");
        std::fs::write(&path[..path.len() - 1], "").expect("a file");
        Box::new(move || {
            let file = sys!(libc::SYS_open, path.as_ptr(), libc::O_RDONLY, 0).expect("the file");
            sys!(libc::SYS_close, file).expect("an open file");
        })
    }),
    Work { workers: 2, ..processes("pipe", 300, bounce) },
    Work { workers: 2, ..processes("futex", 300, hand_over) },
    processes("fork", 40, |_| Box::new(|| assert_eq!(end_of(child(|| 0)), End::Exited(0)))),
];

/// Maps pages, touches each, and unmaps them.
fn touch() {
    let start = pages(TOUCHED);
    for page in 0..TOUCHED {
        // SAFETY: a page that has been mapped.
        unsafe { start.add(page * PAGE).write_volatile(1) };
    }
    sys!(libc::SYS_munmap, start, TOUCHED * PAGE).expect("mapped pages");
}

/// Waits for this worker's turn and gives it to the other of the pair.
fn hand_over(worker: &Worker) -> Box<dyn FnMut()> {
    let pair = worker.number / 2;
    let mine = worker.number as u32 % 2;
    let turn = &worker.shared.turns[pair].0;
    Box::new(move || {
        while turn.load(SeqCst) != mine {
            // It may be this one's turn by now.
            let _ = sys!(libc::SYS_futex, turn.as_ptr(), libc::FUTEX_WAIT, 1 - mine, 0);
        }
        turn.store(1 - mine, SeqCst);
        sys!(libc::SYS_futex, turn.as_ptr(), libc::FUTEX_WAKE, 1).expect("a word");
    })
}

/// Gives a byte to the other of the pair and takes one; the second of the two takes first.
fn bounce(worker: &Worker) -> Box<dyn FnMut()> {
    let [there, back] = worker.pipes[worker.number / 2];
    match worker.number % 2 {
        0 => Box::new(move || {
            give(there[1], 0);
            take(back[0]).expect("a byte");
        }),
        _ => Box::new(move || {
            take(there[0]).expect("a byte");
            give(back[1], 0);
        }),
    }
}

impl Work {
    /// Does the work by a number of units at once: ticks that an operation takes each.
    fn measure(&self, units: usize, cpus: &[u32]) -> f64 {
        let shared = Shared::new();
        let pipes: Vec<_> = (0..units).map(|_| [pipe_ends(), pipe_ends()]).collect();
        let workers = units * self.workers;
        let run = |number| {
            stay_on(cpus[number]);
            self.run(&Worker { number, shared, pipes: &pipes }, workers as u32);
        };
        if self.threads {
            thread::scope(|scope| (0..workers).for_each(|number| drop(scope.spawn(move || run(number)))));
        } else {
            let run = |number| {
                run(number);
                0
            };
            let children: Vec<_> = (0..workers).map(|number| child(|| run(number))).collect();
            children.into_iter().for_each(|pid| assert_eq!(end_of(pid), End::Exited(0), "a worker"));
        }
        pipes.into_iter().flatten().for_each(|ends| close_all(&ends));
        let times = |of: &[AtomicU64; MOST]| of[..workers].iter().map(|time| time.load(Relaxed)).collect::<Vec<_>>();
        let begin = times(&shared.begun).into_iter().min().unwrap_or(0);
        let end = times(&shared.ended).into_iter().max().unwrap_or(0);
        (end - begin) as f64 / self.times as f64
    }

    /// One worker's part. The first operation of each is not counted: it may need pages that are not there yet.
    fn run(&self, worker: &Worker, workers: u32) {
        let mut operation = (self.prepare)(worker);
        operation();
        worker.shared.ready.fetch_add(1, SeqCst);
        while worker.shared.ready.load(SeqCst) < workers {
            spin_loop();
        }
        worker.shared.begun[worker.number].store(now(), Relaxed);
        (0..self.times).for_each(|_| operation());
        worker.shared.ended[worker.number].store(now(), Relaxed);
    }
}

impl Shared {
    /// New ones, for all processes that this one makes.
    fn new() -> &'static Shared {
        let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        let place = sys!(libc::SYS_mmap, 0, size_of::<Shared>(), rights, flags, -1, 0).expect("a mapping");
        // SAFETY: a new mapping of this size, all zero, which stays; all that is ever done with it are atomic accesses.
        unsafe { &*std::ptr::with_exposed_provenance(place as usize) }
    }
}

/// The time-stamp counter.
fn now() -> u64 {
    // SAFETY: every 64-bit CPU has it, and the kernel lets programs read it.
    unsafe { _rdtsc() }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let cpus = allowed();
    let works: Option<Vec<_>> = words.iter().skip(1).map(|word| WORKS.iter().find(|work| work.name == word)).collect();
    let workers =
        words.first().and_then(|word| word.parse().ok()).filter(|count| (1..=cpus.len().min(MOST)).contains(count));
    let (Some(workers), Some(works)) = (workers, works) else {
        let names: Vec<_> = WORKS.iter().map(|work| work.name).collect();
        eprintln!("usage: scaling WORKERS WORK...: 1 to {} workers, and of {}", cpus.len(), names.join(", "));
        return ExitCode::from(2);
    };
    for work in works {
        let mut units = vec![1, workers / work.workers];
        units.retain(|units| units * work.workers <= workers && *units > 0);
        units.dedup();
        for units in units {
            let hundredths = work.measure(units, &cpus) * 100.0;
            println!("figure {}-{units} {hundredths:.0} {hundredths:.0} {hundredths:.0}", work.name);
        }
    }
    ExitCode::SUCCESS
}
