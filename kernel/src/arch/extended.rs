//! Threads' extended states: their memory, and their place in the frames of signals.
//!
//! For example, a handler for `SIGSEGV` may change the vector registers that its thread goes on with: it finds them in
//! the frame of the signal, and [`take`] reads them back, checked, when the handler returns.

use super::physical::{Frames, move_bytes};
use alloc::boxed::Box;
use containers::{ExtendedState, Frame};
use core::ops::Range;
use hardware::fpu::{
    AREA_SIZE, CONTROLS_END, HEADER, RESERVED, X87_REGISTERS, components, has_header, initial, save_at, set_controls,
    size,
};
use zerocopy::IntoBytes;

/// The extended state of a program at its start. It reuses the memory of a state that is not needed any more, if there
/// is one.
#[inline]
pub fn fresh(spare: Option<Box<ExtendedState>>) -> Box<ExtendedState> {
    match spare {
        Some(mut state) => {
            if core::mem::take(&mut state.is_from_program) {
                state.area.fill(0);
            }
            initial(&mut state.area);
            state
        }
        None => {
            let mut state = ExtendedState::zero();
            set_controls(&mut state.area);
            state
        }
    }
}

/// A copy of an extended state. It reuses the memory of a state that is not needed any more, if there is one.
#[inline]
pub fn copy(state: &ExtendedState, spare: Option<Box<ExtendedState>>) -> Box<ExtendedState> {
    let Some(mut copy) = spare else { return Box::new(state.clone()) };
    (*copy).clone_from(state);
    copy
}

// What Linux puts around the state in a signal's frame (`struct _fpx_sw_bytes`).
const SOFTWARE_BYTES: usize = 464;
const BEGIN_MARK: u32 = 0x4650_5853;
/// The word behind the state in a signal's frame.
const END_MARK: u32 = 0x4650_5845;
/// `uc_flags` of a frame: extended state is there if the CPU has XSAVE, and `ss` is what it was.
#[inline(always)]
pub fn frame_flags() -> u64 {
    if has_header() { 7 } else { 6 }
}

/// Bytes of a state in a signal's frame.
pub fn size_in_frame() -> usize {
    size() + size_of_val(&END_MARK)
}

/// The description of a state, as Linux puts it into the state's unused bytes for a handler.
#[inline(always)]
fn description() -> [u64; (HEADER - SOFTWARE_BYTES) / 8] {
    match size() as u64 {
        size if has_header() => [u64::from(BEGIN_MARK) | (size + 4) << 32, components(), size, 0, 0, 0],
        _ => [0; _],
    }
}

/// Describes a saved state, with a mark behind it; returns both.
pub fn described<const N: usize>(area: &mut [u8; N]) -> &[u8] {
    let size = size();
    area[SOFTWARE_BYTES..HEADER].copy_from_slice(description().as_bytes());
    area[size..size + 4].copy_from_slice(&END_MARK.to_le_bytes());
    &area[..size + 4]
}

/// Saves the registers into a signal's frame, as [`save_at`] and [`described`] do, but without a copy in between. Bytes
/// that the CPU does not write keep the program's values.
///
/// # Panics
/// If the place is not in a frame in use, or not aligned.
pub fn save_described(frames: &mut Frames, frame: Frame, offset: usize) {
    assert!(offset.is_multiple_of(64), "an extended state that is not aligned");
    let area = frames.bytes(frame, offset..offset + size_in_frame());
    // SAFETY: in a frame in use, large enough and aligned. Threads may have the frame mapped and change what is written
    // here; the kernel does not read it again without checking it ([`is_acceptable`]).
    unsafe {
        if has_header() {
            put_words(area.add(HEADER), [0; 8]);
        }
        save_at(area);
        put_words(area.add(SOFTWARE_BYTES), description());
        area.add(size()).cast::<u32>().write_volatile(END_MARK);
    }
}

/// Writes words to memory that a program may read and write meanwhile, each word by one store.
///
/// # Safety
/// They are mapped, aligned, and the kernel holds no reference to them.
#[inline(always)]
unsafe fn put_words<const N: usize>(to: *mut u8, words: [u64; N]) {
    for (n, word) in words.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<u64>().add(n).write_volatile(word) }
    }
}

/// Copies a state that a program wrote from a frame into an area. Only components that are present are copied, since
/// [`hardware::fpu::restore`] reads no others.
pub fn take<const N: usize>(frames: &Frames, (frame, offset): (Frame, usize), area: &mut [u8; N]) {
    let from = frames.bytes(frame, offset..offset + size());
    let copy = |part: Range<usize>, area: &mut [u8; N]| {
        let to = &mut area[part.clone()];
        // SAFETY: in a frame in use, and before the state's end; an area, being the kernel's, lies elsewhere.
        unsafe { move_bytes(from.add(part.start), to.as_mut_ptr(), to.len()) }
    };
    if !has_header() {
        return copy(0..HEADER, area);
    }
    // The CPU loads MXCSR and checks the header in any case, whichever components are present.
    copy(CONTROLS_END..X87_REGISTERS.start, area);
    copy(HEADER..HEADER + 64, area);
    // A component that is not enabled has no place in the area, and is refused.
    let present = u64::from(area[HEADER]) & components();
    let components = [0..X87_REGISTERS.end, X87_REGISTERS.end..RESERVED, HEADER + 64..AREA_SIZE];
    for (n, part) in components.into_iter().enumerate() {
        if present >> n & 1 != 0 {
            copy(part, area);
        }
    }
}
