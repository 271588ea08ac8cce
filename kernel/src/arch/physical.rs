//! Physical memory: the frames and, through the direct map, their contents. For example, the byte at physical address
//! 0x1234 is read at [`DIRECT_MAP`] + 0x1234.
//!
//! [`Frames`] implements the model's [`PhysicalMemory`] and [`Translation`] on the machine. The direct map holds
//! exactly the memory that the boot loader called usable, so every frame that can be allocated can be reached, and
//! nothing else can. User threads on other CPUs may have a frame mapped while the kernel uses it, so bytes are copied
//! in assembly, and a word that must be whole is read or written by a volatile or atomic access. Each access checks the
//! frame's reference count, which keeps the interface safe.

use super::bootinfo::{BootInfo, Module};
use super::deferred::{self, Notes};
use super::extension::Accompanied;
use super::heap;
use super::layout::{DIRECT_MAP, MEMORY_END};
use super::ranges::Ranges;
use containers::frames::{FrameInfo, GROUP};
use containers::{CpuSet, Frame, FrameTable, OutOfFrames, PAGE_SIZE, PhysicalMemory, Translation};
use core::mem::MaybeUninit;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use cpulocal::InKernel;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;
use x86_64::structures::paging::page_table::PageTableEntry;
use x86_64::{PhysAddr, VirtAddr};
use zerocopy::FromBytes;

/// The memory subsystem on this machine.
pub type Memory = containers::Memory<Frames>;

/// The end of the memory that the boot's first page tables map; no more can be used until the final ones are loaded.
const EARLY_END: u64 = 4 << 30;

/// For more pages than this, flushing the whole TLB is quicker than `invlpg` for each page.
const INVALIDATE_ALL: u64 = 32;

/// The frames of the machine.
pub struct Frames {
    table: FrameTable,
    /// The page directory whose upper half every other page directory copies.
    kernel: Option<Frame>,
    /// Free memory above 4 GiB, which is added once the final page tables reach it.
    late: Ranges,
    /// The threads that an extension accompanies, which is to be told when their containers lose rights.
    pub accompanied: Accompanied,
}

impl Frames {
    /// Takes over the free memory that `info` lists, the first 4 GiB now, the rest in [`Frames::add_rest`]. The table
    /// of frames takes eight bytes of it for each frame.
    pub fn new(info: &mut BootInfo) -> Frames {
        let early = |range: Range<u64>| range.start..range.end.min(EARLY_END);
        let largest = info.free.iter().map(early).max_by_key(|range| range.end.saturating_sub(range.start));
        let largest = largest.filter(|range| !range.is_empty()).expect("free memory below 4 GiB");
        // The table takes no more than a quarter of it: memory further up is left out.
        let reach = (largest.end - largest.start) / 4 / size_of::<FrameInfo>() as u64 * PAGE_SIZE as u64;
        let end = info.memory.end().min(reach);
        if end < info.memory.end() {
            log::warn!("memory above {:#x} is left unused: the table of frames would not fit", end);
            info.free.remove(&(end..MEMORY_END));
            info.memory.remove(&(end..MEMORY_END));
        }

        let elements = (end / PAGE_SIZE as u64) as usize;
        let bytes = (elements * size_of::<FrameInfo>()).next_multiple_of(PAGE_SIZE) as u64;
        let place = largest.end - bytes..largest.end;
        info.free.remove(&place);
        let first = (DIRECT_MAP + place.start) as *mut FrameInfo;
        // SAFETY: mapped, free until now, and taken out of the free ranges; each element is written
        // before the slice is made.
        let table = unsafe {
            (0..elements).for_each(|index| first.add(index).write(FrameInfo::HOLE));
            core::slice::from_raw_parts_mut(first, elements)
        };

        let mut frames = Frames {
            table: FrameTable::new(table),
            kernel: None,
            late: info.free.clone(),
            accompanied: Accompanied::default(),
        };
        frames.late.remove(&(0..EARLY_END));
        info.free.iter().map(early).for_each(|range| frames.add(range));
        frames
    }

    /// Frames 1 to `frames`, all free, for the tests on a host.
    #[cfg(test)]
    pub fn over(frames: usize) -> Frames {
        let end = (frames + 1) * PAGE_SIZE;
        let table = FrameTable::new(alloc::vec![FrameInfo::HOLE; frames + 1].leak());
        let mut frames = Frames { table, kernel: None, late: Ranges::new(), accompanied: Accompanied::default() };
        frames.add(PAGE_SIZE as u64..end as u64);
        frames
    }

    /// Adds the memory above the first 4 GiB, once the direct map reaches it.
    pub fn add_rest(&mut self) {
        let late = core::mem::replace(&mut self.late, Ranges::new());
        late.iter().for_each(|range| self.add(range));
    }

    /// Adds a module's memory, which is not read any more.
    pub fn give_back(&mut self, module: Module) {
        self.add(module.pages());
    }

    fn add(&mut self, range: Range<u64>) {
        for address in range.step_by(PAGE_SIZE) {
            self.table.add(Frame::containing(PhysAddr::new(address)));
        }
    }

    /// How many frames are free, or will be once the heap has given back those that it does not need.
    #[inline]
    pub fn free(&self) -> usize {
        self.table.free() + heap::surplus()
    }

    /// How many frames there are in all.
    pub fn total(&self) -> usize {
        self.table.total()
    }

    /// Allocates a frame with arbitrary contents, for the heap.
    pub(super) fn allocate_any(&mut self) -> Result<Frame, OutOfFrames> {
        self.table.take(false).map(|(frame, _)| frame).ok_or(OutOfFrames)
    }

    /// Makes all CPUs forget their non-global translations of a range of the kernel's half.
    pub(super) fn forget_everywhere(&mut self, range: Range<u64>) {
        #[cfg(feature = "smp")]
        let cpus = super::remote::online();
        #[cfg(not(feature = "smp"))]
        let cpus = CpuSet::only(super::cpulocal::number(&in_kernel()));
        self.invalidate(cpus, range);
    }

    /// Takes a free frame, or a frame that the heap does not need; returns it and whether it is zero.
    #[inline]
    fn take(&mut self, zero: bool) -> Result<(Frame, bool), OutOfFrames> {
        let spare = || heap::surplus_frame().map(|frame| (frame, false));
        self.table.take(zero).or_else(spare).ok_or(OutOfFrames)
    }

    /// Sets the page directory that has the kernel's half. Called once, by [`super::paging::build`].
    pub(super) fn set_kernel_directory(&mut self, pml4: Frame) {
        self.kernel = Some(pml4);
    }

    /// The page directory whose upper half every other page directory copies.
    pub(super) fn kernel_directory(&self) -> Frame {
        self.kernel.expect("the kernel's page tables are built")
    }

    /// A copy of a value that a program has in a frame. It is read once, whatever other threads write to the frame
    /// meanwhile.
    #[inline]
    pub fn value<T: FromBytes>(&self, frame: Frame, offset: usize) -> T {
        let from = self.bytes(frame, offset..offset + size_of::<T>());
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: from a frame in use to a local variable, of which all bytes are written, and any are a `T`.
        unsafe {
            move_bytes(from, value.as_mut_ptr().cast(), size_of::<T>());
            value.assume_init()
        }
    }

    /// The address of a range of bytes in a frame. Panics if the frame is not in use.
    #[inline]
    pub(super) fn bytes(&self, frame: Frame, range: Range<usize>) -> *mut u8 {
        assert!(self.table.references(frame) != 0, "access to frame {:#x}, which is not in use", frame.address());
        assert!(range.start <= range.end && range.end <= PAGE_SIZE, "access beyond the end of a frame");
        start(frame).wrapping_add(range.start)
    }
}

/// The address of a frame's first byte, whether the frame is in use or not.
#[inline]
fn start(frame: Frame) -> *mut u8 {
    (DIRECT_MAP + frame.address().as_u64()) as *mut u8
}

/// Copies bytes in assembly. Programs on other CPUs may read and write a user's frame meanwhile: then it is open which
/// bytes are copied, and the compiler, which does not look into assembly, assumes nothing about them.
///
/// # Safety
/// Both ranges are mapped, and they do not overlap. The kernel holds no reference to the bytes written but `to` itself.
#[inline(always)]
pub(super) unsafe fn move_bytes(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        match length {
            // Messages through a pipe are often a single byte: not worth a loop.
            1 => to.write_volatile(from.read_volatile()),
            8 => core::arch::asm!(
                "mov {word}, [{from}]",
                "mov [{to}], {word}",
                word = out(reg) _,
                from = in(reg) from,
                to = in(reg) to,
                options(nostack, preserves_flags)
            ),
            _ => core::arch::asm!(
                "rep movsq",
                "mov ecx, {rest:e}",
                "rep movsb",
                rest = in(reg) length % 8,
                inout("rcx") length / 8 => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                options(nostack, preserves_flags)
            ),
        }
    }
}

impl PhysicalMemory for Frames {
    fn allocate(&mut self) -> Result<Frame, OutOfFrames> {
        let (frame, zero) = self.take(true)?;
        if zero {
            return Ok(frame);
        }
        // SAFETY: a page of memory that was free until now; the direction flag is clear by the ABI.
        unsafe {
            core::arch::asm!(
                "rep stosq",
                inout("rcx") PAGE_SIZE / 8 => _,
                inout("rdi") start(frame) => _,
                in("rax") 0,
                options(nostack, preserves_flags)
            );
        }
        Ok(frame)
    }

    fn duplicate(&mut self, from: Frame, length: usize) -> Result<Frame, OutOfFrames> {
        let source = self.bytes(from, 0..length);
        let (frame, _) = self.take(false)?;
        // SAFETY: the range lies in a frame in use, and the other frame was free until now.
        unsafe {
            move_bytes(source, start(frame), length);
            core::ptr::write_bytes(start(frame).add(length), 0, PAGE_SIZE - length);
        }
        Ok(frame)
    }

    #[inline]
    fn has_room_for_bookkeeping(&mut self) -> bool {
        heap::is_ready() || heap::reserve(self)
    }

    fn share(&mut self, frame: Frame) {
        self.table.share(frame);
    }

    fn release(&mut self, frame: Frame) {
        self.table.release(frame);
    }

    fn release_table(&mut self, table: Frame) {
        assert!(self.table.references(table) == 1, "a page table that is used twice, or not at all");
        let mut groups = self.table.groups(table);
        while groups != 0 {
            let group = groups.trailing_zeros() as usize;
            groups &= groups - 1;
            // SAFETY: a frame in use, which no CPU walks any more, and one of its 512 / `GROUP` groups of entries.
            unsafe { start(table).cast::<[u64; GROUP]>().add(group).write([0; GROUP]) }
        }
        self.table.release_zero(table);
    }

    #[inline]
    fn free_frames(&self) -> usize {
        self.free()
    }

    fn references(&self, frame: Frame) -> u32 {
        self.table.references(frame)
    }

    #[inline(always)]
    fn entry(&self, table: Frame, slot: usize) -> PageTableEntry {
        let at = slot * size_of::<PageTableEntry>();
        // SAFETY: an aligned word in a frame in use; any word is an entry. CPUs that walk the table may set bits of it
        // meanwhile, so it is read at once.
        unsafe { self.bytes(table, at..at + size_of::<PageTableEntry>()).cast::<PageTableEntry>().read_volatile() }
    }

    #[inline(always)]
    fn used(&self, table: Frame, group: usize) -> u32 {
        let at = group * size_of::<[u64; GROUP]>();
        let group = self.bytes(table, at..at + size_of::<[u64; GROUP]>());
        let mut unused = u32::MAX;
        const { assert!(GROUP == 16, "the words below are those of a group") };
        // SAFETY: each is an aligned word in a frame in use, and any word is an entry; none is written.
        unsafe {
            // Only zero is less than one, which `cmp` says by the carry flag.
            core::arch::asm!(
                ".irp word, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0",
                "cmp qword ptr [{group} + 8 * \\word], 1",
                "adc {unused:e}, {unused:e}",
                ".endr",
                group = in(reg) group,
                unused = inout(reg) unused,
                options(nostack, readonly)
            );
        }
        !unused
    }

    #[inline]
    fn set_entry(&mut self, table: Frame, slot: usize, entry: PageTableEntry) {
        self.table.note_entry(table, slot);
        // SAFETY: a frame in use and one of its 512 slots, or there would have been a panic. CPUs may walk the table
        // meanwhile, so it is written at once.
        unsafe { start(table).cast::<PageTableEntry>().add(slot).write_volatile(entry) }
    }

    fn groups(&self, table: Frame) -> u32 {
        self.table.groups(table)
    }

    #[inline]
    fn read(&self, frame: Frame, offset: usize, to: &mut [u8]) {
        let from = self.bytes(frame, offset..offset + to.len());
        match <&mut [u8; 4]>::try_from(&mut *to) {
            // The word may be a futex that another CPU is changing: it is read whole.
            Ok(word) if offset.is_multiple_of(4) => {
                // SAFETY: an aligned word in a frame in use.
                *word = unsafe { from.cast::<u32>().read_volatile() }.to_ne_bytes();
            }
            // SAFETY: the range lies in a frame in use, and `to`, being the kernel's, lies elsewhere.
            _ => unsafe { move_bytes(from, to.as_mut_ptr(), to.len()) },
        }
    }

    fn write(&mut self, frame: Frame, offset: usize, from: &[u8]) {
        let to = self.bytes(frame, offset..offset + from.len());
        match <[u8; 4]>::try_from(from) {
            // SAFETY: as above.
            Ok(word) if offset.is_multiple_of(4) => unsafe {
                to.cast::<u32>().write_volatile(u32::from_ne_bytes(word))
            },
            // SAFETY: as above.
            _ => unsafe { move_bytes(from.as_ptr(), to, from.len()) },
        }
    }

    fn change_word(&mut self, frame: Frame, offset: usize, change: impl Fn(u32) -> u32) -> u32 {
        assert!(offset.is_multiple_of(4), "a word at {offset} is not aligned");
        let at = self.bytes(frame, offset..offset + 4).cast::<u32>();
        if cfg!(feature = "smp") {
            // SAFETY: an aligned word in a frame in use; user threads access it by instructions of a CPU, outside Rust.
            let word = unsafe { AtomicU32::from_ptr(at) };
            word.fetch_update(SeqCst, SeqCst, |old| Some(change(old))).unwrap_or_else(|old| old)
        } else {
            // SAFETY: an aligned word in a frame in use, and no other CPU runs.
            unsafe {
                let old = at.read_volatile();
                at.write_volatile(change(old));
                old
            }
        }
    }

    #[inline(always)]
    fn copy(&mut self, from: (Frame, usize), to: (Frame, usize), length: usize) {
        assert!(from.0 != to.0, "a copy within one frame");
        let source = self.bytes(from.0, from.1..from.1 + length);
        let target = self.bytes(to.0, to.1..to.1 + length);
        // SAFETY: both ranges lie in frames in use, and the frames differ.
        unsafe { move_bytes(source, target, length) }
    }
}

/// Forgets this CPU's translations of a range of user pages.
pub fn invalidate_here(range: Range<u64>) {
    if (range.end.saturating_sub(range.start)) / PAGE_SIZE as u64 > INVALIDATE_ALL {
        tlb::flush_all();
    } else {
        for address in range.step_by(PAGE_SIZE) {
            tlb::flush(VirtAddr::new_truncate(address));
        }
    }
}

/// The proof that page tables are changed inside the kernel: a CPU that has the frames is at level 1, or boots.
pub(super) fn in_kernel() -> InKernel {
    // SAFETY: the frames are part of the kernel's state, which a CPU reaches at level 1 only; the proof does not
    // outlive the calling function.
    unsafe { InKernel::new() }
}

impl Translation for Frames {
    fn load(&mut self, pml4: Frame) {
        assert!(self.table.references(pml4) != 0, "a page directory that is not in use");
        // SAFETY: page directories are copies of the CPU's global one in their upper half, so kernel code,
        // data and stack stay mapped. Writing CR3 forgets all translations but the global ones, and user
        // pages that can change are not global.
        unsafe { Cr3::write(PhysFrame::containing_address(pml4.address()), Cr3Flags::empty()) }
    }

    fn invalidate(&mut self, cpus: CpuSet, range: Range<u64>) {
        let cpu = in_kernel();
        let here = super::cpulocal::number(&cpu);
        #[cfg(feature = "smp")]
        if !cpus.without(here).is_empty() {
            super::remote::invalidate(&cpu, cpus.without(here), range.clone());
        }
        if cpus.contains(here) {
            invalidate_here(range);
        }
    }

    #[cold]
    fn invalidate_companions(&mut self, pml4: Frame) {
        self.accompanied.rights_taken(pml4);
    }

    fn note_teardown_work(&mut self) {
        // Interrupts are on in the calls that may be long.
        hardware::interrupts::without(|| deferred::note(&in_kernel(), Notes::TEARDOWN));
    }

    fn vacate(&mut self, cpus: CpuSet) {
        #[cfg(feature = "smp")]
        super::remote::vacate(&in_kernel(), cpus);
        #[cfg(not(feature = "smp"))]
        unreachable!("CPUs {cpus:?} besides the only one");
    }
}
