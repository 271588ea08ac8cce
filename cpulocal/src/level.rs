//! Level 1, and the data that is reached only there.

use core::cell::UnsafeCell;
use core::marker::PhantomData;

/// Proof that this CPU is at level 1 and that the strategy has let it in.
///
/// An interrupt at level 2 has no such proof, only [`InKernel`](crate::InKernel): the interrupted code is using the
/// data that the proof opens. So this does not compile:
///
/// ```compile_fail
/// use cpulocal::{Guarded, InKernel};
///
/// static KERNEL: Guarded<u64> = Guarded::new();
///
/// fn interrupted(cpu: &mut InKernel) {
///     *KERNEL.get(cpu) += 1; // expected `&mut AtLevel1`
/// }
/// ```
///
/// With the proof, the access compiles:
///
/// ```
/// use cpulocal::{AtLevel1, Guarded};
///
/// static KERNEL: Guarded<u64> = Guarded::new();
///
/// fn system_call(level: &mut AtLevel1) {
///     *KERNEL.get(level) += 1;
/// }
/// ```
///
/// Two accesses at a time do not:
///
/// ```compile_fail
/// # use cpulocal::{AtLevel1, Guarded};
/// # static KERNEL: Guarded<u64> = Guarded::new();
/// fn twice(level: &mut AtLevel1) {
///     let (first, second) = (KERNEL.get(level), KERNEL.get(level));
///     *first += *second;
/// }
/// ```
pub struct AtLevel1 {
    /// Neither `Send` nor `Sync`.
    _this_cpu: PhantomData<*const ()>,
}

impl AtLevel1 {
    /// Makes the proof.
    ///
    /// # Safety
    /// The level has risen to 1, the strategy has let this CPU in, and this is the visit's one proof; it is gone before
    /// the level falls. The code that makes the first proof calls [`Guarded::set`] before it calls [`Guarded::get`].
    pub const unsafe fn new() -> AtLevel1 {
        AtLevel1 { _this_cpu: PhantomData }
    }
}

/// Data that a CPU reaches at level 1 only, one CPU at a time. It moves from CPU to CPU, and so has to be [`Send`]:
///
/// ```compile_fail,E0277
/// use cpulocal::Guarded;
/// use std::rc::Rc;
///
/// static KERNEL: Guarded<Rc<u64>> = Guarded::new(); // another CPU may count the same references
/// ```
pub struct Guarded<T>(UnsafeCell<Option<T>>);

// SAFETY: references to the content come from `get` and `set`, which need the proof, and of proofs there is
// one at a time; so the content moves from CPU to CPU and is never shared.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    /// Makes an empty one.
    pub const fn new() -> Guarded<T> {
        Guarded(UnsafeCell::new(None))
    }

    /// Puts the content in; to be called before [`Guarded::get`].
    pub fn set(&'static self, _proof: &mut AtLevel1, content: T) {
        // SAFETY: the proof says that no other reference exists.
        unsafe { *self.0.get() = Some(content) }
    }

    /// The content, for as long as the proof is not used for anything else.
    #[inline(always)]
    pub fn get<'visit>(&'static self, _proof: &'visit mut AtLevel1) -> &'visit mut T {
        // SAFETY: the proof says that no other reference exists, and that the content is there.
        unsafe { (*self.0.get()).as_mut().unwrap_unchecked() }
    }
}

impl<T> Default for Guarded<T> {
    fn default() -> Self {
        Guarded::new()
    }
}
