//! Takes much of the kernel's heap and gives it back: regions of many processes, long names, processes that end at
//! once. After each, nearly all pages that the heap still has must be in use, and a process can be made.
//!
//! Run by: `tests/tests/boot/programs.rs`.

use libc::*;
use programs::children::{End, child, wait_for};
use programs::cpus::statistic;
use programs::system::PAGE;
use std::fs;
use std::os::unix::fs::symlink;
use std::ptr;

/// Regions of each process that hoards.
const REGIONS: usize = 16_000;

/// Names, each of which takes a page.
const NAMES: usize = 2_500;

/// Processes that end at once.
const STORM: usize = 500;

fn main() {
    check("a program", 0);
    let most = regions();
    check("regions", most);
    let most = names();
    check("names", most);
    let most = storm();
    check("processes", most);
    println!("ok heap-back");
}

fn count(name: &str) -> u64 {
    statistic(name).expect("the kernel's statistics")
}

/// Tells what the heap has in use and what it has, and that it once had `most` pages.
fn check(what: &str, most: u64) {
    let (bytes, pages, idle) = (count("heap_bytes"), count("heap_pages"), count("heap_idle_pages"));
    println!("{what}: {bytes} bytes in {pages} pages, {idle} idle; there were {most}");
    assert!(pages * PAGE as u64 * 10 <= bytes * 12, "after {what} more than a fifth of the heap's pages is not in use");
    assert!(most == 0 || most > 2 * pages, "{what} took {most} pages, and that is not much");
    assert!(idle < 256, "after {what} the heap keeps {idle} idle pages");
    let pid = child(|| 7);
    assert_eq!(wait_for(pid, 0), Ok(Some((pid, End::Exited(7)))));
}

/// Processes that wait for a signal, as long as `more` says so; then they are killed. The pages that the heap had.
fn crowd(mut more: impl FnMut(usize) -> bool) -> u64 {
    let mut pids = Vec::new();
    while more(pids.len()) {
        // SAFETY: waits for a signal that ends it.
        pids.push(child(|| unsafe { pause() }));
    }
    let most = count("heap_pages");
    for &pid in &pids {
        // SAFETY: a child that has not been waited for.
        assert_eq!(unsafe { kill(pid, SIGKILL) }, 0);
    }
    for pid in pids {
        assert_eq!(wait_for(pid, 0), Ok(Some((pid, End::Killed(SIGKILL)))));
    }
    most
}

/// Children with many regions each, until an eighth of memory is left.
fn regions() -> u64 {
    let length = (2 * REGIONS + 1) * PAGE;
    // SAFETY: asks for pages of its own, which no other code uses.
    let start = unsafe { mmap(ptr::null_mut(), length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) };
    assert_ne!(start, MAP_FAILED);
    for n in 0..REGIONS {
        // SAFETY: pages of the mapping, in which nothing lies.
        assert_eq!(unsafe { mprotect(start.byte_add(2 * n * PAGE), PAGE, PROT_READ) }, 0);
    }
    let few = count("frames_total") / 8;
    let most = crowd(|_| count("frames_free") > few);
    // SAFETY: as above.
    assert_eq!(unsafe { munmap(start, length) }, 0);
    most
}

/// Symbolic links with long contents, made and removed.
fn names() -> u64 {
    let target = "x".repeat(PAGE - 1);
    fs::create_dir("/tmp/names").expect("a directory");
    let name = |n: usize| format!("/tmp/names/{n}");
    for n in 0..NAMES {
        symlink(&target, name(n)).expect("room for a name");
    }
    let most = count("heap_pages");
    for n in 0..NAMES {
        fs::remove_file(name(n)).expect("it was made");
    }
    fs::remove_dir("/tmp/names").expect("it is empty");
    most
}

/// Many processes that end at once.
fn storm() -> u64 {
    crowd(|made| made < STORM)
}
