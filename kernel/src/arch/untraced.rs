//! The kernel without the feature `trace`: nothing is recorded, and nothing is left of the calls.

use super::bootinfo::BootInfo;
use cpulocal::InKernel;
use trace::{Class, Event, From, To};

/// Takes no memory.
pub fn reserve(_: &mut BootInfo) {}

/// Nothing begins.
pub fn start(_: &InKernel) {}

/// Nothing ends.
pub fn stop(_: &InKernel) {}

/// The level rises from 0 to 1.
#[inline(always)]
pub fn enter(_: &InKernel, _: Class, _number: u64, _: From) {}

/// The level falls to 0.
#[inline(always)]
pub fn leave(_: &InKernel, _: To) {}

/// Something happens now, where interrupts are off.
#[inline(always)]
pub fn here(_: &InKernel, _: Event) {}

/// Something happens now.
#[inline(always)]
pub fn event(_: &InKernel, _: Event) {}

/// Another thread runs.
pub fn switch(_: &InKernel, _thread: u32, _process: u32, _name: &[u8]) {}

/// A program's wish; false: it cannot be granted.
pub fn control(_: &InKernel, _: Event, _call: u64) -> bool {
    false
}
