//! A machine for the tests: frames in a vector, and what its CPU has been told about translations.

use crate::directory::{PACKAGES_SLOT, TABLE, WINDOW, WINDOW_SLOT, set, slot};
use crate::frames::{Frame, FrameInfo, FrameTable, PAGE_SIZE};
use crate::memory::{GlobalDirectory, Memory};
use crate::physical::{OutOfFrames, PhysicalMemory, Translation};
use core::ops::Range;
use x86_64::PhysAddr;
use x86_64::structures::paging::PageTable;

/// A small memory. A frame is used as a page table or for bytes, never both, so each has both apart.
pub(crate) struct Machine {
    frames: FrameTable,
    tables: Vec<PageTable>,
    bytes: Vec<[u8; PAGE_SIZE]>,
    /// The page directory that is loaded.
    pub(crate) loaded: Option<Frame>,
    /// Ranges that had to be forgotten.
    pub(crate) invalidated: Vec<Range<u64>>,
}

impl Machine {
    /// A machine with so many frames, all free.
    pub(crate) fn new(frames: usize) -> Machine {
        let mut table = FrameTable::new(Vec::leak(vec![FrameInfo::HOLE; frames + 1]));
        // Frame 0 stays a hole, as on a PC.
        (1..=frames).for_each(|n| table.add(Frame::containing(PhysAddr::new((n * PAGE_SIZE) as u64))));
        let tables = (0..=frames).map(|_| PageTable::new()).collect();
        let bytes = vec![[0; PAGE_SIZE]; frames + 1];
        Machine { frames: table, tables, bytes, loaded: None, invalidated: Vec::new() }
    }

    /// A memory subsystem on a machine, with one CPU's global page directory as the boot makes it.
    pub(crate) fn memory(frames: usize) -> Memory<Machine> {
        let mut machine = Machine::new(frames);
        let [pml4, third, window_directory, packages] = core::array::from_fn(|_| machine.allocate().unwrap());
        set(&mut machine, pml4, WINDOW_SLOT, third, TABLE);
        set(&mut machine, third, slot(WINDOW.start, 3), window_directory, TABLE);
        set(&mut machine, pml4, PACKAGES_SLOT, packages, TABLE);
        Memory::new(machine, [GlobalDirectory { pml4, window_directory }])
    }

    fn check(&self, frame: Frame) -> usize {
        assert!(self.frames.references(frame) > 0, "frame {frame:?} is not in use");
        frame.number()
    }
}

impl PhysicalMemory for Machine {
    fn allocate(&mut self) -> Result<Frame, OutOfFrames> {
        let frame = self.frames.take().ok_or(OutOfFrames)?;
        self.tables[frame.number()].zero();
        self.bytes[frame.number()].fill(0);
        Ok(frame)
    }

    fn has_room_for_bookkeeping(&mut self) -> bool {
        true
    }

    fn share(&mut self, frame: Frame) {
        self.frames.share(frame);
    }

    fn release(&mut self, frame: Frame) {
        self.frames.release(frame);
    }

    fn free_frames(&self) -> usize {
        self.frames.free()
    }

    fn references(&self, frame: Frame) -> u32 {
        self.frames.references(frame)
    }

    fn table(&self, frame: Frame) -> &PageTable {
        &self.tables[self.check(frame)]
    }

    fn table_mut(&mut self, frame: Frame) -> &mut PageTable {
        let number = self.check(frame);
        &mut self.tables[number]
    }

    fn read(&self, frame: Frame, offset: usize, to: &mut [u8]) {
        to.copy_from_slice(&self.bytes[self.check(frame)][offset..offset + to.len()]);
    }

    fn write(&mut self, frame: Frame, offset: usize, from: &[u8]) {
        let number = self.check(frame);
        self.bytes[number][offset..offset + from.len()].copy_from_slice(from);
    }

    fn copy(&mut self, from: (Frame, usize), to: (Frame, usize), length: usize) {
        let mut bytes = vec![0; length];
        self.read(from.0, from.1, &mut bytes);
        self.write(to.0, to.1, &bytes);
    }
}

impl Translation for Machine {
    fn load(&mut self, pml4: Frame) {
        self.check(pml4);
        self.loaded = Some(pml4);
    }

    fn invalidate(&mut self, range: Range<u64>) {
        self.invalidated.push(range);
    }
}
