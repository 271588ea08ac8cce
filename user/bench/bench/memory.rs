//! Pages.

use super::{Ticks, now, timed};
use libc::{MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE, SYS_mmap, SYS_munmap};
use programs::{
    sys,
    system::{PAGE, pages},
};
use std::arch::asm;

/// Maps a page, touches it and takes it away.
pub(crate) fn map(count: u64) -> Ticks {
    timed(|| {
        (0..count).try_for_each(|_| {
            let (rights, flags) = (PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
            let address = sys!(SYS_mmap, 0, PAGE, rights, flags, -1, 0)?;
            let page: *mut u8 = std::ptr::with_exposed_provenance_mut(address as usize);
            // SAFETY: the first byte of a new page of our own.
            unsafe { page.write_volatile(1) };
            sys!(SYS_munmap, address, PAGE).map(drop)
        })
    })
}

/// Clears a page by `rep stosb`, in user mode: what of the others is spent on that, as some machines count it.
pub(crate) fn clear(count: u64) -> Ticks {
    let page = pages(1);
    let before = now();
    for _ in 0..count {
        // SAFETY: a page of our own, from its first byte to its last.
        unsafe {
            asm!("rep stosb", inout("rcx") PAGE => _, inout("rdi") page => _, in("al") 0_u8, options(nostack));
        }
    }
    let ticks = now() - before;
    let _ = sys!(SYS_munmap, page, PAGE);
    Ok(ticks)
}
