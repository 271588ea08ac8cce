//! Address spaces: mmap, munmap, mprotect, mremap, brk, madvise, and the errors of each.
//!
//! Run by: `tests/tests/boot/application.rs`, `tests/tests/boot/checked.rs`, `tests/tests/boot/machines.rs`,
//! `tests/tests/boot/programs.rs`, `tests/tests/smp.rs`.

use libc::*;
use programs::sys;
use programs::system::{PAGE, Result, pages};
use std::ptr::with_exposed_provenance_mut;

const RW: i32 = PROT_READ | PROT_WRITE;
const ANONYMOUS: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

fn main() {
    anonymous();
    fixed();
    split();
    protect();
    remap();
    remap_refused();
    heap();
    advice();
    files();
    huge();
    println!("ok mem");
}

/// The byte at `address`.
fn peek(address: u64) -> u8 {
    // SAFETY: only for pages that were mapped readable.
    unsafe { with_exposed_provenance_mut::<u8>(address as usize).read_volatile() }
}

/// Sets the byte at `address`.
fn poke(address: u64, value: u8) {
    // SAFETY: only for pages that were mapped writable, by this program and for this.
    unsafe { with_exposed_provenance_mut::<u8>(address as usize).write_volatile(value) }
}

fn map(hint: u64, length: usize, rights: i32, flags: i32) -> Result {
    sys!(SYS_mmap, hint, length, rights, flags, -1, 0)
}

/// Whether the kernel can read the byte at `address` on the program's behalf.
fn readable(address: u64) -> bool {
    let (descriptor, result) = null_pipe(address);
    assert_eq!(sys!(SYS_close, descriptor), Ok(0));
    match result {
        Ok(1) => true,
        Err(EFAULT) => false,
        other => panic!("writing a byte from {address:#x}: {other:?}"),
    }
}

/// Writes the byte at `address` to a file without a name.
fn null_pipe(address: u64) -> (u64, Result) {
    let path = c"/tmp/mem.byte";
    let descriptor = sys!(SYS_open, path, O_RDWR | O_CREAT | O_TRUNC, 0o600).expect("a file can be made");
    assert_eq!(sys!(SYS_unlink, path), Ok(0));
    (descriptor, sys!(SYS_write, descriptor, address, 1))
}

fn anonymous() {
    let start = map(0, 3 * PAGE + 1, RW, ANONYMOUS).expect("four pages");
    assert_eq!(start % PAGE as u64, 0, "aligned");
    for offset in 0..4 * PAGE as u64 {
        assert_eq!(peek(start + offset), 0, "zero at {offset}");
    }
    poke(start + 4 * PAGE as u64 - 1, 7);
    assert_eq!(sys!(SYS_munmap, start, 4 * PAGE), Ok(0));
    assert!(!readable(start), "gone");
    assert_eq!(sys!(SYS_munmap, start, 4 * PAGE), Ok(0), "unmapping nothing is no error");

    assert_eq!(map(0, 0, RW, ANONYMOUS), Err(EINVAL), "no length");
    assert_eq!(map(0, PAGE, RW, MAP_ANONYMOUS), Err(EINVAL), "neither private nor shared");
    assert_eq!(sys!(SYS_mmap, 0, PAGE, RW, MAP_PRIVATE, -1, 0), Err(EBADF), "no file");
    assert_eq!(sys!(SYS_mmap, 0, PAGE, RW, ANONYMOUS, -1, 100), Err(EINVAL), "unaligned offset");
    assert_eq!(sys!(SYS_munmap, start + 1, PAGE), Err(EINVAL), "unaligned");
    assert_eq!(sys!(SYS_munmap, start, 0), Err(EINVAL), "no length");
    assert_eq!(sys!(SYS_munmap, 0xffff_8000_0000_0000u64, PAGE), Err(EINVAL), "the kernel's");
    assert_eq!(sys!(SYS_munmap, 0x7fff_ffff_e000u64, u64::MAX - 4095), Err(EINVAL), "beyond all");
}

fn fixed() {
    let start = map(0, 4 * PAGE, RW, ANONYMOUS).expect("four pages");
    let page = |index: usize| start + (index * PAGE) as u64;
    for index in 0..4 {
        poke(page(index), index as u8 + 1);
    }
    assert_eq!(map(page(1), PAGE, RW, ANONYMOUS | MAP_FIXED), Ok(page(1)), "in the midst");
    assert_eq!([0, 1, 2, 3].map(|index| peek(page(index))), [1, 0, 3, 4], "one page is new");
    assert_eq!(map(page(2), PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE), Err(EEXIST));
    assert_eq!(peek(page(2)), 3, "not replaced");
    let hinted = map(page(2), PAGE, RW, ANONYMOUS).expect("a hint is only a hint");
    assert!(!(start..page(4)).contains(&hinted), "elsewhere");
    assert_eq!(map(page(1) + 1, PAGE, RW, ANONYMOUS | MAP_FIXED), Err(EINVAL), "unaligned");
    for beyond in [0x7fff_ffff_f000u64, 0x8000_0000_0000, 0xffff_ffff_8000_0000, u64::MAX - 4095] {
        assert_eq!(map(beyond, PAGE, RW, ANONYMOUS | MAP_FIXED), Err(ENOMEM), "{beyond:#x} is no user address");
    }
    assert_eq!(sys!(SYS_munmap, hinted, PAGE), Ok(0));
    assert_eq!(sys!(SYS_munmap, start, 4 * PAGE), Ok(0));
}

fn split() {
    let start = map(0, 8 * PAGE, RW, ANONYMOUS).expect("eight pages");
    let page = |index: usize| start + (index * PAGE) as u64;
    for index in 0..8 {
        poke(page(index), index as u8);
    }
    assert_eq!(sys!(SYS_munmap, page(2), 2 * PAGE), Ok(0), "a hole");
    // No allocation in between: it might fill the hole.
    let whole = [0, 1, 2, 3, 4, 5, 6, 7].map(|index| readable(page(index)));
    assert_eq!(whole, [true, true, false, false, true, true, true, true]);
    assert_eq!([0, 1, 4, 5, 6, 7].map(|index| peek(page(index))), [0, 1, 4, 5, 6, 7], "the rest stays");
    // A write that starts in a page and ends in the hole takes what is there.
    let (descriptor, _) = null_pipe(start);
    assert_eq!(sys!(SYS_pwrite64, descriptor, page(2) - 4, 8, 0), Ok(4), "up to the hole");
    assert_eq!(sys!(SYS_close, descriptor), Ok(0));
    assert_eq!(sys!(SYS_munmap, start, 8 * PAGE), Ok(0), "across the hole");
    assert!((0..8).all(|index| !readable(page(index))), "all gone");
}

fn protect() {
    let start = pages(3) as u64;
    let second = start + PAGE as u64;
    let protect = |address, length, rights| sys!(SYS_mprotect, address, length, rights);
    poke(second, 5);
    assert_eq!(protect(second, PAGE, PROT_NONE), Ok(0));
    assert!(readable(start) && !readable(second) && readable(second + PAGE as u64), "one page of three");
    assert_eq!(protect(second, PAGE, PROT_READ), Ok(0));
    assert_eq!(peek(second), 5, "contents stay");
    assert_eq!(sys!(SYS_clock_gettime, CLOCK_MONOTONIC, second), Err(EFAULT), "the kernel does not write it either");
    assert_eq!(protect(second, PAGE, RW), Ok(0));
    poke(second, 6);
    assert_eq!(protect(second + 1, PAGE, RW), Err(EINVAL), "unaligned");
    assert_eq!(protect(start, 0, RW), Ok(0), "no length is no error here");
    assert_eq!(protect(start, 3 * PAGE, 0x40), Err(EINVAL), "no such right");
    assert_eq!(sys!(SYS_munmap, second, PAGE), Ok(0));
    assert_eq!(protect(start, 3 * PAGE, PROT_READ), Err(ENOMEM), "a hole");
    assert_eq!(protect(0xffff_ffff_8000_0000u64, PAGE, RW), Err(ENOMEM), "the kernel's");
    assert_eq!(sys!(SYS_munmap, start, 3 * PAGE), Ok(0));

    // Code made at run time: written, then executable and no longer written.
    let code = pages(1);
    // SAFETY: `mov eax, 42; ret` in a page of this program's, called as what it is.
    unsafe {
        code.copy_from([0xb8, 42, 0, 0, 0, 0xc3].as_ptr(), 6);
        assert_eq!(protect(code as u64, PAGE, PROT_READ | PROT_EXEC), Ok(0));
        let function: extern "C" fn() -> i32 = std::mem::transmute(code);
        assert_eq!(function(), 42, "the code made at run time");
    }
    assert_eq!(sys!(SYS_munmap, code, PAGE), Ok(0));
}

fn remap() {
    let start = pages(4) as u64;
    let page = |index: usize| start + (index * PAGE) as u64;
    for index in 0..4 {
        poke(page(index), index as u8 + 1);
    }
    let remap = |at, old: usize, new: usize, flags: i32| sys!(SYS_mremap, at, old, new, flags, 0);
    assert_eq!(remap(start, 4 * PAGE, 2 * PAGE, 0), Ok(start), "shrinks in place");
    assert!(readable(page(1)) && !readable(page(2)), "the end is gone");
    assert_eq!(remap(start, 2 * PAGE, 2 * PAGE, 0), Ok(start), "as it is");

    // Something stands behind it, so that it cannot grow where it is.
    assert_eq!(map(page(2), PAGE, RW, ANONYMOUS | MAP_FIXED), Ok(page(2)));
    assert_eq!(remap(start, 2 * PAGE, 4 * PAGE, 0), Err(ENOMEM), "may not move");
    let moved = remap(start, 2 * PAGE, 300 * PAGE, MREMAP_MAYMOVE).expect("may move");
    assert_ne!(moved, start);
    assert!(!readable(start), "the old place is empty");
    assert_eq!([0, 1, 2, 299].map(|index| peek(moved + (index * PAGE) as u64)), [1, 2, 0, 0], "contents move along");

    let place = map(0, 2 * PAGE, RW, ANONYMOUS).expect("a place");
    poke(place, 99);
    let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    assert_eq!(sys!(SYS_mremap, moved, 2 * PAGE, 2 * PAGE, flags, place), Ok(place), "to a given place");
    assert_eq!((peek(place), peek(place + PAGE as u64)), (1, 2), "it replaces what was there");
    assert!(!readable(moved) && readable(moved + 2 * PAGE as u64), "only the part that moved");
    for (at, count) in [(place, 2), (page(2), 1), (moved, 300)] {
        assert_eq!(sys!(SYS_munmap, at, count * PAGE), Ok(0));
    }
}

fn remap_refused() {
    let start = pages(4) as u64;
    let remap = |at: u64, old: usize, new: usize, flags: i32, to: u64| sys!(SYS_mremap, at, old, new, flags, to);
    assert_eq!(remap(start + 1, PAGE, PAGE, 0, 0), Err(EINVAL), "unaligned");
    assert_eq!(remap(start, PAGE, 0, MREMAP_MAYMOVE, 0), Err(EINVAL), "to nothing");
    let (sharing, none) = (PROT_READ | PROT_WRITE, -1);
    let shared = sys!(SYS_mmap, 0, PAGE, sharing, MAP_SHARED | MAP_ANONYMOUS, none, 0).expect("a shared page");
    let most = usize::MAX - (PAGE - 1);
    assert!(remap(shared, PAGE, most, MREMAP_MAYMOVE, 0).is_err(), "beyond the end of all numbers");
    assert_eq!(sys!(SYS_munmap, shared, PAGE), Ok(0));
    assert_eq!(remap(start, PAGE, PAGE, 0x40, 0), Err(EINVAL), "no such flag");
    assert_eq!(remap(start, PAGE, PAGE, MREMAP_FIXED, start), Err(EINVAL), "fixed but not to move");
    let fixed = MREMAP_MAYMOVE | MREMAP_FIXED;
    assert_eq!(remap(start, 2 * PAGE, 2 * PAGE, fixed, start + PAGE as u64), Err(EINVAL), "over itself");
    assert_eq!(remap(start, PAGE, PAGE, fixed, start + 1), Err(EINVAL), "to an unaligned place");
    assert_eq!(remap(start, PAGE, PAGE, fixed, 0xffff_8000_0000_0000), Err(EINVAL), "into the kernel");
    assert_eq!(remap(start, PAGE, 1 << 46, MREMAP_MAYMOVE, 0), Err(ENOMEM), "more than there is");
    assert_eq!(sys!(SYS_munmap, start + 2 * PAGE as u64, 2 * PAGE), Ok(0));
    assert_eq!(remap(start, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE, 0), Err(EFAULT), "longer than what is there");
    assert_eq!(remap(start + 3 * PAGE as u64, PAGE, 2 * PAGE, MREMAP_MAYMOVE, 0), Err(EFAULT), "nothing there");
    assert_eq!(sys!(SYS_munmap, start, 2 * PAGE), Ok(0));
}

fn heap() {
    let brk = |to: u64| sys!(SYS_brk, to).expect("brk has no errors");
    let start = brk(0);
    assert_eq!(brk(1), start, "below the heap's begin: unchanged");
    let end = start + 10 * PAGE as u64 + 5;
    assert_eq!(brk(end), end, "grown");
    for address in (start..end).step_by(PAGE) {
        assert_eq!(peek(address), 0, "the heap's pages are zero");
        poke(address, 3);
    }
    assert_eq!(brk(start), start, "shrunk");
    assert_eq!(brk(end), end, "grown again");
    let whole_page = start.next_multiple_of(PAGE as u64);
    assert_eq!(peek(whole_page), 0, "what was given back is zero again");
    assert_eq!(brk(1 << 46), end, "too much: unchanged");
    assert_eq!(brk(0xffff_ffff_8000_0000), end, "the kernel's: unchanged");
    assert_eq!(brk(start), start, "as before");
}

fn advice() {
    let start = pages(4) as u64;
    let third = start + 2 * PAGE as u64;
    for offset in [0, PAGE as u64, 2 * PAGE as u64] {
        poke(start + offset, 8);
    }
    assert_eq!(sys!(SYS_madvise, third, 2 * PAGE, MADV_DONTNEED), Ok(0));
    assert_eq!((peek(start), peek(third)), (8, 0), "what is not needed is zero again");
    poke(third, 9);
    assert_eq!(peek(third), 9, "and may be used");
    assert_eq!(sys!(SYS_madvise, start, 4 * PAGE, MADV_NORMAL), Ok(0));
    assert_eq!(sys!(SYS_madvise, start, 4 * PAGE, MADV_WILLNEED), Ok(0));
    assert_eq!(sys!(SYS_madvise, start + 1, PAGE, MADV_DONTNEED), Err(EINVAL), "unaligned");
    assert_eq!(sys!(SYS_madvise, start, PAGE, 999), Err(EINVAL), "no such advice");
    assert_eq!(sys!(SYS_madvise, start, 0, MADV_DONTNEED), Ok(0), "no length");
    assert_eq!(sys!(SYS_munmap, third, PAGE), Ok(0));
    assert_eq!(sys!(SYS_madvise, start, 4 * PAGE, MADV_DONTNEED), Err(ENOMEM), "a hole");
    assert_eq!(peek(start), 0, "all the same, the rest was done");
    assert_eq!(sys!(SYS_munmap, start, 4 * PAGE), Ok(0));
}

/// Private and shared mappings of a file.
fn files() {
    let path = "/tmp/mem.file";
    let mut contents = vec![b'a'; PAGE];
    contents.extend([b'b'; 100]);
    std::fs::write(path, &contents).expect("a file can be written");
    let open = |flags: i32| sys!(SYS_open, c"/tmp/mem.file", flags).expect("the file can be opened");
    let map = |fd: u64, rights: i32, kind: i32, offset: usize| sys!(SYS_mmap, 0, 2 * PAGE, rights, kind, fd, offset);
    let fd = open(O_RDWR);

    let private = map(fd, RW, MAP_PRIVATE, 0).expect("a private mapping");
    let shared = map(fd, RW, MAP_SHARED, 0).expect("a shared mapping");
    let second = map(fd, PROT_READ, MAP_PRIVATE, PAGE).expect("a mapping of the second page");
    assert_eq!(peek(private + PAGE as u64 + 99), b'b', "the last byte");
    assert_eq!(peek(private + PAGE as u64 + 100), 0, "behind the end there are zeroes");
    assert_eq!(peek(second), b'b', "from the offset on");
    poke(private, b'P');
    assert_eq!(std::fs::read(path).expect("the file")[0], b'a', "private stores stay private");
    assert_eq!(peek(shared), b'a', "to other mappings as well");
    poke(shared + 1, b'S');
    assert_eq!(std::fs::read(path).expect("the file")[1], b'S', "shared stores do not");
    assert_eq!(sys!(SYS_msync, shared, PAGE, MS_SYNC), Ok(0));
    assert_eq!(sys!(SYS_pwrite64, fd, c"W", 1, 2), Ok(1));
    assert_eq!(peek(shared + 2), b'W', "a write is seen in the mapping");
    // A mapping keeps its file: open descriptors and names may go.
    assert_eq!(sys!(SYS_close, fd), Ok(0));
    std::fs::remove_file(path).expect("the file can be removed");
    assert_eq!(peek(shared + 1), b'S', "without descriptor and name");
    for start in [private, shared, second] {
        assert_eq!(sys!(SYS_munmap, start, 2 * PAGE), Ok(0));
    }

    std::fs::write(path, b"read only").expect("a file can be written");
    let fd = open(O_RDONLY);
    assert_eq!(map(fd, RW, MAP_SHARED, 0), Err(EACCES), "shared stores need a writable descriptor");
    let copy = map(fd, RW, MAP_PRIVATE, 0).expect("private stores do not");
    poke(copy, b'R');
    assert_eq!(map(fd, PROT_READ, MAP_PRIVATE, 5), Err(EINVAL), "unaligned offset");
    assert_eq!(sys!(SYS_munmap, copy, 2 * PAGE), Ok(0));
    assert_eq!(sys!(SYS_close, fd), Ok(0));
    let fd = open(O_WRONLY);
    assert_eq!(map(fd, PROT_READ, MAP_PRIVATE, 0), Err(EACCES), "a mapping reads");
    assert_eq!(sys!(SYS_close, fd), Ok(0));
    std::fs::remove_file(path).expect("the file can be removed");
}

/// More than there is.
fn huge() {
    for length in [1u64 << 46, 1 << 47, 1 << 63, u64::MAX, u64::MAX - 4095] {
        assert_eq!(sys!(SYS_mmap, 0, length, RW, ANONYMOUS, -1, 0), Err(ENOMEM), "{length:#x} bytes");
    }
}
