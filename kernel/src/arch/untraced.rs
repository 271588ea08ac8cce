//! The recorder of a kernel without the feature `trace`: it records nothing, and the calls leave no code.

use super::bootinfo::BootInfo;
use cpulocal::InKernel;
use trace::{Class, Event, From, To};

/// Takes no memory.
pub fn reserve(_: &mut BootInfo) {}

/// Begins no recording.
pub fn start(_: &InKernel) {}

/// Ends no recording.
pub fn stop(_: &InKernel) {}

/// The level rises from 0 to 1: not recorded.
#[inline(always)]
pub fn entry(_: &InKernel, _: Class, _number: u64, _: From) {}

/// The level falls to 0: not recorded.
#[inline(always)]
pub fn exit(_: &InKernel, _: To) {}

/// An event while interrupts are off: not recorded.
#[inline(always)]
pub fn record(_: &InKernel, _: Event) {}

/// An event: not recorded.
#[inline(always)]
pub fn event(_: &InKernel, _: Event) {}

/// A context switch: not recorded.
pub fn switch(_: &InKernel, _thread: u32, _process: u32, _name: &[u8]) {}

/// Refuses to switch recording for a program: always false.
pub fn control(_: &InKernel, _: Event, _call: u64) -> bool {
    false
}
