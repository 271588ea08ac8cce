//! The kernel's half of every page directory, and the boot CPU's global page directory.
//!
//! No kernel page is both written and executed: code is read and execute, constants are read-only, all other pages are
//! never executed. The direct map does not let the image's code and constants be written either. The lower half holds
//! nothing but the two tables above the window and those of the packages.
//!
//! For example, a container's directory copies the 256 upper entries of a CPU's global one; a heap page that is mapped
//! later is visible in it at once, because both directories point to one third-level table.
//!
//! | PML4 slot | what | shared by all page directories |
//! | --- | --- | --- |
//! | 127 | the window; its tables end at the page directory | no |
//! | 128 | resident code packages | yes |
//! | 256… | direct map of memory | yes |
//! | 510 | kernel heap, kernel stacks, device registers, extensions, all copies of CPU-local data | yes |
//! | 511 | kernel image, CPU-local section | no: the image yes, the section's tables are each CPU's own |
//!
//! **All upper slots get their third-level tables here, before the first copy of the directory is made**, so that the
//! copies never need an update. x86's large pages serve the direct map; translations of the kernel's half are global
//! where the CPU has that.

use super::bootinfo::BootInfo;
use super::image;
use super::layout::{COPIES, DEVICES, DIRECT_MAP, EXTENSIONS, HEAP, KERNEL_BASE, STACKS};
use super::physical::Frames;
use containers::directory::{self, PACKAGES_SLOT, Root, TABLE, WINDOW, WINDOW_SLOT, slot, span};
use containers::{Frame, GlobalDirectory, OutOfFrames, PhysicalMemory, Translation};
use core::ops::Range;
use hardware::cpu;
use hardware::devices::{Devices, Kind, NoMemory};
use x86_64::structures::paging::PageTableFlags as Flags;
use x86_64::structures::paging::page_table::PageTableEntry;
use x86_64::{PhysAddr, VirtAddr};

/// An entry of the kernel's half that points to a further table.
const KERNEL_TABLE: Flags = Flags::PRESENT.union(Flags::WRITABLE);

/// Rights of data: read and write.
pub const DATA: Flags = Flags::PRESENT.union(Flags::WRITABLE).union(Flags::NO_EXECUTE);

/// Rights of constants: read.
pub const CONSTANT: Flags = Flags::PRESENT.union(Flags::NO_EXECUTE);

/// Rights of code: read and execute.
pub const CODE: Flags = Flags::PRESENT;

/// Rights of a device's registers: read and write, not cached.
const REGISTERS: Flags = DATA.union(Flags::NO_CACHE).union(Flags::WRITE_THROUGH);

/// Makes the global page directory, loads it on this CPU, and adds the memory that only it maps.
pub fn build(frames: &mut Frames, info: &BootInfo) -> Result<GlobalDirectory, OutOfFrames> {
    let pml4 = frames.allocate()?;
    for slot in [slot(HEAP.start, 4), slot(KERNEL_BASE, 4)] {
        let third = frames.allocate()?;
        directory::set(frames, pml4, slot, third, KERNEL_TABLE);
    }
    frames.set_kernel_directory(pml4);
    map_image(frames)?;
    map_memory(frames, info)?;

    let packages = frames.allocate()?;
    directory::set(frames, pml4, PACKAGES_SLOT, packages, TABLE);
    let window_directory = make_window(frames, pml4)?;

    frames.load(pml4);
    frames.add_rest();
    Ok(GlobalDirectory { pml4, window_directory })
}

/// Makes a global page directory for each CPU, without a kernel in it, for the tests on a host.
#[cfg(test)]
pub fn build_for_tests(frames: &mut Frames, cpus: usize) -> alloc::vec::Vec<GlobalDirectory> {
    let packages = frames.allocate().expect("free frames");
    let build = |_| {
        let pml4 = frames.allocate().expect("free frames");
        directory::set(frames, pml4, PACKAGES_SLOT, packages, TABLE);
        let window_directory = make_window(frames, pml4).expect("free frames");
        GlobalDirectory { pml4, window_directory }
    };
    let globals: alloc::vec::Vec<_> = (0..cpus).map(build).collect();
    frames.set_kernel_directory(globals[0].pml4);
    globals
}

/// Makes the tables above the window in a global page directory.
fn make_window(frames: &mut Frames, pml4: Frame) -> Result<Frame, OutOfFrames> {
    let third = frames.allocate()?;
    let window_directory = frames.allocate()?;
    directory::set(frames, pml4, WINDOW_SLOT, third, TABLE);
    directory::set(frames, third, slot(WINDOW.start, 3), window_directory, TABLE);
    Ok(window_directory)
}

/// Makes the global page directory of a further CPU. It shares all shared tables with the boot CPU's; its window and
/// its CPU-local section are its own and empty.
#[cfg(feature = "smp")]
pub fn build_further(frames: &mut Frames) -> Result<GlobalDirectory, OutOfFrames> {
    let boot = frames.kernel_directory();
    let pml4 = directory::copy_of_global(frames, boot)?;
    let image_slot = slot(KERNEL_BASE, 4);
    let shared = directory::target(&frames.entry(boot, image_slot)).expect("the kernel image is mapped");
    let third = frames.allocate()?;
    frames.copy((shared, 0), (third, 0), containers::PAGE_SIZE);
    frames.set_entry(third, slot(image::cpulocal().start, 3), PageTableEntry::new());
    directory::set(frames, pml4, image_slot, third, KERNEL_TABLE);
    let window_directory = make_window(frames, pml4)?;
    Ok(GlobalDirectory { pml4, window_directory })
}

fn map_image(frames: &mut Frames) -> Result<(), OutOfFrames> {
    for (range, rights) in [(image::text(), CODE), (image::rodata(), CONSTANT), (image::data(), DATA)] {
        let physical = image::physical(range.start)..image::physical(range.start) + (range.end - range.start);
        map_range(frames, range.start, physical, rights)?;
    }
    Ok(())
}

/// Makes the direct map: all usable memory, in which the image's code and constants cannot be written.
fn map_memory(frames: &mut Frames, info: &BootInfo) -> Result<(), OutOfFrames> {
    let fixed = image::physical(image::text().start).as_u64()..image::physical(image::rodata().end).as_u64();
    for area in info.memory.iter() {
        let below = area.start..area.end.min(fixed.start);
        let within = area.start.max(fixed.start)..area.end.min(fixed.end);
        let above = area.start.max(fixed.end)..area.end;
        for (part, rights) in [(below, DATA), (within, CONSTANT), (above, DATA)] {
            if !part.is_empty() {
                map_range(frames, DIRECT_MAP + part.start, PhysAddr::new(part.start)..PhysAddr::new(part.end), rights)?;
            }
        }
    }
    Ok(())
}

/// Maps a physical range in the largest pages that fit.
fn map_range(frames: &mut Frames, start: u64, physical: Range<PhysAddr>, rights: Flags) -> Result<(), OutOfFrames> {
    let largest = if cpu::features().contains(cpu::Features::GIB_PAGES) { 3 } else { 2 };
    let (mut address, mut at) = (start, physical.start);
    while at < physical.end {
        let fits = |level: &u8| {
            let size = span(*level);
            address.is_multiple_of(size) && at.is_aligned(size) && size <= physical.end - at
        };
        let level = (1..=largest).rev().find(fits).unwrap_or(1);
        let size_flag = if level > 1 { Flags::HUGE_PAGE } else { Flags::empty() };
        set_entry(frames, address, level, at, rights | size_flag)?;
        address += span(level);
        at += span(level);
    }
    Ok(())
}

/// Sets the entry for an address of the kernel's half at a level, making the tables above it.
fn set_entry(frames: &mut Frames, address: u64, level: u8, to: PhysAddr, flags: Flags) -> Result<(), OutOfFrames> {
    set_entry_in(frames, frames.kernel_directory(), address, level, to, flags | global())
}

/// Sets the entry for an address at a level in a given page directory, making the tables above it.
fn set_entry_in(
    frames: &mut Frames,
    directory: Frame,
    address: u64,
    level: u8,
    to: PhysAddr,
    flags: Flags,
) -> Result<(), OutOfFrames> {
    let mut table = directory;
    for above in (level + 1..=4).rev() {
        let index = slot(address, above);
        let entry = frames.entry(table, index);
        assert!(!entry.flags().contains(Flags::HUGE_PAGE), "{address:#x} is mapped by a large page");
        table = match directory::target(&entry) {
            Some(below) => below,
            None => {
                let made = frames.allocate()?;
                directory::set(frames, table, index, made, KERNEL_TABLE);
                made
            }
        };
    }
    let mut entry = PageTableEntry::new();
    entry.set_addr(to, flags);
    frames.set_entry(table, slot(address, level), entry);
    Ok(())
}

fn global() -> Flags {
    if cpu::features().contains(cpu::Features::GLOBAL_PAGES) { Flags::GLOBAL } else { Flags::empty() }
}

/// Maps a page of the kernel's half to a frame; the page was not mapped before.
///
/// Only for addresses in [`STACKS`] and [`COPIES`], which all page directories share.
pub fn map_kernel(frames: &mut Frames, page: VirtAddr, frame: Frame, rights: Flags) -> Result<(), OutOfFrames> {
    let address = page.as_u64();
    assert!(
        STACKS.contains(&address) || COPIES.contains(&address),
        "{address:#x} is not an address where kernel pages are put"
    );
    set_entry(frames, address, 1, frame.address(), rights)
}

/// Maps a page of [`EXTENSIONS`] to a frame. It can be unmapped, so its translations are not global.
pub fn map_extension(frames: &mut Frames, page: u64, frame: Frame, rights: Flags) -> Result<(), OutOfFrames> {
    assert!(EXTENSIONS.contains(&page), "{page:#x} is not an address of extensions");
    set_entry_in(frames, frames.kernel_directory(), page, 1, frame.address(), rights)
}

/// Unmaps the pages of a range of [`EXTENSIONS`] and makes all CPUs forget them. The page tables stay for the next
/// extension.
pub fn unmap_extension(frames: &mut Frames, pages: Range<u64>) {
    for page in pages.clone().step_by(span(1) as usize) {
        // Where there is no page table, and no frame for one, no page is mapped.
        let _ = set_entry_in(frames, frames.kernel_directory(), page, 1, PhysAddr::zero(), Flags::empty());
    }
    frames.forget_everywhere(pages);
}

/// The frame behind a page that [`map_kernel`] has mapped.
pub fn kernel_frame(frames: &Frames, address: u64) -> Option<Frame> {
    let root = Root { table: frames.kernel_directory(), level: 4 };
    directory::target(&directory::entry(frames, root, address))
}

/// Maps a page of the CPU-local section in one CPU's global page directory.
pub fn map_cpulocal(frames: &mut Frames, pml4: Frame, page: VirtAddr, frame: Frame) -> Result<(), OutOfFrames> {
    assert!(image::cpulocal().contains(&page.as_u64()), "{page:#x} is not in the CPU-local section");
    set_entry_in(frames, pml4, page.as_u64(), 1, frame.address(), DATA | global())
}

/// The ranges of devices and firmware tables are mapped at their physical address in [`DEVICES`].
impl Devices for Frames {
    fn map(&mut self, at: PhysAddr, size: u64, kind: Kind) -> Result<VirtAddr, NoMemory> {
        let rights = match kind {
            Kind::Registers => REGISTERS,
            Kind::Table => CONSTANT,
        };
        let start = DEVICES.start + at.as_u64();
        let end = start.saturating_add(size.max(1));
        assert!(end <= DEVICES.end, "a device at {at:#x}, {size:#x} bytes long");
        let mut page = start & !0xfff;
        while page < end {
            let physical = PhysAddr::new(page - DEVICES.start);
            set_entry(self, page, 1, physical, rights).map_err(|OutOfFrames| NoMemory)?;
            page += span(1);
        }
        Ok(VirtAddr::new(start))
    }
}
