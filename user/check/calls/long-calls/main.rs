//! Every call whose length its caller chooses, made long: `long-calls [part …]`.
//!
//! Under `cargo xtask profile` it shows how long each call keeps the kernel at a time. It also checks the results: a
//! call that leaves the kernel in the middle must end as if it had not. Without a part it makes all of them. It
//! passes on Linux as well.
//!
//! Run by: `tests/tests/boot/profile.rs`.

mod crowds;
mod ends;
mod space;

use libc::*;
use programs::children::{End, end_of, fork_raw, leave};
use programs::sys;
use programs::system::PAGE;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{env, ptr};

const MIB: usize = 1 << 20;

/// A part of the program.
type Part = (&'static str, fn());

const PARTS: [Part; 18] = [
    ("residence", residence),
    ("bytes", bytes),
    ("copies", copies),
    ("interrupted", interrupted),
    ("giving-back", giving_back),
    ("rights", space::rights),
    ("moves", space::moves),
    ("ahead", space::ahead),
    ("advice", space::advice),
    ("forks", forks),
    ("descriptors", ends::descriptors),
    ("children", ends::children),
    ("threads", ends::threads),
    ("wake-ups", crowds::wake_ups),
    ("polls", crowds::polls),
    ("listings", crowds::listings),
    ("successors", crowds::successors),
    ("deaths", deaths),
];

fn main() {
    let wanted: Vec<String> = env::args().skip(1).collect();
    if wanted == ["descriptors-of-mine"] {
        return crowds::descriptors_of_mine();
    }
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part();
            println!("ok {name}");
        }
    }
}

/// New memory, of which nothing has been touched.
fn memory(bytes: usize, rights: i32) -> u64 {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    sys!(SYS_mmap, 0, bytes, rights, flags, -1, 0).expect("address space")
}

/// The bytes at an address of [`memory`].
fn at(address: u64, bytes: usize) -> &'static mut [u8] {
    // SAFETY: the memory is there, and only this thread knows it.
    unsafe { std::slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(address as usize), bytes) }
}

/// An open file without a name.
fn file() -> u64 {
    let fd = sys!(SYS_open, c"/tmp/long", O_RDWR | O_CREAT | O_TRUNC, 0o600).expect("a file");
    sys!(SYS_unlink, c"/tmp/long").expect("its name");
    fd
}

fn close_all(descriptors: &[u64]) {
    descriptors.iter().for_each(|fd| assert!(sys!(SYS_close, *fd).is_ok()));
}

fn unmap(areas: &[u64], bytes: usize) {
    areas.iter().for_each(|area| assert!(sys!(SYS_munmap, *area, bytes).is_ok()));
}

/// `mincore` and `mlock` over much that is not there, and a little that is.
fn residence() {
    const PAGES: usize = 1 << 19;
    let nothing = memory(PAGES * PAGE, PROT_READ | PROT_WRITE);
    let told = at(memory(PAGES, PROT_READ | PROT_WRITE), PAGES);
    at(nothing, PAGES * PAGE)[PAGE * 1000] = 1;
    sys!(SYS_mincore, nothing, PAGES * PAGE, told.as_mut_ptr().expose_provenance()).expect("residence");
    assert_eq!(told.iter().position(|there| *there != 0), Some(1000));
    assert_eq!(told.iter().map(|there| usize::from(*there)).sum::<usize>(), 1);
    sys!(SYS_munmap, nothing + (PAGES - 1) as u64 * PAGE as u64, PAGE).expect("a hole");
    let result = sys!(SYS_mincore, nothing, PAGES * PAGE, told.as_mut_ptr().expose_provenance());
    assert_eq!(result, Err(ENOMEM), "a hole at the end");
}

/// Reads and writes of many bytes, in one buffer and in many.
fn bytes() {
    const LENGTH: usize = 4 * MIB;
    let buffer = memory(LENGTH, PROT_READ | PROT_WRITE);
    let zero = sys!(SYS_open, c"/dev/zero", O_RDONLY).expect("zeroes");
    let random = sys!(SYS_open, c"/dev/urandom", O_RDONLY).expect("random numbers");
    at(buffer, LENGTH).fill(1);
    assert_eq!(sys!(SYS_read, zero, buffer, LENGTH), Ok(LENGTH as u64));
    assert!(at(buffer, LENGTH).iter().all(|byte| *byte == 0));
    assert_eq!(sys!(SYS_getrandom, buffer, MIB, 0), Ok(MIB as u64));
    assert!(at(buffer, MIB).chunks(64).all(|part| part.iter().any(|byte| *byte != 0)));
    let parts: Vec<[u64; 2]> = (0..1024).map(|n| [buffer + n * 1024, 1024]).collect();
    assert_eq!(sys!(SYS_readv, random, parts.as_ptr().expose_provenance(), 1024), Ok(MIB as u64));
    let file = file();
    for (n, word) in at(buffer, LENGTH).chunks_mut(8).enumerate() {
        word.copy_from_slice(&n.to_le_bytes());
    }
    assert_eq!(sys!(SYS_write, file, buffer, LENGTH), Ok(LENGTH as u64));
    assert_eq!(sys!(SYS_writev, file, parts.as_ptr().expose_provenance(), 1024), Ok(MIB as u64));
    assert_eq!(sys!(SYS_lseek, file, 0, SEEK_CUR), Ok((LENGTH + MIB) as u64));
    // All of it, in the order in which it was written; then nothing, in a file that is made longer.
    let copy = memory(LENGTH, PROT_READ | PROT_WRITE);
    assert_eq!(sys!(SYS_pread64, file, copy, LENGTH, 0), Ok(LENGTH as u64));
    assert!(at(copy, LENGTH) == at(buffer, LENGTH));
    assert_eq!(sys!(SYS_pread64, file, copy, LENGTH, LENGTH), Ok(MIB as u64), "up to the end");
    assert!(at(copy, MIB) == at(buffer, MIB));
    sys!(SYS_ftruncate, file, 64 * MIB).expect("a longer file");
    assert_eq!(sys!(SYS_pread64, file, copy, LENGTH, 32 * MIB), Ok(LENGTH as u64));
    assert!(at(copy, LENGTH).iter().all(|byte| *byte == 0));
    close_all(&[file, zero, random]);
    unmap(&[buffer, copy], LENGTH);
}

/// Copies inside the kernel.
fn copies() {
    const LENGTH: usize = 4 * MIB;
    let buffer = memory(LENGTH, PROT_READ | PROT_WRITE);
    sys!(SYS_getrandom, buffer, LENGTH, 0).expect("random numbers");
    let (from, to) = (file(), file());
    sys!(SYS_write, from, buffer, LENGTH).expect("a file");
    let position = [1_u64];
    let place = position.as_ptr().expose_provenance();
    assert_eq!(sys!(SYS_sendfile, to, from, place, LENGTH), Ok(LENGTH as u64 - 1));
    assert_eq!(position, [LENGTH as u64]);
    assert_eq!(sys!(SYS_lseek, from, 0, SEEK_SET), Ok(0));
    assert_eq!(sys!(SYS_copy_file_range, from, 0, to, 0, LENGTH, 0), Ok(LENGTH as u64));
    assert_eq!([from, to].map(|fd| sys!(SYS_lseek, fd, 0, SEEK_CUR)), [Ok(LENGTH as u64), Ok(2 * LENGTH as u64 - 1)]);
    let copy = memory(LENGTH, PROT_READ | PROT_WRITE);
    assert_eq!(sys!(SYS_pread64, to, copy, LENGTH, LENGTH - 1), Ok(LENGTH as u64));
    assert!(at(copy, LENGTH) == at(buffer, LENGTH));
    close_all(&[from, to]);
    unmap(&[buffer, copy], LENGTH);
}

static ALARMS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn alarmed(_: i32) {
    ALARMS.fetch_add(1, Relaxed);
    // What is left of a call must not become this one's.
    assert!(sys!(SYS_getpid).is_ok());
}

/// Makes a handler run at this interval in microseconds; 0: no more.
fn count_alarms(microseconds: i64) {
    // SAFETY: the handler counts, and makes one call.
    unsafe { signal(SIGALRM, alarmed as *const () as usize) };
    let timer = [0, microseconds, 0, microseconds];
    sys!(SYS_setitimer, ITIMER_REAL, timer.as_ptr().expose_provenance(), 0).expect("a timer");
}

/// A handler in the middle of a long call: a write to a file is never cut short by it, and what is read from a device ends
/// with what there is so far.
fn interrupted() {
    const LENGTH: usize = 8 * MIB;
    let buffer = memory(LENGTH, PROT_READ | PROT_WRITE);
    let random = sys!(SYS_open, c"/dev/urandom", O_RDONLY).expect("random numbers");
    let file = file();
    count_alarms(2_000);
    for round in 0..4 {
        assert_eq!(sys!(SYS_pwrite64, file, buffer, LENGTH, 0), Ok(LENGTH as u64), "round {round}");
        let read = sys!(SYS_read, random, buffer, LENGTH).expect("some of it");
        assert!((1..=LENGTH as u64).contains(&read));
    }
    count_alarms(0);
    assert!(ALARMS.load(Relaxed) > 4, "{ALARMS:?}");
    close_all(&[file, random]);
    unmap(&[buffer], LENGTH);
}

/// Memory of which every page has been touched.
fn touched(bytes: usize) -> u64 {
    let area = memory(bytes, PROT_READ | PROT_WRITE);
    at(area, bytes).iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    area
}

/// As many regions as that, of a page each, with holes between them.
fn regions(count: usize) -> u64 {
    let area = memory(2 * count * PAGE, PROT_NONE);
    assert!(sys!(SYS_munmap, area, 2 * count * PAGE).is_ok());
    for n in 0..count as u64 {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        assert!(sys!(SYS_mmap, area + 2 * n * PAGE as u64, PAGE, PROT_READ, flags, -1, 0).is_ok());
    }
    area
}

/// Memory and files are given back, in all the ways that there are.
fn giving_back() {
    const LENGTH: usize = 32 * MIB;
    const REGIONS: usize = 6_000;
    let area = touched(LENGTH);
    sys!(SYS_madvise, area, LENGTH, MADV_DONTNEED).expect("new pages");
    assert!(at(area, LENGTH).iter().step_by(PAGE).all(|byte| *byte == 0));
    unmap(&[area], LENGTH);
    let area = touched(LENGTH);
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    assert_eq!(sys!(SYS_mmap, area, LENGTH, PROT_READ | PROT_WRITE, flags, -1, 0), Ok(area));
    assert!(at(area, LENGTH).iter().step_by(PAGE).all(|byte| *byte == 0));
    unmap(&[area], LENGTH);
    unmap(&[regions(REGIONS)], 2 * REGIONS * PAGE);
    let end = sys!(SYS_brk, 0).expect("the heap's end");
    assert_eq!(sys!(SYS_brk, end + LENGTH as u64), Ok(end + LENGTH as u64));
    at(end, LENGTH).iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    assert_eq!(sys!(SYS_brk, end), Ok(end));
    // A file: made shorter, and closed without a name.
    let buffer = touched(LENGTH);
    let file = file();
    for (size, left) in [(LENGTH / 2 + 1, LENGTH / 2 + 1), (0, 0)] {
        assert_eq!(sys!(SYS_pwrite64, file, buffer, LENGTH, 0), Ok(LENGTH as u64));
        sys!(SYS_ftruncate, file, size).expect("a shorter file");
        assert_eq!(sys!(SYS_pread64, file, buffer, LENGTH, 0), Ok(left as u64));
    }
    assert_eq!(sys!(SYS_pwrite64, file, buffer, LENGTH, 0), Ok(LENGTH as u64));
    close_all(&[file]);
    unmap(&[buffer], LENGTH);
}

/// A process with many pages forks, and one with many regions.
fn forks() {
    const LENGTH: usize = 32 * MIB;
    const REGIONS: usize = 6_000;
    let forks = |is_whole: &dyn Fn() -> bool| {
        let child = fork_raw().expect("a child");
        if child == 0 {
            leave(i32::from(!is_whole()));
        }
        assert_eq!(end_of(child), End::Exited(0));
    };
    let area = touched(LENGTH);
    forks(&|| at(area, LENGTH).iter().step_by(PAGE).all(|byte| *byte == 1));
    unmap(&[area], LENGTH);
    let area = regions(REGIONS);
    forks(&|| (0..REGIONS).all(|n| at(area, 2 * REGIONS * PAGE)[2 * n * PAGE] == 0));
    unmap(&[area], 2 * REGIONS * PAGE);
}

/// Processes that have much, and many processes, end. `/proc` lists the many before.
fn deaths() {
    const CHILDREN: usize = 120;
    let large = || {
        touched(24 * MIB);
        regions(4_000);
        leave(7)
    };
    let child = fork_raw().expect("a child");
    if child == 0 {
        large();
    }
    assert_eq!(end_of(child), End::Exited(7));
    let mut group = 0;
    for _ in 0..CHILDREN {
        let child = fork_raw().expect("a child");
        if child == 0 {
            loop {
                _ = sys!(SYS_pause);
            }
        }
        group = if group == 0 { child } else { group };
        sys!(SYS_setpgid, child, group).expect("one group");
    }
    let listed = std::fs::read_dir("/proc").expect("processes").flatten();
    let numbers = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    assert!(numbers.count() > CHILDREN);
    sys!(SYS_kill, -i64::from(group), SIGKILL).expect("members");
    let mut ended = 0;
    while let Ok(child) = sys!(SYS_wait4, -i64::from(group), 0, 0, 0) {
        assert!(child > 0);
        ended += 1;
    }
    assert_eq!(ended, CHILDREN);
}
