//! This CPU's local APIC: acknowledging interrupts, and the one-shot timer.
//!
//! The registers are in memory, or model-specific ones in x2APIC mode: if the firmware has left the APIC in that mode
//! or, with several CPUs, whenever the CPU has it, because its ids have more than eight bits. The timer is armed with a
//! distance in ticks of the time-stamp counter. If the APIC compares with that counter itself (TSC deadline) this is
//! all; otherwise the distance is scaled to the APIC's own count, whose frequency is measured once.

use crate::clock::{self, rdtsc};
use crate::cpu::{Features, features};
use crate::devices::{Devices, Kind, NoMemory};
use crate::legacy;
use abi::vectors::TIMER;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use x86_64::PhysAddr;
use x86_64::registers::model_specific::Msr;

#[cfg(feature = "smp")]
pub use command::{Command, send};

const APIC_BASE: u32 = 0x1b;
const BASE_ENABLED: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;
const TSC_DEADLINE: u32 = 0x6e0;
const X2APIC_REGISTERS: u32 = 0x800;

const ID: u32 = 0x20;
const TASK_PRIORITY: u32 = 0x80;
const EOI: u32 = 0xb0;
const SPURIOUS_VECTOR: u32 = 0xf0;
const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_ERROR: u32 = 0x370;
const INITIAL_COUNT: u32 = 0x380;
const CURRENT_COUNT: u32 = 0x390;
const DIVIDE: u32 = 0x3e0;

const SOFTWARE_ENABLED: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
const DEADLINE_MODE: u32 = 0b10 << 17;
const DIVIDE_BY_16: u32 = 0b011;

/// The vector of the spurious interrupt: the interrupt to deliver went away.
pub const SPURIOUS: u8 = 0xff;

/// The address of the registers, on every CPU; 0 in x2APIC mode.
static REGISTERS_AT: AtomicU64 = AtomicU64::new(0);

/// Whether the timer compares with the time-stamp counter.
static DEADLINE: AtomicBool = AtomicBool::new(false);

/// The timer's ticks per tick of the time-stamp counter, times 2³².
static RATIO: AtomicU64 = AtomicU64::new(0);

/// Farthest the timer reaches, in ticks of the time-stamp counter.
static FARTHEST: AtomicU64 = AtomicU64::new(u64::MAX);

#[inline]
fn read(register: u32) -> u32 {
    match REGISTERS_AT.load(Relaxed) {
        // SAFETY: the firmware has left the APIC in x2APIC mode; the register is one of its.
        0 => unsafe { Msr::new(X2APIC_REGISTERS + register / 16).read() as u32 },
        base => read_at(base, register),
    }
}

/// Reads a register of an APIC that is not in x2APIC mode; `base` is the address of all of them.
#[inline]
fn read_at(base: u64, register: u32) -> u32 {
    // SAFETY: mapped uncached by `init`.
    unsafe { ((base + u64::from(register)) as *const u32).read_volatile() }
}

#[inline]
fn write(register: u32, value: u32) {
    match REGISTERS_AT.load(Relaxed) {
        // SAFETY: as in `read`; what the registers do is confined to this CPU's interrupts.
        0 => unsafe { Msr::new(X2APIC_REGISTERS + register / 16).write(u64::from(value)) },
        base => write_at(base, register, value),
    }
}

/// Writes a register as [`read_at`] reads it.
#[inline]
fn write_at(base: u64, register: u32, value: u32) {
    // SAFETY: as in `read_at`, and `write`.
    unsafe { ((base + u64::from(register)) as *mut u32).write_volatile(value) }
}

/// This CPU's local APIC id.
pub fn id() -> u32 {
    if REGISTERS_AT.load(Relaxed) == 0 { read(ID) } else { read(ID) >> 24 }
}

/// Acknowledges the interrupt that is being handled.
#[inline]
pub fn end_of_interrupt() {
    write(EOI, 0);
}

/// Maps and enables the boot CPU's local APIC, everything masked, the timer measured and not armed.
pub fn init(devices: &mut dyn Devices) -> Result<(), NoMemory> {
    legacy::silence_8259();
    let base = enable();
    let x2apic = base & BASE_X2APIC != 0;
    if !x2apic {
        let registers = devices.map(PhysAddr::new_truncate(base & !0xfff), 4096, Kind::Registers)?;
        REGISTERS_AT.store(registers.as_u64(), Relaxed);
    }
    mask_all();
    measure_timer();
    set_timer_mode();
    let mode = if x2apic { "x2APIC" } else { "xAPIC" };
    let timer = if DEADLINE.load(Relaxed) { "TSC deadline" } else { "one-shot" };
    log::info!("local APIC {}: {mode}, timer by {timer}", id());
    Ok(())
}

/// Maps the registers of this CPU's local APIC, which another kernel has enabled and uses: for a kernel beside it, whose CPUs
/// call [`init_further`]. Changes nothing but the timer of the CPUs to come, whose frequency the first of them measures.
#[cfg(feature = "smp")]
pub fn join(devices: &mut dyn Devices) -> Result<(), NoMemory> {
    // SAFETY: every CPU with an APIC has the register, and it is only read.
    let base = unsafe { Msr::new(APIC_BASE).read() };
    if base & BASE_X2APIC == 0 {
        let registers = devices.map(PhysAddr::new_truncate(base & !0xfff), 4096, Kind::Registers)?;
        REGISTERS_AT.store(registers.as_u64(), Relaxed);
    }
    DEADLINE.store(features().contains(Features::TSC_DEADLINE), Relaxed);
    Ok(())
}

/// Enables a further CPU's local APIC as [`init`] did the boot CPU's.
#[cfg(feature = "smp")]
pub fn init_further() {
    enable();
    mask_all();
    if !DEADLINE.load(Relaxed) && RATIO.load(Relaxed) == 0 {
        measure_timer();
    }
    set_timer_mode();
}

/// Enables this CPU's local APIC in the mode that all CPUs use; returns the value of its base register.
fn enable() -> u64 {
    let mut register = Msr::new(APIC_BASE);
    // Registers in memory: another CPU is in that mode already.
    let in_memory = REGISTERS_AT.load(Relaxed) != 0;
    let wants_x2apic = cfg!(feature = "smp") && features().contains(Features::X2APIC) && !in_memory;
    // SAFETY: every CPU with an APIC has the register. Only the mode changes, and never back; it goes to
    // x2APIC by way of xAPIC (SDM volume 3, section 11.12.5).
    unsafe {
        register.write(register.read() | BASE_ENABLED);
        if wants_x2apic {
            register.write(register.read() | BASE_X2APIC);
        }
        register.read()
    }
}

fn mask_all() {
    write(TASK_PRIORITY, 0);
    write(LVT_LINT0, MASKED);
    write(LVT_ERROR, MASKED);
    write(LVT_TIMER, MASKED);
    write(SPURIOUS_VECTOR, SOFTWARE_ENABLED | u32::from(SPURIOUS));
}

fn set_timer_mode() {
    if DEADLINE.load(Relaxed) {
        write(LVT_TIMER, DEADLINE_MODE | u32::from(TIMER));
        // The mode must be there before the first deadline (SDM volume 3, 11.5.4.1).
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    } else {
        write(DIVIDE, DIVIDE_BY_16);
        write(LVT_TIMER, u32::from(TIMER));
    }
}

/// Finds out the frequency at which the timer counts.
fn measure_timer() {
    if features().contains(Features::TSC_DEADLINE) {
        DEADLINE.store(true, Relaxed);
        return;
    }
    write(DIVIDE, DIVIDE_BY_16);
    write(INITIAL_COUNT, u32::MAX);
    let elapsed = || u64::from(u32::MAX - read(CURRENT_COUNT));
    // Against the 8254, or else against the time-stamp counter.
    let hz = legacy::measure(elapsed).unwrap_or_else(|| {
        let (from, start) = (elapsed(), rdtsc());
        while rdtsc().wrapping_sub(start) < clock::tsc_hz() / 100 {
            core::hint::spin_loop();
        }
        (elapsed() - from) * 100
    });
    write(INITIAL_COUNT, 0);
    let ratio = (hz.max(1) << 32) / clock::tsc_hz();
    RATIO.store(ratio.max(1), Relaxed);
    // So far that neither the product below nor the 32-bit count overflows.
    FARTHEST.store((u64::from(u32::MAX) << 31) / ratio.max(1), Relaxed);
    log::info!("local APIC timer: {}.{:03} MHz", hz / 1_000_000, hz / 1000 % 1000);
}

/// Arms the timer to interrupt once, `ticks` of the time-stamp counter from now, or earlier if that is farther than it
/// reaches. Arming it again replaces the earlier setting.
#[inline]
pub fn arm(ticks: u64) {
    if DEADLINE.load(Relaxed) {
        // Zero would disarm.
        let deadline = rdtsc().saturating_add(ticks).max(1);
        // SAFETY: the CPU has the register; it only makes the timer's interrupt come.
        unsafe { Msr::new(TSC_DEADLINE).write(deadline) };
    } else {
        let count = (ticks.min(FARTHEST.load(Relaxed)) * RATIO.load(Relaxed)) >> 32;
        write(INITIAL_COUNT, (count as u32).max(1));
    }
}

/// Disarms the timer. An interrupt that is already on its way still comes.
#[cfg(feature = "smp")]
pub fn disarm() {
    if DEADLINE.load(Relaxed) {
        // SAFETY: as in `arm`.
        unsafe { Msr::new(TSC_DEADLINE).write(0) };
    } else {
        write(INITIAL_COUNT, 0);
    }
}

/// Interrupts from CPU to CPU (SDM volume 3, section 11.6).
#[cfg(feature = "smp")]
mod command {
    use super::{Msr, REGISTERS_AT, Relaxed, read_at, write_at};
    use core::sync::atomic::{Ordering::SeqCst, fence};

    const COMMAND_LOW: u32 = 0x300;
    const COMMAND_HIGH: u32 = 0x310;
    const X2APIC_COMMAND: u32 = 0x830;

    const PENDING: u32 = 1 << 12;
    const ASSERT: u32 = 1 << 14;
    const NON_MASKABLE: u32 = 0b100 << 8;
    const INIT: u32 = 0b101 << 8;
    const STARTUP: u32 = 0b110 << 8;

    /// A command to another CPU.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Command {
        /// An interrupt.
        Interrupt(u8),
        /// A non-maskable interrupt.
        NonMaskable,
        /// Return to the state after reset, and wait.
        Init,
        /// Begin in real mode, at this page below 1 MiB.
        Startup(u8),
    }

    /// Sends `command` to the CPU with a local APIC id. That CPU sees all earlier writes when the command arrives.
    #[inline]
    pub fn send(to: u32, command: Command) {
        let word = match command {
            Command::Interrupt(vector) => u32::from(vector),
            Command::NonMaskable => NON_MASKABLE,
            Command::Init => INIT,
            Command::Startup(page) => STARTUP | u32::from(page),
        } | ASSERT;
        let base = REGISTERS_AT.load(Relaxed);
        if base == 0 {
            // A write to the register does not wait for earlier stores (SDM volume 3, section 11.12.3).
            fence(SeqCst);
            // SAFETY: the APIC is in x2APIC mode; what the command does is the caller's intent.
            unsafe { Msr::new(X2APIC_COMMAND).write(u64::from(to) << 32 | u64::from(word)) };
        } else {
            while read_at(base, COMMAND_LOW) & PENDING != 0 {
                core::hint::spin_loop();
            }
            write_at(base, COMMAND_HIGH, to << 24);
            write_at(base, COMMAND_LOW, word);
        }
    }
}
