//! Calls that change much of an address space.

use super::{MIB, at, file, memory, regions, touched, unmap};
use libc::*;
use programs::sys;
use programs::system::PAGE;

const LENGTH: usize = 32 * MIB;
const REGIONS: usize = 4_000;

/// How many pages of an area are in memory.
fn resident(area: u64, bytes: usize) -> usize {
    let mut told = vec![0_u8; bytes / PAGE];
    sys!(SYS_mincore, area, bytes, told.as_mut_ptr().expose_provenance()).expect("residence");
    told.iter().map(|there| usize::from(*there)).sum()
}

/// Rights of many pages, and of many regions.
pub(super) fn rights() {
    let area = touched(LENGTH);
    sys!(SYS_mprotect, area, LENGTH, PROT_READ).expect("less");
    let refused = sys!(SYS_getcwd, area + (LENGTH - PAGE) as u64, PAGE);
    assert_eq!(refused, Err(EFAULT), "the last page is not written any more");
    sys!(SYS_mprotect, area, LENGTH, PROT_NONE).expect("nothing");
    sys!(SYS_mprotect, area, LENGTH, PROT_READ | PROT_WRITE).expect("all");
    assert!(at(area, LENGTH).iter_mut().step_by(PAGE).all(|byte| core::mem::replace(byte, 2) == 1));
    sys!(SYS_munmap, area + (LENGTH - PAGE) as u64, PAGE).expect("a hole");
    assert_eq!(sys!(SYS_mprotect, area, LENGTH, PROT_READ), Err(ENOMEM));
    assert_eq!(sys!(SYS_getcwd, area + (LENGTH - 2 * PAGE) as u64, PAGE), Err(EFAULT), "what lies before the hole");
    unmap(&[area], LENGTH);
    let (area, bytes) = (every_other(REGIONS), 2 * REGIONS * PAGE);
    sys!(SYS_mprotect, area, bytes, PROT_READ | PROT_WRITE).expect("one again");
    at(area, bytes).iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    unmap(&[area], bytes);
}

/// As many regions as that which may be read, and as many between them which may not, without holes.
fn every_other(count: usize) -> u64 {
    let area = memory(2 * count * PAGE, PROT_NONE);
    (0..count as u64).for_each(|n| assert!(sys!(SYS_mprotect, area + 2 * n * PAGE as u64, PAGE, PROT_READ).is_ok()));
    area
}

/// A mapping grows, and moves for that, with what is in it.
pub(super) fn moves() {
    let area = touched(LENGTH + PAGE);
    // Something in the way.
    sys!(SYS_mprotect, area + LENGTH as u64, PAGE, PROT_NONE).expect("a page");
    for (n, page) in at(area, LENGTH).chunks_mut(PAGE).enumerate() {
        page[..8].copy_from_slice(&n.to_le_bytes());
    }
    let moved = sys!(SYS_mremap, area, LENGTH, LENGTH + MIB, MREMAP_MAYMOVE).expect("room elsewhere");
    assert_ne!(moved, area);
    assert!(at(moved, LENGTH).chunks(PAGE).enumerate().all(|(n, page)| page[..8] == n.to_le_bytes()));
    assert_eq!(resident(moved, LENGTH + MIB), LENGTH / PAGE);
    assert_eq!(sys!(SYS_getcwd, area, PAGE), Err(EFAULT), "nothing is where it was");
    unmap(&[moved], LENGTH + MIB);
    unmap(&[area + LENGTH as u64], PAGE);
}

/// Pages that are made before the first access, and locked.
pub(super) fn ahead() {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    let area = sys!(SYS_mmap, 0, LENGTH, PROT_READ | PROT_WRITE, flags, -1, 0).expect("memory");
    assert_eq!(resident(area, LENGTH), LENGTH / PAGE);
    assert!(at(area, LENGTH).iter().all(|byte| *byte == 0));
    sys!(SYS_madvise, area, LENGTH, MADV_DONTNEED).expect("new pages");
    sys!(SYS_mlock, area, LENGTH).expect("all of them");
    assert_eq!(resident(area, LENGTH), LENGTH / PAGE);
    assert_eq!(sys!(SYS_madvise, area, LENGTH, MADV_DONTNEED), Err(EINVAL));
    sys!(SYS_munlock, area, LENGTH).expect("all of them");
    sys!(SYS_madvise, area, LENGTH, MADV_DONTNEED).expect("new pages");
    unmap(&[area], LENGTH);
    let (area, bytes) = (every_other(REGIONS), 2 * REGIONS * PAGE);
    for call in [SYS_mlock, SYS_munlock] {
        // No page can be had of a region without rights, which Linux does not take for an error of `munlock`.
        assert!(sys!(call, area, bytes).is_ok() || call == SYS_mlock);
    }
    unmap(&[area], bytes);
    let file = file();
    sys!(SYS_fallocate, file, 0, 0, LENGTH).expect("room");
    assert_eq!(sys!(SYS_lseek, file, 0, SEEK_END), Ok(LENGTH as u64));
    assert!(sys!(SYS_close, file).is_ok());
}

/// Advice on many regions, holes among them.
pub(super) fn advice() {
    let (area, bytes) = (regions(REGIONS), 2 * REGIONS * PAGE);
    for advice in [MADV_DONTFORK, MADV_DOFORK, MADV_NORMAL, MADV_DONTNEED] {
        assert_eq!(sys!(SYS_madvise, area, bytes, advice), Err(ENOMEM), "holes");
    }
    unmap(&[area], bytes);
    let area = every_other(REGIONS);
    for advice in [MADV_DONTFORK, MADV_DOFORK, MADV_NORMAL, MADV_DONTNEED] {
        assert!(sys!(SYS_madvise, area, bytes, advice).is_ok(), "advice {advice}");
    }
    assert!(sys!(SYS_msync, area, bytes, MS_SYNC | MS_INVALIDATE).is_ok());
    unmap(&[area], bytes);
}
