//! The I/O APICs: all interrupts masked but those that are routed to a CPU.

use crate::acpi::{IoApic, Platform};
use crate::devices::{Devices, Kind, NoMemory};
use x86_64::{PhysAddr, VirtAddr};

const VERSION: u32 = 1;
const FIRST_ENTRY: u32 = 0x10;
const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;
const ACTIVE_LOW: u32 = 1 << 13;

/// A mapped I/O APIC: a register that selects, a register that is the selected one.
struct Registers(VirtAddr);

impl Registers {
    fn map(devices: &mut dyn Devices, at: PhysAddr) -> Result<Registers, NoMemory> {
        Ok(Registers(devices.map(at, 0x20, Kind::Registers)?))
    }

    fn read(&self, index: u32) -> u32 {
        // SAFETY: the two registers are mapped, uncached; boot is the only user.
        unsafe {
            self.0.as_mut_ptr::<u32>().write_volatile(index);
            (self.0 + 0x10).as_ptr::<u32>().read_volatile()
        }
    }

    fn write(&self, index: u32, value: u32) {
        // SAFETY: as above.
        unsafe {
            self.0.as_mut_ptr::<u32>().write_volatile(index);
            (self.0 + 0x10).as_mut_ptr::<u32>().write_volatile(value);
        }
    }

    /// How many interrupts it has; 0 if nothing answers.
    fn entries(&self) -> u32 {
        match self.read(VERSION) {
            u32::MAX => 0,
            version => (version >> 16 & 0xff) + 1,
        }
    }
}

/// Masks every interrupt of every I/O APIC.
pub fn init(devices: &mut dyn Devices, platform: &Platform) -> Result<(), NoMemory> {
    for IoApic { address, base } in &platform.io_apics {
        let registers = Registers::map(devices, *address)?;
        let entries = registers.entries();
        for entry in 0..entries {
            registers.write(FIRST_ENTRY + 2 * entry, MASKED);
        }
        log::info!("I/O APIC at {address:#x}: interrupts {base}..{}", base + entries);
    }
    Ok(())
}

/// Routes an ISA interrupt to the CPU with a local APIC id, as `vector`; false if no I/O APIC has the interrupt.
pub fn route_isa(devices: &mut dyn Devices, platform: &Platform, irq: u8, vector: u8, cpu: u32) -> bool {
    let wired = platform.isa(irq);
    for IoApic { address, base } in &platform.io_apics {
        let Ok(registers) = Registers::map(devices, *address) else { return false };
        let Some(entry) = wired.global.checked_sub(*base).filter(|&entry| entry < registers.entries()) else {
            continue;
        };
        let polarity = if wired.active_low { ACTIVE_LOW } else { 0 };
        let trigger = if wired.level { LEVEL } else { 0 };
        registers.write(FIRST_ENTRY + 2 * entry + 1, cpu << 24);
        registers.write(FIRST_ENTRY + 2 * entry, u32::from(vector) | polarity | trigger);
        return true;
    }
    false
}
