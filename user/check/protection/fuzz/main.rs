//! Random system calls with hostile arguments: `fuzz [seconds] [seed]`.
//!
//! Children with several threads make calls of every number that the kernel has a place for, with arguments from the
//! pools in `victim.rs`. They share memory, race on it, fork, die of what they do to themselves or hang, and are
//! replaced. The kernel must live, and afterwards its counts of processes, threads, containers and frames must be as
//! before.
//!
//! Run by: `tests/src/lib.rs`, `tests/tests/boot/checked.rs`, `tests/tests/boot/fuzz.rs`,
//! `tests/tests/boot/programs.rs`.

mod nonsense;
mod victim;

use abi::native;
use programs::counts::Counts;
use programs::{cpus, native as jotun, sys};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};
use victim::Shared;

/// Children at a time.
const CHILDREN: usize = 4;
/// How long one lives; then it is killed, if it has not been yet.
const LIFE: Duration = Duration::from_millis(700);
/// After this number of seconds all that descends from them is killed, so that nothing piles up.
const SWEEP: Duration = Duration::from_secs(4);

fn main() {
    let seconds = cpus::argument(1, 10) as u64;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as usize);
    let seed = cpus::argument(2, now >> 8 & 0xffff_ffff) as u64;
    println!("fuzz for {seconds} s with the seed {seed}");
    std::io::stdout().flush().expect("standard output");
    let shared = Shared::new();
    let files = everything();
    // What is needed once is there after this, and no frames are missing because of it. That is also a copy of this
    // program's page directory for each CPU, for any of them may run it later.
    let allowed = cpus::affinity(0).expect("a mask of CPUs");
    cpus::allowed().into_iter().for_each(cpus::stay_on);
    cpus::set_affinity(0, allowed).expect("the CPUs that it had");
    run(shared, seed ^ 0x5eed, Duration::from_millis(500));
    let before = count_after_all_else_than(&files);
    let ended = run(shared, seed, Duration::from_secs(seconds));
    let after = count_after_all_else_than(&files);
    let answered: Vec<_> = (0..victim::NUMBERS).filter(|n| shared.known[*n].load(Relaxed) > 0).collect();
    println!(
        "{} calls, {} of them not refused; {} numbers known; {ended} children",
        shared.calls.load(Relaxed),
        shared.successes.load(Relaxed),
        answered.len(),
    );
    // Some of this program's pages are its file's and take no frame before they are written: from here they cannot be
    // told apart. When the run is over its end and its beginning can be compared to the frame, by `--stats`.
    let lost = before.frames.saturating_sub(after.frames);
    if lost > 8 || (Counts { frames: 0, ..before }) != (Counts { frames: 0, ..after }) {
        println!("before {before:?}\nafter  {after:?}");
        std::process::exit(1);
    }
    println!("ok fuzz");
}

/// Lets children loose for a while, and kills all of them; how many there were.
fn run(shared: &'static Shared, seed: u64, time: Duration) -> u64 {
    let mut slots = [const { None::<(i32, Instant)> }; CHILDREN];
    let (start, mut swept, mut born) = (Instant::now(), Instant::now(), 0);
    while start.elapsed() < time {
        for slot in &mut slots {
            match *slot {
                Some((pid, since)) if since.elapsed() > LIFE => _ = sys!(libc::SYS_kill, pid, libc::SIGKILL),
                Some(_) => {}
                None => {
                    let child_seed = seed.wrapping_mul(1_000_003).wrapping_add(born);
                    *slot = victim::start(shared, child_seed).map(|pid| (pid, Instant::now()));
                    born += 1;
                }
            }
        }
        while let Some(pid) = ended() {
            slots.iter_mut().filter(|slot| slot.is_some_and(|(of, _)| of == pid)).for_each(|slot| *slot = None);
        }
        if swept.elapsed() > SWEEP {
            kill_all();
            (slots, swept) = ([const { None }; CHILDREN], Instant::now());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_all();
    born
}

/// A child that has ended, if there is one.
fn ended() -> Option<i32> {
    let mut status = 0i32;
    sys!(libc::SYS_wait4, -1, &mut status, libc::WNOHANG | libc::__WALL, 0)
        .ok()
        .filter(|pid| *pid > 0)
        .map(|pid| pid as i32)
}

/// Kills every process but this one, and returns when none is left.
fn kill_all() {
    let me = std::process::id();
    let limit = Instant::now() + Duration::from_secs(120);
    loop {
        let text = jotun::statistics().expect("the kernel's statistics");
        while ended().is_some() {}
        if native::value(&text, "processes_live") == Some(1) {
            return;
        }
        let numbers: Vec<u32> = fs::read_dir("/proc")
            .expect("/proc")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != me)
            .collect();
        assert!(Instant::now() < limit, "processes that cannot be killed: {numbers:?}");
        for pid in numbers {
            let _ = sys!(libc::SYS_kill, pid, libc::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// All files and directories but the kernel's own.
fn everything() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut to_do = vec![PathBuf::from("/")];
    while let Some(directory) = to_do.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        for path in
            entries.map(|entry| entry.path()).filter(|path| path != Path::new("/proc") && path != Path::new("/dev"))
        {
            if path.symlink_metadata().is_ok_and(|file| file.is_dir()) {
                to_do.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

/// Takes away what has been made besides these files, and counts.
fn count_after_all_else_than(files: &BTreeSet<PathBuf>) -> Counts {
    for path in everything().difference(files) {
        let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
    }
    victim::touch_shared();
    Counts::now()
}
