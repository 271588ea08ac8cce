//! What mappings keep as long as they exist: the rights that their file was opened with, advice on `fork`, room to
//! grow. It passes on Linux as well.
//!
//! Run by: `tests/tests/boot/programs.rs`.

use libc::*;
use programs::children::{End, child, end_of};
use programs::probe::{catch_faults, read, write};
use programs::sys;
use programs::system::{PAGE, Result, pages};
use std::hint::black_box;

const RW: i32 = PROT_READ | PROT_WRITE;
const PRIVATE: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

/// Programs are put where their strictest alignment allows.
#[repr(align(65536))]
struct Aligned(u8);

static ALIGNED: Aligned = Aligned(5);

fn main() {
    catch_faults();
    rights_of_the_file();
    running_program();
    holes();
    kept_from_children();
    advice();
    flags();
    locked();
    assert_eq!(black_box(&raw const ALIGNED).addr() % 65536, 0);
    assert_eq!(black_box(&ALIGNED).0, 5);
    growing_stack();
    growing_mapping();
    println!("ok mappings");
}

fn map(length: usize, rights: i32, flags: i32, fd: u64) -> Result {
    sys!(SYS_mmap, 0, length, rights, flags, fd, 0)
}

fn protect(start: u64, length: usize, rights: i32) -> Result {
    sys!(SYS_mprotect, start, length, rights)
}

fn rights_of_the_file() {
    let path = c"/tmp/mappings";
    let fd = sys!(SYS_open, path, O_RDWR | O_CREAT | O_TRUNC, 0o600).expect("a file can be made");
    assert_eq!(sys!(SYS_ftruncate, fd, 4 * PAGE), Ok(0));
    let reader = sys!(SYS_open, path, O_RDONLY).expect("it can be read");
    let writer = sys!(SYS_open, path, O_WRONLY).expect("it can be written");
    for flags in [MAP_SHARED, MAP_PRIVATE] {
        assert_eq!(map(PAGE, PROT_READ, flags, writer), Err(EACCES), "what cannot be read cannot be mapped");
    }
    assert_eq!(map(PAGE, RW, MAP_SHARED, reader), Err(EACCES));

    let shared = map(2 * PAGE, PROT_READ, MAP_SHARED, reader).expect("read only");
    for rights in [RW, PROT_WRITE, RW | PROT_EXEC] {
        assert_eq!(protect(shared, PAGE, rights), Err(EACCES));
    }
    assert_eq!(protect(shared, PAGE, PROT_READ | PROT_EXEC), Ok(0));
    assert_eq!(protect(shared, PAGE, PROT_NONE), Ok(0));
    assert_eq!(protect(shared, PAGE, RW), Err(EACCES), "it is not forgotten meanwhile");
    let moved = sys!(SYS_mremap, shared + PAGE as u64, PAGE, 2 * PAGE, MREMAP_MAYMOVE).expect("it can be moved");
    assert_eq!(protect(moved, 2 * PAGE, RW), Err(EACCES), "nor by moving and growing");
    assert_eq!(end_of(child(|| (protect(moved, PAGE, RW) == Err(EACCES)).into())), End::Exited(1), "nor by a child");

    let copy = map(PAGE, PROT_READ, MAP_PRIVATE, reader).expect("a copy of one's own");
    assert_eq!(protect(copy, PAGE, RW), Ok(0));
    assert!(write(copy as usize, 1) && read(moved as usize) == Some(0));
    let both = map(PAGE, PROT_READ, MAP_SHARED, fd).expect("opened for both");
    assert_eq!(protect(both, PAGE, RW), Ok(0));
    assert!(write(both as usize, 7));
    let mut byte = 0_u8;
    assert_eq!((sys!(SYS_pread64, reader, &mut byte, 1, 0), byte), (Ok(1), 7));
    assert_eq!(sys!(SYS_unlink, path), Ok(0));
}

/// A program that runs is not written, in no way.
fn running_program() {
    let path = c"/proc/self/exe";
    assert_eq!(sys!(SYS_open, path, O_RDWR), Err(ETXTBSY));
    let fd = sys!(SYS_open, path, O_RDONLY).expect("it can be read");
    let shared = map(PAGE, PROT_READ, MAP_SHARED, fd).expect("and mapped");
    assert_eq!(protect(shared, PAGE, RW), Err(EACCES));
    assert!(!write(shared as usize, 0));
    assert_eq!(read(shared as usize).map(|word| word as u32), Some(u32::from_le_bytes(*b"\x7fELF")));
}

/// What lies before a hole has been done.
fn holes() {
    let start = pages(4).addr();
    let at = |page: usize| start + page * PAGE;
    assert_eq!(sys!(SYS_munmap, at(2), PAGE), Ok(0));
    assert_eq!(protect(at(0) as u64, 4 * PAGE, PROT_READ), Err(ENOMEM));
    assert_eq!([0, 1, 3].map(|page| write(at(page), 1)), [false, false, true], "up to the hole");
    assert_eq!(protect(at(2) as u64, 2 * PAGE, PROT_NONE), Err(ENOMEM));
    assert!(write(at(3), 2), "nothing lies before it");
    assert_eq!(protect(at(0) as u64, 0, PROT_NONE), Ok(0), "no page at all");
    assert_eq!(protect(at(0) as u64, PAGE, 0x10), Err(EINVAL));
    assert_eq!(sys!(SYS_madvise, at(0), 4 * PAGE, MADV_DONTNEED), Err(ENOMEM));
    assert_eq!(read(at(3)), Some(0), "advice goes on behind a hole");
}

fn kept_from_children() {
    let start = pages(4).addr();
    let at = |page: usize| start + page * PAGE;
    let advise = |page: usize, advice| sys!(SYS_madvise, at(page), PAGE, advice);
    (0..4).for_each(|page| assert!(write(at(page), 1)));
    assert_eq!([advise(0, MADV_WIPEONFORK), advise(1, MADV_DONTFORK)], [Ok(0); 2]);
    assert_eq!([advise(2, MADV_WIPEONFORK), advise(2, MADV_KEEPONFORK)], [Ok(0); 2]);
    assert_eq!([advise(3, MADV_DONTFORK), advise(3, MADV_DOFORK)], [Ok(0); 2]);
    let sees = || {
        let seen = [0, 1, 2, 3].map(|page| read(at(page)));
        i32::from(seen == [Some(0), None, Some(1), Some(1)])
    };
    // A grandchild gets what its parent got.
    assert_eq!(end_of(child(|| sees() & i32::from(end_of(child(sees)) == End::Exited(1)))), End::Exited(1));
    assert_eq!([0, 1, 2, 3].map(|page| read(at(page))), [Some(1); 4], "the parent keeps all of it");
    assert!(write(at(0), 2) && write(at(1), 2));

    let shared = map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, u64::MAX).expect("a page");
    assert_eq!(sys!(SYS_madvise, shared, PAGE, MADV_WIPEONFORK), Err(EINVAL), "it is the others' too");
}

fn advice() {
    let page = pages(1);
    for advice in [MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTDUMP, MADV_DODUMP] {
        assert_eq!(sys!(SYS_madvise, page, PAGE, advice), Ok(0), "advice {advice}");
    }
    for advice in [5, 7, 99, -1] {
        assert_eq!(sys!(SYS_madvise, page, PAGE, advice), Err(EINVAL), "advice {advice}");
    }
}

fn flags() {
    let unknown = 1 << 25;
    let fd = sys!(SYS_open, c"/tmp/mappings", O_RDWR | O_CREAT, 0o600).expect("a file can be made");
    assert_eq!(sys!(SYS_unlink, c"/tmp/mappings"), Ok(0));
    assert!(map(PAGE, PROT_READ, MAP_SHARED_VALIDATE, fd).is_ok());
    assert_eq!(map(PAGE, PROT_READ, MAP_SHARED_VALIDATE | unknown, fd), Err(EOPNOTSUPP));
    assert_eq!(map(PAGE, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd), Err(EOPNOTSUPP));
    assert_eq!(map(PAGE, PROT_READ, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, u64::MAX), Err(EINVAL));
    assert!(map(PAGE, PROT_READ, MAP_SHARED | unknown, fd).is_ok(), "it does not ask");
    assert!(map(PAGE, PROT_READ | 0x100, PRIVATE, u64::MAX).is_ok(), "nor does it for rights");
    let low = map(PAGE, RW, PRIVATE | MAP_32BIT, u64::MAX).expect("a page");
    assert!(low < 1 << 31, "{low:#x}");
    assert_eq!(map(PAGE, RW, PRIVATE | MAP_HUGETLB, u64::MAX), Err(ENOMEM), "there are no huge pages");
    let there = map(2 * PAGE, RW, PRIVATE | MAP_POPULATE, u64::MAX).expect("two pages");
    let mut vector = [0_u8; 2];
    assert_eq!((sys!(SYS_mincore, there, 2 * PAGE, &mut vector), vector), (Ok(0), [1; 2]));
}

fn locked() {
    let page = pages(1);
    let mut vector = [0_u8; 1];
    let sync = |flags| sys!(SYS_msync, page, PAGE, flags);
    assert_eq!([sync(MS_SYNC), sync(MS_ASYNC), sync(MS_INVALIDATE)], [Ok(0); 3]);
    assert_eq!([sync(MS_SYNC | MS_ASYNC), sync(0x100)], [Err(EINVAL); 2]);
    assert_eq!(sys!(SYS_msync, page.wrapping_add(1), PAGE, MS_SYNC), Err(EINVAL));
    let closed = map(PAGE, PROT_NONE, PRIVATE | MAP_LOCKED, u64::MAX).expect("a page that cannot be reached");
    assert_eq!(sys!(SYS_mlock, closed, PAGE), Err(ENOMEM));
    assert_eq!(sys!(SYS_mlock, page, PAGE), Ok(0));
    assert_eq!((sys!(SYS_mincore, page, PAGE, &mut vector), vector), (Ok(0), [1]), "it is in memory");
    assert_eq!(sync(MS_INVALIDATE), Err(EBUSY));
    assert_eq!(sys!(SYS_madvise, page, PAGE, MADV_DONTNEED), Err(EINVAL));
    assert_eq!(end_of(child(|| (sync(MS_INVALIDATE) == Ok(0)).into())), End::Exited(1), "a child has no locks");
    assert_eq!(sys!(SYS_munlock, page, PAGE), Ok(0));
    assert_eq!([sync(MS_INVALIDATE), sys!(SYS_madvise, page, PAGE, MADV_DONTNEED)], [Ok(0); 2]);
}

/// A limit that is raised while the program runs holds at once.
fn growing_stack() {
    let here = 0_u8;
    let deep = (&raw const here).addr() - (20 << 20);
    let grows = |megabytes: u64| {
        let limits = [megabytes << 20, megabytes << 20];
        assert_eq!(sys!(SYS_setrlimit, RLIMIT_STACK, &limits), Ok(0));
        i32::from(write(deep, 1) && write(deep + (10 << 20), 1))
    };
    assert_eq!(end_of(child(|| grows(16))), End::Exited(0), "not beyond the limit");
    assert_eq!(end_of(child(|| grows(64))), End::Exited(1));
    // The kernel as well grows it where it writes for the program.
    let filled = || {
        grows(64);
        let fd = sys!(SYS_open, c"/dev/zero", O_RDONLY).expect("it is there");
        i32::from(sys!(SYS_read, fd, deep - (20 << 20), PAGE) == Ok(PAGE as u64))
    };
    assert_eq!(end_of(child(filled)), End::Exited(1));
}

fn growing_mapping() {
    let room = map(1024 * PAGE, PROT_READ, PRIVATE, u64::MAX).expect("room") as usize;
    assert_eq!(sys!(SYS_munmap, room + PAGE, 1023 * PAGE), Ok(0));
    let top = room + 1000 * PAGE;
    let flags = PRIVATE | MAP_FIXED | MAP_GROWSDOWN;
    assert_eq!(sys!(SYS_mmap, top, PAGE, RW, flags, -1, 0), Ok(top as u64));
    assert!(write(top - 10 * PAGE, 1) && write(top - 5 * PAGE, 1), "it grows");
    assert!(!write(room + 100 * PAGE, 1), "but keeps away from what lies below");
    assert_eq!(map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, u64::MAX), Err(EINVAL));
    assert_eq!(protect(top as u64, PAGE, PROT_READ | PROT_GROWSDOWN), Ok(0), "all of it");
    assert!(!write(top - 10 * PAGE, 1));
    assert_eq!(protect(pages(1).addr() as u64, PAGE, PROT_READ | PROT_GROWSDOWN), Err(EINVAL));
}
