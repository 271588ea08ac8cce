//! The memory of the thread that this CPU runs, as the CPU itself would reach it in user mode: without the kernel's state,
//! while another CPU may be in the kernel.
//!
//! The page tables are walked from CR3 as the CPU walks them, with interrupts off. Who takes a page or a right away
//! writes the entry first, then has every CPU that runs the container answer (`arch::remote`), and only then frees the
//! frame. A CPU in a call answers when it has left. So to that CPU a walk here is what its own walk is just before the
//! request: the frame that was found is still the thread's.
//!
//! For example, `clock_gettime` writes 16 bytes to a page that the thread has written before. If the page is not there
//! or may not be written, the call is made again with the kernel's state, which delivers the page or answers `EFAULT`.

use super::layout::DIRECT_MAP;
use super::physical::move_bytes;
use containers::PAGE_SIZE;
use containers::directory::{TABLE, USER_END, slot};
use core::marker::PhantomData;
use cpulocal::InKernel;
use x86_64::registers::control::Cr3;
use x86_64::structures::paging::page_table::PageTableEntry;

/// The own memory of a thread during one call.
pub struct Own<'a> {
    is_enough: bool,
    _at_level_1: PhantomData<&'a InKernel>,
}

impl<'a> Own<'a> {
    /// The memory of the thread whose call this CPU makes.
    #[inline(always)]
    pub fn of(_: &'a InKernel) -> Own<'a> {
        Own { is_enough: true, _at_level_1: PhantomData }
    }

    /// Whether the call has needed nothing but this.
    #[inline(always)]
    pub fn is_enough(&self) -> bool {
        self.is_enough
    }

    /// Says that the call needs the kernel's state: it is made again with it, whatever the answer.
    pub fn is_too_little(&mut self) {
        self.is_enough = false;
    }

    /// Writes bytes; `None` if that needs the kernel's state.
    #[inline]
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Option<()> {
        let to = place(address, bytes.len());
        if let Some(to) = to {
            // SAFETY: the bytes are in a page of the thread's that it may write, which stays its own until this CPU
            // answers requests again, and no page of a program's is behind a reference of the kernel's.
            unsafe { move_bytes(bytes.as_ptr(), to, bytes.len()) }
        }
        self.is_enough &= to.is_some();
        to.map(|_| ())
    }
}

/// Where bytes of the thread's are in the direct map, if they lie in one page that the thread may write.
#[inline]
fn place(address: u64, length: usize) -> Option<*mut u8> {
    let offset = address % PAGE_SIZE as u64;
    if address >= USER_END || length as u64 > PAGE_SIZE as u64 - offset {
        return None;
    }
    let mut at = Cr3::read().0.start_address();
    for level in (1..=4).rev() {
        let table = (DIRECT_MAP + at.as_u64()) as *const PageTableEntry;
        // SAFETY: the table that CR3 or an entry of the level above names is one, as long as this CPU answers no
        // request. An entry is a word, which is read whole; another CPU may write it meanwhile.
        let entry = unsafe { table.add(slot(address, level)).read_volatile() };
        if !entry.flags().contains(TABLE) {
            return None;
        }
        at = entry.addr();
    }
    Some((DIRECT_MAP + at.as_u64() + offset) as *mut u8)
}
