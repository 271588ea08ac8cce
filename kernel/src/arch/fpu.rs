//! The user's x87, SSE and AVX registers, which the kernel itself never uses.
//!
//! Saved and restored when the CPU changes threads. With XSAVE the components x87, SSE and AVX are
//! enabled, without it FXSAVE covers the first two. Larger state (AVX-512, AMX) stays off, and programs
//! see that in XCR0.

use super::cpu::{Features, features};
use core::sync::atomic::{AtomicBool, Ordering};
use raw_cpuid::CpuId;
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

/// Bytes of an area, at least: legacy region, XSAVE header, AVX.
pub const AREA_SIZE: usize = 512 + 64 + 256;

/// Which of the two ways; set once at boot.
static XSAVE: AtomicBool = AtomicBool::new(false);

/// All components that are enabled.
const ALL: u32 = u32::MAX;

/// Enables the components that user programs may use.
pub fn init() {
    if !features().contains(Features::XSAVE) {
        return;
    }
    let mut components = XCr0Flags::X87 | XCr0Flags::SSE;
    if features().contains(Features::AVX) {
        components |= XCr0Flags::AVX;
    }
    // SAFETY: CR4.OSXSAVE is set where the CPU has XSAVE, and the components are those it has.
    unsafe { XCr0::write(components) };
    let size = CpuId::new().get_extended_state_info().map_or(0, |state| state.xsave_area_size_enabled_features());
    assert!(size as usize <= AREA_SIZE, "the CPU's XSAVE area of {size} bytes is larger than an area");
    XSAVE.store(true, Ordering::Relaxed);
}

fn check(area: *const u8, length: usize) {
    assert!(length >= AREA_SIZE && area.addr().is_multiple_of(64), "an FPU area that is too small or not aligned");
}

/// Saves the registers.
#[inline]
pub fn save<const N: usize>(area: &mut [u8; N]) {
    check(area.as_ptr(), N);
    // SAFETY: large enough and aligned, as just checked.
    unsafe {
        if XSAVE.load(Ordering::Relaxed) {
            core::arch::asm!("xsave64 [{}]", in(reg) area, in("eax") ALL, in("edx") ALL, options(nostack, preserves_flags));
        } else {
            core::arch::asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags));
        }
    }
}

/// Loads the registers from an area that [`save`] or [`initial`] has written.
#[inline]
pub fn restore<const N: usize>(area: &[u8; N]) {
    check(area.as_ptr(), N);
    // SAFETY: large enough and aligned; bytes that the CPU does not accept are a general protection
    // fault, a panic. The kernel's own code uses none of these registers.
    unsafe {
        if XSAVE.load(Ordering::Relaxed) {
            core::arch::asm!("xrstor64 [{}]", in(reg) area, in("eax") ALL, in("edx") ALL, options(nostack, preserves_flags, readonly));
        } else {
            core::arch::asm!("fxrstor64 [{}]", in(reg) area, options(nostack, preserves_flags, readonly));
        }
    }
}

/// Writes what a program starts with: all registers empty, exceptions masked, round to nearest.
///
/// The XSAVE header says that no component is present, so `xrstor` puts each in its initial state; MXCSR
/// it takes from the area all the same (SDM volume 1, 13.8).
pub fn initial<const N: usize>(area: &mut [u8; N]) {
    check(area.as_ptr(), N);
    area.fill(0);
    area[0..2].copy_from_slice(&0x37fu16.to_le_bytes());
    area[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
}
