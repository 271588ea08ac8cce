//! What the model asks of physical memory.

use crate::frames::Frame;
use core::ops::Range;
use cpulocal::CpuSet;
use x86_64::structures::paging::page_table::PageTableEntry;

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

    /// The same with the first `length` bytes of another frame in it, and zeroes behind.
    fn duplicate(&mut self, from: Frame, length: usize) -> Result<Frame, OutOfFrames> {
        let frame = self.allocate()?;
        self.copy((from, 0), (frame, 0), length);
        Ok(frame)
    }

    /// Whether the bookkeeping of one more page can be allocated; sees to it if need be. Asked before
    /// every page for a program, of which a single call may take many.
    fn has_room_for_bookkeeping(&mut self) -> bool;

    /// One reference more to a frame in use.
    fn share(&mut self, frame: Frame);

    /// One reference less; the last one frees the frame.
    fn release(&mut self, frame: Frame);

    /// The same of a page table, whose entries have all been set by [`PhysicalMemory::set_entry`]: so it is known
    /// where it is not zero.
    fn release_table(&mut self, table: Frame);

    /// Frames that nobody uses.
    fn free_frames(&self) -> usize;

    /// The references to a frame, 0 when free.
    fn references(&self, frame: Frame) -> u32;

    /// An entry of the frame read as a page table.
    ///
    /// CPUs that walk the table mark its entries as accessed and dirty meanwhile, so no reference to one is given.
    fn entry(&self, table: Frame, slot: usize) -> PageTableEntry;

    /// Which of a [`GROUP`] of entries are not unused: bit n stands for the n-th of them.
    ///
    /// [`GROUP`]: crate::frames::GROUP
    fn used(&self, table: Frame, group: usize) -> u32;

    /// Sets an entry of the frame as a page table, and keeps in mind where it is.
    fn set_entry(&mut self, table: Frame, slot: usize, entry: PageTableEntry);

    /// Where entries of a page table have been set since it was allocated: bit n stands for the [`GROUP`] of them
    /// from slot n × `GROUP` on. All others are unused.
    ///
    /// [`GROUP`]: crate::frames::GROUP
    fn groups(&self, table: Frame) -> u32;

    /// Copies the frame's bytes from `offset` on into `to`.
    ///
    /// User threads may write the frame at the same time, so no reference to its bytes is made.
    fn read(&self, frame: Frame, offset: usize, to: &mut [u8]);

    /// Copies `from` into the frame at `offset`.
    fn write(&mut self, frame: Frame, offset: usize, from: &[u8]);

    /// Changes the aligned 32-bit word at `offset` in one step, also for user threads that change it at the
    /// same time on other CPUs; returns what it was. `change` may be asked several times.
    fn change_word(&mut self, frame: Frame, offset: usize, change: impl Fn(u32) -> u32) -> u32;

    /// Copies bytes from one frame to another; the ranges must lie within the frames, and the
    /// frames must differ.
    fn copy(&mut self, from: (Frame, usize), to: (Frame, usize), length: usize);
}

/// What the model asks of the memory-management units.
pub trait Translation {
    /// Makes this CPU run on a page directory, with no stale translation of any user page.
    fn load(&mut self, pml4: Frame);

    /// Makes each of `cpus`, of which this may be one, forget its translations of a range of user pages
    /// of the directory that it runs on, and of the tables above; returns when all have done so.
    fn invalidate(&mut self, cpus: CpuSet, range: Range<u64>);

    /// Something is left to be taken apart: this CPU is to see to it before it leaves the kernel, and to come back for
    /// the rest.
    fn has_remains(&mut self);

    /// Takes each of `cpus`, all of them others than this one, out of user mode and onto its own global
    /// page directory, with no stale translation of any user page; returns when all have answered.
    fn vacate(&mut self, cpus: CpuSet);
}
