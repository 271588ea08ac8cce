//! A fork of a large process is atomic, although the kernel takes several visits for it: `large-fork [MiB]`.
//!
//! In the middle of it threads of the parent write, signals arrive, and the parent is killed or stopped; nothing is
//! lost.
//!
//! Run by: `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

use libc::*;
use programs::children::{End, child, end_of, fork_raw, leave};
use programs::sys;
use programs::system::PAGE;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::{env, hint, ptr, slice, thread};

fn main() {
    let bytes = env::args().nth(1).map_or(48, |word| word.parse().expect("MiB")) << 20;
    let memory = touched(bytes);
    is_one_moment(memory);
    is_one_call(memory);
    ends_in_the_middle(memory);
    println!("ok large-fork");
}

/// Memory of which every page holds its number.
fn touched(bytes: usize) -> &'static [AtomicU64] {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    let area = sys!(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, flags, -1, 0).expect("memory");
    // SAFETY: it stays there, and all code writes to it with atomic accesses.
    let words = unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(area as usize), bytes / 8) };
    fill(words);
    words
}

fn fill(words: &[AtomicU64]) {
    words.iter().step_by(PAGE / 8).zip(0..).for_each(|(word, page)| word.store(page, Relaxed));
}

/// Whether every page still holds its number, but for the first and the last one.
fn is_whole(words: &[AtomicU64]) -> bool {
    let pages = words.len() / (PAGE / 8);
    (1..pages - 1).all(|page| words[page * PAGE / 8].load(Relaxed) == page as u64)
}

/// A thread counts in the first page, then in the last one. No child sees the second count ahead of the first: what is
/// copied late is not younger than what is copied early.
fn is_one_moment(memory: &'static [AtomicU64]) {
    static OVER: AtomicBool = AtomicBool::new(false);
    let (first, last) = (&memory[0], &memory[memory.len() - 1]);
    first.store(0, SeqCst);
    let counters = [(); 2].map(|()| {
        thread::spawn(move || {
            while !OVER.load(Relaxed) {
                let count = first.fetch_add(1, SeqCst);
                last.fetch_max(count + 1, SeqCst);
            }
        })
    });
    let mut moved = 0;
    for _ in 0..8 {
        let before = first.load(SeqCst);
        let child = fork_raw().expect("a child");
        if child == 0 {
            let (late, early) = (last.load(SeqCst), first.load(SeqCst));
            leave(if late <= early && early <= late + 2 && early >= before && is_whole(memory) { 0 } else { 1 });
        }
        assert_eq!(end_of(child), End::Exited(0), "a child of two moments");
        while first.load(SeqCst) == before {
            hint::spin_loop();
        }
        moved += 1;
    }
    OVER.store(true, Relaxed);
    counters.into_iter().for_each(|counter| counter.join().expect("a counter"));
    assert!(moved == 8 && is_whole(memory));
}

/// Handlers come before the call or after it, in the parent alone.
fn is_one_call(memory: &[AtomicU64]) {
    static ALARMS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn alarmed(_: i32) {
        ALARMS.fetch_add(1, Relaxed);
        assert!(sys!(SYS_getpid).is_ok());
    }
    // SAFETY: the handler counts, and makes one call.
    unsafe { signal(SIGALRM, alarmed as *const () as usize) };
    let every = |microseconds: i64| {
        let timer = [0, microseconds, 0, microseconds];
        sys!(SYS_setitimer, ITIMER_REAL, timer.as_ptr().expose_provenance(), 0).expect("a timer");
    };
    every(2_000);
    for _ in 0..8 {
        let child = child(|| i32::from(!is_whole(memory)));
        assert_eq!(end_of(child), End::Exited(0));
    }
    every(0);
    assert!(ALARMS.load(Relaxed) > 0 && is_whole(memory));
}

/// A process that forks without end is stopped and continued, then killed wherever it is; its memory comes back.
fn ends_in_the_middle(memory: &[AtomicU64]) {
    let free = || {
        let mut information = [0_u64; 14];
        sys!(SYS_sysinfo, information.as_mut_ptr().expose_provenance()).expect("how much is free");
        information[5]
    };
    let wait = |microseconds: i64| {
        let time = [0, microseconds * 1000];
        sys!(SYS_nanosleep, time.as_ptr().expose_provenance(), 0).expect("a while");
    };
    let at_rest = free();
    for round in 0..12 {
        let forker = child(|| {
            fill(memory);
            loop {
                end_of(child(|| i32::from(!is_whole(memory))));
            }
        });
        wait(20_000 + 1_733 * round);
        for signal in [SIGSTOP, SIGCONT, SIGKILL] {
            sys!(SYS_kill, forker, signal).expect("it is there");
            wait(500);
        }
        assert_eq!(end_of(forker), End::Killed(SIGKILL));
        // A child of it may still be there, for as long as it takes to look at its memory.
        while free() + (2 << 20) < at_rest {
            wait(1_000);
        }
    }
    assert!(is_whole(memory));
}
