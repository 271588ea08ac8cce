//! The strategy of the uniprocessor: levels are kept, and that is all. Nobody else can be in the
//! kernel, so entering and leaving cost nothing.

use cpulocal::InKernel;

/// There is nothing to make ready.
pub(super) fn init(_cpu: &InKernel) {}

/// The level has risen to 1. Tells whether the CPU had to wait, and so whether anything may have changed
/// under the thread that it runs.
#[inline(always)]
pub(super) fn enter(_cpu: &InKernel) -> bool {
    false
}

/// The level is about to fall to 0.
#[inline(always)]
pub(super) fn leave(_cpu: &InKernel) {}

/// Nobody waits.
pub(super) fn waited(_cpu: &InKernel) -> u64 {
    0
}
