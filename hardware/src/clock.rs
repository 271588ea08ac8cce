//! Time: the time-stamp counter, scaled to nanoseconds since boot, and the date of the boot.
//!
//! The scale is a multiplication and shifts, in 64 bits: a count `high·2³² + low` becomes
//! `high·m·2⁸ + low·m/2²⁴` with `m = 2²⁴·10⁹/hz`. That holds for 4 MHz and up, loses at most one part in
//! 2²² at 4 GHz, and needs no division. Written once at boot; before that, time stands at zero.

pub use crate::tsc::rdtsc;
#[cfg(feature = "smp")]
pub use crate::tsc::rdtsc_ordered;
use crate::{legacy, rtc};
use abi::extension::Clock;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use raw_cpuid::CpuId;

const SHIFT: u32 = 24;

/// The frequency that is assumed if nothing tells it: the clock is wrong then, but the kernel works.
const UNKNOWN_HZ: u64 = 1_000_000_000;

static HZ: AtomicU64 = AtomicU64::new(0);
static START: AtomicU64 = AtomicU64::new(0);
static MULTIPLIER: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds from 1970 to boot.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// Ticks of the time-stamp counter in a second.
#[inline]
pub fn tsc_hz() -> u64 {
    HZ.load(Relaxed)
}

/// Nanoseconds since boot.
#[inline]
pub fn nanoseconds() -> u64 {
    duration(rdtsc().wrapping_sub(START.load(Relaxed)))
}

/// How many nanoseconds a number of ticks of the time-stamp counter takes.
#[inline]
pub fn duration(count: u64) -> u64 {
    let multiplier = MULTIPLIER.load(Relaxed);
    let (high, low) = (count >> 32, count & 0xffff_ffff);
    (high.wrapping_mul(multiplier) << (32 - SHIFT)).wrapping_add(low.wrapping_mul(multiplier) >> SHIFT)
}

/// How many ticks of the time-stamp counter a number of nanoseconds takes; saturating.
#[inline]
pub fn ticks(nanoseconds: u64) -> u64 {
    let hz = tsc_hz();
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    // Below one second the product fits for every frequency up to 18 GHz.
    seconds.saturating_mul(hz).saturating_add(rest * hz / 1_000_000_000)
}

/// Nanoseconds since 1 January 1970, UTC, by the machine's clock at boot.
#[inline]
pub fn wall_clock() -> u64 {
    EPOCH.load(Relaxed).wrapping_add(nanoseconds())
}

/// Starts the clock at zero.
pub fn init() {
    START.store(rdtsc(), Relaxed);
    let (hz, source) = match (legacy::tsc_hz(), cpuid_hz()) {
        (Some(hz), _) => (hz, "measured against the 8254"),
        (None, Some(hz)) => (hz, "told by CPUID"),
        (None, None) => (UNKNOWN_HZ, "unknown, assumed"),
    };
    set_frequency(hz);
    log::info!("time-stamp counter: {}.{:03} MHz ({source})", hz / 1_000_000, hz / 1000 % 1000);
}

fn set_frequency(hz: u64) {
    HZ.store(hz, Relaxed);
    MULTIPLIER.store((1_000_000_000 << SHIFT) / hz.max(4_000_000), Relaxed);
}

/// The clock, for another kernel of the same machine.
pub fn settings() -> Clock {
    Clock { hz: tsc_hz(), start: START.load(Relaxed), epoch: EPOCH.load(Relaxed) }
}

/// Takes over the clock of another kernel of the same machine.
pub fn adopt(clock: Clock) {
    set_frequency(clock.hz);
    START.store(clock.start, Relaxed);
    EPOCH.store(clock.epoch, Relaxed);
}

/// Reads the day and time of day.
pub fn init_wall_clock() {
    // The real-time clock updates itself in two milliseconds; but QEMU says that it goes on until a thread of QEMU's has
    // run, which a busy host lets wait.
    const PATIENCE: u64 = 1_000_000_000;
    match rtc::read(ticks(PATIENCE)) {
        Some(seconds) => {
            EPOCH.store((seconds * 1_000_000_000).saturating_sub(nanoseconds()), Relaxed);
            log::info!("the real-time clock says {seconds} seconds since 1970");
        }
        None => log::warn!("no real-time clock; the time of day begins in 1970"),
    }
}

/// The frequency that CPUID claims, for machines without an 8254.
fn cpuid_hz() -> Option<u64> {
    let id = CpuId::new();
    let told = id.get_tsc_info().and_then(|info| info.tsc_frequency());
    told.or_else(|| {
        id.get_processor_frequency_info().map(|info| u64::from(info.processor_base_frequency()) * 1_000_000)
    })
    .filter(|&hz| hz >= 4_000_000)
}
