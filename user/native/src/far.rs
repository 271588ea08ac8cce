//! A page at an address of the program's choosing, shared by its threads.

use crate::calls::Errno;
use crate::system;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

const PAGE: u64 = 4096;

/// A page at a fixed address, there from [`FarPage::map`] on for as long as the container.
pub struct FarPage {
    address: u64,
    mapped: AtomicBool,
}

impl FarPage {
    /// The page at `address`.
    pub const fn at(address: u64) -> Self {
        assert!(address.is_multiple_of(PAGE), "a page is aligned");
        Self { address, mapped: AtomicBool::new(false) }
    }

    /// Where it is.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Maps it: zeroes. It is not touched yet. Errors: `EEXIST` something is there already.
    pub fn map(&self) -> Result<(), Errno> {
        system::map_at(self.address, PAGE)?;
        self.mapped.store(true, SeqCst);
        Ok(())
    }

    /// Its word number `index`.
    ///
    /// # Panics
    /// If there is no such word, or the page is not mapped.
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < PAGE as usize / size_of::<AtomicU64>() && self.mapped.load(SeqCst), "a word of a mapped page");
        let word = ptr::with_exposed_provenance::<AtomicU64>(self.address as usize).wrapping_add(index);
        // SAFETY: `map` has made the page, no code unmaps it, and all reach it through this function.
        unsafe { &*word }
    }
}
