//! The user's x87, SSE and AVX registers, which the kernel itself never uses.
//!
//! A context switch saves and restores them. With XSAVE the components x87, SSE and AVX are enabled; without it FXSAVE
//! covers the first two. Larger state (AVX-512, AMX) stays off, and programs see that in XCR0. For example, a thread
//! that adds AVX vectors is preempted: its area keeps ymm0 to ymm15 until it is dispatched again.

use crate::cpu::{Features, features};
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};
use raw_cpuid::CpuId;
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

/// The least size of an area in bytes: legacy region, XSAVE header, AVX.
pub const AREA_SIZE: usize = 512 + 64 + 256;

/// How many bytes of state the CPU saves, by XSAVE if more than [`HEADER`]; set once at boot.
static SIZE: AtomicUsize = AtomicUsize::new(HEADER);

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
    SIZE.store(if features().contains(Features::AVX) { AREA_SIZE } else { HEADER + 64 }, Ordering::Relaxed);
}

fn check(area: *const u8, length: usize) {
    assert!(length >= AREA_SIZE && area.addr().is_multiple_of(64), "an FPU area that is too small or not aligned");
}

/// Saves the registers in an area that [`initial`] has written once, because XSAVE leaves part of its header as it is.
#[inline]
pub fn save<const N: usize>(area: &mut [u8; N]) {
    check(area.as_ptr(), N);
    // SAFETY: large enough and aligned, as just checked.
    unsafe { save_at(area.as_mut_ptr()) }
}

/// Saves the registers in memory.
///
/// # Safety
/// [`size`] bytes are mapped there, aligned to 64, and no reference to them is in use.
#[inline(always)]
pub unsafe fn save_at(area: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        if has_header() {
            core::arch::asm!("xsave64 [{}]", in(reg) area, in("eax") ALL, in("edx") ALL, options(nostack, preserves_flags));
        } else {
            core::arch::asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags));
        }
    }
}

/// Loads the registers from an area that has been written by [`initial`], and perhaps by [`save`] after it.
#[inline]
pub fn restore<const N: usize>(area: &[u8; N]) {
    check(area.as_ptr(), N);
    // SAFETY: large enough and aligned; bytes that the CPU does not accept are a general protection
    // fault, a panic. The kernel's own code uses none of these registers.
    unsafe {
        if has_header() {
            core::arch::asm!("xrstor64 [{}]", in(reg) area, in("eax") ALL, in("edx") ALL, options(nostack, preserves_flags, readonly));
        } else {
            core::arch::asm!("fxrstor64 [{}]", in(reg) area, options(nostack, preserves_flags, readonly));
        }
    }
}

/// Writes the state with which a program starts: all registers empty, exceptions masked, round to nearest.
///
/// The XSAVE header says that no component is present, so `xrstor` puts each into its initial state. It takes MXCSR
/// from the area all the same (SDM volume 1, 13.8), and reads nothing else of it. The x87 unit's last instruction is
/// cleared too, because AMD's CPUs write it only while an exception is pending, and the area may have been another
/// thread's.
pub fn initial<const N: usize>(area: &mut [u8; N]) {
    check(area.as_ptr(), N);
    if has_header() {
        area[..CONTROLS_END].fill(0);
        area[HEADER..HEADER + 64].fill(0);
    } else {
        area[..HEADER].fill(0);
    }
    set_controls(area);
}

/// Loads the state with which a program starts.
pub fn restore_initial() {
    #[repr(align(64))]
    struct Area([u8; AREA_SIZE]);
    static INITIAL: Area = {
        let mut area = Area([0; _]);
        set_controls(&mut area.0);
        area
    };
    restore(&INITIAL.0);
}

/// Sets the control words of an area that is zero otherwise.
pub const fn set_controls<const N: usize>(area: &mut [u8; N]) {
    [area[0], area[1]] = 0x37fu16.to_le_bytes();
    [area[24], area[25], area[26], area[27]] = 0x1f80u32.to_le_bytes();
}

/// Where the x87 unit's controls, status and last instruction end.
pub const CONTROLS_END: usize = 24;

/// Where the x87 unit's registers are, each in a slot of its own (SDM volume 1, table 10-2).
pub const X87_REGISTERS: Range<usize> = 32..160;

/// Where the CPU's part of the legacy region ends (SDM volume 1, 13.4.1).
pub const RESERVED: usize = 416;

/// Where the legacy region ends and the header of XSAVE begins.
pub const HEADER: usize = 512;

/// Bytes of the state that the CPU saves.
#[inline(always)]
pub fn size() -> usize {
    SIZE.load(Ordering::Relaxed)
}

/// Whether the state is saved by XSAVE.
#[inline(always)]
pub fn has_header() -> bool {
    size() > HEADER
}

/// The components that are enabled, as in XCR0.
pub fn components() -> u64 {
    if size() == AREA_SIZE { 7 } else { 3 }
}

/// Whether [`restore`] would accept a state that a program wrote: no reserved bits of MXCSR and of the
/// XSAVE header (SDM volume 1, sections 10.5.1.2 and 13.8).
pub fn is_acceptable<const N: usize>(area: &[u8; N]) -> bool {
    let header = || area[HEADER..HEADER + 64].as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    let allowed = [components(), 0, 0, 0, 0, 0, 0, 0];
    let unknown = || header().zip(allowed).fold(0, |all, (word, allowed)| all | word & !allowed);
    area[26..28] == [0, 0] && (!has_header() || unknown() == 0)
}

/// `si_code` of the floating-point exception that is pending in the registers, for vector 16 (x87) or
/// 19 (SSE).
pub fn cause(vector: u64) -> i32 {
    let pending = if vector == 19 {
        let mut state = 0_u32;
        // SAFETY: stores a register to a local variable.
        unsafe { core::arch::asm!("stmxcsr [{}]", in(reg) &mut state, options(nostack, preserves_flags)) };
        state & !(state >> 7)
    } else {
        let (mut status, mut control) = (0_u16, 0_u16);
        // SAFETY: as above; neither waits for the exception.
        unsafe {
            core::arch::asm!("fnstsw [{}]", "fnstcw [{}]", in(reg) &mut status, in(reg) &mut control, options(nostack, preserves_flags));
        }
        u32::from(status & !control)
    };
    // Invalid, denormal, divide, overflow, underflow, precision: FPE_FLT… by bit.
    const CODES: [i32; 6] = [7, 5, 3, 4, 5, 6];
    CODES.iter().enumerate().find(|(bit, _)| pending >> bit & 1 != 0).map_or(0, |(_, code)| *code)
}
