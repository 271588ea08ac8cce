//! What the model asks of physical memory.

use crate::frames::{Frame, PAGE_SIZE};
use x86_64::structures::paging::PageTable;

/// No frame is left for the purpose asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfFrames;

/// Frames of memory, their reference counts and their contents.
///
/// The kernel implements it over the direct map, the tests over a vector. Access to a frame that is
/// not in use panics: it is a bug of the caller, and the check is what makes the interface safe.
pub trait PhysicalMemory {
    /// Takes a free frame, with one reference, all zero.
    fn allocate(&mut self) -> Result<Frame, OutOfFrames>;

    /// One reference more to a frame in use.
    fn share(&mut self, frame: Frame);

    /// One reference less; the last one frees the frame.
    fn release(&mut self, frame: Frame);

    /// The references to a frame, 0 when free.
    fn references(&self, frame: Frame) -> u32;

    /// The frame read as a page table.
    fn table(&self, frame: Frame) -> &PageTable;

    /// The frame as a page table that can be written.
    fn table_mut(&mut self, frame: Frame) -> &mut PageTable;

    /// The frame's bytes.
    fn bytes(&self, frame: Frame) -> &[u8; PAGE_SIZE];

    /// The frame's bytes, to be written.
    fn bytes_mut(&mut self, frame: Frame) -> &mut [u8; PAGE_SIZE];

    /// Copies bytes from one frame to another; the ranges must lie within the frames, and the
    /// frames must differ.
    fn copy(&mut self, from: (Frame, usize), to: (Frame, usize), length: usize);
}
