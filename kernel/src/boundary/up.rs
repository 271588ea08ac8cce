//! The strategy of the uniprocessor: levels are kept, and that is all. Nobody else can be in the
//! kernel, so entering and leaving cost nothing.

use crate::arch::accounts::Cause;
use containers::CpuSet;
use cpulocal::InKernel;

/// There is nothing to make ready.
pub(super) fn init(_cpu: &InKernel) {}

/// There is no queue.
pub(super) enum Place {}

/// The level has risen.
#[inline(always)]
pub(super) fn enter(_cpu: &InKernel) -> Result<(), Place> {
    Ok(())
}

/// Nobody gets here.
pub(super) fn wait(_cpu: &InKernel, place: Place, _cause: Cause) -> bool {
    match place {}
}

/// The level is about to fall to 0.
#[inline(always)]
pub(super) fn leave(_cpu: &InKernel) {}

/// The level falls from 2 to 1.
#[inline(always)]
pub(super) fn leave_level2(_cpu: &InKernel) {}

/// Whether an interrupt at level 1 came before this CPU was let in.
#[inline(always)]
pub(super) fn is_postponed(_cpu: &InKernel, _vector: u64) -> bool {
    false
}

/// Whether an interrupt is another CPU's request.
#[inline(always)]
pub(super) fn is_request(_vector: u64) -> bool {
    false
}

/// Whether an interrupt at level 0 has been dealt with without the kernel's state.
#[inline(always)]
pub(super) fn is_answered_outside(_cpu: &InKernel, _vector: u64) -> bool {
    false
}

/// Makes other CPUs choose anew who they run.
pub(super) fn make_look(_cpu: &InKernel, others: CpuSet) {
    unreachable!("CPUs {others:?} besides the only one")
}
