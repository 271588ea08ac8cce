//! Backtraces: the chain of callers, by frame pointers.
//!
//! The kernel is compiled with frame pointers, and the interrupt entries link the interrupted code's in. A frame is
//! believed only if it lies within a mapped kernel stack, so a broken chain ends the trace instead of faulting.

use super::stack;

/// The most frames in a backtrace.
const DEPTH: usize = 64;

/// Calls `tell` with the return address of each frame from `frame` (a value of rbp) outward.
pub fn walk(mut frame: u64, mut tell: impl FnMut(u64)) {
    for _ in 0..DEPTH {
        let Some(stack) = stack::containing(frame) else { return };
        if !frame.is_multiple_of(8) || stack.end - frame < 16 {
            return;
        }
        // SAFETY: two words within a mapped stack.
        let [caller, address] = unsafe { (frame as *const [u64; 2]).read() };
        if address == 0 {
            return;
        }
        tell(address);
        // On one stack frames go upward; a frame on another stack is the interrupted code's.
        if stack.contains(&caller) && caller <= frame {
            return;
        }
        frame = caller;
    }
}

/// The frame pointer of the caller.
#[inline(always)]
pub fn here() -> u64 {
    let frame: u64;
    // SAFETY: a register is read.
    unsafe { core::arch::asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    frame
}
