//! Calls on many threads, descriptors or names.

use super::{close_all, memory, regions};
use libc::*;
use programs::children::{End, end_of, fork_raw, leave, pipe_ends};
use programs::sys;
use programs::system::PAGE;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Threads that wait for one word, and are woken or made to wait for another by one call.
pub(super) fn wake_ups() {
    const THREADS: u64 = 1_000;
    static WORDS: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];
    static THERE: AtomicU32 = AtomicU32::new(0);
    let [first, second] = [&WORDS[0], &WORDS[1]].map(|word| word.as_ptr().expose_provenance());
    let futex = |word, operation, count: u64, more: u64, other| sys!(SYS_futex, word, operation, count, more, other, 0);
    let wait = move || {
        THERE.fetch_add(1, Relaxed);
        while WORDS[0].load(Relaxed) == 0 {
            let _ = sys!(SYS_futex, first, FUTEX_WAIT, 0, 0);
        }
    };
    let start = || std::thread::Builder::new().stack_size(16 << 10).spawn(wait).expect("a thread");
    let threads: Vec<_> = (0..THREADS).map(|_| start()).collect();
    // All wait when all can be made to wait for the other word.
    let mut moved = 0;
    while moved < THREADS {
        moved += futex(first, FUTEX_CMP_REQUEUE, 0, u64::from(i32::MAX as u32), second).expect("waiters");
    }
    assert_eq!(THERE.load(Relaxed), THREADS as u32);
    WORDS[0].store(1, Relaxed);
    assert_eq!(futex(second, FUTEX_WAKE, 10, 0, 0), Ok(10), "no more than are asked for");
    assert_eq!(futex(second, FUTEX_WAKE, u64::from(i32::MAX as u32), 0, 0), Ok(THREADS - 10));
    threads.into_iter().for_each(|thread| thread.join().expect("its end"));
}

/// `poll` and `select` of many descriptors: with something ready, with nothing, and until something is.
pub(super) fn polls() {
    const DESCRIPTORS: usize = 3_000;
    let limit = [DESCRIPTORS as u64 + 100; 2];
    sys!(SYS_setrlimit, RLIMIT_NOFILE, limit.as_ptr().expose_provenance()).expect("more descriptors");
    let [reader, writer] = pipe_ends();
    let copies: Vec<u64> = (0..DESCRIPTORS).map(|_| sys!(SYS_dup, reader).expect("a descriptor")).collect();
    let mut asked: Vec<_> = copies.iter().map(|fd| pollfd { fd: *fd as i32, events: POLLIN, revents: 9 }).collect();
    let mut poll = |time: i32| {
        let count = sys!(SYS_poll, asked.as_mut_ptr().expose_provenance(), DESCRIPTORS, time);
        (count, asked.iter().filter(|asked| asked.revents == POLLIN).count())
    };
    assert_eq!(poll(0), (Ok(0), 0));
    assert_eq!(poll(1), (Ok(0), 0), "until the time is over");
    // Handlers wait until it waits, and then end it.
    super::count_alarms(2_000);
    assert_eq!(poll(-1), (Err(EINTR), 0));
    super::count_alarms(0);
    let child = fork_raw().expect("a child");
    if child == 0 {
        let _ = sys!(SYS_nanosleep, [0, 20_000_000_u64].as_ptr().expose_provenance(), 0);
        leave(i32::from(sys!(SYS_write, writer, b"x".as_ptr().expose_provenance(), 1) != Ok(1)));
    }
    assert_eq!(poll(-1), (Ok(DESCRIPTORS as u64), DESCRIPTORS), "until something is ready");
    assert_eq!(poll(0), (Ok(DESCRIPTORS as u64), DESCRIPTORS));
    assert_eq!(end_of(child), End::Exited(0));
    close_all(&copies);
    close_all(&[reader, writer].map(|fd| fd as u64));
}

/// A directory with many names, the address space of a process with many regions, and its many descriptors.
pub(super) fn listings() {
    const NAMES: usize = 2_000;
    const REGIONS: usize = 3_000;
    const ROOM: usize = 1 << 20;
    const DESCRIPTORS: usize = 300;
    let buffer = memory(ROOM, PROT_READ | PROT_WRITE);
    std::fs::create_dir("/tmp/many").expect("a directory");
    (0..NAMES).for_each(|n| drop(std::fs::File::create(format!("/tmp/many/{n}")).expect("a file")));
    let directory = sys!(SYS_open, c"/tmp/many", O_RDONLY | O_DIRECTORY).expect("the directory");
    let mut entries = 0;
    while let Ok(bytes @ 1..) = sys!(SYS_getdents64, directory, buffer, ROOM) {
        let listed = super::at(buffer, bytes as usize);
        let mut at = 0;
        while at < listed.len() {
            at += usize::from(u16::from_le_bytes([listed[at + 16], listed[at + 17]]));
            entries += 1;
        }
    }
    // This directory and the one above are listed too.
    assert_eq!(entries, NAMES + 2);
    close_all(&[directory]);
    std::fs::remove_dir_all("/tmp/many").expect("an empty directory");
    let area = regions(REGIONS);
    let maps = std::fs::read_to_string("/proc/self/maps").expect("regions");
    assert!(maps.ends_with('\n') && maps.lines().count() > REGIONS, "{} lines", maps.lines().count());
    let first = format!("{area:08x}-");
    assert_eq!(maps.lines().filter(|line| line.starts_with(&first)).count(), 1);
    super::unmap(&[area], 2 * REGIONS * PAGE);
    super::unmap(&[buffer], ROOM);
    let copies: Vec<u64> = (0..DESCRIPTORS).map(|_| sys!(SYS_dup, 1).expect("a descriptor")).collect();
    // The second time there are links to be looked at; the third time they have to go.
    (0..2).for_each(|_| assert!(descriptors_listed() >= DESCRIPTORS));
    close_all(&copies);
    assert!(descriptors_listed() < DESCRIPTORS);
}

fn descriptors_listed() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("descriptors").count()
}

/// A program is executed that does not get the thousands of descriptors which its predecessor had.
pub(super) fn successors() {
    const DESCRIPTORS: usize = 3_000;
    let limit = [DESCRIPTORS as u64 + 100; 2];
    sys!(SYS_setrlimit, RLIMIT_NOFILE, limit.as_ptr().expose_provenance()).expect("more descriptors");
    let child = fork_raw().expect("a child");
    if child == 0 {
        (0..DESCRIPTORS).for_each(|_| assert!(sys!(SYS_open, c"/dev/null", O_RDONLY | O_CLOEXEC).is_ok()));
        let words = [c"long-calls".as_ptr(), c"descriptors-of-mine".as_ptr(), std::ptr::null()];
        let none = [0_u64];
        let _ = sys!(SYS_execve, c"/proc/self/exe", words.as_ptr(), none.as_ptr());
        leave(1);
    }
    assert_eq!(end_of(child), End::Exited(0));
}

/// What the successor of [`successors`] does: looks whether it has descriptors that it ought not to have.
pub(super) fn descriptors_of_mine() {
    (100..2_000).for_each(|fd| assert_eq!(sys!(SYS_fcntl, fd, F_GETFD), Err(EBADF), "{fd}"));
}
