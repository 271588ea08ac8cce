//! ACPI's description of interrupts and CPUs: the MADT, read with the crate `acpi`.
//!
//! There is no AML. The firmware's tables lie outside usable memory, so each is mapped when it is read. A machine
//! without ACPI, or with tables that contradict themselves, gets the defaults of a PC.

use crate::devices::{Devices, Kind};
use acpi::madt::{Madt, MadtEntry};
use acpi::{AcpiHandler, AcpiTables, PhysicalMapping};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;
use x86_64::PhysAddr;

/// The address of a PC's first I/O APIC.
const DEFAULT_IO_APIC: u64 = 0xfec0_0000;

/// The longest table that is believed.
const LONGEST: usize = 1 << 20;

/// An I/O APIC.
#[derive(Clone, Copy, Debug)]
pub struct IoApic {
    /// Its registers.
    pub address: PhysAddr,
    /// The number of its first interrupt among all I/O APICs'.
    pub base: u32,
}

/// An ISA interrupt that is not wired as its number says.
#[derive(Clone, Copy, Debug)]
pub struct Override {
    /// The ISA number.
    pub irq: u8,
    /// Its number among all I/O APICs' interrupts.
    pub global: u32,
    /// Active when low; ISA's are active when high.
    pub active_low: bool,
    /// Level-triggered; ISA's are edge-triggered.
    pub level: bool,
}

/// CPUs and interrupt controllers.
#[derive(Clone, Debug)]
pub struct Platform {
    /// The local APIC ids of the CPUs that can be used.
    pub cpus: Vec<u32>,
    /// The I/O APICs.
    pub io_apics: Vec<IoApic>,
    /// ISA interrupts that are wired differently.
    pub overrides: Vec<Override>,
}

impl Platform {
    fn new() -> Platform {
        Platform { cpus: Vec::new(), io_apics: Vec::new(), overrides: Vec::new() }
    }

    /// How an ISA interrupt is wired.
    pub fn isa(&self, irq: u8) -> Override {
        let plain = Override { irq, global: u32::from(irq), active_low: false, level: false };
        self.overrides.iter().find(|o| o.irq == irq).copied().unwrap_or(plain)
    }
}

/// Where the firmware's description begins.
#[derive(Clone, Copy, Debug)]
pub struct AcpiRoot {
    /// The revision of the root pointer; from 2 on the root table has 64-bit addresses.
    pub revision: u8,
    /// The root table.
    pub address: PhysAddr,
}

/// Maps firmware tables for the crate.
#[derive(Clone)]
struct Mapper<'a, 'b>(&'a RefCell<&'b mut dyn Devices>);

impl AcpiHandler for Mapper<'_, '_> {
    unsafe fn map_physical_region<T>(&self, address: usize, size: usize) -> PhysicalMapping<Self, T> {
        assert!(size <= LONGEST, "an ACPI table at {address:#x} claims to be {size} bytes long");
        let at = PhysAddr::try_new(address as u64).expect("an ACPI table at an address that is none");
        let place = self.0.borrow_mut().map(at, size as u64, Kind::Table).expect("memory for ACPI's mappings");
        let start = NonNull::new(place.as_mut_ptr()).expect("a kernel address");
        // SAFETY: that range has just been mapped there, and stays so.
        unsafe { PhysicalMapping::new(address, start, size, size, self.clone()) }
    }

    fn unmap_physical_region<T>(_: &PhysicalMapping<Self, T>) {}
}

/// Reads the MADT that `root` leads to; the defaults where there is none.
pub fn read(root: Option<AcpiRoot>, devices: &mut dyn Devices) -> Platform {
    let mut platform = match root {
        Some(root) => from_tables(root, devices).unwrap_or_else(|why| {
            log::warn!("ACPI is of no use ({why}); a PC's defaults are assumed");
            Platform::new()
        }),
        None => {
            log::warn!("the firmware has no ACPI; a PC's defaults are assumed");
            Platform::new()
        }
    };
    if platform.io_apics.is_empty() {
        platform.io_apics.push(IoApic { address: PhysAddr::new(DEFAULT_IO_APIC), base: 0 });
    }
    log::info!("ACPI: {} CPU(s), {} I/O APIC(s)", platform.cpus.len().max(1), platform.io_apics.len());
    platform
}

fn from_tables(root: AcpiRoot, devices: &mut dyn Devices) -> Result<Platform, &'static str> {
    let devices = RefCell::new(devices);
    // SAFETY: the boot loader found this address in the firmware's root pointer.
    let tables = unsafe { AcpiTables::from_rsdt(Mapper(&devices), root.revision, root.address.as_u64() as usize) };
    let tables = tables.map_err(|_| "the root table is broken")?;
    let madt = tables.find_table::<Madt>().map_err(|_| "there is no interrupt table")?;
    if !consistent(&madt) {
        return Err("the entries of the interrupt table do not fill it");
    }
    let mut platform = Platform::new();
    for entry in madt.get().entries() {
        platform.add(&entry);
    }
    Ok(platform)
}

/// Whether the entries' lengths add up to the table's, which the crate takes for granted.
fn consistent(madt: &PhysicalMapping<Mapper<'_, '_>, Madt>) -> bool {
    let start = madt.virtual_start().as_ptr().cast::<u8>();
    let (mut at, end) = (size_of::<Madt>(), madt.region_length());
    while at + 2 <= end {
        // SAFETY: within the table, all of which is mapped.
        let [kind, length] = unsafe { start.add(at).cast::<[u8; 2]>().read() };
        let needed = match kind {
            0 | 4 => 8,
            1 | 5 => 12,
            2 | 3 => 8,
            9 => 16,
            _ => 2,
        };
        let needed = if kind == 4 {
            6
        } else if kind == 2 {
            10
        } else {
            needed
        };
        if length < needed {
            return false;
        }
        at += usize::from(length);
    }
    at == end
}

impl Platform {
    fn add(&mut self, entry: &MadtEntry<'_>) {
        /// In a CPU's flags: it can be used.
        const ENABLED: u32 = 1;
        match entry {
            MadtEntry::LocalApic(cpu) if cpu.flags & ENABLED != 0 => self.cpus.push(u32::from(cpu.apic_id)),
            MadtEntry::LocalX2Apic(cpu) if cpu.flags & ENABLED != 0 => self.cpus.push(cpu.x2apic_id),
            MadtEntry::IoApic(found) => self.io_apics.push(IoApic {
                address: PhysAddr::new(u64::from(found.io_apic_address)),
                base: found.global_system_interrupt_base,
            }),
            // Two bits of polarity, two of trigger mode: 3 is the unusual one (ACPI 6.5, table 5.26).
            MadtEntry::InterruptSourceOverride(found) => self.overrides.push(Override {
                irq: found.irq,
                global: found.global_system_interrupt,
                active_low: found.flags & 3 == 3,
                level: found.flags >> 2 & 3 == 3,
            }),
            _ => {}
        }
    }
}
