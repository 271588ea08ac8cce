//! The boot loader's information: memory, modules, command line, ACPI.
//!
//! The crate `multiboot2` parses the tags; this module checks them against each other and turns them into what the
//! kernel needs. Information that contradicts itself ends the boot with one sentence.
//!
//! Relies on the first 4 GiB being in the direct map, as the boot's first page tables have them. The
//! boot information and the modules stay where they are; the memory they occupy is never free.

use super::image;
use super::layout::{DIRECT_MAP, MEMORY_END};
use super::ranges::Ranges;
use abi::extension::LOW_PAGES;
use core::fmt;
use core::ops::Range;
use hardware::acpi::AcpiRoot;
use multiboot2::{BootInformation, BootInformationHeader, MemoryAreaType};
use x86_64::PhysAddr;

/// How much memory must be left for frames beside the image, the modules and the boot information.
const NEEDED: u64 = 8 << 20;

/// Memory below this address is not used: it holds the firmware's data, and the page on which further CPUs begin.
const LOW_MEMORY: u64 = 1 << 20;

/// The most modules that are looked at; Jotun has three.
const MAX_MODULES: usize = 8;

/// A module's memory. Not `Clone`: its owner may read it, and gives it back only once.
pub struct Module {
    /// The module's name in the boot loader's configuration.
    pub name: &'static str,
    physical: Range<u64>,
}

impl Module {
    /// The module's bytes.
    pub fn bytes(&self) -> &[u8] {
        let length = (self.physical.end - self.physical.start) as usize;
        // SAFETY: `read` has checked that the module lies in memory, which the direct map reaches, and has taken that
        // memory out of the free ranges.
        unsafe { core::slice::from_raw_parts((DIRECT_MAP + self.physical.start) as *const u8, length) }
    }

    /// The module's bytes for ever: nothing can give their memory back any more.
    pub fn into_bytes(self) -> &'static [u8] {
        let bytes: *const [u8] = self.bytes();
        // SAFETY: only the module's owner could give the memory back, and the module is gone after this.
        unsafe { &*bytes }
    }

    /// The pages that are the module's alone and can be given back: pages at its edges may hold other data too, and low
    /// memory is left alone.
    pub fn pages(&self) -> Range<u64> {
        let start = ((self.physical.start + 0xfff) & !0xfff).max(LOW_MEMORY);
        start..(self.physical.end & !0xfff).max(start)
    }
}

/// The boot loader's information, checked.
pub struct BootInfo {
    /// All memory there is, in whole pages.
    pub memory: Ranges,
    /// The part of the memory that is not used yet.
    pub free: Ranges,
    /// The kernel's command line.
    pub command_line: &'static str,
    /// ACPI, if the firmware has it.
    pub acpi: Option<AcpiRoot>,
    /// [`LOW_PAGES`] unused pages below 1 MiB, on which further CPUs begin.
    pub low_pages: Option<u64>,
    modules: [Option<Module>; MAX_MODULES],
}

/// Why the kernel cannot boot.
#[derive(Debug)]
pub enum BootError {
    /// The kernel was not started by a multiboot2 boot loader; this is the magic number found.
    Magic(u32),
    /// The boot information cannot be read.
    Malformed(multiboot2::LoadError),
    /// There is no memory map.
    NoMemoryMap,
    /// Free bytes needed and found.
    TooLittleMemory(u64, u64),
    /// A module that does not lie in memory, or that overlaps other data.
    BrokenModule(Range<u64>),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::Magic(found) => {
                write!(
                    f,
                    "not started by a multiboot2 boot loader (magic number {found:#x}); boot Jotun with GRUB's `multiboot2`"
                )
            }
            BootError::Malformed(error) => write!(f, "the boot loader's information is malformed: {error:?}"),
            BootError::NoMemoryMap => write!(f, "the boot loader gave no memory map"),
            BootError::TooLittleMemory(needed, found) => write!(
                f,
                "too little memory: beside its image and modules Jotun needs {} KiB, and {} KiB are left",
                needed >> 10,
                found >> 10
            ),
            BootError::BrokenModule(range) => {
                write!(f, "the boot module at {:#x}..{:#x} does not lie in usable memory", range.start, range.end)
            }
        }
    }
}

/// The smallest range of whole pages around a range.
fn whole_pages(range: &Range<u64>) -> Range<u64> {
    range.start & !0xfff..(range.end + 0xfff) & !0xfff
}

impl BootInfo {
    /// Reads the boot loader's information; `magic` and `information` are what it left in eax and ebx.
    pub fn read(magic: u32, information: u32) -> Result<BootInfo, BootError> {
        if magic != multiboot2::MAGIC {
            return Err(BootError::Magic(magic));
        }
        let start = DIRECT_MAP + u64::from(information);
        // SAFETY: the magic number says that a boot loader has put its information there; the first
        // 4 GiB are mapped, and its memory is taken out of the free ranges below.
        let tags = unsafe { BootInformation::load(start as *const BootInformationHeader) };
        let tags: BootInformation<'static> = tags.map_err(BootError::Malformed)?;
        let memory = memory(&tags)?;

        let mut free = memory.clone();
        free.remove(&image::occupied());
        // Boot loaders put small modules and their information into one page.
        let modules = modules(&tags, &mut free)?;
        let information = u64::from(information);
        let information = whole_pages(&(information..information + tags.total_size() as u64));
        free.remove(&information);
        let low_pages = low_pages(&free);
        // Low memory is removed last, because small modules may lie there.
        free.remove(&(0..LOW_MEMORY));
        if free.total() < NEEDED {
            return Err(BootError::TooLittleMemory(NEEDED, free.total()));
        }
        let command_line = tags.command_line_tag().and_then(|tag| command_line(tag)).unwrap_or("");
        Ok(BootInfo { memory, free, command_line, acpi: acpi_root(&tags), low_pages, modules })
    }

    /// Takes the module with a name out, if there is one.
    pub fn take_module(&mut self, name: &str) -> Option<Module> {
        self.modules.iter_mut().find(|slot| slot.as_ref().is_some_and(|module| module.name == name))?.take()
    }
}

/// The tag lives as long as the boot information, which is for ever.
fn command_line(tag: &multiboot2::CommandLineTag) -> Option<&'static str> {
    let text = tag.cmdline().ok()?;
    // SAFETY: the boot information is never given back and never written.
    Some(unsafe { &*(text as *const str) })
}

fn memory(tags: &BootInformation<'_>) -> Result<Ranges, BootError> {
    let map = tags.memory_map_tag().ok_or(BootError::NoMemoryMap)?;
    let mut memory = Ranges::new();
    for area in map.memory_areas().iter().filter(|area| area.typ() == MemoryAreaType::Available) {
        let end = area.start_address().saturating_add(area.size()).min(MEMORY_END);
        let (start, end) = (area.start_address().saturating_add(0xfff) & !0xfff, end & !0xfff);
        if start < end && !memory.add(start..end) {
            log::warn!("the memory map is too long; {:#x}..{:#x} is left unused", start, end);
        }
    }
    Ok(memory)
}

/// The first free pages that real mode can begin in; page 0 holds the BIOS's data.
fn low_pages(free: &Ranges) -> Option<u64> {
    let starts = free.iter().map(|range| (range.start.max(0x1000), range.end));
    let fits = |(start, end): &(u64, u64)| start + LOW_PAGES * 0x1000 <= (*end).min(LOW_MEMORY);
    starts.filter(fits).map(|(start, _)| start).min()
}

fn modules(tags: &BootInformation<'_>, free: &mut Ranges) -> Result<[Option<Module>; MAX_MODULES], BootError> {
    let mut modules = [const { None }; MAX_MODULES];
    for (index, tag) in tags.module_tags().enumerate() {
        let physical = u64::from(tag.start_address())..u64::from(tag.end_address());
        let pages = whole_pages(&physical);
        // GRUB places an empty file's module anywhere; it occupies nothing.
        if !physical.is_empty() && !free.contains(&pages) || physical.start > physical.end {
            return Err(BootError::BrokenModule(physical));
        }
        let Some(slot) = modules.get_mut(index) else {
            log::warn!("only {MAX_MODULES} boot modules are looked at");
            break;
        };
        free.remove(&pages);
        let name = tag.cmdline().unwrap_or("");
        // SAFETY: as for the command line.
        *slot = Some(Module { name: unsafe { &*(name as *const str) }, physical });
    }
    Ok(modules)
}

fn acpi_root(tags: &BootInformation<'_>) -> Option<AcpiRoot> {
    if let Some(tag) = tags.rsdp_v2_tag().filter(|tag| tag.xsdt_address() != 0) {
        return Some(AcpiRoot {
            revision: tag.revision().max(1),
            address: PhysAddr::try_new(tag.xsdt_address() as u64).ok()?,
        });
    }
    let tag = tags.rsdp_v1_tag()?;
    Some(AcpiRoot { revision: 0, address: PhysAddr::try_new(tag.rsdt_address() as u64).ok()? })
}
