//! The CPU-local section: variables of which every CPU has its own copy, all at one address.
//!
//! papers/001 section 3.2: each CPU runs in page directories that map the page-aligned section `.cpulocal` to that
//! CPU's own physical pages, so an access is one ordinary instruction, in the uniprocessor and the multiprocessor build
//! alike. No index, no segment prefix. For example, `SWITCHES.get(cpu)` is one fixed address, at which CPU 0 and CPU 1
//! find different memory.
//!
//! A pointer to such a variable points to another variable on another CPU, so it must not outlive the visit to the
//! kernel in which it was made. [`InKernel`] ensures that: only a CPU inside the kernel has one, it can be neither sent
//! nor shared, and every reference handed out borrows from it.
//!
//! ```compile_fail
//! fn needs_send<T: Send>(_: T) {}
//! fn smuggle(proof: &cpulocal::InKernel) { needs_send(proof) }
//! ```
//!
//! The crate relies on the linker script (section, alignment) and on the kernel's boot (mapping);
//! touching a variable before the mapping is there is a page fault, which the early trap handler
//! reports by name.
#![cfg_attr(not(test), no_std)]

mod cpus;
mod level;

use core::cell::UnsafeCell;
use core::marker::PhantomData;

pub use cpus::{Cpu, CpuSet, MAX_CPUS};
pub use level::{AtLevel1, Guarded};

/// Proof that this code runs inside the kernel and stays on this CPU.
pub struct InKernel {
    /// Neither `Send` nor `Sync`.
    _this_cpu: PhantomData<*const ()>,
}

impl InKernel {
    /// Makes the proof.
    ///
    /// # Safety
    /// The caller runs in the kernel, with the CPU-local section mapped, and lets no copy of the
    /// proof live beyond the visit: it makes one where the kernel is entered and nowhere else.
    pub const unsafe fn new() -> InKernel {
        InKernel { _this_cpu: PhantomData }
    }
}

/// A variable in the CPU-local section; declare it with [`cpu_local!`].
///
/// `T` is reached by shared reference only, so it is a `Cell` or made of `Cell`s.
#[repr(transparent)]
pub struct CpuLocal<T>(UnsafeCell<T>);

// SAFETY: two CPUs that use one address use different memory, and one CPU has one kernel stack; `get` needs the proof
// that this is a CPU in the kernel.
unsafe impl<T> Sync for CpuLocal<T> {}

impl<T> CpuLocal<T> {
    /// The initial value, which every CPU's copy starts with.
    ///
    /// # Safety
    /// The variable is a static in the section `.cpulocal`; [`cpu_local!`] sees to it.
    pub const unsafe fn new(value: T) -> CpuLocal<T> {
        CpuLocal(UnsafeCell::new(value))
    }

    /// This CPU's copy, for as long as the visit to the kernel lasts.
    #[inline(always)]
    pub fn get<'visit>(&'static self, _proof: &'visit InKernel) -> &'visit T {
        // SAFETY: only shared references are ever made, and the proof says that the section is mapped.
        unsafe { &*self.0.get() }
    }

    /// The variable's address, which is one for all CPUs; for assembly and for the boot.
    pub const fn as_ptr(&self) -> *mut T {
        self.0.get()
    }
}

/// Declares CPU-local variables.
///
/// ```
/// use core::cell::Cell;
/// use cpulocal::{InKernel, cpu_local};
///
/// cpu_local! {
///     /// Execution level: 0, 1 or 2.
///     pub static LEVEL: Cell<u64> = Cell::new(0);
/// }
///
/// fn rise(cpu: &InKernel) {
///     LEVEL.get(cpu).set(LEVEL.get(cpu).get() + 1);
/// }
/// ```
#[macro_export]
macro_rules! cpu_local {
    ($($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $init:expr;)*) => {$(
        $(#[$meta])*
        #[unsafe(link_section = ".cpulocal")]
        $vis static $name: $crate::CpuLocal<$type> =
            // SAFETY: the attribute above puts it into the section.
            unsafe { $crate::CpuLocal::new($init) };
    )*};
}
