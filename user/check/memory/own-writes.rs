//! The kernel writes to the memory of threads while another thread takes that memory away: `own-writes [rounds] [threads]`.
//!
//! Each thread has the kernel write to a page of its own all the time, by calls that some kernels make while another CPU is
//! in the kernel: `clock_gettime`, `gettimeofday`, `uname`. Meanwhile the main thread takes the right to write away, or the page,
//! or forks. From then on nothing may be written to what the page was: not to the page that is only read, not to a page that has
//! got the frame since, not to the child's.
//!
//! Run by: `tests/tests/smp.rs`.

use libc::*;
use programs::children::{End, child, close_all, end_of, give, pipe_ends, take};
use programs::cpus::argument;
use programs::sys;
use programs::system::{PAGE, pages};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::thread;

/// Pages that are likely to get the frame of one that has gone.
const HEIRS: usize = 8;

/// What is in them.
const PATTERN: u64 = 0x5555_aaaa_1234_5678;

/// A page to which a thread has the kernel write.
struct Target {
    page: u64,
    /// How often the thread has asked for it.
    asked: AtomicU64,
    /// How often the kernel has done it.
    written: AtomicU64,
}

impl Target {
    /// Calls `look` until the thread has asked for some more, all of it after this function was called.
    fn while_asked(&self, mut look: impl FnMut()) {
        let before = self.asked.load(SeqCst);
        while self.asked.load(SeqCst) < before + 4 {
            look();
            thread::yield_now();
        }
    }
}

/// Has the kernel write to a page until it is told to stop.
fn write(&Target { page, ref asked, ref written }: &Target, stop: &AtomicBool) {
    let calls: [&dyn Fn() -> Result<u64, i32>; 3] =
        [&|| sys!(SYS_clock_gettime, CLOCK_MONOTONIC, page), &|| sys!(SYS_gettimeofday, page, 0), &|| {
            sys!(SYS_uname, page)
        }];
    for call in calls.iter().cycle() {
        asked.fetch_add(1, SeqCst);
        match call() {
            Ok(0) => written.fetch_add(1, SeqCst),
            Err(EFAULT) => 0,
            other => panic!("an answer of neither kind: {other:?}"),
        };
        if stop.load(Relaxed) {
            return;
        }
    }
}

fn word(page: u64, index: usize) -> &'static AtomicU64 {
    // SAFETY: a word of a page that stays mapped as long as it is looked at; it is accessed as an atomic only.
    unsafe { &*std::ptr::with_exposed_provenance::<AtomicU64>(page as usize + index * 8) }
}

/// Asserts that a page, or what it has become, stays as it is while the kernel is asked to write to it.
fn stays(target: &Target, what: &str) {
    let now = || [word(target.page, 0).load(SeqCst), word(target.page, 1).load(SeqCst)];
    let first = now();
    target.while_asked(|| assert_eq!(now(), first, "{what} is written"));
}

fn take_right(target: &Target) {
    sys!(SYS_mprotect, target.page, PAGE, PROT_READ).expect("a page");
    stays(target, "a page that may only be read");
    sys!(SYS_mprotect, target.page, PAGE, PROT_READ | PROT_WRITE).expect("a page");
}

fn take_page(target: &Target) {
    sys!(SYS_munmap, target.page, PAGE).expect("a page");
    let heirs = pages(HEIRS) as u64;
    (0..HEIRS * PAGE / 8).for_each(|index| word(heirs, index).store(PATTERN, SeqCst));
    target.while_asked(|| ());
    let is_there = (0..HEIRS * PAGE / 8).all(|index| word(heirs, index).load(SeqCst) == PATTERN);
    assert!(is_there, "a page is written that belongs to another address");
    sys!(SYS_munmap, heirs, HEIRS * PAGE).expect("mapped pages");
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    assert_eq!(sys!(SYS_mmap, target.page, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0), Ok(target.page));
}

/// The child sees its copy before and after its parent's was written; the counts are its own copies too.
fn share_page(target: &Target) {
    let [to_child, to_parent] = [pipe_ends(), pipe_ends()];
    let now = || [word(target.page, 0).load(SeqCst), word(target.page, 1).load(SeqCst)];
    let pid = child(|| {
        let first = now();
        give(to_parent[1], 0);
        take(to_child[0]).expect("a byte");
        i32::from(now() != first)
    });
    take(to_parent[0]).expect("a byte");
    target.while_asked(|| ());
    give(to_child[1], 0);
    assert_eq!(end_of(pid), End::Exited(0), "the child's page is written");
    close_all(&[to_child, to_parent].concat());
}

fn main() {
    let (rounds, threads) = (argument(1, 40), argument(2, 3));
    let stop = &AtomicBool::new(false);
    // Between two that stay: what is mapped elsewhere finds no room where a page has gone.
    let first = pages(threads + 2) as u64 + PAGE as u64;
    let new = |number| Target { page: first + (number * PAGE) as u64, asked: 0.into(), written: 0.into() };
    let targets: &Vec<Target> = &(0..threads).map(new).collect();
    thread::scope(|scope| {
        for target in targets {
            scope.spawn(move || write(target, stop));
        }
        for round in 0..rounds {
            for (number, target) in targets.iter().enumerate() {
                let before = target.written.load(SeqCst);
                while target.written.load(SeqCst) < before + 3 {
                    thread::yield_now();
                }
                [take_right, take_page, share_page][(round + number) % 3](target);
            }
        }
        stop.store(true, Relaxed);
    });
    println!("ok own-writes: {} calls", targets.iter().map(|target| target.written.load(SeqCst)).sum::<u64>());
}
