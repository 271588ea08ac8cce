//! Maps a CPU's own copy of the CPU-local section at the section's address.
//!
//! Each copy is also mapped at an address of its own in [`COPIES`], where other CPUs can read its counters. They never
//! write there.

use super::image;
use super::layout::COPIES;
use super::paging::{self, CONSTANT};
use super::physical::Frames;
use containers::directory::span;
use containers::{Cpu, Frame, OutOfFrames, PAGE_SIZE, PhysicalMemory};
use core::cell::Cell;
use cpulocal::{CpuLocal, InKernel, cpu_local};
use x86_64::VirtAddr;

cpu_local! {
    /// This CPU's number.
    static NUMBER: Cell<Cpu> = Cell::new(Cpu(0));
}

/// Copies the load image to fresh frames and maps them in the CPU's global page directory.
pub fn map(frames: &mut Frames, cpu: Cpu, global: Frame) -> Result<(), OutOfFrames> {
    let pages = image::cpulocal().step_by(PAGE_SIZE);
    for (address, bytes) in pages.zip(image::cpulocal_load().chunks(PAGE_SIZE)) {
        let frame = frames.allocate()?;
        frames.write(frame, 0, bytes);
        paging::map_cpulocal(frames, global, VirtAddr::new(address), frame)?;
        paging::map_kernel(frames, VirtAddr::new(copy_of(cpu, address)), frame, CONSTANT)?;
    }
    Ok(())
}

/// The address in [`COPIES`] of a CPU's copy of the data at an address of the section.
fn copy_of(cpu: Cpu, address: u64) -> u64 {
    COPIES.start + u64::from(cpu.0) * span(2) + (address - image::cpulocal().start)
}

/// This CPU's number.
#[inline]
pub fn number(cpu: &InKernel) -> Cpu {
    NUMBER.get(cpu).get()
}

/// Sets the number of this CPU, which has just come up.
#[cfg(feature = "smp")]
pub fn set_number(cpu: &InKernel, number: Cpu) {
    NUMBER.get(cpu).set(number);
}

/// The physical address of the first page of a CPU's copy.
pub fn frame(frames: &Frames, cpu: Cpu) -> u64 {
    paging::kernel_frame(frames, copy_of(cpu, image::cpulocal().start)).map_or(0, |frame| frame.address().as_u64())
}

/// Data that can be read word by word while its CPU goes on writing it.
///
/// # Safety
/// Made of `Cell`s of 64-bit words and nothing else.
pub unsafe trait Counters {}

// SAFETY: one word.
unsafe impl Counters for Cell<u64> {}

// SAFETY: as many as each of them has, and nothing between them.
unsafe impl<T: Counters, const N: usize> Counters for [T; N] {}

/// The values of a CPU's counters, readable on any CPU. The CPU has come up.
pub fn counters<T: Counters>(of: Cpu, variable: &'static CpuLocal<T>) -> T {
    // The distance is computed first: an address of the section within an instruction would look like an access.
    let source = copy_of(of, core::hint::black_box(variable.as_ptr() as u64)) as *const u64;
    let mut copy = core::mem::MaybeUninit::<T>::uninit();
    for word in 0..size_of::<T>() / size_of::<u64>() {
        // SAFETY: the copy is mapped for ever and made of words; a word that is being written reads as its old or its
        // new value.
        unsafe { copy.as_mut_ptr().cast::<u64>().add(word).write(source.add(word).read_volatile()) };
    }
    // SAFETY: all words have been written.
    unsafe { copy.assume_init() }
}
