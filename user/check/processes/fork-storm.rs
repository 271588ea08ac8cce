//! Many processes: `fork-storm [part] [amount]`, `fork-storm [amount]`.
//!
//! - `hammer`: threads write to their pages all the time while others fork; each child finds every page as it was at
//!   one moment, and the parent never sees what the child writes.
//! - `many`: many processes, one after another.
//! - `bomb`: children make children until there is no room or no memory; the calls fail with an error, and when the
//!   children are gone all memory is free again.
//! - `starve`: `execve` with less and less memory left, down to none.
//!
//! Without a part it makes a few rounds of the first two. All parts but `bomb` run on Linux.
//!
//! Run by: `tests/tests/boot/application.rs`, `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

use libc::*;
use programs::children::{End, end_of, fork_raw, leave};
use programs::cpus;
use programs::sys;
use programs::system::{self, PAGE};
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::{ptr, thread};

/// This program, which ends at once when it is told so.
const ME: &CStr = c"/proc/self/exe";

const WORDS: usize = PAGE / 8;

/// A page whose words are written in turn, always the first first.
struct Page(&'static [AtomicU64; WORDS]);

impl Page {
    /// # Panics
    /// If there is no memory.
    fn new() -> Page {
        // SAFETY: the page is new, never unmapped, and its words are reached as atomics only.
        Page(unsafe { &*system::pages(1).cast() })
    }

    fn write(&self, value: u64) {
        self.0.iter().for_each(|word| word.store(value, SeqCst));
    }

    /// Whether it is what a writer leaves at some moment: some words of one value, then those of the one before.
    fn is_whole(&self) -> bool {
        let first = self.0[0].load(SeqCst);
        let values = || self.0.iter().map(|word| word.load(SeqCst));
        let split = values().position(|value| value != first).unwrap_or(WORDS);
        values().skip(split).all(|value| value + 1 == first)
    }
}

fn hammer(rounds: usize) {
    let cpus = cpus::allowed().len();
    let writers = cpus.clamp(2, 8);
    let pages: Vec<Page> = (0..writers).map(|_| Page::new()).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (stop, pages) = (&stop, &pages);
        let writing: Vec<_> = pages
            .iter()
            .map(|page| {
                scope.spawn(move || {
                    let mut value = 0;
                    while !stop.load(SeqCst) {
                        value += 1;
                        page.write(value);
                        assert_eq!(page.0[WORDS - 1].load(SeqCst), value, "nobody else writes there");
                    }
                    value
                })
            })
            .collect();
        let forking: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    for _ in 0..rounds {
                        match fork_raw().expect("a child") {
                            0 => {
                                let whole = pages.iter().all(Page::is_whole);
                                // No other thread is here: what is written stays.
                                pages.iter().for_each(|page| page.write(7));
                                let mine = pages.iter().all(|page| page.0.iter().all(|word| word.load(SeqCst) == 7));
                                leave(i32::from(!whole) | i32::from(!mine) << 1);
                            }
                            pid => {
                                assert_eq!(end_of(pid), End::Exited(0), "1: a torn page, 2: a page that others write")
                            }
                        }
                    }
                })
            })
            .collect();
        forking.into_iter().for_each(|forker| forker.join().expect("a forker"));
        stop.store(true, SeqCst);
        for (writer, page) in writing.into_iter().zip(pages) {
            let last = writer.join().expect("a writer");
            assert!(page.0.iter().all(|word| word.load(SeqCst) == last), "the last value stands");
        }
    });
    println!("hammer: {rounds} rounds of 2 forkers beside {writers} writers");
}

fn many(count: usize) {
    for n in 0..count {
        match fork_raw().expect("a child") {
            0 => leave(n as i32 & 0x7f),
            pid => assert_eq!(end_of(pid), End::Exited(n as i32 & 0x7f)),
        }
    }
    println!("many: {count} one after another");
}

/// A process of the bomb: makes as many children as it can, each of which does the same, and ends when nobody
/// has the other end of a pipe any more.
fn explode(end: i32) -> ! {
    let mut byte = 0u8;
    let mut poll = pollfd { fd: end, events: POLLIN, revents: 0 };
    while sys!(SYS_poll, &mut poll, 1, 0) == Ok(0) {
        match fork_raw() {
            Ok(_) => {}
            Err(EAGAIN | ENOMEM) => _ = sys!(SYS_read, end, &mut byte, 1),
            Err(_) => leave(1),
        }
    }
    leave(0)
}

fn bomb(limit: u64) {
    let names = ["processes_live", "threads_live", "containers_live"];
    let counts = || names.map(|name| cpus::statistic(name).expect("this is not for Linux"));
    let before = counts();
    let mut ends = [0i32; 2];
    sys!(SYS_pipe2, &mut ends, 0).expect("a pipe");
    let bomber = fork_raw().expect("a child");
    if bomber == 0 {
        let _ = sys!(SYS_close, ends[1]);
        if limit > 0 {
            sys!(SYS_setrlimit, RLIMIT_NPROC, &[limit, limit]).expect("a limit");
        }
        explode(ends[0]);
    }
    // When no process more has come for a while, all have been refused.
    let mut most = 0;
    loop {
        let _ = sys!(SYS_nanosleep, &[0i64, 300_000_000], 0);
        let now = counts()[0];
        if now <= most {
            break;
        }
        most = now;
    }
    assert!(limit == 0 || most <= limit, "{most} processes, {limit} allowed");
    // This process can still do what it does: a page of its own, a file.
    let page = Page::new();
    page.write(1);
    let written = std::fs::write("/tmp/fork-storm", "there");
    // Under the application kernel, where a process takes more of it, memory ends before the numbers of processes do,
    // and files get nothing of the last.
    let memory_ends = limit == 0 && std::path::Path::new("/dev/apkern").exists();
    let is_full = |error: &std::io::Error| memory_ends && error.kind() == std::io::ErrorKind::StorageFull;
    assert!(written.as_ref().err().is_none_or(is_full), "a file: {written:?}");
    std::fs::remove_file("/tmp/fork-storm").expect("it can be removed");
    let _ = sys!(SYS_close, ends[1]);
    // Without a limit even the first may be one for whose own page there was no memory left.
    let end = end_of(bomber);
    assert!(end == End::Exited(0) || limit == 0 && end == End::Killed(SIGKILL), "{end:?}");
    // A child whose parent has ended first has no parent.
    cpus::spin_until(|| counts() == before);
    let _ = sys!(SYS_close, ends[0]);
    println!("bomb: {most} processes, then errors, and all is back");
}

/// Children that take all memory but so many pages beyond what is kept for small processes, and then call `execve`: that
/// has failed or the new program runs, or it finds no memory for a page of its own. The program gets an environment of
/// about half of what is kept, which is as much as it can get of that, so that there are many points at which memory
/// can end.
fn starve(step: usize) {
    const SHARE: usize = 16;
    let frames = |name| cpus::statistic(name).expect("this is not for Linux") as usize;
    let reserve = frames("frames_total") / SHARE;
    const LENGTH: usize = 100_000;
    let string = CString::new("e".repeat(LENGTH)).expect("a string");
    let strings = vec![string.as_ptr(); (reserve / 2 + 50) * PAGE / LENGTH];
    // Strings may take a quarter of the stack.
    let stack = (8 * strings.len() * LENGTH) as u64;
    sys!(SYS_setrlimit, RLIMIT_STACK, &[stack, u64::MAX]).expect("a limit");
    let environment = strings.into_iter().chain([ptr::null()]).collect::<Vec<_>>();
    let words = [c"fork-storm".as_ptr(), c"exit".as_ptr(), c"0".as_ptr(), ptr::null()];
    let mut ends = [0; 3];
    for left in (0..400).step_by(step) {
        let pid = match fork_raw().expect("a child") {
            0 => {
                let take = frames("frames_free") - reserve - left;
                // A page of tables for each 512; and what the statistics took comes back.
                let pages = take - take / 512 + 40;
                let area = system::pages(pages + 64);
                // SAFETY: the pages are there.
                (0..pages).for_each(|page| unsafe { area.add(page * PAGE).write_volatile(1) });
                let failed = sys!(SYS_execve, ME, words.as_ptr(), environment.as_ptr());
                leave(if failed == Err(ENOMEM) { 1 } else { 2 });
            }
            pid => pid,
        };
        let end = match end_of(pid) {
            End::Exited(status @ 0..2) => status,
            End::Killed(SIGKILL) => 2,
            other => panic!("{left} pages: {other:?}"),
        };
        ends[end as usize] += 1;
    }
    assert!(ends[0] > 0 && ends[1] > 0, "{ends:?}");
    println!("starve: the program ran, there was no memory for it, it was killed: {ends:?}");
}

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    match &part[..] {
        "exit" => leave(cpus::argument(2, 0) as i32),
        "hammer" => hammer(cpus::argument(2, 200)),
        "many" => many(cpus::argument(2, 10_000)),
        "starve" => starve(cpus::argument(2, 20)),
        "bomb" => bomb(cpus::argument(2, 0) as u64),
        _ => {
            let amount = part.parse().unwrap_or(20);
            hammer(amount);
            many(20 * amount);
        }
    }
    println!("ok fork-storm");
}
