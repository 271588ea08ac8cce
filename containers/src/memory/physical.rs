//! The machine as the memory subsystem sees it: frames with contents, and the translations of CPUs. For example, the
//! tests implement both traits over a vector of pages and a model of a TLB, and find a forgotten shootdown as a stale
//! translation in the model.

use crate::frames::Frame;
use core::ops::Range;
use cpulocal::CpuSet;
use x86_64::structures::paging::page_table::PageTableEntry;

/// No frame is left for this purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfFrames;

/// Frames of memory: their reference counts and their contents.
///
/// The kernel implements it over the direct map, the tests over a vector. Access to a frame that is
/// not in use panics: it is a bug of the caller, and the check is what makes the interface safe.
pub trait PhysicalMemory {
    /// Takes a free frame, with one reference, all zero.
    fn allocate(&mut self) -> Result<Frame, OutOfFrames>;

    /// Takes a free frame, with one reference; it gets the first `length` bytes of another frame, and zeroes behind
    /// them.
    fn duplicate(&mut self, from: Frame, length: usize) -> Result<Frame, OutOfFrames> {
        let frame = self.allocate()?;
        self.copy((from, 0), (frame, 0), length);
        Ok(frame)
    }

    /// Whether the kernel's heap can hold the bookkeeping of one more page; tops it up if need be. Asked before each
    /// page for a program, because a single call may take many.
    fn has_room_for_bookkeeping(&mut self) -> bool;

    /// Adds a reference to a frame in use.
    fn share(&mut self, frame: Frame);

    /// Drops a reference; the last one frees the frame.
    fn release(&mut self, frame: Frame);

    /// Drops a reference to a page table whose entries have all been set by [`PhysicalMemory::set_entry`], so that it
    /// is known where the table is not zero.
    fn release_table(&mut self, table: Frame);

    /// The number of free frames.
    fn free_frames(&self) -> usize;

    /// The number of references to a frame, 0 when it is free.
    fn references(&self, frame: Frame) -> u32;

    /// An entry of the frame read as a page table.
    ///
    /// Returned by value, because CPUs that walk the table mark its entries as accessed and dirty meanwhile.
    fn entry(&self, table: Frame, slot: usize) -> PageTableEntry;

    /// Which of a [`GROUP`] of entries are not unused: bit n stands for the n-th of them.
    ///
    /// [`GROUP`]: crate::frames::GROUP
    fn used(&self, table: Frame, group: usize) -> u32;

    /// Sets an entry of the frame as a page table, and records that there is one.
    fn set_entry(&mut self, table: Frame, slot: usize, entry: PageTableEntry);

    /// The groups in which entries of a page table have been set since it was allocated: bit n stands for the [`GROUP`]
    /// slots from n × `GROUP` on. All entries outside of them are unused.
    ///
    /// [`GROUP`]: crate::frames::GROUP
    fn groups(&self, table: Frame) -> u32;

    /// Copies the frame's bytes from `offset` on into `to`.
    ///
    /// User threads may write the frame at the same time, so no reference to its bytes is made.
    fn read(&self, frame: Frame, offset: usize, to: &mut [u8]);

    /// Copies `from` into the frame at `offset`.
    fn write(&mut self, frame: Frame, offset: usize, from: &[u8]);

    /// Changes the aligned 32-bit word at `offset` atomically, also with respect to user threads on other CPUs; returns
    /// its old value. `change` may be called several times.
    fn change_word(&mut self, frame: Frame, offset: usize, change: impl Fn(u32) -> u32) -> u32;

    /// Copies bytes from one frame to another; the ranges must lie within the frames, and the
    /// frames must differ.
    fn copy(&mut self, from: (Frame, usize), to: (Frame, usize), length: usize);
}

/// The memory-management units of all CPUs.
pub trait Translation {
    /// Makes this CPU run on a page directory, with no stale translation of any user page.
    fn load(&mut self, pml4: Frame);

    /// Makes each of `cpus`, which may include this one, forget its translations of a range of user pages of the
    /// directory that it runs on, and of the tables above; returns when all have done so.
    fn invalidate(&mut self, cpus: CpuSet, range: Range<u64>);

    /// Makes CPUs that the kernel does not know forget all their translations of an [accompanied] container's page directory;
    /// returns when all have done so.
    ///
    /// [accompanied]: crate::Memory::accompany
    fn invalidate_companions(&mut self, pml4: Frame);

    /// Notes that there is teardown work: this CPU does some of it before it leaves the kernel, and returns for the
    /// rest.
    fn note_teardown_work(&mut self);

    /// Takes each of `cpus`, which must not include this one, out of user mode and onto its own global page directory,
    /// with no stale translation of any user page; returns when all have answered.
    fn vacate(&mut self, cpus: CpuSet);
}
