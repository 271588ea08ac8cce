//! This CPU's local APIC: acknowledging interrupts, and the one-shot timer.
//!
//! Registers are in memory, or model-specific where the firmware has left the APIC in x2APIC mode. The
//! timer is armed with a distance in ticks of the time-stamp counter: where the APIC compares with that
//! counter itself (TSC deadline) that is all, elsewhere the APIC's own count is scaled, once measured.

use super::clock::{self, rdtsc};
use super::cpu::{Features, features};
use super::idt::{SPURIOUS, TIMER};
use super::legacy;
use super::paging::{self, REGISTERS};
use super::physical::Frames;
use containers::OutOfFrames;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use x86_64::registers::model_specific::Msr;
use x86_64::{PhysAddr, VirtAddr};

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

/// Where the registers are mapped; 0 in x2APIC mode. The same on every CPU, as the hardware has it.
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
        // SAFETY: mapped uncached by `init`.
        base => unsafe { ((base + u64::from(register)) as *const u32).read_volatile() },
    }
}

#[inline]
fn write(register: u32, value: u32) {
    match REGISTERS_AT.load(Relaxed) {
        // SAFETY: as in `read`; what the registers do is confined to this CPU's interrupts.
        0 => unsafe { Msr::new(X2APIC_REGISTERS + register / 16).write(u64::from(value)) },
        // SAFETY: as in `read`.
        base => unsafe { ((base + u64::from(register)) as *mut u32).write_volatile(value) },
    }
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

/// Maps and enables this CPU's local APIC, everything masked, the timer measured and not armed.
pub fn init(frames: &mut Frames) -> Result<(), OutOfFrames> {
    legacy::silence_8259();
    let mut base_register = Msr::new(APIC_BASE);
    // SAFETY: every CPU with an APIC has the register; only the enable bit changes.
    let base = unsafe {
        let base = base_register.read();
        if base & BASE_ENABLED == 0 {
            base_register.write(base | BASE_ENABLED);
        }
        base
    };
    let x2apic = base & BASE_X2APIC != 0;
    if !x2apic {
        let registers: VirtAddr = paging::map_device(frames, PhysAddr::new_truncate(base & !0xfff), 4096, REGISTERS)?;
        REGISTERS_AT.store(registers.as_u64(), Relaxed);
    }
    write(TASK_PRIORITY, 0);
    write(LVT_LINT0, MASKED);
    write(LVT_ERROR, MASKED);
    write(LVT_TIMER, MASKED);
    write(SPURIOUS_VECTOR, SOFTWARE_ENABLED | u32::from(SPURIOUS));
    init_timer();
    let mode = if x2apic { "x2APIC" } else { "xAPIC" };
    let timer = if DEADLINE.load(Relaxed) { "TSC deadline" } else { "one-shot" };
    log::info!("local APIC {}: {mode}, timer by {timer}", id());
    Ok(())
}

fn init_timer() {
    if features().contains(Features::TSC_DEADLINE) {
        DEADLINE.store(true, Relaxed);
        write(LVT_TIMER, DEADLINE_MODE | u32::from(TIMER));
        // The mode must be there before the first deadline (SDM volume 3, 11.5.4.1).
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
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
    write(LVT_TIMER, u32::from(TIMER));
    log::info!("local APIC timer: {}.{:03} MHz", hz / 1_000_000, hz / 1000 % 1000);
}

/// Lets the timer interrupt come once, `ticks` of the time-stamp counter from now, or earlier if that
/// is farther than it reaches. Arming it again replaces what was.
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

/// Takes an armed timer back. An interrupt that is already on its way still comes.
#[inline]
pub fn disarm() {
    if DEADLINE.load(Relaxed) {
        // SAFETY: as in `arm`.
        unsafe { Msr::new(TSC_DEADLINE).write(0) };
    } else {
        write(INITIAL_COUNT, 0);
    }
}
