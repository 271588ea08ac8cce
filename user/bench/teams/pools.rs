//! Threads and processes that wait before they work, so that where they began says nothing about where they should work:
//! behind a barrier, in a pool that takes jobs, with jobs of unequal length, and with sleeps between.

use super::{now, tell};
use programs::cpus;
use std::collections::{BTreeSet, VecDeque};
use std::hint::black_box;
use std::process::Command;
use std::sync::{Barrier, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Rounds of the loop that are about a million instructions.
const MILLION: u64 = 200_000;

/// Times that threads meet at the barrier.
const PHASES: u32 = 8;

/// Jobs of a pool for each of its threads.
const JOBS: usize = 8;

/// Times that a process sleeps and works.
const NAPS: u64 = 16;

/// Computes for this number of thousandths of [`MILLION`].
fn compute(thousandths: u64) {
    (0..MILLION * thousandths / 1000).for_each(|round| _ = black_box(round));
}

/// Runs a workload on this number of threads or processes; returns how long it took, and on how many CPUs threads worked.
pub(crate) fn run(name: &str, threads: usize) -> Result<(), String> {
    let before = now();
    let worked_on = match name {
        "barrier" => barrier(threads, || {}),
        "gathered" => barrier(threads, gather),
        "pool" => pool(threads),
        "jobs" => jobs(threads),
        "sleepers" => return sleepers(threads).map(|()| tell(&format!("{name}-{threads}"), now() - before)),
        "sleeper" => {
            nap_and_work(threads as u64);
            return Ok(());
        }
        _ => return Err("there is no such program".to_owned()),
    };
    tell(&format!("{name}-{threads}"), now() - before);
    println!("cpus {name}-{threads} {}", worked_on.len());
    Ok(())
}

/// Runs threads; the CPUs on which they say that they have worked.
fn together(threads: usize, work: impl Fn(usize, &mut BTreeSet<u32>) + Sync) -> BTreeSet<u32> {
    thread::scope(|scope| {
        let one = |number| {
            let work = &work;
            scope.spawn(move || {
                let mut seen = BTreeSet::new();
                work(number, &mut seen);
                seen
            })
        };
        let all: Vec<_> = (0..threads).map(one).collect();
        all.into_iter().flat_map(|thread| thread.join().expect("a thread ends")).collect()
    })
}

/// All wait for each other, then all compute for as long, again and again.
fn barrier(threads: usize, begin: impl Fn() + Sync) -> BTreeSet<u32> {
    let barrier = Barrier::new(threads);
    together(threads, |_, seen| {
        begin();
        for _ in 0..PHASES {
            barrier.wait();
            compute(500);
            seen.insert(cpus::current());
        }
    })
}

/// Goes to the first CPU, and may run anywhere again.
fn gather() {
    let all = cpus::affinity(0).expect("a mask");
    cpus::stay_on(cpus::allowed()[0]);
    cpus::set_affinity(0, all).expect("the CPUs that it had");
}

/// Threads that wait for jobs, which another one hands out.
fn pool(threads: usize) -> BTreeSet<u32> {
    // Jobs to be done, and how many threads wait for one.
    let state = Mutex::new((VecDeque::new(), 0));
    let (wanted, waiting) = (Condvar::new(), Condvar::new());
    let take = || {
        let mut state = state.lock().expect("no thread fails");
        loop {
            if let Some(job) = state.0.pop_front() {
                return job;
            }
            state.1 += 1;
            waiting.notify_one();
            state = wanted.wait(state).expect("no thread fails");
            state.1 -= 1;
        }
    };
    let give = |job: Option<u64>| {
        state.lock().expect("no thread fails").0.push_back(job);
        wanted.notify_one();
    };
    thread::scope(|scope| {
        let hand_out = || {
            // All wait first.
            drop(waiting.wait_while(state.lock().expect("no thread fails"), |state| state.1 < threads));
            (0..threads * JOBS).for_each(|_| give(Some(500)));
            (0..threads).for_each(|_| give(None));
        };
        scope.spawn(hand_out);
        together(threads, |_, seen| {
            while let Some(job) = take() {
                compute(job);
                seen.insert(cpus::current());
            }
        })
    })
}

/// The first thread has a short job, each further one a longer one; all begin at once.
fn jobs(threads: usize) -> BTreeSet<u32> {
    let barrier = Barrier::new(threads);
    together(threads, |number, seen| {
        barrier.wait();
        compute(1000 * (number as u64 + 1));
        seen.insert(cpus::current());
    })
}

/// Processes that sleep and work in turn.
fn sleepers(processes: usize) -> Result<(), String> {
    let me = std::env::current_exe().unwrap_or_default();
    let start = |number| Command::new(&me).arg(format!("sleeper={number}")).spawn();
    let all: Vec<_> = (0..processes).map(start).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    for mut process in all {
        let status = process.wait().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("a sleeper: {status}"));
        }
    }
    Ok(())
}

/// Naps and work of up to 4 ms and half a million instructions, in an order of each process's own.
fn nap_and_work(number: u64) {
    let mut random = cpus::Random::new(number);
    for _ in 0..NAPS {
        thread::sleep(Duration::from_micros(random.below(4000)));
        compute(random.below(500));
    }
}
