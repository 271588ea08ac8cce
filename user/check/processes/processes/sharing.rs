//! Memory after a fork: private pages part at the first write, shared ones never.

use super::Check;
use libc::*;
use programs::children::*;
use programs::sys;
use programs::system::{PAGE, pages};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

pub(crate) const CHECKS: &[Check] = &[
    ("both-sides-write", both_sides),
    ("grandchildren", grandchildren),
    ("shared-stays-shared", shared),
    ("futex-of-two-processes", futex),
    ("robust-futex-of-an-ended-process", robust),
    ("protections-are-kept", protections),
    ("no-copy-without-need", no_needless_copies),
];

const COUNT: usize = 32;

fn fill(area: *mut u8, byte: u8) {
    for page in 0..COUNT {
        // SAFETY: the area has this number of pages.
        unsafe { area.add(page * PAGE + page).write_volatile(byte) };
    }
}

fn holds(area: *mut u8, byte: u8) -> bool {
    // SAFETY: as above.
    (0..COUNT).all(|page| unsafe { area.add(page * PAGE + page).read_volatile() } == byte)
}

fn unmap(area: *mut u8) {
    sys!(SYS_munmap, area, COUNT * PAGE).unwrap();
}

/// In turns, so that each side writes while the other one has the page, and after.
fn both_sides() {
    let area = pages(COUNT);
    fill(area, 1);
    let (down, up) = (pipe_ends(), pipe_ends());
    let pid = child(|| {
        assert!(holds(area, 1));
        take(down[0]);
        assert!(holds(area, 1), "what the parent has written is not seen");
        fill(area, 3);
        give(up[1], 0);
        take(down[0]);
        i32::from(!holds(area, 3))
    });
    fill(area, 2);
    give(down[1], 0);
    take(up[0]);
    assert!(holds(area, 2), "what the child has written is not seen");
    fill(area, 4);
    give(down[1], 0);
    assert_eq!(end_of(pid), End::Exited(0));
    assert!(holds(area, 4));
    close_all(&[down[0], down[1], up[0], up[1]]);
    unmap(area);
}

fn grandchildren() {
    let area = pages(COUNT);
    fill(area, 1);
    let pid = child(|| {
        let own = child(|| {
            let own = child(|| {
                fill(area, 9);
                i32::from(!holds(area, 9))
            });
            assert_eq!(end_of(own), End::Exited(0));
            i32::from(!holds(area, 1))
        });
        fill(area, 5);
        assert_eq!(end_of(own), End::Exited(0));
        i32::from(!holds(area, 5))
    });
    assert_eq!(end_of(pid), End::Exited(0));
    assert!(holds(area, 1));
    unmap(area);
}

fn shared() {
    let rights = PROT_READ | PROT_WRITE;
    let map = sys!(SYS_mmap, 0, COUNT * PAGE, rights, MAP_SHARED | MAP_ANONYMOUS, -1, 0).unwrap();
    let area: *mut u8 = std::ptr::with_exposed_provenance_mut(map as usize);
    // One page is touched before, the others are not.
    // SAFETY: it is there.
    unsafe { area.write_volatile(1) };
    let pid = child(|| {
        fill(area, 6);
        0
    });
    assert_eq!(end_of(pid), End::Exited(0));
    assert!(holds(area, 6));
    unmap(area);
}

/// A futex in a shared mapping is one, at whichever address; in private memory each process has its own.
fn futex() {
    let rights = PROT_READ | PROT_WRITE;
    let map = sys!(SYS_mmap, 0, PAGE, rights, MAP_SHARED | MAP_ANONYMOUS, -1, 0).unwrap();
    let pid = child(|| {
        let moved = sys!(SYS_mremap, map, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map - (1 << 30)).unwrap();
        assert_eq!(sys!(SYS_futex, moved + 8, FUTEX_WAIT, 0, 0), Ok(0));
        0
    });
    let mut own = 0u32;
    assert_eq!(sys!(SYS_futex, &mut own, FUTEX_WAKE, 1), Ok(0));
    while sys!(SYS_futex, map + 8, FUTEX_WAKE, 1) != Ok(1) {
        let _ = sys!(SYS_sched_yield);
    }
    assert_eq!(end_of(pid), End::Exited(0));
    sys!(SYS_munmap, map, PAGE).unwrap();
}

/// A robust futex that a thread holds when its process ends, by itself or killed, passes to a thread that waits for it.
fn robust() {
    const WAITERS: u32 = 1 << 31;
    const OWNER_DIED: u32 = 1 << 30;
    let rights = PROT_READ | PROT_WRITE;
    for killed in [false, true] {
        let map = sys!(SYS_mmap, 0, PAGE, rights, MAP_SHARED | MAP_ANONYMOUS, -1, 0).unwrap();
        // SAFETY: the page is there, aligned, zeroed, and reached by atomics only until it is unmapped.
        let words = unsafe { &*std::ptr::with_exposed_provenance::<[AtomicU64; 8]>(map as usize) };
        let pid = child(|| {
            let holder = std::thread::spawn(move || {
                // The head, with one entry, 16 bytes before its word; the entry leads back to the head.
                words[0].store(map + 24, SeqCst);
                words[1].store(16, SeqCst);
                words[3].store(map, SeqCst);
                sys!(SYS_set_robust_list, map, 24).unwrap();
                words[5].store(sys!(SYS_gettid).unwrap() | u64::from(WAITERS), SeqCst);
                loop {
                    let _ = sys!(SYS_pause);
                }
            });
            programs::cpus::spin_until(|| words[6].load(SeqCst) != 0);
            if !killed {
                leave(0);
            }
            holder.join().map_or(1, |_: ()| 2)
        });
        programs::cpus::spin_until(|| words[5].load(SeqCst) != 0);
        let held = words[5].load(SeqCst);
        words[6].store(1, SeqCst);
        if killed {
            sys!(SYS_kill, pid, SIGKILL).unwrap();
        }
        // Perhaps it is too late to wait.
        let waited = sys!(SYS_futex, map + 40, FUTEX_WAIT, held, 0);
        assert!(matches!(waited, Ok(0) | Err(EAGAIN)), "{waited:?}");
        assert_eq!(words[5].load(SeqCst), u64::from(WAITERS | OWNER_DIED));
        assert_eq!(end_of(pid), if killed { End::Killed(SIGKILL) } else { End::Exited(0) });
        sys!(SYS_munmap, map, PAGE).unwrap();
    }
}

fn protections() {
    let area = pages(COUNT);
    fill(area, 1);
    sys!(SYS_mprotect, area, COUNT * PAGE, PROT_NONE).unwrap();
    let pid = child(|| {
        sys!(SYS_mprotect, area, COUNT * PAGE, PROT_READ | PROT_WRITE).unwrap();
        assert!(holds(area, 1));
        fill(area, 2);
        i32::from(!holds(area, 2))
    });
    assert_eq!(end_of(pid), End::Exited(0));
    let pid = child(|| {
        fill(area, 3);
        0
    });
    assert_eq!(end_of(pid), End::Killed(SIGSEGV));
    sys!(SYS_mprotect, area, COUNT * PAGE, PROT_READ | PROT_WRITE).unwrap();
    assert!(holds(area, 1));
    unmap(area);
}

/// The last process that has a page writes to it without a copy; untouched pages are never copied.
fn no_needless_copies() {
    let area = pages(COUNT);
    fill(area, 1);
    assert_eq!(end_of(child(|| 0)), End::Exited(0));
    let Some(before) = programs::cpus::statistic("pages_copied") else { return };
    fill(area, 2);
    let after = programs::cpus::statistic("pages_copied").unwrap();
    // A page of the stack or the heap may have been shared with a file.
    assert!(after - before < COUNT as u64 / 2, "{} pages copied", after - before);
    unmap(area);
}
