//! Level 1, and what is reached there only.

use core::cell::UnsafeCell;
use core::marker::PhantomData;

/// Proof that this CPU is at level 1 and that the strategy has let it in.
///
/// An interrupt at level 2 has no such proof, only [`InKernel`](crate::InKernel): the code that it
/// interrupted is using what the proof opens.
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
/// With the proof, the same compiles:
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
/// And two at a time do not:
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
    /// The level has risen to 1, the strategy has let this CPU in, and this is the visit's one proof; it is
    /// gone before the level falls. Whoever makes the first one puts the contents in before he looks.
    pub const unsafe fn new() -> AtLevel1 {
        AtLevel1 { _this_cpu: PhantomData }
    }
}

/// What a CPU reaches at level 1 only, one CPU at a time. It goes from CPU to CPU, and so has to be [`Send`]:
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
    /// Nothing yet.
    pub const fn new() -> Guarded<T> {
        Guarded(UnsafeCell::new(None))
    }

    /// Puts the content in, before anybody calls [`Guarded::get`].
    pub fn set(&'static self, _proof: &mut AtLevel1, content: T) {
        // SAFETY: the proof says that nobody else holds a reference.
        unsafe { *self.0.get() = Some(content) }
    }

    /// The content, for as long as the proof is not used for anything else.
    #[inline(always)]
    pub fn get<'visit>(&'static self, _proof: &'visit mut AtLevel1) -> &'visit mut T {
        // SAFETY: the proof says that nobody else holds a reference, and that the content is there.
        unsafe { (*self.0.get()).as_mut().unwrap_unchecked() }
    }
}

impl<T> Default for Guarded<T> {
    fn default() -> Self {
        Guarded::new()
    }
}
