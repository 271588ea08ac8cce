//! Shortages: `shortage [part]`. A process that takes more than there is gets an error or is killed; all other
//! processes go on.
//!
//! - `files`: a file system that is full, by `write`, by a store through a mapping, by `fallocate`; and emptied
//!   again.
//! - `names`: as many names as there may be; output and removing still work.
//! - `pipes`: a process fills all pipes that it can open; other processes can still write to theirs.
//! - `memory`: a process touches more memory than there is and is killed; smaller ones, and the first process, stay.
//! - `held`: a process fills memory with a file that has no name any more, and is killed when another needs some.
//! - `edge`: a process takes memory as long as calls give it some, and keeps it; processes can still be made.
//! - `regions`: processes fill the kernel's heap with mappings; output, reading and `kill` still work.
//! - `sit`: the process of `edge` alone, which says when it begins and when it has its memory.
//!
//! It is not for Linux, which has other bounds.
//!
//! Run by: `tests/tests/boot/profile.rs`, `tests/tests/boot/shortage.rs`.

use libc::*;
use programs::children::{End, child, close_all, end_of, give, leave, pipe_ends, take};
use programs::cpus::statistic;
use programs::sys;
use programs::system::{PAGE, pages};
use std::ffi::{CStr, CString};

const FILL: &CStr = c"/tmp/fill";
const MAKE: i32 = O_RDWR | O_CREAT | O_TRUNC;

/// What `statfs` says.
fn about() -> statfs {
    // SAFETY: numbers all, of which 0 is one.
    let mut about = unsafe { std::mem::zeroed() };
    sys!(SYS_statfs, c"/tmp", &mut about).expect("a file system");
    about
}

fn open(path: &CStr, flags: i32) -> Result<u64, i32> {
    sys!(SYS_open, path, flags, 0o644)
}

fn frames(name: &str) -> usize {
    statistic(name).expect("this is not for Linux") as usize
}

/// Writes to a file, from its offset on, until an error comes; the bytes written and the error.
fn write_on(fd: u64, piece: usize) -> (u64, i32) {
    let bytes = vec![7u8; piece];
    let mut done = 0;
    loop {
        match sys!(SYS_write, fd, bytes.as_ptr(), bytes.len()) {
            Ok(count) => done += count,
            Err(error) => return (done, error),
        }
    }
}

/// Writes to each of this number of pages.
fn touch(area: *mut u8, count: usize) {
    // SAFETY: the caller's new mapping.
    (0..count).for_each(|page| unsafe { area.add(page * PAGE).write_volatile(1) });
}

fn map_shared(fd: u64, length: usize) -> *mut u8 {
    let start = sys!(SYS_mmap, 0, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0).expect("a mapping");
    std::ptr::with_exposed_provenance_mut(start as usize)
}

fn files() {
    let before = about();
    assert!(before.f_bavail <= before.f_bfree && before.f_bfree < before.f_blocks, "the image takes some");
    println!("{} blocks", before.f_blocks);
    let there = open(c"/tmp/there", MAKE).unwrap();
    assert_eq!(sys!(SYS_write, there, b"x".as_ptr(), 1), Ok(1));
    let free = before.f_bfree - 1;
    for piece in [1 << 20, 5000] {
        let fd = open(FILL, MAKE).unwrap();
        assert_eq!(write_on(fd, piece), (free * PAGE as u64, ENOSPC), "to the last byte");
        assert_eq!((about().f_bfree, about().f_bavail), (0, 0));
        assert_eq!(sys!(SYS_close, fd), Ok(0));
    }
    // What is there can be written to, and a file without pages made.
    assert_eq!(sys!(SYS_pwrite64, there, b"y".as_ptr(), 1, PAGE - 1), Ok(1));
    let hole = open(c"/tmp/hole", MAKE).unwrap();
    assert_eq!(sys!(SYS_ftruncate, hole, 2 * PAGE), Ok(0));
    assert_eq!(sys!(SYS_pwrite64, hole, b"y".as_ptr(), 1, PAGE), Err(ENOSPC));
    assert_eq!(sys!(SYS_fallocate, hole, 0, 0, PAGE), Err(ENOSPC));
    let store = || {
        // SAFETY: the mapping is new, and no other code has it.
        unsafe { map_shared(hole, 2 * PAGE).write_volatile(1) };
        0
    };
    assert_eq!(end_of(child(store)), End::Killed(SIGBUS));
    // A call that stores there is told.
    assert_eq!(sys!(SYS_pread64, there, map_shared(hole, 2 * PAGE), 1, 0), Err(EFAULT));
    assert_eq!(sys!(SYS_truncate, FILL, (free - 3) * PAGE as u64), Ok(0));
    assert_eq!(about().f_bfree, 3);
    assert_eq!(end_of(child(store)), End::Exited(0));
    assert_eq!(about().f_bfree, 2);
    // All that `fallocate` promises, or nothing.
    let tail = (free - 3) as usize * PAGE;
    let fill = open(FILL, O_RDWR).unwrap();
    assert_eq!(sys!(SYS_fallocate, fill, 0, tail, 3 * PAGE), Err(ENOSPC));
    assert_eq!(about().f_bfree, 2);
    assert_eq!(sys!(SYS_fallocate, fill, FALLOC_FL_KEEP_SIZE, tail, 2 * PAGE), Ok(0));
    assert_eq!(about().f_bfree, 0);
    assert_eq!(sys!(SYS_pwrite64, fill, b"y".as_ptr(), 1, tail + PAGE), Ok(1));
    assert_eq!(sys!(SYS_fallocate, fill, 0, 0, tail), Ok(0), "all there");
    assert_eq!(sys!(SYS_unlink, FILL), Ok(0));
    assert_eq!(about().f_bfree, 0, "it is open");
    close_all(&[fill as i32]);
    assert_eq!(about().f_bfree, free - 1);
    for (path, fd) in [(c"/tmp/there", there), (c"/tmp/hole", hole)] {
        assert_eq!(sys!(SYS_unlink, path), Ok(0));
        close_all(&[fd as i32]);
    }
    // The mapping of the hole still has its file.
    assert_eq!(about().f_bfree, before.f_bfree - 1);
}

fn name(n: u64) -> CString {
    CString::new(format!("/tmp/names/{n}")).expect("no zero")
}

/// Makes names until an error comes; how many, and the error.
fn make(mut one: impl FnMut(&CStr) -> Result<u64, i32>) -> (u64, i32) {
    (0..).find_map(|n| one(&name(n)).err().map(|error| (n, error))).expect("an end")
}

fn remove(count: u64) {
    (0..count).for_each(|n| assert_eq!(sys!(SYS_unlink, &*name(n)), Ok(0)));
}

fn names() {
    let before = about();
    assert_eq!(sys!(SYS_mkdir, c"/tmp/names", 0o755), Ok(0));
    assert_eq!(about().f_ffree, before.f_ffree - 2);
    let (made, error) = make(|name| {
        open(name, O_CREAT | O_WRONLY).map(|fd| {
            close_all(&[fd as i32]);
            0
        })
    });
    assert_eq!((made, error), (before.f_ffree - 2, ENOSPC));
    assert_eq!(about().f_ffree, 0);
    println!("{made} names");
    for refused in [
        sys!(SYS_mkdir, c"/tmp/more", 0o755),
        sys!(SYS_symlink, c"x", c"/tmp/more"),
        sys!(SYS_link, c"/tmp/names/0", c"/tmp/more"),
    ] {
        assert_eq!(refused, Err(ENOSPC));
    }
    assert_eq!(sys!(SYS_rename, c"/tmp/names/0", c"/tmp/more"), Ok(0));
    assert_eq!(sys!(SYS_rename, c"/tmp/more", c"/tmp/names/0"), Ok(0));
    assert_eq!(end_of(child(|| 0)), End::Exited(0));
    assert!(std::fs::read_to_string("/proc/self/stat").is_ok(), "the kernel's own names are not refused");
    remove(made);
    assert_eq!(about().f_ffree, before.f_ffree - 2);
    // A link takes the room that its path needs.
    let path = CString::new(vec![b'x'; 4000]).expect("no zero");
    let (made, error) = make(|name| sys!(SYS_symlink, &*path, name));
    assert_eq!((made, error), ((before.f_ffree - 2) / 8, ENOSPC));
    remove(made);
    assert_eq!(sys!(SYS_rmdir, c"/tmp/names"), Ok(0));
    assert_eq!(about().f_ffree, before.f_ffree);
}

/// A child that does something, says so, and then sits until it is ended.
fn sitter(work: impl FnOnce()) -> i32 {
    let [output, input] = pipe_ends();
    let pid = child(|| {
        work();
        give(input, 1);
        loop {
            let _ = sys!(SYS_pause);
        }
    });
    close_all(&[input]);
    assert_eq!(take(output), Some(1), "it sits");
    close_all(&[output]);
    pid
}

fn end(pid: i32) {
    assert_eq!(sys!(SYS_kill, pid, SIGKILL), Ok(0));
    assert_eq!(end_of(pid), End::Killed(SIGKILL));
}

fn nonblocking() -> [i32; 2] {
    let mut ends = [0i32; 2];
    sys!(SYS_pipe2, &mut ends, O_NONBLOCK).map(|_| ends).unwrap_or([-1; 2])
}

fn writable(fd: i32) -> bool {
    let mut asked = pollfd { fd, events: POLLOUT, revents: 0 };
    sys!(SYS_poll, &mut asked, 1, 0).expect("an answer") == 1
}

fn pipes() {
    const RING: u64 = 65_536;
    let free = frames("frames_free");
    let hog = sitter(|| {
        sys!(SYS_setrlimit, RLIMIT_NOFILE, &[4096u64, 4096]).expect("a limit");
        loop {
            let [_, input] = nonblocking();
            if input < 0 {
                break;
            }
            assert_eq!(write_on(input as u64, 1 << 16).1, EAGAIN);
        }
    });
    let taken = free - frames("frames_free");
    // A sixteenth, and a page for each pipe; and what the process and the kernel's heap take.
    assert!(taken < frames("frames_total") / 16 + 2048 + 1024, "{taken} frames taken");
    // A narrow pipe takes what is no larger than a page, and all of it at once.
    let [output, input] = nonblocking();
    let bytes = vec![3u8; RING as usize];
    let mut back = vec![0u8; RING as usize];
    assert_eq!(sys!(SYS_write, input, bytes.as_ptr(), 3000), Ok(3000));
    assert!(writable(input));
    assert_eq!(sys!(SYS_write, input, bytes.as_ptr(), 3000), Err(EAGAIN), "not a part of it");
    assert!(!writable(input));
    assert_eq!(sys!(SYS_read, output, back.as_mut_ptr(), 2999), Ok(2999));
    assert!(!writable(input), "not yet");
    assert_eq!(sys!(SYS_read, output, back.as_mut_ptr(), RING), Ok(1));
    assert!(writable(input));
    assert_eq!(sys!(SYS_write, input, bytes.as_ptr(), RING), Ok(PAGE as u64));
    assert_eq!(sys!(SYS_read, output, back.as_mut_ptr(), RING), Ok(PAGE as u64));
    close_all(&[output, input]);
    // A writer that waits is woken each time, and nothing is lost or twice there.
    let [output, input] = pipe_ends();
    let writer = child(|| {
        let bytes: Vec<u8> = (0..300_000u32).map(|n| (n / 7) as u8).collect();
        i32::from(sys!(SYS_write, input, bytes.as_ptr(), bytes.len()) != Ok(bytes.len() as u64))
    });
    close_all(&[input]);
    let mut seen = 0u32;
    loop {
        let count = sys!(SYS_read, output, back.as_mut_ptr(), 10_000).expect("bytes") as usize;
        if count == 0 {
            break;
        }
        for byte in &back[..count] {
            assert_eq!(*byte, (seen / 7) as u8, "byte {seen}");
            seen += 1;
        }
    }
    assert_eq!((seen, end_of(writer)), (300_000, End::Exited(0)));
    close_all(&[output]);
    assert_eq!(
        end_of(child(|| {
            touch(pages(500), 500);
            0
        })),
        End::Exited(0)
    );
    end(hog);
    let [output, input] = nonblocking();
    assert_eq!(sys!(SYS_write, input, bytes.as_ptr(), RING), Ok(RING));
    close_all(&[output, input]);
}

/// A child that touches a page now and then, until a pipe ends.
fn bystander() -> (i32, i32) {
    let [output, input] = pipe_ends();
    let pid = child(|| {
        close_all(&[input]);
        sys!(SYS_fcntl, output, F_SETFL, O_NONBLOCK).expect("a flag");
        let area = pages(1000);
        for page in 0.. {
            // SAFETY: a page of the mapping.
            unsafe { area.add(page % 1000 * PAGE).write_volatile(1) };
            let _ = sys!(SYS_nanosleep, &[0i64, 1_000_000], 0);
            let mut byte = 0u8;
            if sys!(SYS_read, output, &mut byte, 1) == Ok(0) {
                break;
            }
        }
        0
    });
    close_all(&[output]);
    (pid, input)
}

fn memory() {
    let all = frames("frames_total");
    let (small, input) = bystander();
    for _ in 0..2 {
        let hog = child(|| {
            touch(pages(all), all);
            0
        });
        assert_eq!(end_of(hog), End::Killed(SIGKILL));
    }
    // Pages of its own, and a child that is as large as this process.
    touch(pages(100), 100);
    assert_eq!(end_of(child(|| 0)), End::Exited(0));
    close_all(&[input]);
    assert_eq!(end_of(small), End::Exited(0), "it was there all the time");
}

fn held() {
    let hog = sitter(|| {
        let fd = open(FILL, MAKE).unwrap();
        assert_eq!(sys!(SYS_unlink, FILL), Ok(0));
        assert_eq!(write_on(fd, 1 << 20).1, ENOSPC);
    });
    let more = frames("frames_free") + 100;
    let needy = child(|| {
        touch(pages(more), more);
        0
    });
    assert_eq!(end_of(needy), End::Exited(0), "it has got its pages");
    assert_eq!(end_of(hog), End::Killed(SIGKILL));
}

/// Takes memory until no call gives more.
fn sit() {
    let all = frames("frames_total");
    let area = pages(all);
    let zero = open(c"/dev/zero", O_RDONLY).expect("zeroes");
    let refused = (0..all).find_map(|page| sys!(SYS_read, zero, area.wrapping_add(page * PAGE), PAGE).err());
    assert_eq!(refused, Some(ENOMEM));
}

fn edge() {
    let hog = sitter(sit);
    for _ in 0..20 {
        assert_eq!(
            end_of(child(|| {
                touch(pages(50), 50);
                0
            })),
            End::Exited(0)
        );
    }
    println!("this can be said");
    end(hog);
}

/// Maps single pages, each with other rights than the next one, until there is no memory for one more; how many.
fn map_many() -> u64 {
    let one = |n: u64| sys!(SYS_mmap, 0, PAGE, n % 2, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (1..).find(|n| one(*n) == Err(ENOMEM)).expect("an end")
}

/// A process sits on memory, and two fill the kernel's heap with the rest.
fn regions() {
    let [output, input] = pipe_ends();
    give(input, 1);
    let hogs = [sitter(sit), sitter(|| _ = map_many())];
    assert!(map_many() < 60_000, "there was no memory for more");
    // Calls that keep nothing of the heap.
    assert_eq!(sys!(SYS_write, 1, b"this can be said\n".as_ptr(), 17), Ok(17));
    assert_eq!(take(output), Some(1), "a read");
    hogs.into_iter().for_each(end);
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("files") => files(),
        Some("names") => names(),
        Some("pipes") => pipes(),
        Some("memory") => memory(),
        Some("held") => held(),
        Some("edge") => edge(),
        Some("regions") => regions(),
        Some("sit") => {
            // Once it sits there is no page for it any more: neither for a buffer nor for a file to which it writes.
            let say = |line: &str| assert_eq!(sys!(SYS_write, 1, line.as_ptr(), line.len()), Ok(line.len() as u64));
            say("begins\n");
            sit();
            say("sits\n");
            loop {
                let _ = sys!(SYS_pause);
            }
        }
        _ => leave(2),
    }
    println!("ok shortage");
}
